"""Tests the program for Linux on aarch64, by qemu on a machine with another CPU. `make test-aarch64` runs it.

usage: test_aarch64.py [PYTEST-ARGUMENT...]

Runs the tests of the Rust crates, an agent on a host with aarch64, and all tests that need nothing but the program. The
arguments replace these last tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "build_backend")]

from tests.support import emulation  # noqa: E402

import native_program  # noqa: E402

PROFILE = "emulated"  # for tests of Rust; the program is built as in wheels
CRATES = ("mngr-codex-core", "mngr-codex-cli")
PROGRAM_TESTS = ("tests/conversion", "tests/lifecycle", "tests/following", "tests/transcript")
AGENT_TESTS = ("tests/end_to_end/test_remote_aarch64.py",)


def main(arguments: list[str]) -> int:
    machine = emulation.MACHINE
    toolchains = (each for each in native_program.toolchains(machine) if each.subcommand == "build")
    toolchain = next(toolchains, None)
    if toolchain is None:
        raise SystemExit(
            f"test_aarch64: this machine has no compiler for Linux on {machine} that can build tests\n"
            f"hint: run `scripts/need-toolchain {machine}` as root on Debian"
        )
    if reason := emulation.reason_against_emulation():
        raise SystemExit(f"test_aarch64: cannot run programs for {machine}: {reason}")
    if not arguments:
        run_rust_tests(toolchain)
    program = toolchain.build("release")
    environment = {**os.environ, emulation.PROGRAM_VARIABLE: str(program), "MNGR_CODEX_PROGRAM": str(program)}
    command = [sys.executable, "-m", "pytest", "-rs"]
    # Here only the program on the host is emulated.
    on_host = subprocess.run([*command, *AGENT_TESTS], cwd=ROOT, env={**environment, "MNGR_CODEX_PROGRAM": ""})
    emulated = [sys.executable, "-m", "tests.support.emulation", *command, *(arguments or PROGRAM_TESTS)]
    program_tests = subprocess.run(emulated, cwd=ROOT, env=environment)
    return program_tests.returncode or on_host.returncode


def run_rust_tests(toolchain: native_program.Toolchain) -> None:
    """Compiles the tests of the crates, and runs them by qemu."""
    runner = f"CARGO_TARGET_{toolchain.target.replace('-', '_').upper()}_RUNNER"
    options = ["--locked", "--lib", "--bins", "--tests", *toolchain.options(PROFILE)]
    packages = [word for crate in CRATES for word in ("--package", crate)]
    command = [toolchain.cargo, "test", *options, *packages]
    environment = {**os.environ, **toolchain.environment, runner: emulation.EMULATOR}
    done = subprocess.run(command, cwd=ROOT, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"test_aarch64: the tests of the Rust crates failed with status {done.returncode}; see above")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
