"""Reads the marker files in which the native program records whether an agent is busy or blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mngr_codex.plugin import paths

if TYPE_CHECKING:
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

PERMISSIONS = "PERMISSIONS"
"""The waiting reason of an agent whose Codex waits for an approval."""
QUESTION = "QUESTION"
"""The waiting reason of an agent whose Codex waits for the answer to a question. mngr itself has no such reason."""
END_OF_TURN = "END_OF_TURN"
"""The waiting reason of an agent that is not in a turn."""


def is_blocked(host: OnlineHostInterface, state_dir: Path) -> bool:
    """Returns whether Codex waits for an approval or an answer, which only the user can give."""
    return _blocking_reason(host, state_dir) is not None


def is_in_turn(host: OnlineHostInterface, state_dir: Path) -> bool:
    """Returns whether a turn of the agent's session is running; Codex may be waiting for an approval in it."""
    return host.path_exists(state_dir / paths.ROOT_ACTIVE)


def waiting_reason(host: OnlineHostInterface, state_dir: Path) -> str | None:
    """Returns why the agent waits, ``PERMISSIONS``, ``QUESTION`` or ``END_OF_TURN``; None if it is busy."""
    reason = _blocking_reason(host, state_dir)
    if reason is not None:
        return reason
    return None if host.path_exists(state_dir / paths.ACTIVE) else END_OF_TURN


def _blocking_reason(host: OnlineHostInterface, state_dir: Path) -> str | None:
    if host.path_exists(state_dir / paths.PERMISSIONS_WAITING):
        return PERMISSIONS
    return QUESTION if host.path_exists(state_dir / paths.QUESTION_WAITING) else None
