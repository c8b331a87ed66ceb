"""The Python functions `follow` and `marker`, which do the same as `watch --once` and `marker show`."""

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mngr_codex
from tests.support.fake_agent import Agent
from tests.support.followed_agent import FollowedAgent, append_lines
from tests.support.program import NOBODY
from tests.support.python_scripts import interrupt_python, run_python
from tests.support.recordings import all_recordings, lines_of, name, recordings

Function = Callable[[Path], object]

ROLLOUT = next(path for path in recordings() if name(path) == "0.169.0/tools")


class TestFollow:
    """`follow` makes one pass."""

    @pytest.mark.parametrize("path", all_recordings(), ids=name)
    def test_transcripts_equal_those_of_the_program(self, followed: FollowedAgent, tmp_path: Path, path: Path) -> None:
        other = FollowedAgent(tmp_path / "other")
        lines = lines_of(path)
        for agent in (followed, other):
            append_lines(agent.make_current("a"), lines[: len(lines) // 2])
        for options in ([], ["--final"]):
            mngr_codex.follow(followed.state, final="--final" in options)
            other.run_once(*options)
            assert (followed.raw, followed.common) == (other.raw, other.common)
            for agent in (followed, other):
                append_lines(agent.agent.home / "sessions/2026/11/22/rollout-a.jsonl", lines[len(lines) // 2 :])

    def test_the_summary_counts_added_bytes(self, followed: FollowedAgent) -> None:
        rollout = followed.make_current("a")
        lines = lines_of(ROLLOUT)
        raw = common = 0
        for part in (lines[:3], lines[3:30], (), lines[30:]):
            append_lines(rollout, part)
            added = mngr_codex.follow(str(followed.state))
            assert isinstance(added, mngr_codex.FollowSummary)
            assert added.raw_bytes == len(b"".join(part))
            raw, common = raw + added.raw_bytes, common + added.common_bytes
            assert (raw, common) == (len(followed.raw), len(followed.common))
        nothing = mngr_codex.follow(followed.state)
        assert (nothing.raw_bytes, nothing.common_bytes) == (0, 0) != (added.raw_bytes, added.common_bytes)
        assert repr(added) == f"<FollowSummary: {added.raw_bytes} bytes raw, {added.common_bytes} bytes common>"

    def test_final_emits_held_steps(self, followed: FollowedAgent) -> None:
        # These lines end before the token counts of the last steps.
        append_lines(followed.make_current("a"), lines_of(ROLLOUT)[:15])
        mngr_codex.follow(followed.state)
        assert followed.common == followed.converted("--partial")
        mngr_codex.follow(followed.state, final=True)
        assert followed.common == followed.converted()

    def test_final_is_keyword_only(self, followed: FollowedAgent) -> None:
        with pytest.raises(TypeError):
            mngr_codex.follow(followed.state, True)  # type: ignore[call-arg]

    def test_a_pass_corrects_the_marker(self, followed: FollowedAgent) -> None:
        """Only the rollout has the end of the turn."""
        agent = followed.agent
        agent.begin_turn()
        agent.write_line("task_started", agent.turn_id)
        agent.hook("user-prompt-submit")
        assert mngr_codex.marker(agent.state).state == "RUNNING"
        agent.write_line("turn_aborted", agent.turn_id)
        assert mngr_codex.marker(agent.state).state == "RUNNING"
        mngr_codex.follow(agent.state)
        assert not agent.is_active
        assert mngr_codex.marker(agent.state).state == "WAITING"

    def test_threads_can_follow_simultaneously(self, followed: FollowedAgent) -> None:
        append_lines(followed.make_current("a"), lines_of(ROLLOUT))
        added: list[mngr_codex.FollowSummary] = []
        threads = [threading.Thread(target=lambda: added.append(mngr_codex.follow(followed.state))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(one.raw_bytes for one in added) == len(followed.raw) == ROLLOUT.stat().st_size
        assert sum(one.common_bytes for one in added) == len(followed.common)

    def test_follow_works_while_a_watcher_runs(self, followed: FollowedAgent) -> None:
        watcher = followed.watch()
        try:
            rollout = followed.make_current("a")
            for line in lines_of(ROLLOUT):
                append_lines(rollout, [line])
                mngr_codex.follow(followed.state)
                assert followed.raw == rollout.read_bytes()
        finally:
            watcher.terminate()
            watcher.communicate(timeout=30)
        assert followed.common == followed.converted("--partial")

    @pytest.mark.slow
    def test_a_held_lock_raises_a_timeout_error(self, followed: FollowedAgent) -> None:
        followed.run_once()
        lock = followed.state / "plugin/mngr_codex/following"
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            began = time.monotonic()
            with pytest.raises(TimeoutError, match=r"could not acquire the transcript lock .* within 10 s") as raised:
                mngr_codex.follow(followed.state)
            assert 9 < time.monotonic() - began < 20
        assert str(lock) in str(raised.value)
        mngr_codex.follow(followed.state)

    def test_a_transcript_that_cannot_be_written_raises_its_error(self, followed: FollowedAgent) -> None:
        append_lines(followed.make_current("a"), lines_of(ROLLOUT))
        transcript = followed.state / "logs/codex_transcript/events.jsonl"
        transcript.mkdir(parents=True)
        with pytest.raises(IsADirectoryError) as raised:
            mngr_codex.follow(followed.state)
        assert raised.value.filename == str(transcript)

    def test_errors_keep_their_errno(self, followed: FollowedAgent) -> None:
        """Here a limit on the file size stands for a full disk."""
        append_lines(followed.make_current("a"), lines_of(ROLLOUT))
        code = """
import errno, resource, sys
from mngr_codex import follow
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    follow(sys.argv[1])
except OSError as error:
    print(errno.errorcode[error.errno], error.filename)
"""
        printed = run_python(code, followed.state)
        assert printed.startswith("EFBIG ")
        mngr_codex.follow(followed.state)
        assert followed.raw == ROLLOUT.read_bytes()

    def test_other_threads_run_and_ctrl_c_works_while_it_waits_for_the_lock(self, followed: FollowedAgent) -> None:
        followed.run_once()
        code = """
import sys, threading, time
from mngr_codex import follow
ticks = []
def tick():
    while True:
        ticks.append(0)
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
print("ready", flush=True)
try:
    follow(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", len(ticks) > 50, flush=True)
"""
        with (followed.state / "plugin/mngr_codex/following").open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            output = interrupt_python(code, followed.state, until=lambda: time.sleep(0.5))
        assert output == ("interrupted True\n", "")

    @pytest.mark.slow
    def test_ctrl_c_works_between_steps(self, followed: FollowedAgent) -> None:
        """Copied lines remain, and the next pass continues after them."""
        lines = b"".join(lines_of(ROLLOUT))
        rollout = followed.make_current("a")
        with rollout.open("wb") as file:
            for _ in range((512 << 20) // len(lines)):
                file.write(lines)
        code = """
import sys
from mngr_codex import follow
print("ready", flush=True)
try:
    follow(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
        transcript = followed.state / "logs/codex_transcript/events.jsonl"

        def copied() -> None:
            while not transcript.exists() or transcript.stat().st_size < 16 << 20:
                time.sleep(0.001)

        assert interrupt_python(code, followed.state, until=copied) == ("interrupted\n", "")
        assert 0 < transcript.stat().st_size < rollout.stat().st_size
        mngr_codex.follow(followed.state)
        assert transcript.stat().st_size == rollout.stat().st_size
        assert followed.raw == rollout.read_bytes()


class TestMarker:
    """`marker` reads the state."""

    def test_attributes_equal_the_output_of_the_program(self, followed: FollowedAgent) -> None:
        agent = followed.agent
        agent.marker("reset")
        assert_attributes_match(agent)
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        assert_attributes_match(agent)
        child, turn = agent.new_id(), agent.new_id()
        agent.child_hook("subagent-start", child, turn)
        agent.hook("permission-request")
        assert_attributes_match(agent)
        agent.write_line("task_started", agent.turn_id)
        agent.hook("stop")
        assert_attributes_match(agent)
        state = mngr_codex.marker(agent.state)
        assert state.state == "RUNNING"
        assert state.root and state.root.phase == "stopped"
        assert [subagent.agent_id for subagent in state.subagents] == [child]
        agent.child_hook("subagent-stop", child, turn)
        assert mngr_codex.marker(agent.state).state == "WAITING"
        assert state != mngr_codex.marker(agent.state) == mngr_codex.marker(str(agent.state))
        assert repr(state) == "<MarkerState: RUNNING, 1 subagents in flight>"
        assert repr(state.root) == "<MarkerTurn: root stopped>"

    def test_marker_writes_nothing_and_takes_no_lock(self, followed: FollowedAgent) -> None:
        agent = followed.agent
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        before = {path: path.stat().st_mtime_ns for path in agent.state.rglob("*")}
        with (agent.state / "plugin/mngr_codex/lifecycle").open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert mngr_codex.marker(agent.state).state == "RUNNING"
        assert {path: path.stat().st_mtime_ns for path in agent.state.rglob("*")} == before

    def test_an_agent_without_a_hook_is_unknown(self, tmp_path: Path) -> None:
        state = mngr_codex.marker(tmp_path)
        assert (state.state, state.is_marker_there, state.session_id, state.root) == ("UNKNOWN", False, None, None)
        assert state.waiting_reason is None
        assert state.subagents == ()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", [mngr_codex.follow, mngr_codex.marker])
class TestErrors:
    """Errors of both functions."""

    def test_a_missing_state_dir_is_not_created(self, function: Function, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            function(tmp_path / "none")
        assert raised.value.filename == str(tmp_path / "none")
        assert list(tmp_path.iterdir()) == []

    def test_a_file_is_no_state_dir(self, function: Function, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError):
            function(tmp_path / "file")

    def test_an_unreadable_state_dir_raises_a_permission_error(self, function: Function, open_to_all: Path) -> None:
        agent = Agent(open_to_all / "agent")
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        # The folder is neither readable nor writable.
        (agent.state / "plugin").chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            with pytest.raises(PermissionError) as raised:
                function(agent.state)
        finally:
            os.seteuid(user)
            (agent.state / "plugin").chmod(0o755)
        assert str(agent.state) in str(raised.value)
        shutil.rmtree(agent.folder)


def assert_attributes_match(agent: Agent) -> None:
    """Checks that the attributes are exactly the members that `marker show --json` prints."""
    assert attributes(mngr_codex.marker(agent.state)) == agent.report()


def attributes(value: object) -> object:
    """Returns an object as `marker show --json` prints it."""
    if isinstance(value, mngr_codex.MarkerState | mngr_codex.MarkerTurn):
        return {name: attributes(getattr(value, name)) for name in dir(value) if not name.startswith("_")}
    return [attributes(one) for one in value] if isinstance(value, tuple) else value
