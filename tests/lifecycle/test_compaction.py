"""Compactions: their hooks and their lines, as Codex runs and writes them."""

from pathlib import Path

import pytest

from tests.support.fake_agent import Agent
from tests.support.recordings import name
from tests.support.session_replay import Event, Recording, Replay, hook_logs

#: Sessions in which the user has compacted the conversation, and sessions in which Codex did, during a turn.
MANUAL = [log for log in hook_logs() if name(log).endswith("/tui_compact.hooks")]
AUTO = [log for log in hook_logs() if name(log).endswith("/fulltool.hooks")]

HOOKS = {"PreCompact", "PostCompact"}


def replay(agent: Agent, events: list[Event]) -> None:
    """Replays events, and reads the rollouts after each."""
    replay = Replay(agent)
    for it in events:
        replay.run([it], [None])
        agent.marker("recompute")


def split(events: list[Event]) -> tuple[list[Event], list[Event], list[Event]]:
    """Returns the events before the turn of the compaction, those of that turn, and those after it."""
    compacted = next(position for position, it in enumerate(events) if it.name == "compacted")
    first = max(position for position, it in enumerate(events[:compacted]) if it.name == "task_started")
    last = next(position for position, it in enumerate(events) if position > compacted and it.name == "task_complete")
    return events[:first], events[first : last + 1], events[last + 1 :]


@pytest.mark.parametrize("log", MANUAL, ids=name)
@pytest.mark.parametrize("has_hooks", [True, False])
def test_a_manual_compaction_begins_no_idle_period(log: Path, agent: Agent, has_hooks: bool) -> None:
    """An agent whose hooks are those of an earlier plugin does not run the hooks of a compaction."""
    before, during, after = split([it for it in Recording(log).events if has_hooks or it.name not in HOOKS])
    replay(agent, before)
    idle = agent.status
    assert idle["state"] == "WAITING"
    replay(agent, during[:-1])
    assert (agent.status["state"], agent.status["idle_since"]) == ("RUNNING", None)
    replay(agent, during[-1:])
    status = agent.status
    assert (status["state"], status["waiting_reason"]) == ("WAITING", "END_OF_TURN")
    assert status["since"] > idle["since"]
    assert status["idle_since"] == idle["idle_since"]
    if has_hooks:
        assert status["last_compaction"]["trigger"] == "manual"
        assert idle["since"] < status["last_compaction"]["at"] <= status["since"]
    replay(agent, after)
    assert agent.status["idle_since"] > idle["idle_since"]


@pytest.mark.parametrize("log", AUTO, ids=name)
@pytest.mark.parametrize("has_hooks", [True, False])
def test_the_turn_of_an_automatic_compaction_begins_an_idle_period(log: Path, agent: Agent, has_hooks: bool) -> None:
    agent.marker("reset")
    started = agent.status["idle_since"]
    replay(agent, [it for it in Recording(log).events if has_hooks or it.name not in HOOKS])
    status = agent.status
    assert status["idle_since"] > started
    assert (status["last_compaction"] or {}).get("trigger") == ("auto" if has_hooks else None)


def test_a_compaction_is_announced_like_a_turn(mngr_agent: Agent) -> None:
    mngr_agent.begin_turn()
    mngr_agent.hook("user-prompt-submit")
    mngr_agent.hook("stop")
    turn = mngr_agent.begin_turn()
    mngr_agent.hook("pre-compact", trigger="manual")
    mngr_agent.hook("post-compact", trigger="manual")
    assert len(mngr_agent.activity_events) == 3
    mngr_agent.write_line("task_complete", turn)
    mngr_agent.marker("recompute")
    assert len(mngr_agent.activity_events) == 4


@pytest.mark.parametrize("trigger", ["manual", "auto", None, 5, "other"])
def test_the_trigger_is_that_of_the_payload(agent: Agent, trigger: object) -> None:
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    agent.hook("pre-compact", trigger=trigger)
    before = agent.status
    assert before["last_compaction"] is None
    agent.hook("post-compact", trigger=trigger)
    assert agent.status["last_compaction"]["trigger"] == (trigger if trigger in ("manual", "auto") else None)


def test_a_compaction_of_a_subagent_is_none_of_the_session(agent: Agent) -> None:
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    child, turn = agent.new_id(), agent.new_id()
    agent.child_hook("subagent-start", child, turn)
    for event in ["pre-compact", "post-compact"]:
        agent.child_hook(event, child, turn, trigger="auto")
    assert agent.status["last_compaction"] is None
    assert agent.status["state"] == "RUNNING"


def test_a_state_of_an_earlier_version_is_replaced(agent: Agent) -> None:
    """The pointer files supply the session, and the next hook continues with it."""
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    agent.hook("stop")
    lifecycle = agent.state / "plugin/mngr_codex/lifecycle"
    # The version is the first byte after the header of 13 bytes.
    with lifecycle.open("r+b") as file:
        for slot in (0, 2 << 20):
            file.seek(slot + 13)
            file.write(b"\4")
    (agent.state / "plugin/codex/status.json").unlink()
    agent.hook("post-model-request")
    assert (agent.status["state"], agent.status["session_id"]) == ("WAITING", agent.session_id)
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    assert agent.status["state"] == "RUNNING"
