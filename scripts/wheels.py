"""Builds the wheels for Linux and checks them, or checks existing ones. `make wheels` runs it with the tools it needs.

usage: wheels.py build FOLDER    builds into FOLDER what this machine can build, then checks it
       wheels.py check FOLDER    checks the wheels in FOLDER
"""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.12", "3.13", "3.14")
BIN = Path(sys.executable).parent

BUILD = """
import sys
import mngr_codex_build
settings = dict(setting.split("=", 1) for setting in sys.argv[2:])
print(mngr_codex_build.build_wheel(sys.argv[1], settings))
"""

SMOKE_TEST = """
import sys, mngr_codex
with open(sys.argv[1], "w") as rollout:
    rollout.write('{"timestamp":"2026-01-05T10:00:00.000Z","type":"response_item","payload":{"type":"message",'
                  '"role":"user","content":[{"type":"input_text","text":"hello"}]}}\\n')
records = list(mngr_codex.iter_records(sys.argv[1]))
assert [record["type"] for record in records] == ["header", "step"], records
"""

BYTES = 8 * 1024 * 1024
"""The largest size of a wheel."""

MACHINES = {"x86_64": 62, "aarch64": 183}
"""The CPUs of Linux hosts for which each wheel carries a static program, with their numbers in ELF headers."""
ELF_INTERPRETER = 3
"""The kind of program header that names a dynamic loader."""

DATA_FILES = ("share/man/man1/mngr-codex.1", "share/bash-completion/completions/mngr-codex")


@dataclass(frozen=True)
class Wheel:
    """A wheel to build: the machine, the C library, and the tag of the oldest systems that it runs on."""

    machine: str
    libc: str
    tag: str

    @property
    def module_target(self) -> str:
        return f"{self.machine}-unknown-linux-{self.libc}"

    @property
    def program_target(self) -> str:
        """zig cannot link glibc statically, so the program for another machine uses musl."""
        return self.module_target if self.machine == platform.machine() else f"{self.machine}-unknown-linux-musl"

    @property
    def targets(self) -> list[str]:
        return sorted({self.module_target, self.program_target})


WHEELS = [
    Wheel(machine, libc, tag)
    for machine in ("x86_64", "aarch64")
    for libc, tag in (("gnu", "manylinux2014"), ("musl", "musllinux_1_2"))
]


def main(action: str, folder: str) -> int:
    os.environ["PATH"] = os.pathsep.join([str(BIN), os.environ["PATH"]])
    dist = Path(folder).resolve()
    if action == "build":
        dist.mkdir(parents=True, exist_ok=True)
        for old in dist.glob("*.whl"):
            old.unlink()
        for wheel in WHEELS:
            build(wheel, dist)
    wheels = sorted(dist.glob("*.whl"))
    if not wheels:
        raise SystemExit(f"wheels: there is no wheel in {dist}")
    for path in wheels:
        check(path)
    return 0


def build(wheel: Wheel, dist: Path) -> None:
    """Builds a wheel into a folder, or prints why this machine cannot."""
    name = f"the {wheel.tag} wheel for {wheel.machine}"
    missing = [target for target in wheel.targets if not has_std(target)]
    if missing:
        skip(
            f"{name}, because Rust's standard library for {' and '.join(missing)} is not installed\n"
            f"hint: run `rustup target add {' '.join(missing)}`; the release workflow builds this wheel too"
        )
        return
    print(f"== {name}", flush=True)
    settings = [f"program-target={wheel.program_target}", "zig=1", f"build-args=--compatibility {wheel.tag}"]
    settings.append("other-programs=all")
    environment = {**os.environ, "CARGO_BUILD_TARGET": wheel.module_target, "PYTHONPATH": str(ROOT / "build_backend")}
    subprocess.run([sys.executable, "-c", BUILD, dist, *settings], cwd=ROOT, env=environment, check=True)


