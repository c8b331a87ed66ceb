"""Fixtures of the lifecycle's tests."""

from pathlib import Path

import pytest

from tests.support.fake_agent import Agent


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An agent whose codex has not begun anything."""
    return Agent(tmp_path / "agent")
