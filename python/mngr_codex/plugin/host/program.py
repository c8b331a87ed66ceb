"""Chooses the native program for an agent's host.

That is the installed program if it fits the host, the one for the host's platform that the package contains, one from
the wheels that the ``program_wheels`` setting names, or none. Nothing is downloaded.
"""

from __future__ import annotations

import shlex
import struct
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imbue.mngr.interfaces.host import OnlineHostInterface

DISTRIBUTION = "mngr-codex"
PROGRAM = "mngr-codex"

RUN_AS = {"MNGR_CODEX_RUN_AS": "mngr codex"}
"""The environment in which the program names its commands as users of mngr run them."""

_PROBE_SECONDS = 30.0
_PROGRAMS = "programs"
"""The package's folder of programs for other platforms, which the build backend fills."""


class Platform(NamedTuple):
    """The system and machine that a program runs on, as ``uname -sm`` names them."""

    system: str
    """``Linux`` or ``Darwin`` for programs that exist."""
    machine: str
    """``x86_64`` or ``aarch64`` for programs that exist."""

    @property
    def folder(self) -> str:
        """The name of the folder that a wheel has for the platform's program, such as ``Linux-aarch64``."""
        return f"{self.system}-{self.machine}"

    @classmethod
    def from_uname(cls, output: str) -> Platform:
        """Parses the output of ``uname -sm``, unifying the names that systems give to the same machine."""
        system, _, machine = output.strip().partition(" ")
        return cls(system, {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine))

    def __str__(self) -> str:
        """Returns the platform as messages show it."""
        return f"{self.system} {self.machine}".strip() or "unknown"


@dataclass(frozen=True, kw_only=True)
class Program:
    """The native program for a host."""

    content: bytes | None = None
    """The program; None if the host has none."""
    problem: str | None = None
    """The reason for a missing program, the consequences, and a hint."""


class WheelError(Exception):
    """The configured wheels contain no program for a host; the message is the reason."""


def platform_of(program: bytes) -> Platform | None:
    """Returns the platform that a program was built for, from its header.

    Args:
        program: The program, or at least its first 20 bytes.

    Returns:
        The platform; None for anything else, such as a script or a program for another machine.
    """
    if program[:6] == b"\x7fELF\x02\x01" and len(program) >= 20:
        machine = {62: "x86_64", 183: "aarch64"}.get(struct.unpack_from("<H", program, 18)[0])
        return Platform("Linux", machine) if machine else None
    if program[:4] == b"\xcf\xfa\xed\xfe" and len(program) >= 8:
        machine = {0x01000007: "x86_64", 0x0100000C: "aarch64"}.get(struct.unpack_from("<I", program, 4)[0])
        return Platform("Darwin", machine) if machine else None
    return None


def own_program() -> Path | None:
    """Returns the path of the program installed with this package; None if it is missing."""
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


def packaged_program(platform: Platform) -> Path | None:
    """Returns the path of the program for another platform that was installed with this package; None if it has none.

    Args:
        platform: The platform. The package has no copy of the installed program for its own one.
    """
    # An editable install imports the package from the source tree, and has the programs in the environment.
    for package in (Path(__file__).parents[2], Path(sysconfig.get_path("platlib")) / "mngr_codex"):
        path = package / _PROGRAMS / platform.folder / PROGRAM
        if path.is_file():
            return path
    return None


def program_for(host: OnlineHostInterface, wheels: Path | None = None, platform: Platform | None = None) -> Program:
    """Returns the program to install on an agent's host.

    Args:
        host: The agent's host.
        wheels: The ``program_wheels`` setting: a wheel of this version of mngr-codex, or a directory of such wheels.
            Used only if this package has no program for the host.
        platform: The host's platform, if it is known already; otherwise the host is asked.
    """
    own = own_program()
    content = own.read_bytes() if own else b""
    if own and host.is_local:
        return Program(content=content)
    if platform is None:
        result = host.execute_idempotent_command("uname -sm", timeout_seconds=_PROBE_SECONDS)
        platform = Platform.from_uname(result.stdout if result.success else "")
    if platform_of(content) == platform:
        return Program(content=content)
    packaged = packaged_program(platform)
    content = packaged.read_bytes() if packaged else b""
    if platform_of(content) == platform:
        return Program(content=content)
    try:
        return Program(content=_program_from_wheels(wheels, platform))
    except WheelError as error:
        return Program(
            problem=f"cannot install the {PROGRAM} program on the agent's host ({platform}): {error}. The agent runs "
            "without it, so mngr shows it as WAITING even while it is busy, and keeps no transcript.\n"
            f"hint: set program_wheels for the agent type to a {DISTRIBUTION} wheel with a program for that platform, "
            "or to a directory of wheels"
        )


def check_program(host: OnlineHostInterface, program: Path) -> str | None:
    """Runs a program on a host to check that it works there.

    Args:
        host: The host.
        program: The path of the program on the host.

    Returns:
        None if it runs, otherwise the error.
    """
    result = host.execute_idempotent_command(f"{shlex.quote(str(program))} --version", timeout_seconds=_PROBE_SECONDS)
    if result.success and result.stdout.startswith(PROGRAM):
        return None
    return (result.stderr or result.stdout).strip() or f"cannot run {program}"


def _program_from_wheels(wheels: Path | None, platform: Platform) -> bytes:
    """Returns the program for a platform from the configured wheels.

    Raises:
        WheelError: No wheels are configured, they cannot be read, or none has a program for the platform.
    """
    from importlib.metadata import PackageNotFoundError, version

    if wheels is None:
        raise WheelError(
            f"the installed {DISTRIBUTION} has none for that platform" if own_program() else "none is installed here"
        )
    try:
        own_version = version(DISTRIBUTION)
    except PackageNotFoundError:
        raise WheelError(f"{DISTRIBUTION} is not installed as a package, so its version is unknown") from None
    folder = wheels.expanduser()
    for wheel in _wheels_of_version(folder, own_version):
        for program in _programs_in(wheel, platform):
            if platform_of(program) == platform:
                return program
    raise WheelError(f"program_wheels ({folder}) has no wheel of {DISTRIBUTION} {own_version} for that platform")


def _wheels_of_version(path: Path, version: str) -> Iterator[Path]:
    """Yields the wheels of one version in a directory, or the wheel itself if the path is one."""
    try:
        path.stat()  # fails if it does not exist
        files = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise WheelError(f"cannot read {path}: {error.strerror}") from None
    prefix = f"{DISTRIBUTION.replace('-', '_')}-{version}-"
    yield from (file for file in files if file.name.startswith(prefix) and file.suffix == ".whl")


def _programs_in(wheel: Path, platform: Platform) -> list[bytes]:
    """Returns the programs of a wheel that can be for a platform: its own, and the one in that platform's folder."""
    import zipfile

    endings = (f".data/scripts/{PROGRAM}", f"mngr_codex/{_PROGRAMS}/{platform.folder}/{PROGRAM}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            return [archive.read(name) for name in archive.namelist() if name.endswith(endings)]
    except OSError as error:
        raise WheelError(f"cannot read {wheel}: {error.strerror or error}") from None
    except Exception as error:
        # A damaged archive raises many kinds of errors, and some of them have no message.
        raise WheelError(f"cannot read {wheel}: {str(error) or 'the file is damaged'}") from None
