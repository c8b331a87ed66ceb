"""Reads the marker files in which the native program records whether an agent is busy or blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mngr_codex.plugin import paths

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

PERMISSIONS = "PERMISSIONS"
"""The waiting reason of an agent whose Codex waits for an approval."""
QUESTION = "QUESTION"
"""The waiting reason of an agent whose Codex waits for the answer to a question. mngr itself has no such reason."""
LOGIN = "LOGIN"
"""The waiting reason of an agent whose Codex shows its login screen."""
DIALOG = "DIALOG"
"""The waiting reason of an agent whose Codex shows a menu or another dialog, which takes all input."""
END_OF_TURN = "END_OF_TURN"
"""The waiting reason of an agent that takes messages."""


def is_blocked(host: OnlineHostInterface, state_dir: Path) -> bool:
    """Returns whether Codex waits for an approval or an answer, which only the user can give."""
    return any(host.path_exists(state_dir / each) for each in (paths.PERMISSIONS_WAITING, paths.QUESTION_WAITING))


def is_in_turn(host: OnlineHostInterface, state_dir: Path) -> bool:
    """Returns whether a turn of the agent's session is running; Codex may be waiting for an approval in it."""
    return host.path_exists(state_dir / paths.ROOT_ACTIVE)


def blocking_reason(present: Collection[str]) -> str | None:
    """Returns why Codex waits for the user in a turn, ``PERMISSIONS`` or ``QUESTION``; None if it does not.

    Args:
        present: The names of the marker files that exist.
    """
    if paths.PERMISSIONS_WAITING in present:
        return PERMISSIONS
    return QUESTION if paths.QUESTION_WAITING in present else None
