"""Stop and SessionEnd bring the transcripts up to date before they say that the turn is over."""

import fcntl
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, append_lines, wait_until
from tests.support.program import Conversion, run
from tests.support.recordings import lines_of, name, recordings
from tests.support.strace import Traced

LINES = lines_of(next(path for path in recordings() if name(path) == "0.169.0/tools"))

FOLLOWING = "plugin/mngr_codex/following"


def member(line_type: str, key: str) -> str:
    """A member of the first line of a type."""
    payloads = (json.loads(line)["payload"] for line in LINES)
    return str(next(payload[key] for payload in payloads if payload.get("type", "session_meta") == line_type))


@pytest.fixture
def turn(followed: FollowedAgent) -> FollowedAgent:
    """A turn has begun, some of its lines are followed, and the others are written."""
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


def hook(turn: FollowedAgent, *options: str) -> Conversion:
    """Runs the Stop hook with options."""
    agent = turn.agent
    return run("hook", "stop", *options, stdin=agent.payload("stop"), env=agent.environment())


@pytest.mark.parametrize("event", ["stop", "session-end"])
def test_whoever_sees_that_the_agent_waits_finds_its_last_words(turn: FollowedAgent, event: str) -> None:
    turn.agent.hook(event)
    assert turn.agent.is_active == (event != "stop")
    assert turn.raw == b"".join(LINES)
    assert turn.common == turn.converted("--partial") != b""
    assert turn.agent.log == []


@pytest.mark.parametrize("event", ["post-tool-use", "interrupt", "pre-compact"])
def test_no_other_hook_does(turn: FollowedAgent, event: str) -> None:
    turn.agent.hook(event)
    assert turn.raw == b"".join(LINES[:10])


def test_no_hook_of_a_subagent_does(turn: FollowedAgent) -> None:
    child = turn.agent.new_id()
    turn.agent.child_hook("subagent-start", child, turn.agent.new_id())
    turn.agent.child_hook("subagent-stop", child, turn.agent.new_id())
    assert turn.raw == b"".join(LINES[:10])


def test_the_first_pass_may_be_a_hook(followed: FollowedAgent) -> None:
    agent = followed.agent
    agent.rollout.parent.mkdir(parents=True)
    append_lines(agent.rollout, LINES)
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    agent.hook("stop")
    assert followed.raw == b"".join(LINES)
    assert followed.common == followed.converted("--partial")


def test_nothing_is_made_where_no_rollout_is_known(followed: FollowedAgent) -> None:
    agent = followed.agent
    agent.begin_turn()
    agent.hook("user-prompt-submit", transcript_path=None)
    agent.hook("stop", transcript_path=None)
    assert not agent.is_active
    assert not (agent.state / "logs").exists()


def test_another_pass_is_waited_for_as_long_as_the_budget(turn: FollowedAgent) -> None:
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


def test_a_budget_of_nothing_leaves_all_to_the_watcher(turn: FollowedAgent) -> None:
    with (turn.state / FOLLOWING).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = hook(turn, "--flush-budget", "0")
    assert (done.status, done.stdout, done.stderr) == (0, b"", "")
    assert not turn.agent.is_active
    assert turn.raw == b"".join(LINES[:10])


@pytest.mark.parametrize("budget", ["x", "-1", ""])
def test_a_budget_that_is_none_is_told_and_does_no_harm(turn: FollowedAgent, budget: str) -> None:
    done = hook(turn, f"--flush-budget={budget}")
    assert (done.status, done.stdout) == (0, b"")
    assert "--flush-budget" in done.stderr


def test_much_is_left_when_the_budget_is_spent(turn: FollowedAgent) -> None:
    """What is left is some of the lines, whole, and the watcher's."""
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


@pytest.mark.parametrize("what", ["the checkpoint", "common", "the rollout"])
def test_what_takes_long_to_set_right_is_left(turn: FollowedAgent, what: str) -> None:
    rollout = turn.agent.rollout
    large = b"".join(LINES) * ((3 << 20) // len(b"".join(LINES)))
    append_lines(rollout, [large])
    turn.run_once()
    raw, common = turn.raw, turn.common
    append_lines(rollout, LINES)
    match what:
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


def test_a_former_rollout_that_is_gone_is_in_nobody_s_way(turn: FollowedAgent) -> None:
    """It is not known what of it was copied, since the checkpoint is lost."""
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


def test_many_rollouts_do_not_hold_it_up(turn: FollowedAgent) -> None:
    with (turn.state / "codex_transcript_paths").open("a") as paths:
        paths.writelines(f"{turn.agent.home}/sessions/2026/11/22/none-{number}.jsonl\n" for number in range(20_000))
    begun = time.monotonic()
    turn.agent.hook("stop")
    assert time.monotonic() - begun < 10
    assert not turn.agent.is_active


def test_a_very_long_line_is_left(turn: FollowedAgent) -> None:
    append_lines(turn.agent.rollout, [b'{"type":"x","payload":"' + b"x" * (16 << 20) + b'"}\n'])
    turn.agent.hook("stop")
    assert not turn.agent.is_active
    assert turn.raw == b"".join(LINES)


def test_its_turn_comes_while_a_watcher_catches_up(followed: FollowedAgent) -> None:
    """Who waits for the lock goes before a watcher that takes it again and again."""
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
def test_no_link_is_followed_out_of_the_state_dir(turn: FollowedAgent, tmp_path: Path, file: str) -> None:
    outside = tmp_path / "outside"
    (turn.state / file).unlink()
    (turn.state / file).symlink_to(outside)
    turn.agent.hook("stop")
    assert not outside.exists()


def test_what_cannot_be_written_is_logged_and_the_turn_is_over(turn: FollowedAgent) -> None:
    transcript = turn.state / "logs/codex_transcript/events.jsonl"
    transcript.unlink()
    transcript.mkdir()
    turn.agent.hook("stop")
    assert not turn.agent.is_active
    turn.agent.assert_logged("transcripts before a turn's end", str(transcript))


@pytest.mark.slow
def test_a_kill_at_every_call(turn: FollowedAgent, tracing: None, tmp_path: Path) -> None:
    """What was not done the next pass does."""
    before = tmp_path / "before"
    shutil.copytree(turn.state, before)
    payload = turn.agent.payload("stop")

    def fresh() -> Traced:
        shutil.rmtree(turn.state)
        shutil.copytree(before, turn.state)
        return Traced(["hook", "stop"], turn.agent.environment(), payload)

    calls = list(fresh().calls(tmp_path / "calls", FOLLOWING))
    raw, common = turn.raw, turn.common
    assert raw == b"".join(LINES)
    assert {"pwrite64", "flock"} <= {called for called, _ in calls}
    for called, number in calls:
        fresh().kill(called, number)
        assert raw.startswith(turn.raw) and common.startswith(turn.common)
        if not turn.agent.is_active:
            assert (turn.raw, turn.common) == (raw, common), (called, number)
        turn.run_once()
        assert (turn.raw, turn.common) == (raw, common), (called, number)
