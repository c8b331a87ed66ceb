"""Fixtures that several test files share."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers import Worker, worker

#: The id of a user without rights, and of its group.
NOBODY = 65534

# Whoever runs the tests in the background may have had SIGINT ignored, which programs would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
