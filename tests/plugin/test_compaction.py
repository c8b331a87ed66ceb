"""When mngr may compact an agent, and what a request does. Codex itself is in tests/end_to_end/test_compaction.py."""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.errors import AgentNoLongerIdleError, MessageLockTimeoutError, SendMessageError
from imbue.mngr.interfaces.agent import require_compaction_agent

from mngr_codex.plugin import compaction, paths
from mngr_codex.plugin.agent import CodexAgent

IDLE = "2026-01-05T10:00:00.125Z"
BEFORE, AFTER = "2026-01-05T09:59:59.000Z", "2026-01-05T10:00:09.000Z"
IDLE_SINCE = datetime(2026, 1, 5, 10, 0, 0, 125_000, UTC)
STATUS = {
    "version": 1,
    "state": "WAITING",
    "waiting_reason": "END_OF_TURN",
    "idle_since": IDLE,
    "context_tokens": 250_000,
    "last_compaction": None,
}


class RemoteHost:
    """Another host, which is this machine, and counts what is done on it."""

    is_local = False

    def __init__(self) -> None:
        self.calls: list[str] = []

    def execute_idempotent_command(self, command: str, timeout_seconds: float) -> Any:
        self.calls.append(command)
        ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=timeout_seconds)
        # As over ssh, the last line break is missing.
        return SimpleNamespace(success=ran.returncode == 0, stdout=ran.stdout.removesuffix("\n"), stderr=ran.stderr)

    def write_text_file(self, path: Path, content: str) -> None:
        self.calls.append(f"write {path.name}")
        path.write_text(content)


class LocalHost(RemoteHost):
    is_local = True


