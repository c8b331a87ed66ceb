"""The Stop and SessionEnd hooks bring the transcripts up to date before the agent shows WAITING."""

import fcntl
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, append_lines, wait_until
from tests.support.program import Completed, run
from tests.support.recordings import lines_of, name, recordings
from tests.support.strace import TracedCommand

LINES = lines_of(next(path for path in recordings() if name(path) == "0.169.0/tools"))

FOLLOWING = "plugin/mngr_codex/following"


def member(line_type: str, key: str) -> str:
    """Returns a member of the first line of a type."""
    payloads = (json.loads(line)["payload"] for line in LINES)
    return str(next(payload[key] for payload in payloads if payload.get("type", "session_meta") == line_type))


@pytest.fixture
def turn(followed: FollowedAgent) -> FollowedAgent:
    """An agent with an open turn. The first lines of its rollout are copied, the others are only written."""
    agent = followed.agent
    agent.session_id = member("session_meta", "id")
    agent.turn_id = member("task_started", "turn_id")
    agent.rollout.parent.mkdir(parents=True)
    agent.hook("user-prompt-submit")
    append_lines(agent.rollout, LINES[:10])
    followed.run_once()
    append_lines(agent.rollout, LINES[10:])
    assert agent.is_active
    return followed


def hook(turn: FollowedAgent, *options: str) -> Completed:
    """Runs the Stop hook with command line options."""
    agent = turn.agent
    return run("hook", "stop", *options, stdin=agent.payload("stop"), env=agent.environment())


@pytest.mark.parametrize("event", ["stop", "session-end"])
def test_transcripts_are_complete_when_the_hook_exits(turn: FollowedAgent, event: str) -> None:
    turn.agent.hook(event)
    assert not turn.agent.is_active
    assert turn.raw == b"".join(LINES)
    assert turn.common == turn.converted("--partial") != b""
    assert turn.agent.log == []


@pytest.mark.parametrize("event", ["post-tool-use", "interrupt", "pre-compact"])
def test_other_hooks_do_not_flush(turn: FollowedAgent, event: str) -> None:
    turn.agent.hook(event)
    assert turn.raw == b"".join(LINES[:10])


def test_hooks_of_subagents_do_not_flush(turn: FollowedAgent) -> None:
    child = turn.agent.new_id()
    turn.agent.child_hook("subagent-start", child, turn.agent.new_id())
    turn.agent.child_hook("subagent-stop", child, turn.agent.new_id())
    assert turn.raw == b"".join(LINES[:10])


def test_a_hook_can_make_the_first_pass(followed: FollowedAgent) -> None:
    agent = followed.agent
    agent.rollout.parent.mkdir(parents=True)
    append_lines(agent.rollout, LINES)
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    agent.hook("stop")
    assert followed.raw == b"".join(LINES)
    assert followed.common == followed.converted("--partial")


def test_no_transcript_is_created_without_a_rollout(followed: FollowedAgent) -> None:
    agent = followed.agent
    agent.begin_turn()
    agent.hook("user-prompt-submit", transcript_path=None)
    agent.hook("stop", transcript_path=None)
    assert not agent.is_active
    assert not (agent.state / "logs").exists()


def test_a_hook_waits_for_another_pass_within_its_budget(turn: FollowedAgent) -> None:
    with (turn.state / FOLLOWING).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begun = time.monotonic()
        turn.agent.hook("stop")
        assert 0.05 <= time.monotonic() - begun < 10
    assert not turn.agent.is_active
    assert turn.raw == b"".join(LINES[:10])
    assert turn.agent.log == []
    turn.run_once()
    assert turn.raw == b"".join(LINES)


def test_a_hook_without_a_budget_leaves_all_lines_to_the_watcher(turn: FollowedAgent) -> None:
    with (turn.state / FOLLOWING).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = hook(turn, "--flush-budget", "0")
    assert (done.status, done.stdout, done.stderr) == (0, b"", "")
    assert not turn.agent.is_active
    assert turn.raw == b"".join(LINES[:10])


@pytest.mark.parametrize("budget", ["x", "-1", ""])
def test_an_invalid_budget_is_reported_and_fails_no_hook(turn: FollowedAgent, budget: str) -> None:
    done = hook(turn, f"--flush-budget={budget}")
    assert (done.status, done.stdout) == (0, b"")
    assert "--flush-budget" in done.stderr


