"""Workers in other Python environments: the published converter, and mngr with its validators.

Each worker is a script in `tests/support/worker_scripts/`. It reads requests from stdin, and writes
an answer to each of them to stdout, all as JSON on one line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
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


def interpreter(variable: str, *modules: str) -> str:
    """Returns the Python that an environment variable names, or else one that has `modules`.

    That is the one in `.venvs`, which `make test-python` creates, or else the one that runs the tests. If it lacks a
    module, the test is skipped.
    """
    # `make test` sets the variables, so that it skips nothing.
    if named := os.environ.get(variable):
        return named
    environment = ROOT / ".venvs" / variable.removeprefix("MNGR_CODEX_").removesuffix("_PYTHON").lower()
    if (environment / "installed").exists():
        return str(environment / "bin" / "python")
    if missing := [module for module in modules if not _can_import(module)]:
        pytest.skip(f"{variable} is not set, and this Python lacks {missing[0]} (`make test-python` installs it)")
    return sys.executable


def _can_import(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that contains it
        return False


@contextmanager
def worker(script: str, variable: str, *modules: str) -> Iterator[Worker]:
    """Starts a script, which imports `modules`, in the environment that :func:`interpreter` finds."""
    command = [interpreter(variable, *modules), str(SCRIPTS / script)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Worker(process)
    finally:
        process.communicate()
