"""Waits until a Codex that was just started is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import AgentStartError, MngrError
from loguru import logger

from mngr_codex.plugin.messages import refusals, unaided
from mngr_codex.plugin.messages.program import run_on_terminal

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

READY_SECONDS = 30.0
"""How long Codex may take to start."""
_MARGIN_SECONDS = 15.0


def await_start(agent: BaseAgent[Any], seconds: float) -> None:
    """Waits until Codex has opened its session, or shows a dialog, in a pane in which it was just started.

    Only warns if that takes longer, or if the host cannot be reached: Codex is running, and its agent must not be
    removed.

    Args:
        agent: The agent.
        seconds: How long to wait.

    Raises:
        AgentStartError: Codex exited. The message contains its last output.
    """
    name = str(agent.name)
    try:
        answer = run_on_terminal(
            agent,
            "screen",
            "--until",
            "started",
            "--timeout",
            f"{seconds:g}",
            timeout_seconds=seconds + _MARGIN_SECONDS,
        )
    except MngrError as error:
        logger.warning(
            "cannot find out whether the Codex of agent {} has started: {}\nhint: check it with `mngr connect {}`",
            name,
            error,
            name,
        )
        return
    if answer is None:
        is_started = unaided.await_start(agent, seconds)
    else:
        terminal = [str(line) for line in answer.get("terminal") or ()]
        match answer.get("outcome"):
            case "exited":
                raise AgentStartError(name, refusals.exit_reason(terminal))
            case "no_terminal":
                problem = " ".join(terminal)
                raise AgentStartError(
                    name, f"cannot read its terminal: {problem}\nhint: start it with `mngr start {name}`"
                )
            case outcome:
                is_started = outcome == "started"
    if not is_started:
        logger.warning(
            "agent {} is running, but its Codex was not ready after {:.0f} s\nhint: check it with `mngr connect {}`",
            name,
            seconds,
            name,
        )


def restart_hint(name: str) -> str:
    """Returns the command that starts an agent again whose Codex has exited."""
    return f"fix that, then run `mngr start {name} --restart`"
