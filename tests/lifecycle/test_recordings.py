"""Replays recorded sessions: `active` is correct whenever no hook or line is pending."""

import json
import random
import re
from pathlib import Path

import pytest

from tests.support.fake_agent import Agent
from tests.support.recordings import lines_of, name, parse
from tests.support.session_replay import Recording, Replay, expected_markers, hook_logs, reordered, with_restarts

SEEDS = range(2)


def has_restarts(log: Path) -> bool:
    """Whether Codex was started more than once."""
    return len({parse(line).get("ppid") for line in lines_of(log)} - {None}) > 1


def has_rollouts(log: Path) -> bool:
    """Whether the recording has rollouts, which can correct the hooks."""
    return any(it.file for it in Recording(log).events)


recorded = pytest.mark.parametrize("log", hook_logs(), ids=name)


@recorded
def test_the_marker_is_correct_after_every_event(log: Path, agent: Agent) -> None:
    events = Recording(log).events
    answers = expected_markers(events)
    replay = Replay(agent)
    replay.run(events, answers)
    replay.end(answers[-1])
    assert replay.wrong == []
    assert replay.checked > 2


@pytest.mark.parametrize("log", [log for log in hook_logs() if has_restarts(log)], ids=name)
def test_the_marker_is_correct_if_the_agent_is_restarted(log: Path, agent: Agent) -> None:
    """There is a reset before every Codex but the first, as mngr runs it."""
    events = with_restarts(Recording(log).events)
    answers = expected_markers(events)
    replay = Replay(agent)
    replay.run(events, answers)
    replay.end(answers[-1])
    assert replay.wrong == []


@pytest.mark.parametrize("log", [log for log in hook_logs() if has_rollouts(log)], ids=name)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_marker_is_correct_after_hooks_in_another_order(log: Path, agent: Agent, seed: int) -> None:
    """Rollouts correct late and repeated hooks, so only the final marker is known."""
    events = Recording(log).events
    answer = expected_markers(events)[-1]
    order = reordered(events, random.Random(f"{seed} {name(log)}"))
    replay = Replay(agent)
    replay.run(order, [None] * len(order))
    replay.end(answer)
    assert replay.wrong == []


@pytest.mark.parametrize("log", [log for log in hook_logs() if re.search("/tui_(ask|approval)", name(log))], ids=name)
def test_the_waiting_reason_is_that_of_the_last_request(log: Path, agent: Agent) -> None:
    """It is known from the request to the next hook or the output of the call. Rollouts are read after each event."""
    events = Recording(log).events
    replay = Replay(agent)
    expected: str | None = None
    seen = set()
    for it in events:
        if it.name == "PermissionRequest":
            expected = "PERMISSIONS"
        elif it.name == "PreToolUse" and json.loads(it.data)["tool_name"] == "request_user_input":
            expected = "QUESTION"
        elif it.process or b"_output" in it.data:
            expected = None
        replay.run([it], [None])
        reason = agent.report("recompute")["waiting_reason"]
        if expected is not None:
            assert reason == expected, f"after {it.name}"
        seen.add(reason)
    assert reason == "END_OF_TURN"
    assert seen > {None, "END_OF_TURN"}
