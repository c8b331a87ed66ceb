"""The PEP 517 build backend: maturin, plus the native program in the wheel.

maturin builds one crate, the extension module, and adds the contents of its `data` folder to the wheel. So this backend
builds the program first and copies the executable into that folder as `scripts/mngr-codex`. Installers put it on PATH
unchanged. The program's manual pages and shell completions go into `data/share`, which installers copy into the
environment.

Source distributions are packed here, because maturin's contain only the module's crate and its dependencies.

Config settings (`pip install . --config-settings profile=dev`):

- `profile`: the Cargo profile, by default `release`.
- `program-target`: the program's target triple, by default that of the module (`CARGO_BUILD_TARGET`, or this machine).
- `zig`: if set, zig links the module, and a program for a musl target. It cannot link glibc statically.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import maturin

ConfigSettings = Mapping[str, Any]

_ROOT = Path(__file__).resolve().parent.parent
_DATA = _ROOT / "target" / "wheel-data"
"""The folder that `data` in pyproject.toml names."""

_PROGRAM_CRATE = "mngr-codex-cli"

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
    _cargo()
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
    cargo = _cargo()
    _print(f"compiling with cargo, profile {profile}; a first release build takes 3 to 6 minutes on two idle cores")
    shutil.rmtree(_DATA, ignore_errors=True)
    if profile == "dev":
        program = writer = _build_for_development(cargo)
    else:
        program = _build_program(cargo, settings, "--profile", profile)
        writer = _build_writer(cargo)
    script = _DATA / "scripts" / program.name
    script.parent.mkdir(parents=True)
    shutil.copyfile(program, script)
    script.chmod(0o755)
    subprocess.run([writer, "--write-data-files", _DATA / "data"], check=True)
    _print("compiling the Python module")
    arguments = [*maturin.get_maturin_pep517_args(config_settings), "--profile", profile]
    return {**settings, "build-args": [*arguments, *(["--zig"] if "zig" in settings else [])]}


def _build_program(cargo: str, settings: ConfigSettings, *options: str) -> Path:
    """Builds the program, statically linked if possible, and returns the path of the executable.

    The target is always explicit. Cargo then does not apply the program's flags to build scripts and procedural macros,
    which cannot be linked statically, and it builds the program in a folder separate from the module's.
    """
    target = str(settings.get("program-target") or os.environ.get("CARGO_BUILD_TARGET") or _host())
    # musl targets link statically by default, and other systems have no static libc.
    if "-linux-gnu" in target:
        try:
            return _cargo_build(cargo, "build", "--target", target, *options, environment=_static_flags())
        except _LinkError:
            _print(
                "warning: cannot link a static executable (is the static C library, libc.a, installed?); "
                "mngr-codex is linked dynamically instead and may not run on other machines"
            )
    subcommand = "zigbuild" if "zig" in settings and "-musl" in target else "build"
    return _cargo_build(cargo, subcommand, "--target", target, *options)


def _build_writer(cargo: str) -> Path:
    """Builds the program that writes the manual pages and completions, and returns the path of the executable.

    It runs on this machine. The program in the wheel may be for another one, and is smaller without this code.
    """
    return _cargo_build(cargo, "build", "--target", _host(), "--profile", "data-files", "--features", "data-files")


def _build_for_development(cargo: str) -> Path:
    """Builds the program without optimization, and with the code that writes the data files.

    It is linked dynamically, because all crates are then shared with `cargo build` and `cargo test`.
    """
    return _cargo_build(cargo, "build", "--profile", "dev", "--features", "data-files")


class _LinkError(Exception):
    """The linker failed after the crate had compiled."""


def _cargo_build(cargo: str, subcommand: str, *options: str, environment: Mapping[str, str] | None = None) -> Path:
    """Builds the program and returns the path of the executable.

    Args:
        cargo: The path of cargo.
        subcommand: `build`, or one with the same options.
        options: Further options.
        environment: Variables that link the program statically.

    Raises:
        _LinkError: If linking with these variables failed.
    """
    command = [cargo, subcommand, "--locked", "--package", _PROGRAM_CRATE, *options]
    executable = None
    link_failed = False
    with subprocess.Popen(
        [*command, "--message-format", "json"],
        cwd=_ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
    ) as building:
        assert building.stdout
        for line in building.stdout:
            # Build scripts and linker wrappers print other lines.
            event = json.loads(line) if line.startswith(b"{") else {}
            if event.get("reason") == "compiler-artifact" and event["executable"]:
                executable = event["executable"]
            elif event.get("reason") == "compiler-message":
                sys.stderr.write(event["message"]["rendered"] or "")
                link_failed |= event["message"]["message"].startswith("linking with ")
    if building.returncode == 0 and executable:
        return Path(executable)
    if link_failed and environment:
        raise _LinkError
    raise SystemExit(f"mngr-codex: `{' '.join(command)}` failed with status {building.returncode}; see above")


def _static_flags() -> dict[str, str]:
    """Returns the environment variable that adds static linking to the user's flags.

    Cargo ignores `RUSTFLAGS` if `CARGO_ENCODED_RUSTFLAGS` is set. The executable has fixed addresses: without
    relocations it starts with seven page faults fewer.
    """
    flags = ["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]
    encoded = os.environ.get("CARGO_ENCODED_RUSTFLAGS")
    if encoded is not None:
        return {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(filter(None, [encoded, *flags]))}
    return {"RUSTFLAGS": " ".join([os.environ.get("RUSTFLAGS", ""), *flags]).strip()}


def _host() -> str:
    """Returns the target triple that rustc builds for by default."""
    rustc = os.environ.get("RUSTC", "rustc")
    version = subprocess.run([rustc, "--version", "--verbose"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return next(line for line in version.splitlines() if line.startswith("host: ")).removeprefix("host: ")


def _cargo() -> str:
    """Returns the path of cargo."""
    # rustup installs cargo here; shells that have not read its profile lack the entry. maturin reads PATH too.
    rustup_bin = str(Path.home() / ".cargo/bin")
    if rustup_bin not in os.environ.get("PATH", os.defpath).split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), rustup_bin])
    cargo = shutil.which(os.environ.get("CARGO", "cargo"))
    if cargo is None:
        raise SystemExit(
            "mngr-codex: building needs Rust, but cargo is not on PATH\nhint: install it from https://rustup.rs/"
        )
    return cargo


def _print(text: str) -> None:
    """Prints a message, which `pip` shows only with `-v`."""
    print(f"mngr-codex: {text}", file=sys.stderr, flush=True)
