"""The PEP 517 build backend: maturin, plus the native program in the wheel.

maturin builds one crate, the extension module, and adds the contents of its `data` folder to the wheel. So this backend
builds the program first and copies the executable into that folder as `scripts/mngr-codex`. Installers put it on PATH
unchanged. Source distributions are packed here, because maturin's contain only the module's crate and its dependencies.
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
_SDIST_JUNK = shutil.ignore_patterns("__pycache__", "target", "*.pyc", "*.so", "*.dylib", "*.pyd", ".*")


def build_wheel(
    wheel_directory: str,
    config_settings: ConfigSettings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds the wheel and returns its file name."""
    _stage(_build_program())
    return str(maturin.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(
    wheel_directory: str,
    config_settings: ConfigSettings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds the wheel of an editable install and returns its file name. The program in it is still a copy."""
    _stage(_build_program())
    return str(maturin.build_editable(wheel_directory, config_settings, metadata_directory))


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


def _stage(program: Path) -> None:
    """Replaces the contents of the `data` folder with the program."""
    shutil.rmtree(_DATA, ignore_errors=True)
    script = _DATA / "scripts" / program.name
    script.parent.mkdir(parents=True)
    shutil.copyfile(program, script)
    script.chmod(0o755)


def _build_program() -> Path:
    """Builds the program, statically linked if possible, and returns the path of the executable."""
    cargo = _cargo()
    target = os.environ.get("CARGO_BUILD_TARGET") or _host()
    # musl targets link statically by default, and other systems have no static libc.
    if "-linux-gnu" in target:
        try:
            return _cargo_build(cargo, target, static=True)
        except _LinkError:
            _warn(
                "cannot link a static executable (is the static C library, libc.a, installed?); "
                "mngr-codex is linked dynamically instead and may not run on other machines"
            )
    return _cargo_build(cargo, target, static=False)


class _LinkError(Exception):
    """The linker failed after the crate had compiled."""


def _cargo_build(cargo: str, target: str, *, static: bool) -> Path:
    """Builds the program for a target triple.

    The target is always explicit. Cargo then does not apply the program's flags to build scripts and procedural macros,
    which cannot be linked statically, and it builds the program in a folder separate from the module's.
    """
    command = [cargo, "build", "--release", "--locked", "--package", _PROGRAM_CRATE, "--target", target]
    environment = {**os.environ, **(_static_flags() if static else {})}
    executable = None
    link_failed = False
    with subprocess.Popen(
        [*command, "--message-format", "json"], cwd=_ROOT, env=environment, stdout=subprocess.PIPE
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
    if link_failed and static:
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


def _warn(text: str) -> None:
    print(f"mngr-codex: warning: {text}", file=sys.stderr, flush=True)