@pytest.fixture(params=[LocalHost, RemoteHost])
def agent(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CodexAgent:
    """An agent on this machine or on another one."""
    monkeypatch.setattr(CodexAgent, "_get_agent_dir", lambda _: tmp_path)
    (tmp_path / paths.STATUS).parent.mkdir(parents=True)
    config = SimpleNamespace(confirmation_seconds=lambda: 3.0)
    return CodexAgent.model_construct(id="agent-1", name="t", host=request.param(), agent_config=config)


@pytest.fixture
def sent(agent: CodexAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that were sent. Codex starts to work on each at once."""
    messages: list[str] = []

    def send(_: Any, message: str) -> None:
        if agent.host.is_local:
            with (tmp_path / "message.lock").open("w") as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        messages.append(message)
        write(tmp_path, state="RUNNING", idle_since=None)

    monkeypatch.setattr(CodexAgent, "_send_message_holding_lock", send)
    return messages


def write(state_dir: Path, **changed: Any) -> None:
    (state_dir / paths.STATUS).write_text(json.dumps(STATUS | changed))


@pytest.mark.parametrize(
    ("changed", "is_idle"),
    [
        ({}, True),
        ({"waiting_reason": None}, True),
        ({"last_compaction": {"at": BEFORE, "trigger": "auto"}}, True),
        ({"last_compaction": {"at": AFTER, "trigger": "manual"}}, False),
        ({"waiting_reason": "PERMISSIONS"}, False),
        ({"waiting_reason": "QUESTION"}, False),
        ({"idle_since": None}, False),
        ({"state": "RUNNING"}, False),
        ({"state": "ENDED"}, False),
        ({"state": "UNKNOWN"}, False),
        ({"version": 2}, False),
    ],
)
def test_when_an_agent_is_idle(agent: CodexAgent, tmp_path: Path, changed: dict[str, Any], is_idle: bool) -> None:
    write(tmp_path, **changed)
    assert require_compaction_agent(agent).get_idle_since() == (IDLE_SINCE if is_idle else None)
    assert len(agent.host.calls) == (not agent.host.is_local)  # type: ignore[attr-defined]


def test_an_agent_without_a_status_is_not_idle(agent: CodexAgent, tmp_path: Path) -> None:
    assert (agent.get_idle_since(), agent.get_context_tokens()) == (None, None)
    (tmp_path / paths.STATUS).write_text("{")
    assert (agent.get_idle_since(), agent.get_context_tokens()) == (None, None)


@pytest.mark.parametrize(
    ("recorded", "is_idle"), [(IDLE, False), (AFTER, False), (BEFORE, True), ("", True), ("damaged\n\n", True)]
)
def test_a_period_is_compacted_once(agent: CodexAgent, tmp_path: Path, recorded: str, is_idle: bool) -> None:
    write(tmp_path)
    (tmp_path / paths.COMPACTED).write_text(recorded)
    assert (agent.get_idle_since() is not None) is is_idle


def test_the_size_of_the_context(agent: CodexAgent, tmp_path: Path) -> None:
    write(tmp_path)
    assert agent.get_context_tokens() == 250_000
    write(tmp_path, context_tokens=None)
    assert agent.get_context_tokens() is None
    assert agent.get_cache_ttl_minutes() == 30


def test_a_sweep_reads_once(agent: CodexAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mngr asks for the size of the context right after it has asked since when the agent is idle."""
    reads = 0 if agent.host.is_local else 1
    write(tmp_path)
    assert (agent.get_idle_since(), agent.get_context_tokens()) == (IDLE_SINCE, 250_000)
    assert len(agent.host.calls) == reads  # type: ignore[attr-defined]
    # What was read is used once, and not after a second.
    write(tmp_path, context_tokens=1)
    assert agent.get_context_tokens() == 1
    agent.get_idle_since()
    write(tmp_path, context_tokens=2)
    now = time.monotonic()
    monkeypatch.setattr("mngr_codex.plugin.agent.time.monotonic", lambda: now + 1.1)
    assert agent.get_context_tokens() == 2


def test_a_request(agent: CodexAgent, tmp_path: Path, sent: list[str]) -> None:
    write(tmp_path)
    agent.request_compaction("Keep the plan.", 1.0, agent.get_idle_since())
    assert sent == ["/compact"]
    # Even if the turn has failed, so that the agent is idle as before.
    write(tmp_path, last_error={"at": AFTER, "message": "no"})
    assert agent.get_idle_since() is None
    with pytest.raises(AgentNoLongerIdleError):
        agent.request_compaction(expected_idle_since=IDLE_SINCE)
    assert sent == ["/compact"]
    # In the next period the agent may be compacted again.
    write(tmp_path, idle_since=AFTER)
    agent.request_compaction(expected_idle_since=agent.get_idle_since())
    assert sent == ["/compact"] * 2


def test_a_request_of_a_busy_agent_records_nothing(
    agent: CodexAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SendMessageError("t", "Codex rejects /compact")

    monkeypatch.setattr(CodexAgent, "_send_message_holding_lock", refuse)
    write(tmp_path, state="RUNNING", idle_since=None)
    with pytest.raises(SendMessageError, match="rejects"):
        agent.request_compaction()
    with pytest.raises(AgentNoLongerIdleError):
        agent.request_compaction(expected_idle_since=IDLE_SINCE)
    assert not (tmp_path / paths.COMPACTED).exists()


@pytest.mark.parametrize("error", [SendMessageError("t", "a dialog"), KeyboardInterrupt()])
def test_a_failed_request_is_not_repeated(
    agent: CodexAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(CodexAgent, "_send_message_holding_lock", fail)
    write(tmp_path)
    with pytest.raises(type(error)):
        agent.request_compaction()
    assert agent.get_idle_since() is None


def test_a_compaction_that_does_not_begin_is_an_error(
    agent: CodexAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CodexAgent, "_send_message_holding_lock", lambda *_: None)
    monkeypatch.setattr(compaction, "_STARTED_SECONDS", 0.2)
    write(tmp_path)
    with pytest.raises(SendMessageError, match="did not begin to compact"):
        agent.request_compaction()
    assert agent.get_idle_since() is None


def compacted(state_dir: Path) -> None:
    write(state_dir, last_compaction={"at": AFTER, "trigger": None})


def failed(state_dir: Path) -> None:
    write(state_dir, last_error={"at": AFTER, "message": "no"})


@pytest.mark.parametrize("end", [compacted, failed])
def test_a_compaction_may_be_over_at_once(
    agent: CodexAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(CodexAgent, "_send_message_holding_lock", lambda *_: end(tmp_path))
    write(tmp_path)
    agent.request_compaction()


def test_while_a_message_is_sent_nothing_is_sent_or_recorded(
    agent: CodexAgent, tmp_path: Path, sent: list[str]
) -> None:
    if not agent.host.is_local:
        pytest.skip("mngr has no lock for agents on other hosts")
    write(tmp_path)
    with (tmp_path / "message.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MessageLockTimeoutError):
            agent.request_compaction(message_lock_timeout_seconds=0.1)
    assert not sent and agent.get_idle_since() == IDLE_SINCE


def test_a_period_that_cannot_be_recorded_is_a_warning(
    agent: CodexAgent, tmp_path: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(type(agent.host), "write_text_file", fail)
    write(tmp_path)
    agent.request_compaction()
    assert sent
