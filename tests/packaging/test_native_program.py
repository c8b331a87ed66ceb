"""The choice of a toolchain for the programs of other CPUs, and the wheel if there is none.

The compilers are scripts, which only answer the questions of the build backend.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.project import ROOT

sys.path.append(str(ROOT / "build_backend"))
import mngr_codex_build
import native_program

GNU = "aarch64-unknown-linux-gnu"
MUSL = "aarch64-unknown-linux-musl"

type Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs programs and a compiler with standard libraries into the folder that is PATH."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", str(bin_folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CARGO", "RUSTC", "CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(native_program, "SYSTEM_CARGO", str(tmp_path / "system" / "cargo"))
    monkeypatch.setattr(native_program, "SYSTEM_RUSTC", str(tmp_path / "system" / "rustc"))

    def put(path: Path, script: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def install(*programs: str, targets: tuple[str, ...] = (), system: bool = False, version: str = "1.99.0") -> None:
        folder = tmp_path / "system" if system else bin_folder
        for target in targets:
            libraries = folder.with_name(f"{folder.name}-{target}")
            libraries.mkdir()
            (libraries / "libstd-123.rlib").touch()
        answers = f'case "$*" in *--version*) printf "release: {version}\\nhost: x86_64-unknown-linux-gnu\\n" ;;\n'
        answers += f'*) shift 3; echo "{folder}-$1" ;; esac'
        put(folder / "rustc", answers)
        put(folder / "cargo", "echo cargo ran >&2; exit 9")
        for name in programs:
            put(bin_folder / name, "")

    return install


def chosen() -> list[tuple[str, str]]:
    """Returns the target and the subcommand of each toolchain for aarch64."""
    return [(toolchain.target, toolchain.subcommand) for toolchain in native_program.toolchains("aarch64")]


@pytest.mark.parametrize(
    ("programs", "targets", "expected"),
    [
        (["aarch64-linux-gnu-gcc"], [GNU], [(GNU, "build")]),
        (["cargo-zigbuild"], [MUSL], [(MUSL, "zigbuild")]),
        (["aarch64-linux-musl-gcc"], [MUSL], [(MUSL, "build")]),
        (["aarch64-linux-gnu-gcc", "cargo-zigbuild"], [GNU, MUSL], [(GNU, "build"), (MUSL, "zigbuild")]),
        ([], [GNU, MUSL], []),
        (["aarch64-linux-gnu-gcc", "cargo-zigbuild", "aarch64-linux-musl-gcc"], [], []),
        # glibc's compiler could take functions that musl lacks, and zig cannot link glibc statically.
        (["aarch64-linux-gnu-gcc"], [MUSL], []),
        (["cargo-zigbuild"], [GNU], []),
    ],
)
def test_a_toolchain_has_a_standard_library_and_a_linker(
    install: Install, programs: list[str], targets: list[str], expected: list[tuple[str, str]]
) -> None:
    install(*programs, targets=tuple(targets))
    assert chosen() == expected


def test_the_compiler_of_the_system_is_used_beside_another_one(install: Install, tmp_path: Path) -> None:
    install("aarch64-linux-gnu-gcc")
    install(system=True, targets=(GNU,))
    (toolchain,) = native_program.toolchains("aarch64")
    assert toolchain.cargo == native_program.SYSTEM_CARGO
    assert toolchain.environment["RUSTC"] == native_program.SYSTEM_RUSTC
    assert toolchain.environment["CARGO_TARGET_DIR"] == str(ROOT / "target" / "debian")
    assert toolchain.environment["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"] == "aarch64-linux-gnu-gcc"
    assert toolchain.environment["AR_aarch64_unknown_linux_gnu"] == "aarch64-linux-gnu-ar"
    assert "+crt-static" in toolchain.environment["RUSTFLAGS"]


def test_an_old_compiler_is_not_used(install: Install) -> None:
    install("aarch64-linux-gnu-gcc", targets=(GNU,), version="1.85.0")
    assert chosen() == []


def test_variables_of_the_user_win(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC_aarch64_unknown_linux_gnu", "my-gcc")
    monkeypatch.setenv("RUSTFLAGS", "-C opt-level=1")
    install("aarch64-linux-gnu-gcc", targets=(GNU,))
    (toolchain,) = native_program.toolchains("aarch64")
    assert toolchain.environment["CC_aarch64_unknown_linux_gnu"] == "my-gcc"
    assert toolchain.environment["RUSTFLAGS"].startswith("-C opt-level=1 -C ")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder whose content the backend adds to the wheel."""
    monkeypatch.setattr(mngr_codex_build, "_DATA", tmp_path / "data")
    return tmp_path / "data"


