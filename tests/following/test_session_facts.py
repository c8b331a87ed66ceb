"""`status.json` shows the model, the tokens, the context, compactions and errors of the root's session."""

import fcntl
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_agent import Agent
from tests.support.followed_agent import wait_until
from tests.support.program import program, run
from tests.support.recordings import all_recordings, lines_of, name, parse, session_meta
from tests.support.rollout_builder import START_MS, Rollout, uuid7
from tests.support.session_cost import own_lines, session_cost


class Session:
    """The root's session of an agent."""

    def __init__(self, folder: Path) -> None:
        self.agent = Agent(folder)
        self.agent.home = self.agent.state / "plugin/codex/home"

    def begin(self, thread: str | None = None, suffix: str = "") -> None:
        """Begins a turn of a session, which becomes the root's, and makes a further file of it current."""
        thread = thread or self.agent.session_id
        if self.agent.turn_id:
            self.agent.hook("stop")
        self.agent.session_id = thread
        self.agent.rollout = self.agent.rollout_path(f"{thread}{suffix}")
        self.agent.rollout.parent.mkdir(parents=True, exist_ok=True)
        self.agent.begin_turn()
        self.agent.hook("user-prompt-submit")

    def write(self, data: bytes) -> dict[str, Any]:
        """Writes the current rollout and returns the status after a pass."""
        self.agent.rollout.write_bytes(data)
        done = run("watch", "--once", "--state-dir", self.agent.state)
        assert (done.status, done.stderr) == (0, ""), done
        status: dict[str, Any] = json.loads((self.agent.state / "plugin/codex/status.json").read_bytes())
        assert status["session_id"] == self.agent.session_id
        return status


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def tokens(count: int, cached: int, output: int) -> dict[str, int]:
    return {"input": count, "cached_input": cached, "output": output, "reasoning_output": 0}


def begun(session: Session) -> Rollout:
    """Begins a turn now, and returns its rollout."""
    if not session.agent.turn_id:
        session.begin()
    turn = session.agent.turn_id
    rollout = Rollout(clock=time.time_ns() // 1_000_000 - START_MS)
    return rollout.meta(session.agent.session_id).started(turn).context(turn, model="gpt-5.5")


def test_a_session_as_it_grows(session: Session) -> None:
    rollout = begun(session)
    status = session.write(rollout.data)
    assert (status["model"], status["context_tokens"], status["last_error"]) == ("gpt-5.5", None, None)
    status = session.write(rollout.assistant("x").usage(100).assistant("y").usage(130).data)
    assert (status["context_tokens"], status["tokens"]) == (130, tokens(230, 20, 10))
    rollout.complete(session.agent.turn_id, error={"message": "no more"})
    status = session.write(rollout.data)
    assert status["last_error"] == {"at": rollout.timestamp, "message": "no more"}
    status = session.write(rollout.started(uuid7(900)).context(uuid7(900), model="gpt-6").data)
    assert (status["model"], status["last_error"]) == ("gpt-6", None)


@pytest.mark.parametrize(
    "file", ["events/codex/usage/events.jsonl", "plugin/codex/live_output", "plugin/mngr_codex/usage"]
)
def test_the_end_of_codex_is_recorded_although_a_file_of_the_usage_is_obstructed(session: Session, file: str) -> None:
    rollout, agent = begun(session), session.agent
    later = time.time_ns() // 1_000_000 - START_MS + 60_000
    (agent.state / file).mkdir(parents=True)
    codex = subprocess.Popen(["sleep", "60"])
    watcher = subprocess.Popen([program(), "watch", "--with-pid", str(codex.pid), "--state-dir", agent.state])
    try:
        agent.rollout.write_bytes(rollout.assistant("x", at=later).usage(100).data)
        raw = agent.state / "logs/codex_transcript/events.jsonl"
        wait_until(lambda: raw.exists() and raw.read_bytes() == rollout.data)
    finally:
        codex.kill()
        codex.wait()
        assert watcher.wait(timeout=30) == 0
    assert agent.status["state"] == "ENDED" and not agent.is_active
    assert any(file in line["message"] for line in agent.log)
    if "mngr_codex" not in file:
        assert agent.status["tokens"] == tokens(100, 10, 5)
        others = {"events/codex/usage/events.jsonl", "plugin/codex/live_output"} - {file}
        assert all((agent.state / other).read_bytes() for other in others)
    (agent.state / file).rmdir()
    status = session.write(rollout.assistant("x", at=later).usage(20).data)
    assert status["tokens"] == tokens(120, 20, 10) and (agent.state / file).read_bytes()


@pytest.mark.parametrize("is_freed", [True, False])
def test_mngr_learns_of_a_failed_turn_when_its_error_is_in_the_status(tmp_path: Path, is_freed: bool) -> None:
    session = Session(tmp_path)
    session.agent = agent = Agent(tmp_path, state="host/agents/agent-1")
    rollout = begun(session)
    agent.rollout.write_bytes(rollout.data)
    lock = agent.state / "plugin/mngr_codex/usage"
    watcher = subprocess.Popen([program(), "watch", "--state-dir", agent.state])
    try:
        wait_until(lambda: agent.status["tokens"] is not None)
        before, read = len(agent.activity_events), rollout.size
        rollout.complete(agent.turn_id, error={"message": "no more"})
        # Nothing can be measured while the lock is held.
        with lock.open() as file, agent.rollout.open("ab") as end:
            fcntl.flock(file, fcntl.LOCK_EX)
            end.write(rollout.data[read:])
            end.flush()
            time.sleep(0.3)
            assert len(agent.activity_events) == before
            if not is_freed:
                # The end of the turn does not wait for long.
                wait_until(lambda: len(agent.activity_events) > before, seconds=8)
                assert (agent.status["state"], agent.status["last_error"]) == ("WAITING", None)
        wait_until(lambda: len(agent.activity_events) > before)
        if is_freed:
            assert (agent.status["state"], agent.status["last_error"]["message"]) == ("WAITING", "no more")
    finally:
        watcher.terminate()
        assert watcher.wait(timeout=30) == 0
    assert agent.status["last_error"]["message"] == "no more"


def test_a_compaction_makes_the_context_unknown(session: Session) -> None:
    rollout = begun(session).assistant("x").usage(100_000).line("compacted", {"message": ""})
    at = rollout.timestamp
    estimate = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 5492}
    status = session.write(rollout.token_count(rollout.total, estimate).data)
    assert status["context_tokens"] is None and status["last_compaction"]["at"] == at
    status = session.write(rollout.assistant("y").usage(700).data)
    assert status["context_tokens"] == 700 and status["last_compaction"]["at"] == at
    assert status["tokens"] == tokens(100_700, 20, 10)


