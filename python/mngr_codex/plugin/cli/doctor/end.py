"""Finds out why an agent's Codex is no longer running, or why its last turn failed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imbue.mngr.errors import SendMessageError

from mngr_codex.plugin import paths
from mngr_codex.plugin.messages.screen import read_screen
from mngr_codex.plugin.messages.startup import last_output

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


def why_it_ended(agent: CodexAgent) -> tuple[str, bool]:
    """Returns why the Codex in an agent's terminal has ended, and whether a person has quit it.

    The reason begins with a sentence, and the last lines of the terminal follow.
    """
    try:
        text = read_screen(agent, agent._send_target_arg(agent.tmux_target)).text
    except SendMessageError:
        return "Codex has ended", False
    return explain(text)


def explain(text: str) -> tuple[str, bool]:
    """Returns what the text of a terminal says about the end of Codex, as :func:`why_it_ended` does."""
    lines = last_output(text)
    if any(_FAREWELL in line for line in lines[-4:]):
        return "Codex was quit", True
    signaled = next((found[1].lower() for line in lines if (found := _SIGNALED.match(line.strip()))), None)
    reason = f"Codex was ended by a signal ({signaled})" if signaled else "Codex has ended"
    if signaled == "killed":
        reason += ", which the system also sends if memory runs out"
    return "\n".join([f"{reason}. Its terminal shows:", *lines] if lines else [reason]), False


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
