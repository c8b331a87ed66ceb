"""Sends messages to a running Codex.

The program on the agent's host types a message into Codex's composer and confirms it from the rollout. It gets the text
through standard input, so no user of the host can read it in arguments or files. Each message has a token: if the line
to the host breaks, the program is run again with the same token, and then types nothing that was typed already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from imbue.mngr.errors import (
    CommandTimeoutError,
    HostConnectionError,
    MessageDeliveredButBlockedError,
    SendFailureKind,
    SendMessageError,
)
from loguru import logger

from mngr_codex import _core
from mngr_codex.plugin.host.connection import LostCommandError
from mngr_codex.plugin.messages import delivery, refusals
from mngr_codex.plugin.messages.program import ProgramError, ReplacementError, run_on_terminal

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

    from mngr_codex.plugin.messages.program import Json

# The program waits for a Codex that starts, for its MCP servers, and for another message, before it waits for this one.
_OTHER_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a message, as the program reports it."""

    kind: str
    has_arrived: bool | None
    """Whether Codex has the message; None if that is not known."""
    view: str | None
    showing: str | None
    """What takes all input of the terminal, as a phrase."""
    row: str | None
    command: str | None
    """The command that Codex ran or may have run, such as ``/model``."""
    is_in_composer: bool
    """Whether the text may be left in the composer although it was not sent."""
    terminal: tuple[str, ...]
    """The last lines of the terminal."""
    seconds: float
    """How long the program has waited."""

    @classmethod
    def parse(cls, answer: Json) -> Outcome:
        """Parses the program's answer."""
        return cls(
            kind=str(answer.get("outcome")),
            has_arrived=answer.get("arrived"),
            view=answer.get("view"),
            showing=answer.get("showing"),
            row=answer.get("row"),
            command=answer.get("command"),
            is_in_composer=bool(answer.get("in_composer")),
            terminal=tuple(map(str, answer.get("terminal") or ())),
            seconds=float(answer.get("waited_seconds") or 0.0),
        )


_UNCERTAIN = {
    "busy": "another run is still sending this message",
    "unseen": "the message was typed, but the terminal no longer shows it",
}
"""The problems after which the message may have arrived, by outcome."""


def send(agent: BaseAgent[Any], message: str, confirmation_seconds: float) -> bool:
    """Sends a message and confirms that it arrived. The caller must hold the agent's message lock, if there is one.

    Args:
        agent: The agent.
        message: The message.
        confirmation_seconds: How long to wait until Codex has recorded the message.

    Returns:
        False if the agent's host cannot run the program; nothing was done then.

    Raises:
        SendMessageError: The message did not arrive, or its arrival could not be confirmed.
        MessageDeliveredButBlockedError: The message was a command that opened a dialog.
    """
    name = str(agent.name)
    content = message.encode("utf-8", "replace")
    if not content.strip():
        raise empty(name)
    options = (
        "--token",
        uuid4().hex,
        "--length",
        str(len(content)),
        "--timeout",
        f"{confirmation_seconds:g}",
    )
    try:
        answer = run_on_terminal(
            agent, "send", *options, content=content, timeout_seconds=confirmation_seconds + _OTHER_SECONDS
        )
    except (LostCommandError, CommandTimeoutError) as error:
        raise _unknown(name, error) from error
    except HostConnectionError as error:
        reason = f"{error}; the message was not sent\nhint: send it again when the host can be reached"
        raise SendMessageError(name, reason, SendFailureKind.AGENT_UNREACHABLE) from error
    except ProgramError as error:
        raise _unknown(name, error) from error
    except ReplacementError as error:
        reason = f"{error}; the message was not sent\nhint: fix that, then send it again"
        raise SendMessageError(name, reason, SendFailureKind.NOT_READY) from error
    if answer is None:
        return False
    _report(agent, message, Outcome.parse(answer))
    return True


def empty(name: str) -> SendMessageError:
    """Returns the error for a message without text."""
    return SendMessageError(name, "the message is empty\nhint: give its text with -m, or in a file with --message-file")


def _unknown(name: str, error: Exception | str) -> SendMessageError:
    """Returns the error for a message of which nothing is known. Without a connection, no event can be recorded."""
    return SendMessageError(
        name,
        f"{error}. It is not known whether the message arrived\n"
        f"hint: look for it in `mngr transcript {name} --tail 5` or `mngr connect {name}` before you send it again",
        SendFailureKind.SUBMISSION_UNCONFIRMED,
    )


