"""Sends messages to a running Codex: types them into its composer, and confirms them from the rollout.

A message is only typed into an empty composer, never into a dialog, a shell, or the user's draft. It is confirmed
as soon as the rollout contains it, which Codex writes when it acknowledges the message. During a turn that is between
two requests to the model; until then Codex shows the message as queued.

The text never appears in a command line, where any user of the host could read it and where its length is limited. It
is passed in files that only the user can read. Every message has its own files, because mngr has no lock for messages
to an agent on another host.
"""

from __future__ import annotations

import importlib.resources
import shlex
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from imbue.mngr.agents.base_agent import build_clear_pane_modes_tmux_subcommand
from imbue.mngr.errors import MessageDeliveredButBlockedError, MngrError, SendFailureKind, SendMessageError
from loguru import logger

from mngr_codex.plugin import markers, paths
from mngr_codex.plugin.home.login import LoginPlace, login_hint
from mngr_codex.plugin.messages import delivery
from mngr_codex.plugin.messages.composer import await_composer
from mngr_codex.plugin.messages.screen import KEY_HINTS, KEY_HINTS_ABOVE_COMPOSER, WELCOME, read_screen
from mngr_codex.plugin.messages.startup import READY_SECONDS
from mngr_codex.plugin.messages.text import as_typed, cleaned, is_slash_command, rollout_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imbue.mngr.agents.base_agent import BaseAgent

COMMAND_SECONDS = 5
"""How long to wait for the effect of a Codex command."""
_SHOWN_SECONDS = 10
_REFUSED_SECONDS = 0.5
_HEAD_LENGTH = 20
_ENDING_LENGTH = 200
_LEFTOVER_MINUTES = 10


@dataclass(frozen=True)
class _MessageFiles:
    """The files of one message on the agent's host."""

    text: Path
    parameters: Path


def send(agent: BaseAgent[Any], message: str, confirmation_seconds: float) -> None:
    """Sends a message and confirms that it arrived. The caller must hold the agent's message lock, if there is one.

    Args:
        agent: The agent.
        message: The message.
        confirmation_seconds: How long to wait until Codex has recorded the message.

    Raises:
        SendMessageError: The message did not arrive, or its arrival could not be confirmed.
        MessageDeliveredButBlockedError: The message was a command that opened a dialog.
    """
    text = cleaned(message)
    name = str(agent.name)
    if not text.strip():
        raise SendMessageError(
            name, "the message is empty\nhint: give its text with -m, or in a file with --message-file"
        )
    target = agent._send_target_arg(agent.tmux_target)
    state_dir = agent._get_agent_dir()
    is_marked_as_asking = markers.is_blocked(agent.host, state_dir)
    await_composer(agent, target, is_marked_as_asking=is_marked_as_asking)
    text = as_typed(text)
    is_command = is_slash_command(text)
    with _private_files(agent) as files:

        def press_enter() -> str:
            return _press_enter(
                agent,
                target,
                text,
                files.parameters,
                is_command=is_command,
                seconds=confirmation_seconds,
                is_answered=is_marked_as_asking,
            )

        def paste_and_press_enter() -> str:
            _paste(agent, target, text, files.text)
            return press_enter()

        outcome = paste_and_press_enter()
        end = time.monotonic() + READY_SECONDS
        # Codex also rejects commands while it starts its MCP servers.
        while outcome == "refused" and not markers.is_in_turn(agent.host, state_dir) and time.monotonic() < end:
            time.sleep(_REFUSED_SECONDS)
            outcome = paste_and_press_enter()
        if outcome == "unrecognized":
            # Codex has no such command, so the message is for the model. The cursor is before the text, and Codex sends
            # a text that begins with a space unchanged.
            agent._run_send_command(f"tmux send-keys -t {target} Space", "tmux send-keys")
            is_command = False
            outcome = press_enter()
    _report(agent, name, text, outcome, COMMAND_SECONDS if is_command else confirmation_seconds)
    if is_command and (dialog := read_screen(agent, target).dialog) is not None:
        raise MessageDeliveredButBlockedError(
            name,
            f"{text.split()[0]} opened {dialog}\nhint: answer it with `mngr connect {name}`",
            SendFailureKind.INPUT_BLOCKED,
        )


def _report(agent: BaseAgent[Any], name: str, text: str, outcome: str, seconds: float) -> None:
    """Logs the outcome of a message, or raises it as an error."""
    match outcome:
        case "arrived" | "taken":
            logger.debug("message to agent {} arrived ({})", name, outcome)
        case "queued":
            logger.warning(
                "Codex has queued the message to agent {} until the current tool call finishes: {!r}", name, text[:80]
            )
            delivery.record_queued(agent, seconds)
        case "blocked":
            raise SendMessageError(
                name,
                "a dialog opened before the message was sent; its text may still be in the composer\n"
                f"hint: answer the dialog with `mngr connect {name}`",
                SendFailureKind.INPUT_BLOCKED,
            )
        case "login":
            raise SendMessageError(
                name,
                "Codex opened its login screen and did not take the message\n"
                f"hint: {login_hint(LoginPlace.of(agent.host), name)}",
                SendFailureKind.INPUT_BLOCKED,
            )
        case "ended":
            raise SendMessageError(
                name,
                f"Codex exited when the message was sent\nhint: start it with `mngr start {name} --restart`",
                SendFailureKind.AGENT_UNREACHABLE,
            )
        case "unseen":
            raise SendMessageError(
                name,
                f"the message did not appear in the terminal\nhint: check it with `mngr connect {name}`",
                SendFailureKind.NOT_READY,
            )
        case "refused":
            delivery.record_rejected(agent, text.split()[0])
            raise SendMessageError(
                name,
                f"Codex rejects {text.split()[0]} while a turn is running or its MCP servers start\n"
                "hint: send it again when `mngr list` shows WAITING",
                SendFailureKind.NOT_READY,
            )
        case _:
            delivery.record_unconfirmed(agent, seconds, outcome)
            raise SendMessageError(
                name,
                f"the message was sent, but Codex did not record it within {seconds:.0f} s ({outcome})\n"
                f"hint: it may still arrive; check with `mngr connect {name}` before you send it again",
                SendFailureKind.SUBMISSION_UNCONFIRMED,
            )