def add_programs(target: str = "x86_64-unknown-linux-gnu", **settings: str) -> None:
    """Adds the programs of other CPUs to a wheel whose own program is for this target."""
    profile = settings.get("profile", "release")
    named = {name.replace("_", "-"): value for name, value in settings.items()}
    wanted = mngr_codex_build._wanted_other_programs(profile, named)
    mngr_codex_build._add_other_programs(target, profile, wanted, named.get("programs-from"))


def test_without_a_toolchain_the_wheel_is_built_and_the_output_has_the_way_out(
    install: Install, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    install()
    add_programs()
    shown = capfd.readouterr().err
    assert "warning: this wheel will have no program for agents on Linux hosts with aarch64" in shown
    assert "\nhint: on Debian, run `scripts/need-toolchain aarch64` as root" in shown
    assert not data.exists()


def test_the_same_after_a_toolchain_has_failed(install: Install, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install("aarch64-linux-gnu-gcc", targets=(GNU,))
    add_programs()
    shown = capfd.readouterr().err
    assert "cargo ran" in shown and "failed with status 9" in shown and "hosts with aarch64" in shown
    assert not data.exists()


def test_a_wheel_with_all_programs_cannot_be_built_without_a_toolchain(install: Install, data: Path) -> None:
    install()
    with pytest.raises(native_program.UnavailableError, match="no toolchain"):
        add_programs(other_programs="all")


@pytest.mark.parametrize("settings", [{"other_programs": "none"}, {"profile": "dev"}])
def test_nothing_is_compiled_if_the_wheel_shall_have_no_other_program(
    install: Install, data: Path, capfd: pytest.CaptureFixture[str], settings: dict[str, str]
) -> None:
    install("aarch64-linux-gnu-gcc", targets=(GNU,))
    add_programs(**settings)
    assert capfd.readouterr().err == "" and not data.exists()


def test_an_unknown_choice_is_refused_before_anything_is_compiled(
    install: Install, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    install("aarch64-linux-gnu-gcc", targets=(GNU,))
    with pytest.raises(SystemExit, match="other-programs is 'some', but must be"):
        mngr_codex_build.build_wheel(str(tmp_path), {"other-programs": "some"})
    assert capfd.readouterr().err == "" and not data.exists()


def test_programs_that_were_built_elsewhere_are_included(install: Install, data: Path, tmp_path: Path) -> None:
    """The programs for other CPUs than the wheel's. One for macOS has both."""
    install()
    for machine in ("aarch64", "x86_64"):
        folder = tmp_path / "programs" / f"Linux-{machine}"
        folder.mkdir(parents=True)
        (folder / "mngr-codex").write_text(machine)
    add_programs(programs_from=str(tmp_path / "programs"))
    included = data / "platlib" / "mngr_codex" / "programs"
    assert [folder.name for folder in included.iterdir()] == ["Linux-aarch64"]
    assert (included / "Linux-aarch64" / "mngr-codex").read_text() == "aarch64"
    shutil.rmtree(data)
    add_programs("aarch64-apple-darwin", programs_from=str(tmp_path / "programs"))
    assert {folder.name for folder in included.iterdir()} == {"Linux-aarch64", "Linux-x86_64"}


def test_a_folder_without_the_program_is_an_error(install: Install, data: Path, tmp_path: Path) -> None:
    with pytest.raises(native_program.UnavailableError, match=r"programs-from has no file .*/Linux-aarch64/mngr-codex"):
        add_programs(programs_from=str(tmp_path), other_programs="all")
