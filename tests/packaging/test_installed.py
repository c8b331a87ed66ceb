"""The installed package: version, dependencies, program and stub."""

import os
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from mngr_codex.plugin.host.program import Platform, platform_of
from tests.support.program import program
from tests.support.project import ELF_MAGIC, workspace_version

ELF_INTERPRETER_HEADER = 3


@pytest.fixture(scope="module")
def installed() -> Distribution:
    return distribution("mngr-codex")


def is_dynamic(executable: bytes) -> bool:
    """Whether a 64-bit little-endian ELF file names a dynamic loader, which a static one does not."""
    table = int.from_bytes(executable[32:40], "little")
    size, count = (int.from_bytes(executable[at : at + 2], "little") for at in (54, 56))
    kinds = [int.from_bytes(executable[at : at + 4], "little") for at in range(table, table + size * count, size)]
    return ELF_INTERPRETER_HEADER in kinds


def test_program_package_and_workspace_have_one_version(installed: Distribution) -> None:
    printed = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert printed.split() == ["mngr-codex", installed.version]
    assert installed.version == workspace_version()


def test_orjson_is_the_only_dependency(installed: Distribution) -> None:
    assert installed.requires == ["orjson>=3.10"]
    assert installed.metadata["Requires-Python"] == ">=3.12"


def test_the_readme_is_installed(installed: Distribution) -> None:
    """`mngr help codex_guide` shows it."""
    assert installed.metadata["Description"].startswith("# mngr-codex\n")


def test_wheel_is_for_the_stable_abi(installed: Distribution) -> None:
    wheel = installed.read_text("WHEEL")
    assert wheel
    tags = [line.removeprefix("Tag: ") for line in wheel.splitlines() if line.startswith("Tag: ")]
    assert tags
    assert all(tag.startswith("cp312-abi3-") for tag in tags)


def test_program_is_executable() -> None:
    assert os.access(program(), os.X_OK)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has ELF files and a static libc")
def test_program_is_native_and_static() -> None:
    executable = program().read_bytes()
    assert executable.startswith(ELF_MAGIC)
    assert not is_dynamic(executable), "the program is linked dynamically; was it installed with PROFILE=dev?"


def test_programs_for_other_cpus_are_static(installed: Distribution) -> None:
    programs = [file for file in installed.files or [] if file.match("mngr_codex/programs/*/mngr-codex")]
    if not programs:
        pytest.skip("the wheel was built without the programs for other CPUs: scripts/need-toolchain aarch64")
    for file in programs:
        content = Path(str(file.locate())).read_bytes()
        assert platform_of(content) == Platform(*file.parent.name.split("-"))
        assert not is_dynamic(content)


def test_stub_and_typing_marker_are_installed(installed: Distribution) -> None:
    files = {str(file) for file in installed.files or []}
    assert {"mngr_codex/_core.pyi", "mngr_codex/py.typed"} <= files
