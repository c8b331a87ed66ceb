"""Workers in other Python environments: the published converter, and mngr with its validators.

Each worker is a script in `tests/support/worker_scripts/`. It reads requests from stdin, and writes
an answer to each of them to stdout, all as JSON on one line.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import ROOT

SCRIPTS = Path(__file__).with_name("worker_scripts")


class Worker:
    """A script in another environment, which runs during the whole test session."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def ask(self, **request: Any) -> Any:
        """Sends a request and returns the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the worker exited with status {self._process.wait()}"
        return json.loads(answer)


@contextmanager
def worker(script: str, variable: str) -> Iterator[Worker]:
    """Starts a script with the interpreter that an environment variable names, by default the one in `.venvs`."""
    name = variable.removeprefix("MNGR_CODEX_").removesuffix("_PYTHON").lower()
    default = ROOT / ".venvs" / name / "bin" / "python"
    interpreter = os.environ.get(variable) or default
    if interpreter == default and not default.exists():
        pytest.fail(f"{variable} is not set, and {default} does not exist\nhint: run `make test-python` once")
    process = subprocess.Popen([interpreter, SCRIPTS / script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Worker(process)
    finally:
        process.communicate()
