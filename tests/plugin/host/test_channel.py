"""The command for a login shell that runs a script of ``sh``."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from mngr_codex.plugin.host.channel import shell_command

SCRIPT = r"""
case "$#" in 0) ;; *) echo arguments ;; esac
printf '%s|' 'it'"'"'s' "a\\b" 'wow!!' '$HOME' 100% 'x\01234' ünïcödé
if true; then cat; fi; (exit 3)"""


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "tcsh", "busybox"])
def test_the_login_shell_does_not_matter(tmp_path: Path, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed (apt install {shell})")
    shells = [program, "sh"] if shell == "busybox" else [program]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    here = subprocess.run(["sh", "-c", SCRIPT], input="input", env=environment, capture_output=True, text=True)
    command = [*shells, "-c", shell_command(SCRIPT)]
    there = subprocess.run(command, input="input", env=environment, capture_output=True, text=True)
    assert (there.returncode, there.stdout, there.stderr) == (here.returncode, here.stdout, here.stderr)
    assert (here.returncode, here.stderr) == (3, "") and here.stdout.endswith("ünïcödé|input")
