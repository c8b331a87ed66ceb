"""An agent whose program and terminal are scripts."""

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from tests.plugin.messages.fake_agent_on_host import Agent


@pytest.fixture
def agent(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return Agent(host, tmp_path)
