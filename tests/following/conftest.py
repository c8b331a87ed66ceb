"""Fixtures of the tests of following."""

from pathlib import Path

import pytest

from tests.support.followed_agent import Followed


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    """An agent that nobody has followed yet."""
    return Followed(tmp_path / "agent")
