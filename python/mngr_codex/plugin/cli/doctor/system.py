"""Checks this machine: the programs that mngr needs, and the limits of its kernel."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.utils.deps import GIT, RSYNC, TMUX

from mngr_codex.plugin.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED_FOR = {
    TMUX: "agents run in it",
    GIT: "agents work in worktrees",
    RSYNC: "without it `mngr destroy` loses the transcripts",
}
# mngr sets the hook `client-attached[98]`. tmux has several commands for one hook since 3.0.
_MINIMUM_TMUX = (3, 0)

_LIMITS = Path("/proc/sys/fs/inotify")
_MINIMUM_INSTANCES = 128
_MINIMUM_WATCHES = 8192


def programs() -> Iterator[Finding]:
    """Checks that the programs which mngr needs are installed."""
    for tool, purpose in _NEEDED_FOR.items():
        if not tool.is_available():
            yield Finding(tool.binary, f"not on PATH; {purpose}", f"run `{tool.install_hint}`")
        elif tool is TMUX:
            ran = subprocess.run(["tmux", "-V"], capture_output=True, text=True, timeout=10, check=False)
            yield tmux(ran.stdout.strip())
        else:
            yield Finding(tool.binary, "installed")


def tmux(version: str, *, host: str | None = None) -> Finding:
    """Checks the version of tmux.

    Args:
        version: What ``tmux -V`` printed, such as "tmux 3.3a", "tmux next-3.5" or "tmux openbsd-7.4".
        host: The other host that has it; None for this machine.
    """
    found = re.search(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < _MINIMUM_TMUX:
        minimum = ".".join(map(str, _MINIMUM_TMUX))
        return Finding("tmux", f"{version} is too old for mngr", f"install tmux {minimum} or newer", host=host)
    return Finding("tmux", version.removeprefix("tmux ") or "installed", host=host)


def inotify() -> Iterator[Finding]:
    """Checks the limits for watching files."""
    for name, minimum in (("max_user_instances", _MINIMUM_INSTANCES), ("max_user_watches", _MINIMUM_WATCHES)):
        try:
            limit = int((_LIMITS / name).read_text())
        except (OSError, ValueError):
            continue
        remedy = f"run `sudo sysctl fs.inotify.{name}={minimum}`; until then files are polled four times a second"
        yield Finding(f"inotify {name}", str(limit), remedy if limit < minimum else None, is_warning=True)
