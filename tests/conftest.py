"""Fixtures that several test files share."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.workers import Worker, worker

# Whoever runs the tests in the background, or with nohup, has had signals ignored, which programs would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds; `-m 'not slow'` leaves it out")


@pytest.fixture(scope="session")
def published() -> Iterator[Worker]:
    """The published converter."""
    with worker("published_converter.py", "MNGR_CODEX_PUBLISHED_PYTHON") as running:
        yield running


@pytest.fixture(scope="session")
def mngr() -> Iterator[Worker]:
    """mngr's record schema and document builder, and harbor's validator."""
    with worker("mngr_validators.py", "MNGR_CODEX_MNGR_PYTHON") as running:
        yield running


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def tracing() -> None:
    """Needs strace, which `make test` names where it is missing."""
    tried = shutil.which("strace") and subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True)
    if not tried or tried.returncode != 0:
        pytest.skip("programs cannot be traced here" if tried else "there is no strace to kill a program with")
