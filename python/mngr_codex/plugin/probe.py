"""Reads an agent's process, its state, and why it waits. One command on its host does all of it.

A listing asks for every agent, so the number of processes and of round trips to the host matters.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import HostConnectionError
from imbue.mngr.hosts.common import check_agent_type_known, determine_lifecycle_probe_result
from imbue.mngr.hosts.tmux import AGENT_ID_OPTION
from imbue.mngr.primitives import AgentLifecycleState, LifecycleProbeResult

from mngr_codex import _core
from mngr_codex.plugin import markers, paths, status_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imbue.mngr.agents.base_agent import BaseAgent

    from mngr_codex.plugin.status_file import Status

_SECONDS = 5.0

# The terminal is only read if no marker shows whether the agent is busy or why it waits. The processes are only listed
# if tmux may have a session of the agent.
_SCRIPT = """\
state={state} target={target} separator={separator}
found=
for each in {markers}; do
    [ ! -e "$state/$each" ] || found="$found $each"
done
set -- list-panes -a -F {format}
[ -n "$found" ] || set -- "$@" \\; display-message -p -t "$target" "$separator" \\; capture-pane -e -p -t "$target"
panes=$(tmux -u "$@" 2>/dev/null)
echo "markers $found"
echo "$separator"
case $panes in *{agent_id}*|*{session}*) ps -e -o pid=,ppid=,comm= 2>/dev/null ;; esac
echo "$separator"
[ ! -e "$state/{status}" ] || cat "$state/{status}"
echo
echo "$separator"
printf '%s\\n' "$panes"
"""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is known about an agent at one time."""

    lifecycle: LifecycleProbeResult
    """The agent's state as mngr determines it, and Codex's process."""
    waiting_reason: str | None
    """Why the agent waits; None if it is busy or has ended."""
    status: Status | None
    """The content of its status file; None if it has none."""


def probe(agent: BaseAgent[Any]) -> Probe | None:
    """Runs the command; returns None if mngr's own probe is needed.

    That is so if the command fails, or if the agent has a session, but no window with the name that mngr gives it.

    Args:
        agent: The agent.
    """
    separator = f"mngr-codex:{secrets.token_hex(8)}"
    try:
        result = agent.host.execute_idempotent_command(_script(agent, separator), timeout_seconds=_SECONDS)
    except HostConnectionError:
        stopped = LifecycleProbeResult(state=AgentLifecycleState.STOPPED)
        return Probe(lifecycle=stopped, waiting_reason=None, status=None)
    parts = [part.strip("\n") for part in result.stdout.split(separator)]
    if not result.success or len(parts) < 4:
        return None
    found, processes, status, panes, *terminal = parts
    present = set(found.split()[1:])
    windows = _windows(agent, panes.split("\n"))
    pane = windows.get(str(agent.tmux_target.window))
    if windows and pane is None:
        return None
    blocking = markers.blocking_reason(present)
    lifecycle = determine_lifecycle_probe_result(
        tmux_info=pane,
        is_active=paths.ACTIVE in present,
        is_blocked_on_dialog=blocking is not None,
        expected_process_name=agent.get_expected_process_name(),
        ps_output=processes,
        is_agent_type_known=check_agent_type_known(str(agent.agent_type), agent.mngr_ctx.config),
    )
    is_waiting = lifecycle.state is AgentLifecycleState.WAITING
    reason = (blocking or _core.read_screen("codex", "".join(terminal)).waiting_reason) if is_waiting else None
    return Probe(lifecycle=lifecycle, waiting_reason=reason, status=status_file.parse(status))


def _windows(agent: BaseAgent[Any], lines: Iterable[str]) -> dict[str, str]:
    """Returns the first pane of each window of the agent's session, as mngr's state detection takes it.

    As in mngr's own probe, the session is the one with the agent's id, or else with its name.
    """
    by_id: dict[str, str] = {}
    by_name: dict[str, str] = {}
    for line in lines:
        fields = line.split("|", 3)
        if len(fields) == 4:
            agent_id, session, window, pane = fields
            if agent_id == str(agent.id):
                by_id.setdefault(window, pane)
            elif session == agent.session_name:
                by_name.setdefault(window, pane)
    return by_id or by_name


def _script(agent: BaseAgent[Any], separator: str) -> str:
    pane = "#{pane_dead}|#{pane_current_command}|#{pane_pid}"
    return _SCRIPT.format(
        state=shlex.quote(str(agent._get_agent_dir())),
        # A user can split the window; mngr as well takes its first pane for the agent's.
        target=f"{agent.tmux_target.as_shell_arg()}'.{{top-left}}'",
        separator=separator,
        markers=" ".join((paths.ACTIVE, paths.PERMISSIONS_WAITING, paths.QUESTION_WAITING)),
        format=shlex.quote(f"#{{{AGENT_ID_OPTION}}}|#{{session_name}}|#{{window_name}}|{pane}"),
        agent_id=shlex.quote(str(agent.id)),
        session=shlex.quote(agent.session_name),
        status=paths.STATUS,
    )
