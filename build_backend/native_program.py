"""Builds the native program `mngr-codex`: for this machine, and for Linux on other CPUs.

usage: native_program.py check MACHINE            fails with a hint if this machine cannot build for Linux on that CPU
       native_program.py build MACHINE FOLDER     builds the program into FOLDER/Linux-MACHINE, and prints its path

MACHINE is `x86_64` or `aarch64`. Nothing is installed or downloaded, except for the crates by cargo.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "mngr-codex"

LINUX_MACHINES = ("x86_64", "aarch64")
"""The CPUs of Linux hosts for which wheels carry the program, as `uname -m` names them."""

SYSTEM_CARGO = "/usr/bin/cargo"
SYSTEM_RUSTC = "/usr/bin/rustc"
"""The compiler of Debian's packages, which can be installed beside rustup's."""

_CRATE = "mngr-codex-cli"


class BuildError(Exception):
    """The program could not be built; cargo has printed why."""


class LinkError(BuildError):
    """The linker failed after the crate had compiled."""


class UnavailableError(Exception):
    """This machine cannot build the program for a CPU; the message has the reason and a hint."""


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A cargo that can build a static program for Linux on a CPU."""

    description: str
    target: str
    """The target triple."""
    cargo: str
    subcommand: str = "build"
    """`build`, or one with the same options."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The variables that select compiler and linker, in addition to those of this process."""

    def build(self, profile: str) -> Path:
        """Builds the program, and returns the path of the executable.

        Raises:
            BuildError: cargo failed.
        """
        return cargo_build(self.cargo, self.subcommand, *self.options(profile), environment=self.environment)

    def options(self, profile: str) -> list[str]:
        """Returns the options of cargo for a profile."""
        return ["--target", self.target, "--profile", profile]


def toolchains(machine: str) -> Iterator[Toolchain]:
    """Yields the toolchains of this machine that can build for Linux on a CPU, the preferred one first."""
    gnu, musl = f"{machine}-unknown-linux-gnu", f"{machine}-unknown-linux-musl"
    gcc = f"{machine}-linux-gnu-gcc"
    cargo, rustc = find_cargo(), os.environ.get("RUSTC", "rustc")
    has_gcc = shutil.which(gcc) is not None
    if has_gcc and _has_standard_library(rustc, gnu):
        environment = {**_gcc_variables(gnu, gcc), **static_flags()}
        yield Toolchain(description=f"{cargo} with {gcc}", target=gnu, cargo=cargo, environment=environment)
    if _has_standard_library(rustc, musl):
        # musl targets link statically by default. Static flags would only change the addresses.
        flags = rust_flags("-C", "relocation-model=static")
        if shutil.which("cargo-zigbuild"):
            yield Toolchain(
                description="cargo-zigbuild", target=musl, cargo=cargo, subcommand="zigbuild", environment=flags
            )
        musl_gcc = f"{machine}-linux-musl-gcc"
        if shutil.which(musl_gcc):
            environment = {**_gcc_variables(musl, musl_gcc), **flags}
            yield Toolchain(description=f"{cargo} with {musl_gcc}", target=musl, cargo=cargo, environment=environment)
    # Debian packages the standard library for other CPUs, which only Debian's own compiler can use.
    is_other = cargo != SYSTEM_CARGO and os.access(SYSTEM_CARGO, os.X_OK)
    if is_other and has_gcc and _has_standard_library(SYSTEM_RUSTC, gnu):
        environment = {
            **_gcc_variables(gnu, gcc),
            **static_flags(),
            "RUSTC": SYSTEM_RUSTC,
            # In one folder each compiler would discard what the other one has built.
            "CARGO_TARGET_DIR": str(Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "debian"),
        }
        yield Toolchain(
            description=f"{SYSTEM_CARGO} with {gcc}", target=gnu, cargo=SYSTEM_CARGO, environment=environment
        )


def build_for_linux(machine: str, profile: str) -> Path:
    """Builds a static program for Linux on a CPU, and returns the path of the executable.

    Raises:
        UnavailableError: This machine has no toolchain for it, or each one failed.
    """
    failed = []
    for toolchain in toolchains(machine):
        show(f"compiling the program for Linux on {machine}: {toolchain.description}")
        try:
            return toolchain.build(profile)
        except BuildError as error:
            show(f"warning: {error}")
            failed.append(toolchain.description)
    reason = f"{' and '.join(failed)} failed (see above)" if failed else "it has no toolchain for that"
    raise UnavailableError(
        f"this machine cannot build the program for Linux on {machine}, because {reason}\n"
        f"hint: on Debian, run `scripts/need-toolchain {machine}` as root; elsewhere, install the standard library of "
        f"Rust for {machine}-unknown-linux-musl (for example with `rustup target add`) and `pip install cargo-zigbuild`"
    )


