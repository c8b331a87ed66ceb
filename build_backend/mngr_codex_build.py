"""The PEP 517 build backend: maturin, plus the native program in the wheel.

maturin builds one crate, the extension module, and adds the contents of its `data` folder to the wheel. So this backend
builds the program first and copies the executable into that folder as `scripts/mngr-codex`. Installers put it on PATH
unchanged. The program's manual pages and shell completions go into `data/share`, which installers copy into the
environment.

Agents can run on hosts with another CPU. So the wheel also carries the programs for Linux on x86-64 and aarch64 that
are not its own, such as `mngr_codex/programs/Linux-aarch64/mngr-codex`. They are static, and run on every Linux of that
CPU.

Source distributions are packed here, because maturin's contain only the module's crate and its dependencies.

Config settings (`pip install . --config-settings profile=dev`):

- `profile`: the Cargo profile, by default `release`.
- `program-target`: the program's target triple, by default that of the module (`CARGO_BUILD_TARGET`, or this machine).
- `zig`: if set, zig links the module, and a program for a musl target. It cannot link glibc statically.
- `other-programs`: the programs for Linux on other CPUs: `available`, the default, includes those that this machine can
  build, and prints how to include the rest; with `all` the build fails without one; `none`, the default of the profile
  `dev`, includes none.
- `programs-from`: a folder of such programs that were built elsewhere, as `Linux-aarch64/mngr-codex`. They are included
  as they are.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import maturin

import native_program
from native_program import PROGRAM, show

ConfigSettings = Mapping[str, Any]

_ROOT = native_program.ROOT
_DATA = _ROOT / "target" / "wheel-data"
"""The folder that `data` in pyproject.toml names."""

_SDIST_CONTENT = (
    ".cargo",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "build_backend",
    "pyproject.toml",
    "python",
    "rust",
)
_SDIST_JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "*.dylib", "*.pyd", ".*")


def build_wheel(
    wheel_directory: str,
    config_settings: ConfigSettings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds the wheel and returns its file name."""
    return str(maturin.build_wheel(wheel_directory, _stage(config_settings), metadata_directory))


