"""Runs Python scripts with the interpreter of the tests, and interrupts them."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def run_python(code: str, *arguments: Path) -> str:
    """Runs a script, and returns its output."""
    command: list[str | Path] = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout


def interrupt_python(
    code: str, *arguments: Path, until: Callable[[], None] = lambda: time.sleep(0.3)
) -> tuple[str, str]:
    """Runs a script, and sends SIGINT after it has printed `ready` and `until` has returned.

    Returns its further stdout and its stderr.
    """
    command: list[str | Path] = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            until()
            process.send_signal(signal.SIGINT)
            return process.communicate(timeout=30)
        finally:
            process.kill()
