"""Why an agent waits, for listings."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin import markers, paths
from mngr_codex.plugin.messages.screen import Screen

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

_SECONDS = 5.0
_MARKERS = (paths.PERMISSIONS_WAITING, paths.QUESTION_WAITING)


def reason(agent: BaseAgent[Any]) -> str:
    """Returns why an agent waits, from its markers, or from its terminal if there are none. Runs one command.

    Args:
        agent: An agent whose state is WAITING.
    """
    # A user can split the window; mngr as well takes its first pane for the agent's.
    pane = f"{agent.tmux_target.as_shell_arg()}'.{{top-left}}'"
    command = f"""\
cd {shlex.quote(str(agent._get_agent_dir()))} && for each in {" ".join(_MARKERS)}; do
    if [ -e "$each" ]; then echo "$each"; exit; fi
done
echo
tmux -u capture-pane -e -p -t {pane}"""
    result = agent.host.execute_idempotent_command(command, timeout_seconds=_SECONDS)
    marker, _, terminal = result.stdout.partition("\n")
    return markers.blocking_reason({marker}) or Screen.parse("codex", terminal).waiting_reason