def has_std(target: str) -> bool:
    """Returns whether Rust's standard library for a target triple is installed."""
    command = ["rustc", "--print", "target-libdir", "--target", target]
    folder = Path(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    return any(folder.glob("libstd-*"))


def check(wheel: Path) -> None:
    """Checks the metadata, the programs, the tag and the ABI of a wheel, and tries it if it is for this machine."""
    print(f"== checking {wheel.name}", flush=True)
    if wheel.stat().st_size > BYTES:
        raise SystemExit(f"wheels: {wheel.name} has {wheel.stat().st_size:,} bytes, more than {BYTES:,}")
    check_programs(wheel)
    run("twine", "check", "--strict", wheel)
    run("abi3audit", "--strict", "--summary", wheel)
    platform_tag = wheel.stem.rsplit("-", 1)[-1]
    if "linux" in platform_tag:
        shown = run("auditwheel", "show", wheel, output=True)
        if not any(f'"{tag}"' in shown for tag in platform_tag.split(".")):
            raise SystemExit(f"wheels: auditwheel finds another tag than {platform_tag}:\n{shown}")
    if not runs_here(platform_tag):
        skip(f"trying {wheel.name}, because it is for another system than this one")
        return
    tried = 0
    for version in PYTHONS:
        with tempfile.TemporaryDirectory() as scratch:
            tried += try_on(version, wheel, Path(scratch))
    if not tried:
        raise SystemExit(f"wheels: {wheel.name} was tried on no Python")


def check_programs(wheel: Path) -> None:
    """Checks that a wheel carries a static program for each CPU of Linux, and runs those that an emulator can run."""
    with zipfile.ZipFile(wheel) as archive:
        programs = [archive.read(name) for name in archive.namelist() if name.rpartition("/")[2] == "mngr-codex"]
    by_machine = {elf_machine(program): program for program in programs}
    for machine, number in MACHINES.items():
        if (program := by_machine.get(number)) is None:
            raise SystemExit(f"wheels: {wheel.name} has no program for Linux on {machine}")
        if has_interpreter(program):
            raise SystemExit(f"wheels: in {wheel.name}, the program for Linux on {machine} is linked dynamically")
        emulator = None if machine == platform.machine() else shutil.which(f"qemu-{machine}-static")
        if emulator:
            try_emulated(emulator, program)
        elif machine != platform.machine() or sys.platform != "linux":
            skip(f"running the program for Linux on {machine}, because qemu-{machine}-static is not installed")


def elf_machine(program: bytes) -> int | None:
    """Returns the number of the CPU of a 64-bit little-endian ELF file; None for any other file."""
    is_elf = program[:6] == b"\x7fELF\x02\x01"
    return int(struct.unpack_from("<H", program, 18)[0]) if is_elf else None


def has_interpreter(program: bytes) -> bool:
    """Returns whether a 64-bit little-endian ELF file names a dynamic loader, which a static one does not."""
    (table,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    return any(struct.unpack_from("<I", program, table + size * n)[0] == ELF_INTERPRETER for n in range(count))


def try_emulated(emulator: str, program: bytes) -> None:
    """Runs a program for another CPU."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "mngr-codex")
        path.write_bytes(program)
        path.chmod(0o755)
        shown = run(emulator, path, "--version", output=True)
    if not shown.startswith("mngr-codex "):
        raise SystemExit(f"wheels: under {emulator}, `mngr-codex --version` printed {shown!r}")


def runs_here(platform_tag: str) -> bool:
    """Returns whether the tag is for this machine, and for glibc."""
    return "manylinux" in platform_tag and platform_tag.endswith(platform.machine()) and sys.platform == "linux"


def try_on(version: str, wheel: Path, scratch: Path) -> bool:
    """Runs the program and the package of a wheel with a version of Python. Returns False if that is not to be had."""
    environment = scratch / "environment"
    command = ["uv", "venv", "--quiet", "--python", interpreter(version), str(environment)]
    made = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if made.returncode != 0:
        skip(f"trying {wheel.name} on Python {version}: {made.stderr.splitlines()[0]}")
        return False
    python = environment / "bin" / "python"
    run("uv", "pip", "install", "--quiet", "--python", python, wheel)
    run(environment / "bin" / "mngr-codex", "--version")
    run(python, "-c", SMOKE_TEST, scratch / "rollout.jsonl")
    for name in DATA_FILES:
        if not (environment / name).is_file():
            raise SystemExit(f"wheels: {wheel.name} does not install {name}")
    print(f"works on Python {version}", flush=True)
    return True


def interpreter(version: str) -> str:
    """Returns the path of pyenv's Python of a version, or the version, which uv finds elsewhere or downloads."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(found[-1]) if found else version


def run(*command: str | Path, output: bool = False) -> str:
    """Runs a command, which must succeed."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE if output else None, text=True)
    return done.stdout or ""


def skip(what: str) -> None:
    print(f"wheels: SKIPPED: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("build", "check"):
        raise SystemExit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        program = Path(error.cmd[0]).name
        raise SystemExit(f"wheels: {program} failed with status {error.returncode}; see above") from None