def test_an_adopted_session_counts_completely(session: Session) -> None:
    rollout = begun(session).assistant("x").usage(100)
    session.agent.rollout.write_bytes(rollout.data)
    assert run("adopt", "--state-dir", session.agent.state).status == 0
    assert session.write(rollout.data)["tokens"] == tokens(100, 10, 5)
    assert not (session.agent.state / "events/codex/usage/events.jsonl").exists()


def test_after_going_back_the_tokens_of_all_files_count_and_the_context_of_the_current_one(session: Session) -> None:
    thread = session.agent.session_id
    session.write(begun(session).assistant("x").usage(100).data)
    session.begin(thread, "_0b1c")
    rollout = begun(session)
    status = session.write(rollout.data)
    assert (status["context_tokens"], status["tokens"]) == (None, tokens(100, 10, 5))
    status = session.write(rollout.assistant("x").usage(70).data)
    assert (status["context_tokens"], status["tokens"]) == (70, tokens(170, 20, 10))


def test_a_fork_begins_at_zero(session: Session) -> None:
    base = session.agent.session_id
    session.write(begun(session).assistant("x").usage(100).data)
    session.begin(session.agent.new_id())
    turn = session.agent.turn_id
    rollout = Rollout().meta(session.agent.session_id, history_base={"thread_id": base}, forked_from_id=base)
    status = session.write(rollout.started(turn).context(turn).data)
    assert (status["context_tokens"], status["tokens"]) == (None, tokens(0, 0, 0))


@pytest.mark.parametrize("path", all_recordings(), ids=name)
def test_recorded_sessions(session: Session, path: Path) -> None:
    """The tokens are those of an independent count, and the context is the input of the last request."""
    meta, lines = session_meta(path), [parse(line) for line in lines_of(path)]
    session.begin(meta["id"])
    status = session.write(b"".join(lines_of(path)))
    count, cached, output = session_cost(lines_of(path))
    assert {key: value for key, value in status["tokens"].items() if key != "reasoning_output"} == {
        "input": count,
        "cached_input": cached,
        "output": output,
    }
    models = [line["payload"]["model"] for line in lines if line["type"] == "turn_context"]
    assert status["model"] == (models[-1] if models else None)
    expected, total = None, None
    for line, own in zip(lines, own_lines(lines), strict=True):
        payload = line["payload"]
        if line["type"] == "compacted" or payload.get("type") in ("context_compacted", "thread_rolled_back"):
            expected = None
        elif line["type"] == "token_usage_record" and own:
            expected = payload["usage"]["input_tokens"]
        elif payload.get("type") == "token_count" and payload["info"]:
            info = payload["info"]
            if own and info["total_token_usage"] != total and info["last_token_usage"]["input_tokens"]:
                expected = info["last_token_usage"]["input_tokens"]
            total = info["total_token_usage"]
    assert status["context_tokens"] == (expected or None)
