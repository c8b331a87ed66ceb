"""The errors for terminals that cannot take a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import SendFailureKind, SendMessageError

from mngr_codex.plugin.home.login import LoginPlace, login_hint
from mngr_codex.plugin.host.facts import command_of
from mngr_codex.plugin.messages import delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imbue.mngr.agents.base_agent import BaseAgent


def exited(name: str, terminal: Sequence[str]) -> SendMessageError:
    """Returns the error for a terminal with a shell.

    Args:
        name: The agent's name.
        terminal: The last lines that Codex has printed.
    """
    reason = f"{exit_reason(terminal)}\nhint: start it with `mngr start {name} --restart`"
    return SendMessageError(name, reason, SendFailureKind.AGENT_UNREACHABLE)


def exit_reason(terminal: Sequence[str]) -> str:
    """Returns the reason in an error about a Codex that has exited.

    Args:
        terminal: The last lines that it has printed.
    """
    return "\n".join(["Codex has exited. Its terminal shows:", *terminal] if terminal else ["Codex has exited"])


def no_terminal(name: str, problem: str) -> SendMessageError:
    """Returns the error for a terminal that does not exist.

    Args:
        name: The agent's name.
        problem: tmux's error.
    """
    reason = f"cannot read its terminal: {problem}\nhint: start it with `mngr start {name}`"
    return SendMessageError(name, reason, SendFailureKind.AGENT_UNREACHABLE)


def blocked(agent: BaseAgent[Any], view: str, showing: str) -> SendMessageError:
    """Returns the error for something that takes all input.

    Args:
        agent: The agent.
        view: The kind of view: ``dialog``, ``login`` or ``side``.
        showing: Its name as a phrase.
    """
    name = str(agent.name)
    consequence, hint = "so it can't take messages", f"answer it with `mngr connect {name}`"
    if view == "side":
        consequence, hint = "which is not in the transcript", f"close it with `mngr connect {name}`"
    elif view == "login":
        hint = login_hint(LoginPlace.of(agent.host, command_of(agent)), name)
    reason = f"Codex is showing {showing}, {consequence}\nhint: {hint}"
    return SendMessageError(name, reason, SendFailureKind.INPUT_BLOCKED)


def draft(agent: BaseAgent[Any], row: str) -> SendMessageError:
    """Returns the error for a draft in the composer, and records it.

    Args:
        agent: The agent.
        row: The first row of the composer.
    """
    delivery.record_draft(agent)
    name = str(agent.name)
    reason = (
        f"there is an unsent draft in the composer: {row[2:80]!r}\nhint: send or clear it with `mngr connect {name}`"
    )
    return SendMessageError(name, reason, SendFailureKind.INPUT_BLOCKED)


def not_ready(name: str, seconds: float) -> SendMessageError:
    """Returns the error for a Codex that is still starting.

    Args:
        name: The agent's name.
        seconds: How long the plugin has waited.
    """
    reason = f"Codex was not ready after {seconds:.0f} s\nhint: check its terminal with `mngr connect {name}`"
    return SendMessageError(name, reason, SendFailureKind.NOT_READY)