@contextmanager
def _private_files(agent: BaseAgent[Any]) -> Iterator[_MessageFiles]:
    """Yields the files for one message, and removes them from the host when the block ends, even after an error."""
    state_dir, token = agent._get_agent_dir(), uuid4().hex
    text, parameters = (state_dir / f"{path}.{token}" for path in (paths.MESSAGE, paths.MESSAGE_PARAMETERS))
    try:
        yield _MessageFiles(text, parameters)
    finally:
        # The files of a mngr that was killed are removed as well.
        home = shlex.quote(str(state_dir / paths.CODEX_HOME))
        leftovers = f"find {home} -maxdepth 1 -name '.mngr-message*' -mmin +{_LEFTOVER_MINUTES} -exec rm -f {{}} +"
        remove = shlex.join(["rm", "-f", str(text), str(parameters)])
        try:
            result = agent.host.execute_idempotent_command(
                f"{leftovers} 2>/dev/null; {remove}", timeout_seconds=agent.send_command_timeout_seconds
            )
            problem = None if result.success else result.stderr.strip()
        except MngrError as error:
            problem = str(error)
        if problem is not None:
            logger.warning("cannot remove {} and {}: {}", text, parameters, problem)


def _write_private(agent: BaseAgent[Any], file: Path, text: str) -> None:
    """Writes a file that only the user can read.

    Its folder is private as well, so the file cannot be read before its mode is set. It is written in place, so
    that a failed write leaves no other file.
    """
    agent.host.write_file(file, text.encode(), mode="0600", is_atomic=False)


def _paste(agent: BaseAgent[Any], target: str, text: str, file: Path) -> None:
    """Types the text as one paste, so that line breaks in it do not act as Enter."""
    _write_private(agent, file, text)
    quoted_file, buffer = shlex.quote(str(file)), shlex.quote(f"mngr-codex-{agent.id}")
    agent._run_send_command(
        f"tmux load-buffer -b {buffer} {quoted_file} \\; {build_clear_pane_modes_tmux_subcommand(target)} \\; "
        f"paste-buffer -p -d -b {buffer} -t {target}",
        "tmux paste-buffer",
    )


def _press_enter(
    agent: BaseAgent[Any],
    target: str,
    text: str,
    file: Path,
    *,
    is_command: bool,
    seconds: float,
    is_answered: bool,
) -> str:
    """Presses Enter and returns the outcome of the message, in one command on the host.

    Args:
        agent: The agent.
        target: Its tmux pane.
        text: The message.
        file: The file for the parameters of the script, which contain parts of the message.
        is_command: Whether Codex may run it as a Codex command.
        seconds: How long to wait for the confirmation.
        is_answered: Whether an approval request was answered although its marker still exists.
    """
    state_dir = agent._get_agent_dir()
    window = COMMAND_SECONDS if is_command else int(seconds)
    first = text.strip().splitlines()[0].replace("\t", " ").strip()
    parameters = {
        "target": shlex.split(target)[0],
        "home": str(state_dir / paths.CODEX_HOME),
        "permissions": "" if is_answered else str(state_dir / paths.PERMISSIONS_WAITING),
        "patterns": rollout_pattern(text),
        "welcome": WELCOME,
        "hints": KEY_HINTS,
        "hints_above_composer": KEY_HINTS_ABOVE_COMPOSER,
        "ending": text.rstrip().splitlines()[-1].strip()[-_ENDING_LENGTH:],
        "command": text.split()[0][:_HEAD_LENGTH],
        "head": first[:_HEAD_LENGTH],
        "is_head_cut": "1" if len(first) > _HEAD_LENGTH else "0",
        "is_command": "1" if is_command else "0",
        "shown_seconds": str(_SHOWN_SECONDS),
        "seconds": str(window),
        "keys": str(min(2 * text.count("\n") + 2, 500)),
    }
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in parameters.items())
    _write_private(agent, file, assignments)
    script = (importlib.resources.files("mngr_codex.plugin.messages") / "press_enter.sh").read_text(encoding="utf-8")
    command = shlex.join(["env", "LC_ALL=C", "bash", "-c", script, "press_enter", str(file)])
    result = agent.host.execute_stateful_command(command, timeout_seconds=window + _SHOWN_SECONDS + 10.0)
    words = result.stdout.split()
    return words[-1] if words else f"no answer: {result.stderr.strip()[-200:]}"
