"""The program that goes to a host, for hosts of every kind."""

from __future__ import annotations

import importlib.metadata
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.host import program as program_module
from mngr_codex.plugin.host.program import Kind, kind_of, own_program, program_for, works


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(11) + struct.pack("<H", machine) + b"the rest"


def mach_o(cpu: int) -> bytes:
    return b"\xcf\xfa\xed\xfe" + struct.pack("<I", cpu) + b"the rest"


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (elf(62), Kind("Linux", "x86_64")),
        (elf(183), Kind("Linux", "aarch64")),
        (elf(243), None),
        (mach_o(0x0100000C), Kind("Darwin", "aarch64")),
        (mach_o(0x01000007), Kind("Darwin", "x86_64")),
        (mach_o(7), None),
        (b"#!/usr/bin/env python3\nprint(1)\n", None),
        (b"\x7fELF\x02\x01", None),
        (b"", None),
    ],
)
def test_a_program_tells_what_it_runs_on(program: bytes, kind: Kind | None) -> None:
    assert kind_of(program) == kind


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Linux x86_64\n", Kind("Linux", "x86_64")),
        ("Linux arm64\n", Kind("Linux", "aarch64")),
        ("Darwin arm64\n", Kind("Darwin", "aarch64")),
        ("FreeBSD amd64\n", Kind("FreeBSD", "x86_64")),
        ("", Kind("", "")),
    ],
)
def test_one_machine_has_one_name(said: str, kind: Kind) -> None:
    assert Kind.of_uname(said) == kind


@dataclass
class Result:
    stdout: str
    stderr: str = ""
    success: bool = True


class Host:
    """A host of any kind, as far as it is asked for it."""

    is_local = False

    def __init__(self, uname: str) -> None:
        self.uname = uname

    def execute_idempotent_command(self, command: str, **_: Any) -> Result:
        assert command == "uname -sm"
        return Result(self.uname)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The program of this machine, which is an x86_64 one for the test."""
    path = tmp_path / "own"
    path.write_bytes(elf(62))
    monkeypatch.setattr(program_module, "own_program", lambda: path)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"mngr-codex": "7.8.9"}[name])
    return path.read_bytes()


@pytest.fixture
def wheels(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip finds."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


def put_wheel(folder: Path, platform: str, program: bytes) -> None:
    info = "mngr_codex-7.8.9.dist-info"
    with zipfile.ZipFile(folder / f"mngr_codex-7.8.9-cp312-abi3-{platform}.whl", "w") as wheel:
        wheel.writestr("mngr_codex-7.8.9.data/scripts/mngr-codex", program)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mngr-codex\nVersion: 7.8.9\n")
        wheel.writestr(
            f"{info}/WHEEL",
            f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp312-abi3-{platform}\nGenerator: test\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_a_host_of_the_same_kind_gets_our_own(own: bytes, tmp_path: Path) -> None:
    assert program_for(Host("Linux x86_64\n"), cache=tmp_path / "cache").content == own  # type: ignore[arg-type]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("uname", "platform", "program"),
    [
        ("Linux aarch64", "manylinux_2_28_aarch64", elf(183)),
        ("Linux aarch64", "musllinux_1_2_aarch64", elf(183)),
        ("Darwin arm64", "macosx_11_0_arm64", mach_o(0x0100000C)),
        ("Darwin x86_64", "macosx_10_12_x86_64", mach_o(0x01000007)),
    ],
)
def test_a_host_of_another_kind_gets_one_from_a_wheel_and_it_is_kept(
    own: bytes, wheels: Path, tmp_path: Path, uname: str, platform: str, program: bytes
) -> None:
    put_wheel(wheels, platform, program)
    host: Any = Host(uname)
    assert program_for(host, cache=tmp_path / "cache").content == program
    for wheel in wheels.iterdir():
        wheel.unlink()
    assert program_for(host, cache=tmp_path / "cache").content == program


def test_where_there_is_no_wheel_that_is_said(own: bytes, wheels: Path, tmp_path: Path) -> None:
    put_wheel(wheels, "manylinux_2_28_x86_64", elf(62))
    found = program_for(Host("Linux aarch64"), cache=tmp_path / "cache")  # type: ignore[arg-type]
    assert found.content is None
    assert found.problem is not None and "Linux aarch64" in found.problem and "mngr-codex 7.8.9" in found.problem
    assert "WAITING" in found.problem


def test_a_wheel_with_the_wrong_program_is_not_taken(own: bytes, wheels: Path, tmp_path: Path) -> None:
    put_wheel(wheels, "manylinux_2_28_aarch64", elf(62))
    found = program_for(Host("Linux aarch64"), cache=tmp_path / "cache")  # type: ignore[arg-type]
    assert found.content is None and "something else" in (found.problem or "")


@pytest.mark.parametrize("uname", ["FreeBSD amd64", "Linux riscv64", "", "nonsense"])
def test_for_other_hosts_nothing_is_even_looked_for(
    own: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uname: str
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("was looked for")

    monkeypatch.setattr(program_module, "_fetch", never)
    found = program_for(Host(uname), cache=tmp_path / "cache")  # type: ignore[arg-type]
    assert found.content is None and (Kind.of_uname(uname).system or "unknown") in (found.problem or "")


def test_a_cache_that_cannot_be_written_is_no_problem(own: bytes, wheels: Path, tmp_path: Path) -> None:
    put_wheel(wheels, "manylinux_2_28_aarch64", elf(183))
    (tmp_path / "file").touch()
    assert program_for(Host("Linux aarch64"), cache=tmp_path / "file").content == elf(183)  # type: ignore[arg-type]


def test_the_installed_program_runs_on_this_machine(host: Any, tmp_path: Path) -> None:
    path = own_program()
    if path is None:
        pytest.skip("the program is not installed in this environment")
    content = program_for(host).content
    assert content == path.read_bytes() and kind_of(content) is not None
    program = tmp_path / "a b" / "mngr-codex"
    host.write_file(program, content, mode="0755")
    assert works(host, program) is None
    assert "nowhere" in (works(host, Path("/nowhere/mngr-codex")) or "")
