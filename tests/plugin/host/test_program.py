"""The native program for hosts of every platform."""

from __future__ import annotations

import importlib.metadata
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.host import program as program_module
from mngr_codex.plugin.host.program import Platform, check_program, own_program, platform_of, program_for


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(11) + struct.pack("<H", machine) + b"the rest"


def mach_o(cpu: int) -> bytes:
    return b"\xcf\xfa\xed\xfe" + struct.pack("<I", cpu) + b"the rest"


@pytest.mark.parametrize(
    ("program", "platform"),
    [
        (elf(62), Platform("Linux", "x86_64")),
        (elf(183), Platform("Linux", "aarch64")),
        (elf(243), None),
        (mach_o(0x0100000C), Platform("Darwin", "aarch64")),
        (mach_o(0x01000007), Platform("Darwin", "x86_64")),
        (mach_o(7), None),
        (b"#!/usr/bin/env python3\nprint(1)\n", None),
        (b"\x7fELF\x02\x01", None),
        (b"", None),
    ],
)
def test_the_platform_of_a_program(program: bytes, platform: Platform | None) -> None:
    assert platform_of(program) == platform


@pytest.mark.parametrize(
    ("output", "platform"),
    [
        ("Linux x86_64\n", Platform("Linux", "x86_64")),
        ("Linux arm64\n", Platform("Linux", "aarch64")),
        ("Darwin arm64\n", Platform("Darwin", "aarch64")),
        ("FreeBSD amd64\n", Platform("FreeBSD", "x86_64")),
        ("", Platform("", "")),
    ],
)
def test_one_machine_has_one_name(output: str, platform: Platform) -> None:
    assert Platform.from_uname(output) == platform


@dataclass
class Result:
    stdout: str
    stderr: str = ""
    success: bool = True


class Host:
    """A remote host that only reports its platform."""

    is_local = False

    def __init__(self, uname: str) -> None:
        self.uname = uname

    def execute_idempotent_command(self, command: str, **_: Any) -> Result:
        assert command == "uname -sm"
        return Result(self.uname)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The installed program, which is one for x86_64 in these tests."""
    path = tmp_path / "own"
    path.write_bytes(elf(62))
    monkeypatch.setattr(program_module, "own_program", lambda: path)
    # The package under test has a program for the other CPU if it was built where that is possible.
    monkeypatch.setattr(program_module, "__file__", str(tmp_path / "source" / "a" / "b" / "program.py"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: {"platlib": str(tmp_path / "platlib")}[name])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"mngr-codex": "7.8.9"}[name])
    return path.read_bytes()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A directory for the ``program_wheels`` setting."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


def write_wheel(folder: Path, platform: str, program: bytes, version: str = "7.8.9") -> Path:
    file = folder / f"mngr_codex-{version}-cp312-abi3-{platform}.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"mngr_codex-{version}.dist-info/METADATA", f"Name: mngr-codex\nVersion: {version}\n")
        wheel.writestr(f"mngr_codex-{version}.data/scripts/mngr-codex", program)
    return file


def test_a_host_of_the_same_platform_gets_the_installed_program(own: bytes) -> None:
    assert program_for(Host("Linux x86_64\n")).content == own  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uname", "platform", "program"),
    [
        ("Linux aarch64", "manylinux_2_28_aarch64", elf(183)),
        ("Linux aarch64", "musllinux_1_2_aarch64", elf(183)),
        ("Darwin arm64", "macosx_11_0_arm64", mach_o(0x0100000C)),
        ("Darwin x86_64", "macosx_10_12_x86_64", mach_o(0x01000007)),
    ],
)
def test_another_platform_gets_its_program_from_a_wheel(
    own: bytes, wheels: Path, uname: str, platform: str, program: bytes
) -> None:
    write_wheel(wheels, "manylinux_2_28_x86_64", elf(62))
    write_wheel(wheels, "manylinux_2_28_riscv64", elf(243))
    wheel = write_wheel(wheels, platform, program)
    host: Any = Host(uname)
    assert program_for(host, wheels).content == program
    assert program_for(host, wheel).content == program


@pytest.fixture
def packaged(own: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The program for aarch64 that the package contains."""
    folder = tmp_path / "platlib" / "mngr_codex" / "programs" / "Linux-aarch64"
    folder.mkdir(parents=True)
    program = elf(183) + b" of the package"
    (folder / "mngr-codex").write_bytes(program)
    return program


