"""Describes the machine on which a result was measured, without its name."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_INTERESTING_FLAGS = ("sse4_2", "avx2", "avx512bw", "sha_ni")


def describe(folder: Path) -> dict[str, str]:
    """Returns the properties that affect timings, such as the processor and the file system of `folder`."""
    processor, flags = _processor()
    return {
        "CPU": processor,
        "CPU features": " ".join(flag for flag in _INTERESTING_FLAGS if flag in flags) or "unknown",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file system": file_system(folder),
        "load at start": f"{os.getloadavg()[0]:.2f} (last minute)",
        "Python": platform.python_version(),
    }


def file_system(folder: Path) -> str:
    """Returns the type of the file system that holds `folder`, or "unknown"."""
    resolved = folder.resolve()
    best_length, best_type = -1, "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount = before.split()[4].encode().decode("unicode_escape")
        if len(mount) >= best_length and resolved.is_relative_to(mount):
            best_length, best_type = len(mount), after.split()[0]
    return best_type


def _processor() -> tuple[str, frozenset[str]]:
    name, flags = platform.machine(), frozenset[str]()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = frozenset(value.split())
    return name, flags
