"""Reads an agent's terminal without the program on its host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import SendFailureKind, SendMessageError
from imbue.mngr.hosts.common import SHELL_COMMANDS

from mngr_codex import _core

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent


def read_screen(agent: BaseAgent[Any], target: str) -> _core.Screen:
    """Reads an agent's terminal.

    Args:
        agent: The agent.
        target: Its tmux pane.

    Raises:
        SendMessageError: The terminal does not exist.
    """
    command = f"tmux -u display-message -p -t {target} '#{{pane_current_command}}' \\; capture-pane -e -p -t {target}"
    result = agent.host.execute_idempotent_command(command, timeout_seconds=agent.send_command_timeout_seconds)
    if not result.success:
        name = str(agent.name)
        reason = f"cannot read its terminal: {result.stderr.strip()}\nhint: start it with `mngr start {name}`"
        raise SendMessageError(name, reason, SendFailureKind.AGENT_UNREACHABLE)
    process, _, pane = result.stdout.partition("\n")
    process = process.strip()
    is_codex = process not in SHELL_COMMANDS or _runs_script(agent, target)
    return _core.read_screen("codex" if is_codex else process, pane)


def _runs_script(agent: BaseAgent[Any], target: str) -> bool:
    """Returns whether the foreground process is not the pane's shell: a script may run Codex."""
    pid = f"$(tmux display-message -p -t {target} '#{{pane_pid}}')"
    command = f"ps -o tpgid=,pgid= -p {pid}"
    result = agent.host.execute_idempotent_command(command, timeout_seconds=agent.send_command_timeout_seconds)
    groups = result.stdout.split()
    return result.success and len(groups) == 2 and groups[0] != groups[1]