def _report(agent: BaseAgent[Any], message: str, outcome: Outcome) -> None:
    """Logs the outcome of a message, or raises it as an error."""
    name = str(agent.name)
    if outcome.has_arrived:
        logger.debug("message to agent {} arrived ({}) after {:.2f} s", name, outcome.kind, outcome.seconds)
        if outcome.kind == "taken" and outcome.showing is not None:
            raise MessageDeliveredButBlockedError(
                name,
                f"{outcome.command or 'the command'} opened {outcome.showing}\n"
                f"hint: answer it with `mngr connect {name}`",
                SendFailureKind.INPUT_BLOCKED,
            )
        return
    if outcome.kind == "queued":
        text = _core.clean_message(message.encode("utf-8", "replace").decode())[:80]
        logger.warning(
            "Codex has queued the message to agent {} until the current tool call finishes: {!r}", name, text
        )
        delivery.record_queued(agent, outcome.seconds)
        return
    raise _error(agent, outcome)


def _error(agent: BaseAgent[Any], outcome: Outcome) -> SendMessageError:
    """Returns the error for a message that has not arrived, or may not have."""
    name = str(agent.name)
    check = f"check it with `mngr connect {name}`"
    left = "; its text may still be in the composer" if outcome.is_in_composer else ""
    if outcome.has_arrived is None and (problem := _UNCERTAIN.get(outcome.kind)):
        return _unknown(name, problem)
    match outcome.kind:
        case "empty":
            return empty(name)
        case "no_terminal":
            return refusals.no_terminal(name, " ".join(outcome.terminal))
        case "exited":
            return refusals.exited(name, outcome.terminal)
        case "login" | "side" | "dialog":
            return refusals.blocked(agent, outcome.kind, outcome.showing or "a menu")
        case "draft":
            return refusals.draft(agent, outcome.row or "")
        case "not_ready":
            return refusals.not_ready(name, outcome.seconds)
        case "blocked":
            what = outcome.showing or "a dialog"
            reason = f"{what} opened before the message was sent{left}\nhint: answer it with `mngr connect {name}`"
            return SendMessageError(name, reason, SendFailureKind.INPUT_BLOCKED)
        case "ended":
            is_unknown = outcome.has_arrived is None
            first = "Codex exited when the message was sent"
            first += ". It is not known whether the message arrived" if is_unknown else ""
            last = "\n".join([first, *outcome.terminal])
            reason = f"{last}\nhint: start it with `mngr start {name} --restart`"
            kind = SendFailureKind.SUBMISSION_UNCONFIRMED if is_unknown else SendFailureKind.AGENT_UNREACHABLE
            return SendMessageError(name, reason, kind)
        case "unseen":
            reason = f"the message did not appear in the terminal{left}\nhint: {check}"
            return SendMessageError(name, reason, SendFailureKind.NOT_READY)
        case "refused":
            command = outcome.command or "the command"
            delivery.record_rejected(agent, command)
            reason = (
                f"Codex rejects {command} while a turn is running or its MCP servers start\n"
                "hint: send it again when `mngr list` shows WAITING"
            )
            return SendMessageError(name, reason, SendFailureKind.NOT_READY)
        case "busy":
            reason = f"another message to this agent has not been sent yet\nhint: send it again later, or {check}"
            return SendMessageError(name, reason, SendFailureKind.NOT_READY)
        case "truncated":
            reason = "the message did not reach the host completely, so it was not sent\nhint: send it again"
            return SendMessageError(name, reason, SendFailureKind.NOT_READY)
        case "interrupted":
            reason = f"interrupted before the message was sent{left}\nhint: send it again"
            return SendMessageError(name, reason, SendFailureKind.UNKNOWN)
        case "failed":
            problem = " ".join(outcome.terminal) or "the program failed"
            state = "it was not sent" if outcome.has_arrived is False else "it is not known whether it arrived"
            kind = SendFailureKind.UNKNOWN if outcome.has_arrived is False else SendFailureKind.SUBMISSION_UNCONFIRMED
            return SendMessageError(name, f"cannot type the message: {problem}; {state}{left}\nhint: {check}", kind)
        case _:
            delivery.record_unconfirmed(agent, outcome.seconds, outcome.kind)
            reason = (
                f"the message was sent, but Codex did not record it within {outcome.seconds:.0f} s ({outcome.kind})\n"
                f"hint: it may still arrive; check with `mngr connect {name}` before you send it again"
            )
            if outcome.has_arrived is False:
                reason = (
                    f"Codex did not record the message within {outcome.seconds:.0f} s, and its text was deleted again\n"
                    f"hint: {check}, then send it again"
                )
            return SendMessageError(name, reason, SendFailureKind.SUBMISSION_UNCONFIRMED)
