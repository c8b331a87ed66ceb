"""The status file: the state of an agent for other programs."""

import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_agent import Agent
from tests.support.program import program

MEMBERS = [
    "version", "state", "since", "waiting_reason", "session_id", "model", "turn_since", "idle_since", "context_tokens",
    "tokens", "last_compaction", "last_error",
]  # fmt: skip


def shown(agent: Agent) -> tuple[str, str | None]:
    """Returns the state and its reason, which `marker show` must show as well."""
    status = agent.status
    report = agent.report()
    state = (status["state"], status["waiting_reason"])
    assert state == (report["state"], report["waiting_reason"])
    assert status["session_id"] == report["session_id"]
    return state


def moment(text: str) -> float:
    """Returns a time of the file in seconds since 1970."""
    parsed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert len(text) == len("2026-11-22T07:12:50.678Z")
    return parsed.timestamp()


def test_the_file_shows_each_state_of_a_turn(agent: Agent) -> None:
    agent.marker("reset")
    assert list(agent.status) == MEMBERS
    assert shown(agent) == ("WAITING", "END_OF_TURN")
    agent.begin_turn()
    began = time.time()
    agent.hook("user-prompt-submit")
    assert shown(agent) == ("RUNNING", None)
    status = agent.status
    assert abs(moment(status["since"]) - began) < 5
    assert (status["turn_since"], status["idle_since"]) == (status["since"], None)
    agent.hook("permission-request")
    assert shown(agent) == ("WAITING", "PERMISSIONS")
    assert (agent.status["turn_since"], agent.status["idle_since"]) == (status["since"], None)
    agent.hook("post-tool-use")
    assert shown(agent) == ("RUNNING", None)
    agent.hook("pre-tool-use", tool_name="request_user_input")
    assert shown(agent) == ("WAITING", "QUESTION")
    agent.hook("post-tool-use")
    agent.hook("stop")
    assert shown(agent) == ("WAITING", "END_OF_TURN")
    status = agent.status
    assert (status["turn_since"], status["idle_since"]) == (None, status["since"])
    assert moment(status["idle_since"]) >= began - 0.01


def test_a_hook_that_changes_nothing_does_not_write_the_file(agent: Agent) -> None:
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    file = agent.state / "plugin/codex/status.json"
    before = file.stat()
    for event in ["pre-tool-use", "post-tool-use", "pre-model-request", "post-model-request", "user-prompt-submit"]:
        agent.hook(event)
    assert file.stat() == before


def test_the_file_of_an_earlier_plugin_is_replaced_at_the_next_event(agent: Agent) -> None:
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    file = agent.state / "plugin/codex/status.json"
    file.write_text("{}")
    agent.hook("stop")
    assert shown(agent) == ("WAITING", "END_OF_TURN")
    file.unlink()
    agent.marker("recompute")
    assert shown(agent) == ("WAITING", "END_OF_TURN")


def test_no_temporary_file_remains(agent: Agent) -> None:
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    agent.hook("stop")
    assert [path.name for path in (agent.state / "plugin/codex").iterdir()] == ["status.json"]
    assert "unfinished" not in agent.private_files


def test_a_session_of_installed_hooks_has_the_file(tmp_path: Path) -> None:
    payload = {"session_id": "0192-a", "turn_id": "1", "cwd": "/"}
    for event in ["session-start", "user-prompt-submit"]:
        subprocess.run(
            [program(), "hook", event, "--state-dir", str(tmp_path / "{session_id}")],
            input=json.dumps(payload).encode(),
            check=True,
            timeout=60,
        )
    status: dict[str, Any] = json.loads((tmp_path / "0192-a/plugin/codex/status.json").read_bytes())
    assert (status["state"], status["session_id"]) == ("RUNNING", "0192-a")


def test_a_reader_never_sees_an_incomplete_file(agent: Agent) -> None:
    """The file is replaced, never written in place."""
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    with (agent.state / "plugin/codex/status.json").open() as file:
        agent.hook("stop")
        assert json.load(file)["state"] == "RUNNING"
    assert agent.status["state"] == "WAITING"


@pytest.mark.parametrize("blocked", ["plugin/codex", "plugin/codex/status.json"])
def test_a_file_that_cannot_be_written_is_logged_and_written_later(agent: Agent, blocked: str) -> None:
    """Nothing else depends on it."""
    path = agent.state / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    if blocked == "plugin/codex":
        path.write_text("")
    else:
        path.mkdir()
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    assert agent.is_active
    agent.assert_logged("hook user-prompt-submit", blocked)
    path.rmdir() if path.is_dir() else path.unlink()
    agent.hook("pre-tool-use")
    assert shown(agent) == ("RUNNING", None)
