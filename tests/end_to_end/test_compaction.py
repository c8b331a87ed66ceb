"""Compaction of idle agents: Codex really compacts, and mngr's autocompact takes the agent for idle at most once."""

from __future__ import annotations

import json
from threading import Event

import pytest

from tests.support.compaction import ask
from tests.support.machine import Agent, Json, Machine, until
from tests.support.rule_based_model import Model, after, runs, says

# isort: split
from scripted_model import Failure

pytestmark = pytest.mark.slow


def fields(agent: Agent) -> Json:
    """Returns the fields of a listing."""
    shown: Json = agent.listed["plugin"]["codex"]
    return shown


def is_compacted(agent: Agent) -> bool:
    rollouts = (agent.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl")
    return any('"type":"compacted"' in rollout.read_text() for rollout in rollouts)


def test_an_idle_agent_is_compacted_once(machine: Machine, model: Model) -> None:
    agent = machine.create()
    agent.message("Remember the number 7.")
    agent.wait()
    before = fields(agent)
    asked = ask(machine)
    assert asked["running"] and asked["tokens"] == before["context_tokens"] > 0
    assert asked["idle"].startswith(before["idle_since"].removesuffix("Z"))

    assert ask(machine, compact=True)["compacted"] is True
    until(lambda: is_compacted(agent), description="the compaction", seconds=20)
    agent.wait()
    until(lambda: "last_compaction" in fields(agent), description="the compaction in a listing", seconds=5)
    after = fields(agent)
    assert after["idle_since"] == before["idle_since"]
    assert "context_tokens" not in after
    assert "Keep the plan." not in json.dumps(model.requests)
    # The agent is idle no more, and a second request sends nothing.
    requests = len(model.requests)
    assert ask(machine, compact=True) == {"idle": None, "tokens": None, "running": True}
    assert len(model.requests) == requests

    agent.message("Which number?")
    agent.wait()
    until(lambda: "context_tokens" in fields(agent), description="the size of the context", seconds=5)
    assert fields(agent)["idle_since"] > before["idle_since"]
    assert ask(machine)["idle"] is not None


def test_an_agent_whose_compaction_fails_is_not_tried_again(machine: Machine, model: Model) -> None:
    agent = machine.create()
    agent.message("Remember the number 7.")
    agent.wait()
    idle_since = fields(agent)["idle_since"]
    model.on("CONTEXT CHECKPOINT", Failure(400))
    assert ask(machine, compact=True)["compacted"] is True
    agent.wait()
    until(lambda: "last_error" in fields(agent), description="the error", seconds=20)
    assert not is_compacted(agent)
    assert fields(agent)["idle_since"] == idle_since
    assert ask(machine, compact=True)["idle"] is None


def test_busy_and_asking_agents_are_not_idle(machine: Machine, model: Model) -> None:
    was_seen = Event()
    model.on("slowly", runs("true"), after(was_seen, says("Done.")))
    agent = machine.create()
    assert ask(machine)["tokens"] is None
    agent.message("Do it slowly.")
    asked = ask(machine, compact=True)
    assert asked["idle"] is None and asked["running"] and "compacted" not in asked
    was_seen.set()
    agent.wait()
    assert ask(machine)["idle"] is not None
    machine.mngr("stop", "t")
    assert ask(machine)["idle"] is None


def test_a_draft_is_kept(machine: Machine) -> None:
    """The compaction is refused, and not tried again in this period."""
    agent = machine.create()
    agent.message("Hello.")
    agent.wait()
    agent.press("m", "y", "Space", "d", "r", "a", "f", "t")
    until(lambda: "my draft" in agent.pane(), description="the draft")
    assert ask(machine, compact=True)["compacted"] is False
    assert "my draft" in agent.pane() and not is_compacted(agent)
    assert ask(machine)["idle"] is None
