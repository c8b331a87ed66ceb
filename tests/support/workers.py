"""Long-lived helpers in other environments: the published converter, and mngr with its validators.

Each is a script in `tests/support/worker_scripts/` that answers one JSON line on stdout for each JSON line on stdin.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).with_name("worker_scripts")


class Worker:
    """A foreign interpreter that runs one script for a whole test session."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def ask(self, **request: Any) -> Any:
        """Sends one request and gives the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the worker ended with status {self._process.wait()}"
        return json.loads(answer)


@contextmanager
def worker(script: str, variable: str) -> Iterator[Worker]:
    """Starts a script under the interpreter that an environment variable names."""
    interpreter = os.environ.get(variable)
    if not interpreter:
        pytest.fail(f"{variable} is not set: run the tests with `make test`, which sets up what they compare with")
    process = subprocess.Popen([interpreter, SCRIPTS / script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Worker(process)
    finally:
        process.communicate()
