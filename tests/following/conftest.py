"""Fixtures of the tests that follow rollouts."""

from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent


@pytest.fixture
def followed(tmp_path: Path) -> FollowedAgent:
    """An agent whose rollouts were not followed yet."""
    return FollowedAgent(tmp_path / "agent")