def build_editable(
    wheel_directory: str,
    config_settings: ConfigSettings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds the wheel of an editable install and returns its file name. The program in it is still a copy."""
    return str(maturin.build_editable(wheel_directory, _stage(config_settings), metadata_directory))


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: ConfigSettings | None = None) -> str:
    """Writes the wheel's metadata and returns the name of its folder."""
    native_program.find_cargo()
    _DATA.mkdir(parents=True, exist_ok=True)  # maturin fails if the `data` folder is missing
    return str(maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings))


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_sdist(sdist_directory: str, config_settings: ConfigSettings | None = None) -> str:
    """Packs the source distribution and returns its file name."""
    with tempfile.TemporaryDirectory() as scratch:
        dist_info = Path(scratch, prepare_metadata_for_build_wheel(scratch, config_settings))
        metadata = (dist_info / "METADATA").read_bytes()
    # For example "mngr_codex-0.1.0.dist-info": name and version, normalized for file names.
    name = dist_info.name.removesuffix(".dist-info")
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    with (
        gzip.GzipFile(Path(sdist_directory, f"{name}.tar.gz"), "wb", mtime=int(epoch or 0)) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _sdist_files():
            entry = tarfile.TarInfo(f"{name}/{path.relative_to(_ROOT).as_posix()}")
            entry.size = path.stat().st_size
            # Cargo treats a source file that is older than its build as unchanged, so real times are the default.
            entry.mtime = int(epoch or path.stat().st_mtime)
            with path.open("rb") as content:
                archive.addfile(entry, content)
        entry = tarfile.TarInfo(f"{name}/PKG-INFO")
        entry.size = len(metadata)
        entry.mtime = int(epoch or (_ROOT / "pyproject.toml").stat().st_mtime)
        archive.addfile(entry, BytesIO(metadata))
    return f"{name}.tar.gz"


def _sdist_files() -> Iterator[Path]:
    """Yields the files of the source distribution in a fixed order."""
    for top in map(_ROOT.joinpath, _SDIST_CONTENT):
        if top.is_file():
            yield top
        for folder, folders, files in os.walk(top):
            junk = _SDIST_JUNK(folder, [*folders, *files])
            folders[:] = sorted(set(folders) - junk)
            yield from (Path(folder, file) for file in sorted(set(files) - junk))


def _stage(config_settings: ConfigSettings | None) -> ConfigSettings:
    """Replaces the contents of the `data` folder, and returns the settings with which maturin builds the module."""
    settings = config_settings or {}
    profile = str(settings.get("profile", "release"))
    wanted = _wanted_other_programs(profile, settings)
    native_program.find_cargo()
    show(f"compiling with cargo, profile {profile}; a first release build takes 3 to 6 minutes on two idle cores")
    shutil.rmtree(_DATA, ignore_errors=True)
    target = str(settings.get("program-target") or os.environ.get("CARGO_BUILD_TARGET") or native_program.host_target())
    try:
        # Optimizing a whole program uses one core, so a second one would be idle.
        with ThreadPoolExecutor(max_workers=1) as second:
            others = second.submit(_add_other_programs, target, profile, wanted, settings.get("programs-from"))
            if profile == "dev":
                program = writer = _build_for_development()
            else:
                program = native_program.build_own(target, "--profile", profile, with_zig="zig" in settings)
                writer = _build_writer()
            _add_program(program, _DATA / "scripts")
            others.result()
    except (native_program.BuildError, native_program.UnavailableError) as error:
        raise SystemExit(f"mngr-codex: {error}") from None
    subprocess.run([writer, "--write-data-files", _DATA / "data"], check=True)
    show("compiling the Python module")
    arguments = [*maturin.get_maturin_pep517_args(config_settings), "--profile", profile]
    return {**settings, "build-args": [*arguments, *(["--zig"] if "zig" in settings else [])]}


def _add_program(program: Path, folder: Path) -> None:
    """Copies a program into a folder of the wheel."""
    folder.mkdir(parents=True)
    shutil.copyfile(program, folder / PROGRAM)
    (folder / PROGRAM).chmod(0o755)


def _wanted_other_programs(profile: str, settings: ConfigSettings) -> str:
    """Returns the value of `other-programs`."""
    wanted = str(settings.get("other-programs", "none" if profile == "dev" else "available"))
    if wanted not in ("all", "available", "none"):
        raise SystemExit(f"mngr-codex: other-programs is {wanted!r}, but must be `all`, `available` or `none`")
    return wanted


def _add_other_programs(target: str, profile: str, wanted: str, programs_from: str | None) -> None:
    """Adds the programs for Linux on other CPUs than that of the wheel's own program.

    Raises:
        UnavailableError: This machine cannot build one of them, and `other-programs` is `all`.
    """
    for machine in native_program.LINUX_MACHINES if wanted != "none" else ():
        if target.startswith(f"{machine}-") and "-linux-" in target:
            continue
        folder = f"Linux-{machine}"
        try:
            if programs_from is not None:
                program = _built_elsewhere(_ROOT / programs_from / folder / PROGRAM)
            else:
                program = native_program.build_for_linux(machine, profile)
        except native_program.UnavailableError as error:
            if wanted == "all":
                raise
            show(f"warning: this wheel will have no program for agents on Linux hosts with {machine}: {error}")
        else:
            _add_program(program, _DATA / "platlib" / "mngr_codex" / "programs" / folder)


def _built_elsewhere(program: Path) -> Path:
    """Returns the path of a program in the folder `programs-from`.

    Raises:
        UnavailableError: The folder does not contain it.
    """
    if not program.is_file():
        raise native_program.UnavailableError(f"programs-from has no file {program}")
    return program


def _build_writer() -> Path:
    """Builds the program that writes the manual pages and completions, and returns the path of the executable.

    It runs on this machine. The program in the wheel may be for another one, and is smaller without this code.
    """
    options = ("--target", native_program.host_target(), "--profile", "data-files", "--features", "data-files")
    return native_program.cargo_build(native_program.find_cargo(), "build", *options)


def _build_for_development() -> Path:
    """Builds the program without optimization, and with the code that writes the data files.

    It is linked dynamically, because all crates are then shared with `cargo build` and `cargo test`.
    """
    options = ("--profile", "dev", "--features", "data-files")
    return native_program.cargo_build(native_program.find_cargo(), "build", *options)