def test_another_platform_gets_the_program_of_the_package(packaged: bytes, wheels: Path) -> None:
    write_wheel(wheels, "manylinux_2_28_aarch64", elf(183))
    assert program_for(Host("Linux aarch64"), wheels).content == packaged  # type: ignore[arg-type]
    assert program_for(Host("Linux arm64")).content == packaged  # type: ignore[arg-type]
    assert program_for(Host("Darwin arm64")).content is None  # type: ignore[arg-type]


def test_a_program_of_the_package_for_the_wrong_platform_is_not_used(packaged: bytes, tmp_path: Path) -> None:
    (program,) = tmp_path.glob("platlib/**/mngr-codex")
    program.write_bytes(elf(62))
    assert program_for(Host("Linux aarch64")).content is None  # type: ignore[arg-type]


def test_a_host_whose_platform_is_known_is_not_asked(packaged: bytes, own: bytes) -> None:
    class Silent(Host):
        def execute_idempotent_command(self, command: str, **_: Any) -> Result:
            raise AssertionError(f"the host was asked: {command}")

    host: Any = Silent("")
    assert program_for(host, platform=Platform("Linux", "x86_64")).content == own
    assert program_for(host, platform=Platform("Linux", "aarch64")).content == packaged


def test_a_wheel_has_programs_for_several_platforms(own: bytes, wheels: Path) -> None:
    """One that was built with the other CPU's program helps an installation that was built without it."""
    wheel = write_wheel(wheels, "manylinux_2_28_x86_64", elf(62))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("mngr_codex-7.8.9.data/platlib/mngr_codex/programs/Linux-aarch64/mngr-codex", elf(183))
    assert program_for(Host("Linux aarch64"), wheels).content == elf(183)  # type: ignore[arg-type]


def test_without_wheels_nothing_runs_or_is_downloaded(own: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a process or a connection was started")

    monkeypatch.setattr("subprocess.Popen", fail)
    monkeypatch.setattr("socket.socket", fail)
    found = program_for(Host("Linux aarch64"))  # type: ignore[arg-type]
    assert found.content is None and found.problem is not None
    for part in ("Linux aarch64", "WAITING", "hint: set program_wheels"):
        assert part in found.problem


@pytest.mark.parametrize("uname", ["FreeBSD amd64", "Linux riscv64", "", "nonsense"])
def test_other_platforms_have_no_program(own: bytes, wheels: Path, uname: str) -> None:
    write_wheel(wheels, "manylinux_2_28_aarch64", elf(183))
    found = program_for(Host(uname), wheels)  # type: ignore[arg-type]
    assert found.content is None and (Platform.from_uname(uname).system or "unknown") in (found.problem or "")


def test_a_wheel_of_another_version_or_platform_is_not_used(own: bytes, wheels: Path) -> None:
    host: Any = Host("Linux aarch64")
    other_version = write_wheel(wheels, "manylinux_2_28_aarch64", elf(183), version="7.8.10")
    other_platform = write_wheel(wheels, "manylinux_2_28_aarch64", elf(62))
    for path in (wheels, other_version, other_platform):
        found = program_for(host, path)
        assert found.content is None and "has no wheel of mngr-codex 7.8.9" in (found.problem or "")


@pytest.mark.parametrize("name", ["missing", "mngr_codex-7.8.9-cp312-abi3-any.whl"])
def test_unreadable_wheels_are_reported(own: bytes, wheels: Path, name: str) -> None:
    (wheels / "mngr_codex-7.8.9-cp312-abi3-any.whl").write_bytes(b"not a zip file")
    found = program_for(Host("Linux aarch64"), wheels / name)  # type: ignore[arg-type]
    assert found.content is None and f"cannot read {wheels / name}: " in (found.problem or "")


def test_a_damaged_wheel_is_reported(own: bytes, wheels: Path) -> None:
    """Whatever the damage is: `zipfile` raises half a dozen kinds of errors."""
    wheel = write_wheel(wheels, "manylinux_2_28_aarch64", elf(183))
    content = wheel.read_bytes()
    problems = []
    for at in range(len(content)):
        wheel.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        problems.append(program_for(Host("Linux aarch64"), wheels).problem or "")  # type: ignore[arg-type]
    assert any(f"cannot read {wheel}: the file is damaged." in problem for problem in problems)


def test_the_installed_program_runs_on_this_machine(host: Any, tmp_path: Path) -> None:
    path = own_program()
    if path is None:
        pytest.skip("the program is not installed in this environment")
    content = program_for(host).content
    assert content == path.read_bytes() and platform_of(content) is not None
    program = tmp_path / "a b" / "mngr-codex"
    host.write_file(program, content, mode="0755")
    assert check_program(host, program) is None
    assert "nowhere" in (check_program(host, Path("/nowhere/mngr-codex")) or "")
