"""Fixtures of the lifecycle tests."""

from pathlib import Path

import pytest

from tests.support.fake_agent import Agent


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An agent whose Codex has not begun a turn."""
    return Agent(tmp_path / "agent")


@pytest.fixture
def mngr_agent(tmp_path: Path) -> Agent:
    """An agent of mngr, whose Codex has not begun a turn. Its host has no events yet."""
    return Agent(tmp_path / "agent", state="host/agents/agent-1")