def build_own(target: str, *options: str, with_zig: bool = False) -> Path:
    """Builds the program of a wheel, statically linked if possible, and returns the path of the executable.

    The target is always explicit. Cargo then does not apply the program's flags to build scripts and procedural macros,
    which cannot be linked statically, and it builds the program in a folder separate from the module's.

    Args:
        target: The target triple.
        options: Further options of cargo.
        with_zig: Whether zig links a program for a musl target.

    Raises:
        BuildError: cargo failed.
    """
    cargo = find_cargo()
    # musl targets link statically by default, and other systems have no static libc.
    if "-linux-gnu" in target:
        try:
            return cargo_build(cargo, "build", "--target", target, *options, environment=static_flags())
        except LinkError:
            show(
                "warning: cannot link a static executable (is the static C library, libc.a, installed?); "
                "mngr-codex is linked dynamically instead and may not run on other machines"
            )
    subcommand = "zigbuild" if with_zig and "-musl" in target else "build"
    return cargo_build(cargo, subcommand, "--target", target, *options)


def cargo_build(cargo: str, subcommand: str, *options: str, environment: Mapping[str, str] | None = None) -> Path:
    """Builds the program and returns the path of the executable.

    Args:
        cargo: The path of cargo.
        subcommand: `build`, or one with the same options.
        options: Further options.
        environment: Variables in addition to those of this process.

    Raises:
        LinkError: The linker failed.
        BuildError: cargo failed for another reason.
    """
    command = [cargo, subcommand, "--locked", "--package", _CRATE, *options]
    executable = None
    link_failed = False
    with subprocess.Popen(
        [*command, "--message-format", "json"],
        cwd=ROOT,
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
    failure = f"`{' '.join(command)}` failed with status {building.returncode}; see above"
    raise LinkError(failure) if link_failed else BuildError(failure)


def rust_flags(*flags: str) -> dict[str, str]:
    """Returns the environment variable that adds flags of rustc to the user's.

    Cargo ignores `RUSTFLAGS` if `CARGO_ENCODED_RUSTFLAGS` is set.
    """
    encoded = os.environ.get("CARGO_ENCODED_RUSTFLAGS")
    if encoded is not None:
        return {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(filter(None, [encoded, *flags]))}
    return {"RUSTFLAGS": " ".join([os.environ.get("RUSTFLAGS", ""), *flags]).strip()}


def static_flags() -> dict[str, str]:
    """Returns the environment variable that links a program for glibc statically.

    The executable has fixed addresses: without relocations it starts with seven page faults fewer.
    """
    return rust_flags("-C", "target-feature=+crt-static", "-C", "relocation-model=static")


def host_target() -> str:
    """Returns the target triple that rustc builds for by default."""
    return _version(os.environ.get("RUSTC", "rustc"))["host"]


def find_cargo() -> str:
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


def show(text: str) -> None:
    """Prints a message, which `pip` shows only with `-v`."""
    print(f"mngr-codex: {text}", file=sys.stderr, flush=True)


def _gcc_variables(target: str, gcc: str) -> dict[str, str]:
    """Returns the variables with which cargo and the crates in C use a cross compiler, unless the user has set them."""
    name = target.replace("-", "_")
    variables = {
        f"CARGO_TARGET_{name.upper()}_LINKER": gcc,
        f"CC_{name}": gcc,
        f"AR_{name}": f"{gcc.removesuffix('gcc')}ar",
    }
    return {variable: os.environ.get(variable, value) for variable, value in variables.items()}


def _has_standard_library(rustc: str, target: str) -> bool:
    """Returns whether a compiler is new enough for this project and has the standard library for a target."""
    if shutil.which(rustc) is None:
        return False
    asked = subprocess.run([rustc, "--print", "target-libdir", "--target", target], cwd=ROOT, capture_output=True)
    if asked.returncode != 0 or not any(Path(os.fsdecode(asked.stdout.strip())).glob("libstd-*")):
        return False
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    return _numbers(_version(rustc)["release"]) >= _numbers(manifest["workspace"]["package"]["rust-version"])


def _version(rustc: str) -> dict[str, str]:
    """Returns what a compiler reports of itself."""
    command = [rustc, "--version", "--verbose"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)


def _numbers(version: str) -> list[int]:
    """Returns the numbers of a version such as `1.96.0-nightly`."""
    return [int(number) for number in version.partition("-")[0].split(".")]


def _main(arguments: list[str]) -> int:
    match arguments:
        case ["check", machine] if machine in LINUX_MACHINES:
            found = next(toolchains(machine), None)
            if found is None:
                print(f"native_program: this machine has no toolchain for Linux on {machine}", file=sys.stderr)
                return 1
            print(found.description)
        case ["build", machine, folder] if machine in LINUX_MACHINES:
            try:
                program = build_for_linux(machine, "release")
            except UnavailableError as error:
                print(f"native_program: {error}", file=sys.stderr)
                return 1
            built = Path(folder) / f"Linux-{machine}" / PROGRAM
            built.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(program, built)
            print(built)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
