"""Runs programs for Linux on aarch64 on a machine with another CPU, by qemu.

    python -m tests.support.emulation COMMAND...

In the command and everything that it runs, executables for aarch64 run like the machine's own ones. Only there: qemu is
registered in the `binfmt_misc` of a user namespace, which kernels have since 6.7. The machine itself is not changed.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

MACHINE = "aarch64"

#: Set in the environment of the command.
VARIABLE = "MNGR_CODEX_EMULATED"

#: The environment variable that names the program for aarch64.
PROGRAM_VARIABLE = "MNGR_CODEX_AARCH64_PROGRAM"

EMULATOR = "/usr/bin/qemu-aarch64-static"

#: The emulator's registration. F keeps it open, so that processes with another root directory find it. P passes on the
#: name by which the program was run.
REGISTRATION = (
    rf":qemu-{MACHINE}:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    rf":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{EMULATOR}:FP"
)

_ALL_IDS = "0 0 4294967295\n"


def is_emulated() -> bool:
    """Whether these tests run a program for another CPU."""
    return VARIABLE in os.environ


def built_program() -> Path | None:
    """Returns the path of the program for aarch64 that `make test-aarch64` has built; None if it has not."""
    program = os.environ.get(PROGRAM_VARIABLE)
    return Path(program) if program else None


def enter_user_namespace() -> None:
    """Moves this process to a new user namespace in which all users and groups are the same as outside."""
    moved_reader, moved = os.pipe()
    process = os.getpid()
    # Only a process that is still outside may map more than its own user.
    helper = os.fork()
    if helper == 0:
        os.close(moved)
        os.read(moved_reader, 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process}/{name}").write_text(_ALL_IDS)
        os._exit(0)
    os.unshare(os.CLONE_NEWUSER)
    os.close(moved)
    _, status = os.waitpid(helper, 0)
    if status != 0:
        raise OSError("cannot map the users of a user namespace")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def register() -> None:
    """Has this user namespace run programs for aarch64 by qemu."""
    os.unshare(os.CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc"], check=True)
    Path("/proc/sys/fs/binfmt_misc/register").write_text(REGISTRATION)


@cache
def reason_against_emulation() -> str | None:
    """Returns why this machine cannot run programs for aarch64, or `None` if it can."""
    if platform.system() != "Linux":
        return "only Linux can run programs for another CPU like its own"
    if not os.access(EMULATOR, os.X_OK):
        return f"{EMULATOR} is not installed (apt install qemu-user-static)"
    if os.geteuid() != 0:
        return "only root can register an emulator for a namespace with several users"
    if not shutil.which("mount"):
        return "mount is not installed (apt install mount)"
    tried = subprocess.run([sys.executable, __file__, "true"], capture_output=True, text=True)
    if tried.returncode == 0:
        return None
    error = (tried.stderr.strip().splitlines() or ["no error"])[-1]
    return f"the kernel has no binfmt_misc for user namespaces, which came with Linux 6.7: {error}"


def main(command: list[str]) -> None:
    """Replaces this process with a command that can run programs for aarch64."""
    if platform.machine() != MACHINE:
        enter_user_namespace()
        register()
        os.environ[VARIABLE] = MACHINE
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
