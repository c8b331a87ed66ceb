"""Checks this machine: the programs that mngr needs, the space on its disks, and the limits of its kernel."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.utils.deps import GIT, RSYNC, TMUX

from mngr_codex.plugin.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NEEDED_FOR = {
    TMUX: "agents run in it",
    GIT: "agents work in worktrees",
    RSYNC: "without it `mngr destroy` loses the transcripts",
}
# mngr sets the hook `client-attached[98]`. tmux has several commands for one hook since 3.0.
_MINIMUM_TMUX = (3, 0)

_MIB = 1024 * 1024
# An agent's home has 6 MiB after its first turn, and Codex's databases and logs grow with every turn. With less than
# this Codex cannot work for long, and a write that fails ends its turn.
_FULL_BYTES = 100 * _MIB
# A checkout, a build in it or one of Codex's own updates (300 MiB) can take this much at once.
_LOW_BYTES = 1024 * _MIB
# An agent's home has several hundred files, a checkout thousands.
_FULL_FILES = 1_000
_LOW_FILES = 20_000

_LIMITS = Path("/proc/sys/fs/inotify")
_MINIMUM_INSTANCES = 128
_MINIMUM_WATCHES = 8192


def programs() -> Iterator[Finding]:
    """Checks that the programs which mngr needs are installed."""
    for tool, purpose in _NEEDED_FOR.items():
        if not tool.is_available():
            yield Finding(tool.binary, f"not on PATH; {purpose}", f"run `{tool.install_hint}`")
        elif tool is TMUX:
            yield _tmux()
        else:
            yield Finding(tool.binary, "installed")


def _tmux() -> Finding:
    said = subprocess.run(["tmux", "-V"], capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    # "tmux 3.3a", "tmux next-3.5", "tmux openbsd-7.4"
    found = re.search(r"(\d+)\.(\d+)", said)
    if found and (int(found[1]), int(found[2])) < _MINIMUM_TMUX:
        minimum = ".".join(map(str, _MINIMUM_TMUX))
        return Finding("tmux", f"{said} is too old for mngr", f"install tmux {minimum} or newer")
    return Finding("tmux", said.removeprefix("tmux ") or "installed")


def disks(folders: Iterable[Path]) -> Iterator[Finding]:
    """Checks that the disks with these folders have space left. A folder that does not exist is that of its parent."""
    checked: set[int] = set()
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        device = existing.stat().st_dev
        if device not in checked:
            checked.add(device)
            yield _disk(folder, os.statvfs(existing))


def _disk(folder: Path, status: os.statvfs_result) -> Finding:
    free = status.f_bavail * status.f_frsize
    # Some file systems, such as btrfs, have no fixed number of files, and report none.
    files = status.f_favail if status.f_files else _LOW_FILES
    remedy = "remove files that are no longer needed; `mngr cleanup` destroys agents"
    if free < _FULL_BYTES or files < _FULL_FILES:
        left = f"{free // _MIB} MiB are left" if free < _FULL_BYTES else f"{files} more files fit"
        return Finding("disk", f"the disk with {folder} is full: {left}", remedy)
    if free < _LOW_BYTES or files < _LOW_FILES:
        left = f"{free // _MIB} MiB are left" if free < _LOW_BYTES else f"{files} more files fit"
        return Finding("disk", f"the disk with {folder} is almost full: {left}", remedy, is_warning=True)
    return Finding("disk", f"{free // (1024 * _MIB)} GiB are left for {folder}")


def inotify() -> Iterator[Finding]:
    """Checks the limits for watching files."""
    for name, minimum in (("max_user_instances", _MINIMUM_INSTANCES), ("max_user_watches", _MINIMUM_WATCHES)):
        try:
            limit = int((_LIMITS / name).read_text())
        except (OSError, ValueError):
            continue
        remedy = f"run `sudo sysctl fs.inotify.{name}={minimum}`; until then files are polled four times a second"
        yield Finding(f"inotify {name}", str(limit), remedy if limit < minimum else None, is_warning=True)
