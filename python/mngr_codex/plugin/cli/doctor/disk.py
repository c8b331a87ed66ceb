"""Checks the space on this machine's disks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mngr_codex.plugin.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MIB = 1024 * 1024
# An agent's home has 6 MiB after its first turn, and Codex's databases and logs grow with every turn. With less than
# this Codex cannot work for long, and a write that fails ends its turn.
_FULL_BYTES = 100 * _MIB
# A checkout, a build in it or one of Codex's own updates (300 MiB) can take this much at once.
_LOW_BYTES = 1024 * _MIB
# An agent's home has several hundred files, a checkout thousands.
_FULL_FILES = 1_000
_LOW_FILES = 20_000


def check(folders: Iterable[Path]) -> Iterator[Finding]:
    """Checks that the disks with these folders have space left. A folder that does not exist is that of its parent."""
    checked: set[int] = set()
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        device = existing.stat().st_dev
        if device not in checked:
            checked.add(device)
            yield _disk(folder, os.statvfs(existing))


def _disk(folder: Path, status: os.statvfs_result) -> Finding:
    # Some file systems, such as btrfs, have no fixed number of files, and report none.
    return judge(str(folder), status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None)


def judge(folder: str, free: int, free_files: int | None, *, host: str | None = None) -> Finding:
    """Returns whether the space left on a disk is enough.

    Args:
        folder: A folder on it.
        free: The number of bytes that are left.
        free_files: The number of files that still fit; None if it is not limited.
        host: The other host that has the disk; None for this machine.
    """
    files = _LOW_FILES if free_files is None else free_files
    remedy = "remove files that are no longer needed; `mngr cleanup` destroys agents"
    if free < _FULL_BYTES or files < _FULL_FILES:
        left = f"{free // _MIB} MiB are left" if free < _FULL_BYTES else f"{files} more files fit"
        return Finding("disk", f"the disk with {folder} is full: {left}", remedy, host=host)
    if free < _LOW_BYTES or files < _LOW_FILES:
        left = f"{free // _MIB} MiB are left" if free < _LOW_BYTES else f"{files} more files fit"
        return Finding("disk", f"the disk with {folder} is almost full: {left}", remedy, is_warning=True, host=host)
    return Finding("disk", f"{free // (1024 * _MIB)} GiB are left for {folder}", host=host)
