"""Agents without a common transcript: they have a file `plugin/mngr_codex/raw_only`."""

import pytest

import mngr_codex
from tests.support.followed_agent import FollowedAgent, append_lines
from tests.support.recordings import lines_of, name, recordings

LINES = lines_of(next(path for path in recordings() if name(path) == "0.169.0/tools"))


@pytest.fixture
def raw_only(followed: FollowedAgent) -> FollowedAgent:
    marker = followed.state / "plugin/mngr_codex/raw_only"
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    return followed


def test_only_the_raw_transcript_is_written(raw_only: FollowedAgent) -> None:
    rollout = raw_only.make_current("a")
    for part in (LINES[:10], LINES[10:20], LINES[20:]):
        append_lines(rollout, part)
        raw_only.run_once()
        assert raw_only.raw == rollout.read_bytes()
    raw_only.run_once("--final")
    added = mngr_codex.follow(raw_only.state)
    assert (added.raw_bytes, added.common_bytes) == (0, 0)
    assert not (raw_only.state / "events/codex/common_transcript").exists()
    assert raw_only.agent.log == []


def test_a_pass_corrects_the_marker(raw_only: FollowedAgent) -> None:
    agent = raw_only.agent
    agent.begin_turn()
    agent.write_line("task_started", agent.turn_id)
    agent.hook("user-prompt-submit")
    agent.write_line("turn_aborted", agent.turn_id)
    assert agent.is_active
    raw_only.run_once()
    assert not agent.is_active


@pytest.mark.parametrize("begins_without", [True, False])
def test_the_common_transcript_can_be_switched_on_and_off(followed: FollowedAgent, begins_without: bool) -> None:
    """The file is read at each pass."""
    marker = followed.state / "plugin/mngr_codex/raw_only"
    marker.parent.mkdir(parents=True, exist_ok=True)
    rollout = followed.make_current("a")
    has_common = not begins_without
    for start in range(0, len(LINES), 5):
        if has_common:
            marker.unlink(missing_ok=True)
        else:
            marker.touch()
        append_lines(rollout, LINES[start : start + 5])
        before = followed.common
        mngr_codex.follow(followed.state)
        assert followed.raw == rollout.read_bytes()
        assert followed.common == (followed.converted("--partial") if has_common else before)
        has_common = not has_common
    marker.unlink(missing_ok=True)
    mngr_codex.follow(followed.state, final=True)
    assert followed.common == followed.converted()
