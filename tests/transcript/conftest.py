"""Fixtures of the tests that show transcripts."""

from pathlib import Path

import pytest

from tests.support.codex_home import CodexHome
from tests.support.transcript_records import HEADER, State, step


@pytest.fixture
def host_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of mngr for the test."""
    folder = tmp_path / "mngr"
    monkeypatch.setenv("MNGR_HOST_DIR", str(folder))
    for name in ("NO_COLOR", "PAGER", "LESS"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def state(host_dir: Path) -> State:
    """An agent with a short transcript."""
    state = State(host_dir)
    state.write(HEADER, step("first"), step("second", source="agent"), step("third"))
    return state


@pytest.fixture
def home(host_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CodexHome:
    """The Codex home of the user."""
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    return CodexHome(tmp_path / "codex")
