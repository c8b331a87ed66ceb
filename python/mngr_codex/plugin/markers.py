"""Reads the marker files in which the native program records whether an agent is busy or blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imbue.mngr.hosts.common import classify_waiting_reason

from mngr_codex.plugin import paths

if TYPE_CHECKING:
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface


def is_blocked(host: OnlineHostInterface, state_dir: Path) -> bool:
    """Returns whether Codex waits for an approval, which only the user can give."""
    return host.path_exists(state_dir / paths.PERMISSIONS_WAITING)


def waiting_reason(host: OnlineHostInterface, state_dir: Path) -> str | None:
    """Returns why the agent waits, ``PERMISSIONS`` or ``END_OF_TURN``; None if it is busy."""
    is_active = host.path_exists(state_dir / paths.ACTIVE)
    reason = classify_waiting_reason(is_active, is_active and is_blocked(host, state_dir))
    return None if reason is None else reason.value
