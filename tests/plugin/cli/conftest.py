"""The server that runs mngr's commands."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import MngrServer, mngr_server


@pytest.fixture(scope="session")
def server() -> Iterator[MngrServer]:
    """A server that runs mngr's commands."""
    with tempfile.TemporaryDirectory(prefix="mc-") as name, mngr_server(Path(name)) as running:
        yield running
