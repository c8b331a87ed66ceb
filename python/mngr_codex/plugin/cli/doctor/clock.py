"""Checks this machine's clock, without asking another machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mngr_codex.plugin.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# The files of a home on a file server have that server's times.
_TOLERANCE_SECONDS = 120


def check(files: Iterable[Path]) -> Finding:
    """Checks that no file was written in the future, which means that the clock is behind or was set back.

    A clock that is ahead cannot be detected this way.

    Args:
        files: Files that mngr, Codex or an installer has written on this machine. They need not exist.
    """
    now = time.time()
    written: list[tuple[float, Path]] = []
    for file in files:
        try:
            written.append((file.stat().st_mtime, file))
        except OSError:
            continue
    shown = _time(now)
    if not written or max(written)[0] <= now + _TOLERANCE_SECONDS:
        return Finding("clock", shown)
    newest, file = max(written)
    ahead = timedelta(seconds=round(newest - now))
    return Finding(
        "clock",
        f"it shows {shown}, but {file} was written at {_time(newest)}, {ahead} later",
        "set the clock, with `sudo timedatectl set-ntp true` where systemd runs. Until then mngr can show wrong "
        "states, because Codex numbers its turns by their time",
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
