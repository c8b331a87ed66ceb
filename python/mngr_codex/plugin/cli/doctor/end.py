"""Finds out why an agent's Codex is no longer running, or why its last turn failed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imbue.mngr.errors import SendMessageError

from mngr_codex import _core
from mngr_codex.plugin import paths
from mngr_codex.plugin.messages.screen import read_screen

if TYPE_CHECKING:
    from pathlib import Path

    from mngr_codex.plugin.agent import CodexAgent

_FAREWELL = "To continue this session, run"
# What a shell prints about a program that a signal has ended. It appears in the row of Codex's composer, which begins
# with `›` (seen on 0.163 and 0.171). zsh writes these words in lower case, after its name.
_SIGNALED = re.compile(
    r"^(?:› |zsh: )?(killed|terminated|aborted|segmentation fault|bus error|illegal instruction)", re.I
)
# The turn's error as the transcript has it.
_FAILED_TURN = "task_complete"
# With a ChatGPT account (seen by users of 0.58 to 0.136), and with an API key.
_MISSING_MODEL = re.compile(
    r"model is not supported when using Codex|[Tt]he model `[^`]*` does not exist|\bmodel_not_found\b"
)


@dataclass(frozen=True)
class End:
    """How a Codex has ended."""

    reason: str
    """A sentence, and, if Codex may have printed an error, the last lines of the terminal."""
    cause: Literal["quit", "signal", "unknown"]
    """What has ended it: a person, a signal, or something that the last lines may say."""


def why_it_ended(agent: CodexAgent) -> End:
    """Returns why the Codex in an agent's terminal has ended."""
    try:
        text = read_screen(agent, agent._send_target_arg(agent.tmux_target)).text
    except SendMessageError:
        return End("Codex has ended", "unknown")
    return explain(text)


def explain(text: str) -> End:
    """Returns what the text of a terminal says about the end of Codex, as :func:`why_it_ended` does."""
    lines = _core.read_screen("sh", text).last_output
    if any(_FAREWELL in line for line in lines[-4:]):
        return End("Codex was quit", "quit")
    signaled = next((found[1].lower() for line in lines if (found := _SIGNALED.match(line.strip()))), None)
    if signaled:
        # Codex could print nothing: the terminal shows what it displayed last.
        memory = ", which the system also sends if memory runs out" if signaled == "killed" else ""
        return End(f"Codex was ended by a signal ({signaled}){memory}", "signal")
    reason = "Codex has ended"
    return End("\n".join([f"{reason}. Its terminal shows:", *lines] if lines else [reason]), "unknown")


def last_error(state_dir: Path) -> str | None:
    """Returns the error with which the agent's last turn ended; None if it ended without one."""
    from mngr_codex import tail

    if (state_dir / paths.RAW_ONLY).exists() or not (state_dir / paths.COMMON_TRANSCRIPT).is_dir():
        return None
    for record in reversed(tail(state_dir, 1)):
        notice = (record.get("extra") or {}).get("codex") or {}
        if notice.get("type") == _FAILED_TURN:
            return str(record.get("message"))
    return None


def is_about_missing_model(error: str) -> bool:
    """Returns whether a turn failed because the account does not have the model.

    Args:
        error: The error, as Codex reports it.
    """
    return _MISSING_MODEL.search(error) is not None
