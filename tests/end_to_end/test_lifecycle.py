"""Agents that are stopped, killed and started again."""

import os
import signal

import pytest

from tests.support.machine import Agent, Machine, until
from tests.support.rule_based_model import Model, has_context, runs, says

# isort: split
from scripted_model import Failure

pytestmark = pytest.mark.slow


def waits(agent: Agent) -> None:
    until(lambda: not agent.is_active, what="WAITING", seconds=30)


def assert_one_watcher(agent: Agent) -> None:
    until(lambda: len(agent.watcher_pids()) == 1, what=f"one watcher, not {agent.watcher_pids()}", seconds=5)


def assert_whole(agent: Agent, *messages: str) -> None:
    """The transcript has each message once."""
    said = [step["message"] for step in agent.records() if step.get("source") == "user"]
    assert said == list(messages)


def test_stop_and_start(machine: Machine, model: Model) -> None:
    """The agent goes on in its session."""
    agent = machine.create()
    agent.message("Remember the number 7.")
    waits(agent)
    assert_one_watcher(agent)
    machine.mngr("stop", "t")
    assert agent.listed["state"] == "STOPPED"
    until(lambda: not agent.watcher_pids() and not agent.codex_pids(), what="the end of all processes", seconds=5)
    machine.mngr("start", "t")
    agent.message("Which number?")
    waits(agent)
    assert has_context(model, "Remember the number 7.", "Which number?")
    session = (agent.state / "codex_root_session").read_text().strip()
    (resumed,) = [call for call in machine.codex_calls() if call.startswith("resume")]
    assert resumed.startswith(f"resume {session}")
    assert_one_watcher(agent)
    assert_whole(agent, "Remember the number 7.", "Which number?")


def test_stop_in_the_middle_of_a_turn(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Never said."))
    agent = machine.create()
    agent.message("Do it slowly.")
    assert agent.is_active
    machine.mngr("stop", "t")
    assert not agent.is_active
    assert "turn_since" not in agent.listed["plugin"]["codex"]
    machine.mngr("start", "t")
    until(lambda: agent.listed["state"] == "WAITING", what="WAITING", seconds=10)
    assert not agent.is_active
    agent.message("What now?")
    waits(agent)
    assert has_context(model, "Do it slowly.", "What now?")
    assert agent.answers()[-1] == "You said: What now?"
    assert_whole(agent, "Do it slowly.", "What now?")


def test_codex_is_killed(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Never said."))
    agent = machine.create()
    agent.message("Do it slowly.")
    for pid in agent.codex_pids():
        os.kill(pid, signal.SIGKILL)
    until(lambda: agent.listed["state"] == "DONE", what="DONE", seconds=10)
    waits(agent)
    refused = agent.message("Is there anybody?", status=1)
    assert "not running" in refused.stderr
    machine.mngr("start", "t", "--restart")
    until(lambda: agent.listed["state"] == "WAITING", what="WAITING", seconds=10)
    agent.message("What now?")
    waits(agent)
    assert has_context(model, "Do it slowly.", "What now?")
    assert_one_watcher(agent)


def test_the_machine_goes_down(machine: Machine, model: Model) -> None:
    """All processes are gone at once, and nothing has run that could have cleaned up."""
    model.on("slowly", runs("sleep 30"), says("Never said."))
    agent = machine.create()
    agent.message("Do it slowly.")
    machine.kill_agents()
    assert agent.is_active
    assert agent.listed["state"] == "STOPPED"
    machine.mngr("start", "t")
    until(lambda: agent.listed["state"] == "WAITING", what="WAITING", seconds=10)
    assert not agent.is_active
    agent.message("What now?")
    waits(agent)
    assert has_context(model, "Do it slowly.", "What now?")


def test_a_session_that_is_gone(machine: Machine) -> None:
    agent = machine.create()
    agent.message("Remember this.")
    waits(agent)
    machine.mngr("stop", "t")
    for rollout in (agent.state / "plugin/codex/home/sessions").rglob("rollout-*"):
        rollout.unlink()
    machine.mngr("start", "t")
    agent.message("Go on.")
    waits(agent)
    assert agent.answers()[-1] == "You said: Go on."
    assert not [call for call in machine.codex_calls() if call.startswith("resume")]


def test_a_watcher_that_is_killed_is_missed_by_nobody(machine: Machine, model: Model) -> None:
    """The hook that ends the turn brings the transcript up to date as well, and another watcher comes."""
    agent = machine.create()
    agent.message("With it.")
    waits(agent)
    for pid in agent.watcher_pids():
        os.kill(pid, signal.SIGKILL)
    agent.message("Without it.")
    waits(agent)
    assert agent.answers()[-1] == "You said: Without it."
    # Codex runs no Stop hook then, so it takes a watcher to see it.
    assert_one_watcher(agent)
    model.on("fail", Failure(400))
    agent.message("Now fail.")
    waits(agent)
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    assert_whole(agent, "With it.", "Without it.", "Now fail.")
