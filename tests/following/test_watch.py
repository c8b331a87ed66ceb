"""`mngr-codex watch` copies each line to both transcripts exactly once, even if watchers are killed."""

import random
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, append_lines, wait_until
from tests.support.program import run
from tests.support.recordings import all_recordings, lines_of, name, recordings

ROLLOUT = next(path for path in recordings() if name(path) == "0.169.0/tools")
OTHER = next(path for path in recordings() if name(path) == "0.163.0/resume")


def wait_for(watcher: "subprocess.Popen[bytes]") -> tuple[int, bytes]:
    """Waits until a watcher exits, and returns its status and standard error. It must print nothing."""
    stdout, stderr = watcher.communicate(timeout=30)
    assert stdout == b""
    return watcher.returncode, stderr


def watch_turn(followed: FollowedAgent, pid: int, missing_call: str | None = None) -> "subprocess.Popen[bytes]":
    """Begins a turn and starts a watcher for a process; returns it after it has read the turn's first line."""
    agent = followed.agent
    watcher = followed.watch("--with-pid", str(pid), missing_call=missing_call)
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    agent.write_line("task_started", agent.turn_id)
    wait_until(lambda: followed.raw == agent.rollout.read_bytes())
    return watcher


class TestOnce:
    """`watch --once` makes one pass."""

    @pytest.mark.parametrize("path", all_recordings(), ids=name)
    def test_transcripts_match_the_rollout_after_each_pass(self, followed: FollowedAgent, path: Path) -> None:
        """The raw transcript equals the rollout, and the common transcript the output of `convert`."""
        lines = lines_of(path)
        rollout = followed.make_current("a")
        positions = [*range(0, len(lines), max(1, len(lines) // 4)), len(lines)]
        for start, end in pairwise(positions):
            append_lines(rollout, lines[start:end])
            followed.run_once()
            assert followed.raw == rollout.read_bytes()
            assert followed.common == followed.converted("--partial")
        followed.run_once("--final")
        assert followed.common.startswith(followed.converted("--partial"))

    @pytest.mark.parametrize("seed", range(4))
    def test_transcripts_of_a_damaged_rollout_match_it(self, followed: FollowedAgent, seed: int) -> None:
        chance = random.Random(seed)
        lines = lines_of(ROLLOUT)
        damaged = []
        for line in lines:
            half = chance.choice(lines)[: chance.randrange(1, 200)].rstrip(b"\n")
            junk = chance.choice([half, bytes(chance.randrange(1, 9000)), b"\xef\xbb\xbf"])
            damaged.append(chance.choice([line, line, junk + line, line.rstrip(b"\n")]))
        damaged.append(b"\n")
        rollout = followed.make_current("a")
        for line in damaged:
            append_lines(rollout, [line])
            if chance.random() < 0.2:
                followed.run_once()
        followed.run_once()
        assert followed.raw == rollout.read_bytes()
        assert followed.common == followed.converted("--partial")
        records = {line for line in followed.common.splitlines() if b'"message"' in line}
        assert len(records) > 3

    def test_an_agent_without_a_rollout_gets_no_transcript(self, followed: FollowedAgent) -> None:
        followed.run_once()
        assert followed.raw == followed.common == b""

    def test_a_rollout_may_be_created_later(self, followed: FollowedAgent) -> None:
        rollout = followed.make_current("a")
        followed.run_once()
        append_lines(rollout, lines_of(ROLLOUT))
        followed.run_once()
        assert followed.raw == ROLLOUT.read_bytes()

    def test_a_partial_line_is_copied_when_it_is_complete(self, followed: FollowedAgent) -> None:
        rollout = followed.make_current("a")
        first, second, *_ = lines_of(ROLLOUT)
        append_lines(rollout, [first, second[:-1]])
        followed.run_once("--final")
        assert followed.raw == first
        append_lines(rollout, [b"\n"])
        followed.run_once()
        assert followed.raw == first + second

    def test_rollouts_written_between_passes_are_copied_file_by_file(self, followed: FollowedAgent) -> None:
        """They became current in the order A, B, A."""
        lines, others = lines_of(ROLLOUT), lines_of(OTHER)
        rollout = followed.make_current("a")
        append_lines(rollout, lines[:10])
        followed.run_once()
        append_lines(rollout, lines[10:20])
        append_lines(followed.make_current("b"), others)
        followed.make_current("a")
        append_lines(rollout, lines[20:])
        followed.run_once()
        assert followed.raw == b"".join([*lines, *others])
        assert followed.common == followed.converted("--partial")

    def test_a_pass_without_new_lines_writes_nothing(self, followed: FollowedAgent) -> None:
        append_lines(followed.make_current("a"), lines_of(ROLLOUT))
        followed.run_once()
        before = {path: path.stat().st_mtime_ns for path in followed.state.rglob("*") if path.is_file()}
        followed.run_once()
        assert {path: path.stat().st_mtime_ns for path in followed.state.rglob("*") if path.is_file()} == before

    def test_a_deleted_transcript_is_rebuilt(self, followed: FollowedAgent) -> None:
        append_lines(followed.make_current("a"), lines_of(ROLLOUT))
        followed.run_once()
        raw, common = followed.raw, followed.common
        for transcript in followed.state.rglob("*_transcript/events.jsonl"):
            transcript.unlink()
            followed.run_once()
            assert (followed.raw, followed.common) == (raw, common)

    def test_a_pass_corrects_the_marker(self, followed: FollowedAgent) -> None:
        """Only the rollout has the end of the turn."""
        agent = followed.agent
        agent.begin_turn()
        agent.write_line("task_started", agent.turn_id)
        agent.hook("user-prompt-submit")
        followed.run_once()
        assert agent.is_active
        agent.write_line("turn_aborted", agent.turn_id)
        followed.run_once()
        assert not agent.is_active
        assert followed.raw == agent.rollout.read_bytes()

    @pytest.mark.parametrize(
        "arguments",
        [["--final"], ["--once", "--with-pid", "1"], ["--with-pid", "0"], ["--with-pid", "x"], ["--never"]],
        ids=" ".join,
    )
    def test_invalid_arguments_are_refused(self, followed: FollowedAgent, arguments: list[str]) -> None:
        done = run("watch", *arguments, "--state-dir", followed.state)
        assert done.status == 2
        assert "Usage:" in done.stderr or "process id" in done.stderr

    def test_a_state_dir_must_be_named_and_exist(self, tmp_path: Path) -> None:
        done = run("watch", "--once", env={})
        assert (done.status, "--state-dir" in done.stderr) == (2, True)
        missing = tmp_path / "missing"
        done = run("watch", "--once", "--state-dir", missing)
        assert (done.status, str(missing) in done.stderr) == (1, True)
        assert not missing.exists()


class TestWatching:
    """A watcher that keeps running."""

    def test_lines_are_copied_as_they_are_written(self, followed: FollowedAgent) -> None:
        watcher = followed.watch()
        rollout = followed.make_current("a")
        for line in lines_of(ROLLOUT):
            append_lines(rollout, [line])
            wait_until(lambda: followed.raw == rollout.read_bytes())
        append_lines(followed.make_current("b"), lines_of(OTHER))
        wait_until(lambda: followed.raw == ROLLOUT.read_bytes() + OTHER.read_bytes())
        wait_until(lambda: followed.common == followed.converted("--partial"))
        watcher.terminate()
        assert wait_for(watcher) == (0, b"")

    def test_folders_created_later_are_noticed(self, followed: FollowedAgent) -> None:
        """They are noticed long before the next fallback poll."""
        agent = followed.agent
        agent.begin_turn()
        watcher = followed.watch()
        agent.hook("user-prompt-submit")
        time.sleep(0.3)
        for folder in [*reversed(agent.rollout.parents)]:
            if not folder.exists():
                folder.mkdir()
                time.sleep(0.05)
        append_lines(agent.rollout, lines_of(ROLLOUT))
        wait_until(lambda: followed.raw == agent.rollout.read_bytes(), seconds=15)
        watcher.terminate()
        assert wait_for(watcher) == (0, b"")

    @pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
    def test_a_stopped_watcher_makes_a_last_pass(self, followed: FollowedAgent, stop: signal.Signals) -> None:
        rollout = followed.make_current("a")
        append_lines(rollout, lines_of(ROLLOUT)[:5])
        watcher = followed.watch()
        wait_until(lambda: followed.raw == rollout.read_bytes())
        append_lines(rollout, lines_of(ROLLOUT)[5:])
        watcher.send_signal(stop)
        assert wait_for(watcher) == (0, b"")
        assert followed.raw == rollout.read_bytes()

    def test_a_watcher_exits_with_its_process(self, followed: FollowedAgent) -> None:
        rollout = followed.make_current("a")
        with subprocess.Popen(["sleep", "600"]) as process:
            watcher = followed.watch("--with-pid", str(process.pid))
            append_lines(rollout, lines_of(ROLLOUT))
            wait_until(lambda: followed.raw == rollout.read_bytes())
            assert watcher.poll() is None
            process.kill()
        assert wait_for(watcher) == (0, b"")
        # The process may have exited before the watcher starts.
        assert wait_for(followed.watch("--with-pid", str(process.pid))) == (0, b"")

    @pytest.mark.parametrize("is_signaled", [True, False])
    def test_a_turn_ends_with_its_process(self, followed: FollowedAgent, is_signaled: bool) -> None:
        """Codex is killed, alone or together with its watcher."""
        agent = followed.agent
        with subprocess.Popen(["sleep", "60"]) as process:
            watcher = watch_turn(followed, process.pid)
            if is_signaled:
                watcher.terminate()
                time.sleep(0.05)
            process.kill()
        assert wait_for(watcher) == (0, b"")
        assert not agent.is_active
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        assert agent.is_active

    @pytest.mark.usefixtures("tracing")
    def test_a_process_is_polled_if_there_is_no_pidfd_open(self, followed: FollowedAgent) -> None:
        """Linux has it since 5.3, and a strict seccomp filter can forbid it."""
        agent = followed.agent
        with subprocess.Popen(["sleep", "60"]) as process:
            watcher = watch_turn(followed, process.pid, missing_call="pidfd_open")
            agent.assert_logged(f"cannot open a pidfd of process {process.pid}", "polling the process instead")
            assert watcher.poll() is None
            process.kill()
        assert wait_for(watcher) == (0, b"")
        assert not agent.is_active

    @pytest.mark.usefixtures("tracing")
    def test_files_are_polled_if_there_is_no_inotify(self, followed: FollowedAgent) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            watcher = watch_turn(followed, process.pid, missing_call="inotify_init1")
            append_lines(followed.agent.rollout, lines_of(ROLLOUT))
            wait_until(lambda: followed.raw == followed.agent.rollout.read_bytes())
            followed.agent.assert_logged("the system does not report file changes", "polling the files instead")
            assert watcher.poll() is None
            process.kill()
        assert wait_for(watcher) == (0, b"")

    def test_a_turn_outlives_a_stopped_watcher(self, followed: FollowedAgent) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            watcher = watch_turn(followed, process.pid)
            watcher.terminate()
            status = wait_for(watcher)
            process.kill()
        assert status == (0, b"")
        assert followed.agent.is_active

    def test_the_turn_of_a_later_process_is_not_ended(self, followed: FollowedAgent) -> None:
        agent = followed.agent
        with subprocess.Popen(["sleep", "60"]) as process:
            watcher = watch_turn(followed, process.pid)
            agent.marker("reset")
            agent.begin_turn()
            agent.hook("user-prompt-submit")
            process.kill()
        assert wait_for(watcher) == (0, b"")
        assert agent.is_active

    def test_a_watcher_exits_if_its_state_dir_is_removed(self, followed: FollowedAgent) -> None:
        watcher = followed.watch()
        rollout = followed.make_current("a")
        append_lines(rollout, lines_of(ROLLOUT)[:3])
        wait_until(lambda: followed.raw == rollout.read_bytes())
        followed.state.rename(followed.state.with_name("gone"))
        status, stderr = wait_for(watcher)
        assert (status, b"cannot open the state directory" in stderr) == (1, True)

    @pytest.mark.parametrize("seed", range(20))
    def test_a_watcher_never_recreates_a_removed_state_dir(self, followed: FollowedAgent, seed: int) -> None:
        chance = random.Random(seed)
        rollout = followed.make_current("a")
        watcher = followed.watch()
        time.sleep(chance.uniform(0, 0.02))
        append_lines(rollout, lines_of(ROLLOUT))
        time.sleep(chance.uniform(0, 0.003))
        followed.state.rename(followed.state.with_name("gone"))
        status, stderr = wait_for(watcher)
        assert (status, b"cannot open the state directory" in stderr) == (1, True)
        assert not followed.state.exists()

    def test_a_watcher_ends_turns_that_hooks_do_not_end(self, followed: FollowedAgent) -> None:
        agent = followed.agent
        watcher = followed.watch()
        agent.begin_turn()
        agent.write_line("task_started", agent.turn_id)
        agent.hook("user-prompt-submit")
        child, turn = agent.new_id(), agent.new_id()
        agent.child_hook("subagent-start", child, turn)
        agent.write_line("task_started", turn, rollout=agent.rollout_path(child))
        agent.write_line("turn_aborted", agent.turn_id)
        wait_until(lambda: not (agent.state / "codex_root_active").exists())
        assert agent.is_active
        agent.write_line("task_complete", turn, rollout=agent.rollout_path(child))
        wait_until(lambda: not agent.is_active)
        watcher.terminate()
        assert wait_for(watcher) == (0, b"")

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(4))
    def test_two_watchers_that_are_killed_and_restarted(self, followed: FollowedAgent, seed: int) -> None:
        chance = random.Random(seed)
        lines = lines_of(ROLLOUT)
        rollout = followed.make_current("a")
        watchers = [followed.watch(), followed.watch()]
        seen = b""
        for line in lines:
            cut = chance.randrange(len(line))
            for part in (line[:cut], line[cut:]):
                append_lines(rollout, [part])
                time.sleep(chance.random() * 0.01)
                # Complete lines that a reader has seen never change.
                now = followed.common
                complete = now[: now.rfind(b"\n") + 1]
                assert complete.startswith(seen)
                seen = complete
            if chance.random() < 0.5:
                position = chance.randrange(2)
                watchers[position].kill()
                watchers[position].communicate()
                watchers[position] = followed.watch()
        for watcher in watchers:
            watcher.terminate()
            # A watcher that has just started may not handle signals yet.
            assert wait_for(watcher) in [(0, b""), (-signal.SIGTERM, b"")]
        followed.run_once()
        assert followed.raw == rollout.read_bytes()
        assert followed.common == followed.converted("--partial")
