"""Which native program goes to an agent's host.

The one that is installed here, if it fits; one from a wheel for the host, if pip or uv can get one; or none.
"""

from __future__ import annotations

import os
import re
import shlex
import struct
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imbue.mngr.interfaces.host import OnlineHostInterface

DISTRIBUTION = "mngr-codex"
PROGRAM = "mngr-codex"
FETCH_SECONDS = 120.0
"""How long pip has to get a wheel."""

_PROBE_SECONDS = 30.0


class Kind(NamedTuple):
    """What a program runs on, by the names of ``uname -sm``."""

    system: str
    """``Linux`` or ``Darwin``, as far as there are programs."""
    machine: str
    """``x86_64`` or ``aarch64``, as far as there are programs."""

    @classmethod
    def of_uname(cls, said: str) -> Kind:
        """Read what ``uname -sm`` says, whose names for one machine differ between systems.

        Args:
            said: Its output.
        """
        system, _, machine = said.strip().partition(" ")
        return cls(system, {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine))

    def __str__(self) -> str:
        """The kind as a person is told of it."""
        return f"{self.system} {self.machine}".strip() or "unknown"


_TAGS = {
    Kind("Linux", "x86_64"): "x86_64",
    Kind("Linux", "aarch64"): "aarch64",
    Kind("Darwin", "x86_64"): "x86_64",
    Kind("Darwin", "aarch64"): "arm64",
}
"""What wheels call these machines."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """The program for a host, or why there is none."""

    content: bytes | None = None
    """The program itself; None if there is none for the host."""
    problem: str | None = None
    """Why there is none, and what does not work without."""


def kind_of(program: bytes) -> Kind | None:
    """Tell from a program's head what it runs on; None for what is no program of those kinds, such as a script.

    Args:
        program: The program, or at least its first 20 bytes.
    """
    if program[:6] == b"\x7fELF\x02\x01" and len(program) >= 20:
        machine = {62: "x86_64", 183: "aarch64"}.get(struct.unpack_from("<H", program, 18)[0])
        return Kind("Linux", machine) if machine else None
    if program[:4] == b"\xcf\xfa\xed\xfe" and len(program) >= 8:
        machine = {0x01000007: "x86_64", 0x0100000C: "aarch64"}.get(struct.unpack_from("<I", program, 4)[0])
        return Kind("Darwin", machine) if machine else None
    return None


def own_program() -> Path | None:
    """Give the path of the program that was installed with this package, or None if it is not where it belongs."""
    from importlib.metadata import PackageNotFoundError, distribution

    candidates = []
    try:
        files = distribution(DISTRIBUTION).files or []
        candidates = [Path(str(file.locate())) for file in files if file.name == PROGRAM and "bin" in file.parts]
    except PackageNotFoundError:
        pass
    candidates += [Path(sysconfig.get_path("scripts")) / PROGRAM, Path(sys.executable).parent / PROGRAM]
    for path in candidates:
        if path.is_file():
            return path.resolve()
    return None


def program_for(host: OnlineHostInterface, *, cache: Path | None = None) -> Program:
    """Give the program that an agent's host is to have.

    A host of another kind than this machine gets the program from a wheel of the same version, if pip or uv can get
    one.

    Args:
        host: The agent's host.
        cache: Where programs that were fetched are kept; ``mngr-codex`` in the user's cache if it is None.
    """
    own = own_program()
    content = own.read_bytes() if own else b""
    if own and host.is_local:
        return Program(content=content)
    result = host.execute_idempotent_command("uname -sm", timeout_seconds=_PROBE_SECONDS)
    kind = Kind.of_uname(result.stdout if result.success else "")
    if kind_of(content) == kind:
        return Program(content=content)
    fetched, problem = _fetched(kind, cache or _cache())
    if fetched is not None:
        return Program(content=fetched)
    return Program(
        problem=f"There is no {PROGRAM} program for the host ({kind}): {problem}. The agent runs without it, so mngr "
        "shows it as WAITING while it works, and keeps no transcript."
    )


def works(host: OnlineHostInterface, program: Path) -> str | None:
    """Try the program on a host.

    Args:
        host: The host.
        program: Where it is there.

    Returns:
        None if it runs, else what went wrong.
    """
    result = host.execute_idempotent_command(f"{shlex.quote(str(program))} --version", timeout_seconds=_PROBE_SECONDS)
    if result.success and result.stdout.startswith(PROGRAM):
        return None
    return (result.stderr or result.stdout).strip() or f"{program} does not run on the host"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / DISTRIBUTION


def _fetched(kind: Kind, cache: Path) -> tuple[bytes | None, str]:
    """The program out of a wheel for this kind, and why there is none."""
    from importlib.metadata import PackageNotFoundError, version

    if kind not in _TAGS:
        return None, "there are programs for Linux and macOS, on x86_64 and arm64"
    try:
        wanted = version(DISTRIBUTION)
    except PackageNotFoundError:
        return None, f"{DISTRIBUTION} is not installed as a package, so its version is not known"
    kept = cache / wanted / f"{kind.system}-{kind.machine}"
    if kept.is_file() and kind_of(known := kept.read_bytes()) == kind:
        return known, ""
    content, problem = _fetch(kind, wanted)
    if content is not None:
        _keep(kept, content)
    return content, problem


def _fetch(kind: Kind, wanted: str) -> tuple[bytes | None, str]:
    import subprocess
    import tempfile

    problem = "there is neither pip nor uv to get a wheel with"
    for tool in _tools(kind):
        with tempfile.TemporaryDirectory() as folder:
            command = [*tool, "--quiet", "--no-deps", "--target", folder, f"{DISTRIBUTION}=={wanted}"]
            try:
                ran = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    timeout=FETCH_SECONDS,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                problem = f"{tool[0]} could not get a wheel: {error}"
                continue
            program = Path(folder) / "bin" / PROGRAM
            if ran.returncode == 0 and program.is_file():
                content = program.read_bytes()
                if kind_of(content) == kind:
                    return content, ""
                problem = f"the wheel of {DISTRIBUTION} {wanted} has a program for something else"
            elif re.search(r"No module named '?pip", ran.stderr) is None:
                said = ran.stderr.strip().splitlines()
                problem = f"no wheel of {DISTRIBUTION} {wanted} was found for it" + (f" ({said[-1]})" if said else "")
    return None, problem


def _tools(kind: Kind) -> Sequence[Sequence[str]]:
    """The commands that can install a wheel for another kind of machine into a folder, best first."""
    import shutil

    tag = _TAGS[kind]
    if kind.system == "Linux":
        # pip takes these names literally, and does not know that a newer one covers the older.
        glibc = (17, 24, 27, 28, 31, 34, 35, 39)
        tags = [*(f"manylinux_2_{minor}_{tag}" for minor in glibc), f"manylinux2014_{tag}"]
        tags += [f"musllinux_1_1_{tag}", f"musllinux_1_2_{tag}"]
    else:
        tags = [f"macosx_{major}_0_{tag}" for major in (15, 14, 13, 12, 11)] + [f"macosx_10_12_{tag}"]
    pip = ["install", "--only-binary=:all:", "--implementation=cp", "--abi=abi3", "--python-version=3.12"]
    pip += ["--no-input", "--disable-pip-version-check", *(f"--platform={tag}" for tag in tags)]
    found = [[sys.executable, "-m", "pip", *pip]]
    if uv := shutil.which("uv"):
        target = {"Linux": "unknown-linux-gnu", "Darwin": "apple-darwin"}[kind.system]
        found.append([uv, "pip", "install", "--only-binary=:all:", f"--python-platform={kind.machine}-{target}"])
    if (python := shutil.which("python3")) and python != sys.executable:
        found.append([python, "-m", "pip", *pip])
    return found


def _keep(path: Path, content: bytes) -> None:
    """Keep a program that was fetched. That it cannot be kept costs the next agent a fetch, and nothing else."""
    import contextlib
    import tempfile

    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as beside:
            beside.write(content)
        os.replace(beside.name, path)