def test_a_hook_stops_when_its_budget_is_spent(turn: FollowedAgent) -> None:
    """It stops between two lines, and leaves the remaining ones to the watcher."""
    rollout = turn.agent.rollout
    block = b"".join(LINES) * 200
    with rollout.open("ab") as file:
        for _ in range((400 << 20) // len(block)):
            file.write(block)
    turn.agent.hook("stop")
    assert not turn.agent.is_active
    assert 0 < len(turn.raw) < rollout.stat().st_size
    assert turn.raw.endswith(b"\n") and rollout.read_bytes().startswith(turn.raw)
    assert turn.common == turn.converted("--partial")
    turn.run_once()
    assert turn.raw == rollout.read_bytes()


@pytest.mark.parametrize("lost", ["the checkpoint", "common", "the rollout"])
def test_a_hook_leaves_long_repairs_to_the_watcher(turn: FollowedAgent, lost: str) -> None:
    rollout = turn.agent.rollout
    large = b"".join(LINES) * ((3 << 20) // len(b"".join(LINES)))
    append_lines(rollout, [large])
    turn.run_once()
    raw, common = turn.raw, turn.common
    append_lines(rollout, LINES)
    match lost:
        case "the checkpoint":
            (turn.state / FOLLOWING).unlink()
        case "common":
            (turn.state / "events/codex/common_transcript/events.jsonl").unlink()
            common = b""
        case "the rollout":
            rollout.write_bytes(rollout.read_bytes()[1:])
    turn.agent.hook("stop")
    assert not turn.agent.is_active
    assert (turn.raw, turn.common) == (raw, common)


def test_a_deleted_earlier_rollout_does_not_block_the_flush(turn: FollowedAgent) -> None:
    """Without a checkpoint it is unknown how much of it was copied."""
    agent = turn.agent
    gone = turn.make_current("gone")
    append_lines(gone, LINES[:3])
    turn.run_once()
    gone.unlink()
    turn.make_current(agent.rollout.stem.removeprefix("rollout-"))
    (turn.state / FOLLOWING).unlink()
    turn.run_once()
    append_lines(agent.rollout, LINES)
    before = turn.raw
    agent.hook("stop")
    assert turn.raw == before + b"".join(LINES)


def test_many_missing_rollouts_do_not_delay_the_hook(turn: FollowedAgent) -> None:
    with (turn.state / "codex_transcript_paths").open("a") as paths:
        paths.writelines(f"{turn.agent.home}/sessions/2026/11/22/none-{number}.jsonl\n" for number in range(20_000))
    begun = time.monotonic()
    turn.agent.hook("stop")
    assert time.monotonic() - begun < 10
    assert not turn.agent.is_active


def test_a_hook_leaves_a_very_long_line_to_the_watcher(turn: FollowedAgent) -> None:
    append_lines(turn.agent.rollout, [b'{"type":"x","payload":"' + b"x" * (16 << 20) + b'"}\n'])
    turn.agent.hook("stop")
    assert not turn.agent.is_active
    assert turn.raw == b"".join(LINES)


def test_a_pass_gets_the_lock_while_a_watcher_catches_up(followed: FollowedAgent) -> None:
    """The watcher takes the lock again and again, and must let waiting processes have it first."""
    rollout = followed.make_current("large")
    block = b"".join(LINES) * 200
    with rollout.open("wb") as file:
        for _ in range((1 << 30) // len(block)):
            file.write(block)
    watcher = followed.watch()
    try:
        wait_until(lambda: len(followed.raw) > 0)
        done = run(
            "watch", "--once", "--state-dir", followed.state, env={**os.environ, "MNGR_CONVERT_LOCK_TIMEOUT": "2"}
        )
        assert (done.status, done.stderr) == (0, "")
    finally:
        watcher.kill()
        watcher.communicate()


@pytest.mark.parametrize("file", ["logs/codex_transcript/events.jsonl", FOLLOWING, "plugin/mngr_codex/lifecycle"])
def test_no_link_out_of_the_state_dir_is_followed(turn: FollowedAgent, tmp_path: Path, file: str) -> None:
    outside = tmp_path / "outside"
    (turn.state / file).unlink()
    (turn.state / file).symlink_to(outside)
    turn.agent.hook("stop")
    assert not outside.exists()


def test_a_transcript_that_cannot_be_written_is_logged_and_the_turn_ends(turn: FollowedAgent) -> None:
    transcript = turn.state / "logs/codex_transcript/events.jsonl"
    transcript.unlink()
    transcript.mkdir()
    turn.agent.hook("stop")
    assert not turn.agent.is_active
    turn.agent.assert_logged("cannot update the transcripts before the end of a turn", str(transcript))


@pytest.mark.slow
def test_the_next_pass_completes_a_hook_killed_at_any_system_call(
    turn: FollowedAgent, tracing: None, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    shutil.copytree(turn.state, before)
    payload = turn.agent.payload("stop")

    def restore() -> TracedCommand:
        shutil.rmtree(turn.state)
        shutil.copytree(before, turn.state)
        return TracedCommand(["hook", "stop"], turn.agent.environment(), payload)

    calls = list(restore().calls(tmp_path / "calls", FOLLOWING))
    raw, common = turn.raw, turn.common
    assert raw == b"".join(LINES)
    assert {"pwrite64", "flock"} <= {called for called, _ in calls}
    for called, number in calls:
        restore().kill(called, number)
        assert raw.startswith(turn.raw) and common.startswith(turn.common)
        if not turn.agent.is_active:
            assert (turn.raw, turn.common) == (raw, common), (called, number)
        turn.run_once()
        assert (turn.raw, turn.common) == (raw, common), (called, number)
