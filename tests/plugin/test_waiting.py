"""The waiting reason of an agent and its state, with a fake tmux."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from imbue.mngr.agents import base_agent
from imbue.mngr.agents.base_agent import BaseAgent
from imbue.mngr.errors import HostConnectionError
from imbue.mngr.hosts.tmux import TmuxWindowTarget

from mngr_codex.plugin import agent as agent_module
from mngr_codex.plugin import listing, paths
from mngr_codex.plugin.agent import CodexAgent

TMUX = """\
#!/bin/sh
case "$*" in
list-sessions*) [ ! -e "$TEST/pane" ] || echo "agent-1|mngr-t" ;;
list-panes*) [ ! -e "$TEST/pane" ] || echo "0|$(cat "$TEST/process")|999999999" ;;
*capture-pane*) echo "$*" >>"$TEST/captures"; cat "$TEST/pane" ;;
esac
"""
COMPOSER = "\x1b[1m›\x1b[0m \x1b[2mAsk Codex\n"
LOGIN = "  Welcome to Codex, OpenAI's command-line coding agent\n"


class Host:
    """A host that counts commands."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def path_exists(self, path: Path) -> bool:
        return path.exists()

    def read_text_file(self, path: Path) -> str:
        return path.read_text()

    def execute_idempotent_command(self, command: str, timeout_seconds: float) -> Any:
        self.commands.append(command)
        ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=timeout_seconds)
        return SimpleNamespace(success=ran.returncode == 0, stdout=ran.stdout, stderr=ran.stderr)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An agent whose tmux pane has the process in the file ``process`` and shows the file ``pane``."""
    (tmp_path / "tmux").write_text(TMUX)
    (tmp_path / "tmux").chmod(0o755)
    (tmp_path / "state").mkdir()
    (tmp_path / "process").write_text("codex")
    (tmp_path / "pane").write_text(COMPOSER)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TEST", str(tmp_path))
    monkeypatch.setattr(base_agent, "check_agent_type_known", lambda *_: True)
    monkeypatch.setattr(CodexAgent, "session_name", "mngr-t")
    monkeypatch.setattr(CodexAgent, "tmux_target", TmuxWindowTarget(session_name="mngr-t", window="agent"))
    monkeypatch.setattr(CodexAgent, "_get_agent_dir", lambda _: tmp_path / "state")
    monkeypatch.setattr(BaseAgent, "_migrate_unnamed_primary_window", lambda _: False)
    context = SimpleNamespace(config=None)
    return CodexAgent.model_construct(id="agent-1", name="t", agent_type="codex", host=Host(), mngr_ctx=context)


def seen(agent: Any) -> tuple[str, str | None]:
    """Returns the state and the waiting reason, in mngr's order."""
    reason = listing.field_generators()["waiting_reason"](agent, agent.host)
    state = agent.probe_lifecycle().state.value
    assert agent.get_lifecycle_state().value == state
    return state, reason


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ((), ("WAITING", "END_OF_TURN")),
        ((paths.ACTIVE,), ("RUNNING", None)),
        ((paths.PERMISSIONS_WAITING,), ("WAITING", "PERMISSIONS")),
        ((paths.ACTIVE, paths.QUESTION_WAITING), ("WAITING", "QUESTION")),
    ],
)
def test_the_state_and_the_reason(
    agent: Any, tmp_path: Path, present: tuple[str, ...], expected: tuple[str, str | None]
) -> None:
    for marker in present:
        (tmp_path / "state" / marker).touch()
    assert seen(agent) == expected
    # The terminal is not read if the markers show the reason.
    assert (tmp_path / "captures").exists() is (present == ())


def test_a_login_screen_is_the_reason(agent: Any, tmp_path: Path) -> None:
    (tmp_path / "pane").write_text(LOGIN)
    assert seen(agent) == ("WAITING", "LOGIN")


def test_an_ended_agent_has_no_reason(agent: Any, tmp_path: Path) -> None:
    (tmp_path / "process").write_text("bash")
    assert seen(agent) == ("DONE", None)
    (tmp_path / "pane").unlink()
    assert seen(agent) == ("STOPPED", None)


def test_an_unreachable_host_has_a_stopped_agent(agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HostConnectionError("gone")

    monkeypatch.setattr(Host, "execute_idempotent_command", fail)
    assert seen(agent) == ("STOPPED", None)


def test_a_listing_reads_the_state_once(agent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason costs one command for an agent that waits, and nothing for others."""
    agent.probe_lifecycle()
    for_the_state = len(agent.host.commands)
    agent.host.commands.clear()
    assert agent.waiting_reason() == "END_OF_TURN"
    assert agent.probe_lifecycle().state.value == "WAITING"
    assert len(agent.host.commands) == for_the_state + 1
    # Each state is used once, and only for a moment.
    (tmp_path / "state" / paths.ACTIVE).touch()
    assert agent.probe_lifecycle().state.value == "RUNNING"
    agent.host.commands.clear()
    assert agent.waiting_reason() is None
    (tmp_path / "state" / paths.ACTIVE).unlink()
    assert agent.probe_lifecycle().state.value == "RUNNING"
    assert len(agent.host.commands) == for_the_state
    agent.waiting_reason()
    (tmp_path / "state" / paths.ACTIVE).touch()
    monkeypatch.setattr(agent_module, "_RECENT_SECONDS", 0.0)
    assert agent.probe_lifecycle().state.value == "RUNNING"
