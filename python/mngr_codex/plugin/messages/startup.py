"""Waits until a Codex that was just started is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import AgentStartError
from imbue.mngr.utils.polling import poll_until

from mngr_codex.plugin import paths
from mngr_codex.plugin.messages.screen import read_screen

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

READY_SECONDS = 30.0
"""How long Codex may take to start."""


def await_start(agent: BaseAgent[Any], seconds: float) -> None:
    """Waits until Codex shows its composer or a dialog in a pane in which it was just started.

    Args:
        agent: The agent.
        seconds: How long to wait.

    Raises:
        AgentStartError: Codex exited or did not become ready in time. The message contains its last output.
    """
    state_dir = agent._get_agent_dir()
    target = agent._send_target_arg(agent.tmux_target)
    screen = read_screen(agent, target)
    exits_seen = 0

    def is_settled() -> bool:
        nonlocal screen, exits_seen
        screen = read_screen(agent, target)
        # Checked several times, since the pane shows a shell for a moment between the launcher's first line and Codex.
        has_exited = not screen.is_codex and agent.host.path_exists(state_dir / paths.STARTED)
        exits_seen = exits_seen + 1 if has_exited else 0
        return (screen.is_codex and screen.is_started) or exits_seen > 2

    settled = poll_until(is_settled, timeout=seconds, poll_interval=0.1)
    if screen.is_codex and screen.is_started:
        return
    problem = "Codex exited immediately" if settled else f"Codex was not ready after {seconds:.0f} s"
    last = [line.rstrip() for line in screen.text.splitlines() if line.strip()][-12:]
    raise AgentStartError(str(agent.name), "\n".join([f"{problem}. Its terminal shows:", *last]))
