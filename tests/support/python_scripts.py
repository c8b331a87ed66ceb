"""Scripts that the Python of the tests' environment runs, and Ctrl-C for them."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def in_python(code: str, *arguments: Path) -> str:
    """What a script says."""
    command: list[str | Path] = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout


def interrupted(code: str, *arguments: Path, until: Callable[[], None] = lambda: time.sleep(0.3)) -> tuple[str, str]:
    """What a script says on stdout and stderr after a Ctrl-C, once it has said `ready` and `until` is done."""
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
