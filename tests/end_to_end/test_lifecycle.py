"""Agents that are stopped, killed and restarted."""

import os
import signal

import pytest

from tests.support.machine import Agent, Machine, until
from tests.support.rule_based_model import Model, has_context, runs, says

# isort: split
from scripted_model import Failure

pytestmark = pytest.mark.slow


def assert_one_watcher(agent: Agent) -> None:
    until(lambda: len(agent.watcher_pids()) == 1, description=f"one watcher, not {agent.watcher_pids()}", seconds=5)


def assert_complete(agent: Agent, *messages: str) -> None:
    """Checks that the transcript has each message of the user exactly once."""
    received = [step["message"] for step in agent.records() if step.get("source") == "user"]
    assert received == list(messages)


def test_a_restarted_agent_resumes_its_session(machine: Machine, model: Model) -> None:
    agent = machine.create()
    agent.message("Remember the number 7.")
    agent.wait()
    assert_one_watcher(agent)
    machine.mngr("stop", "t")
    assert agent.listed["state"] == "STOPPED"
    until(
        lambda: not agent.watcher_pids() and not agent.codex_pids(), description="the end of all processes", seconds=5
    )
    machine.mngr("start", "t")
    agent.message("Which number?")
    agent.wait()
    assert has_context(model, "Remember the number 7.", "Which number?")
    session = (agent.state / "codex_root_session").read_text().strip()
    (resumed,) = [call for call in machine.codex_calls() if call.startswith("resume")]
    assert resumed.startswith(f"resume {session}")
    assert_one_watcher(agent)
    assert_complete(agent, "Remember the number 7.", "Which number?")


def test_an_agent_stopped_during_a_turn_waits_after_its_restart(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Too late."))
    agent = machine.create()
    agent.message("Do it slowly.")
    assert agent.is_active
    machine.mngr("stop", "t")
    assert not agent.is_active
    assert "turn_since" not in agent.listed["plugin"]["codex"]
    machine.mngr("start", "t")
    until(lambda: agent.listed["state"] == "WAITING", description="WAITING", seconds=10)
    assert not agent.is_active
    agent.message("What now?")
    agent.wait()
    assert has_context(model, "Do it slowly.", "What now?")
    assert agent.answers()[-1] == "You said: What now?"
    assert_complete(agent, "Do it slowly.", "What now?")


def test_an_agent_whose_codex_was_killed_is_done_and_can_be_restarted(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Too late."))
    agent = machine.create()
    agent.message("Do it slowly.")
    for pid in agent.codex_pids():
        os.kill(pid, signal.SIGKILL)
    until(lambda: agent.listed["state"] == "DONE", description="DONE", seconds=10)
    agent.wait()
    refused = agent.message("Is there anybody?", status=1)
    assert "not running" in refused.stderr
    machine.mngr("start", "t", "--restart")
    until(lambda: agent.listed["state"] == "WAITING", description="WAITING", seconds=10)
    agent.message("What now?")
    agent.wait()
    assert has_context(model, "Do it slowly.", "What now?")
    assert_one_watcher(agent)


def test_an_agent_waits_after_a_crash_of_the_machine(machine: Machine, model: Model) -> None:
    """All processes are killed, so nothing could clean up."""
    model.on("slowly", runs("sleep 30"), says("Too late."))
    agent = machine.create()
    agent.message("Do it slowly.")
    machine.kill_agents()
    assert agent.is_active
    assert agent.listed["state"] == "STOPPED"
    machine.mngr("start", "t")
    until(lambda: agent.listed["state"] == "WAITING", description="WAITING", seconds=10)
    assert not agent.is_active
    agent.message("What now?")
    agent.wait()
    assert has_context(model, "Do it slowly.", "What now?")


def test_an_agent_with_a_deleted_rollout_begins_another_session(machine: Machine) -> None:
    agent = machine.create()
    agent.message("Remember this.")
    agent.wait()
    machine.mngr("stop", "t")
    for rollout in (agent.state / "plugin/codex/home/sessions").rglob("rollout-*"):
        rollout.unlink()
    machine.mngr("start", "t")
    agent.message("Continue.")
    agent.wait()
    assert agent.answers()[-1] == "You said: Continue."
    assert not [call for call in machine.codex_calls() if call.startswith("resume")]


def test_a_killed_watcher_is_restarted(machine: Machine, model: Model) -> None:
    """Until then the hooks keep the transcript up to date."""
    agent = machine.create()
    agent.message("With it.")
    agent.wait()
    for pid in agent.watcher_pids():
        os.kill(pid, signal.SIGKILL)
    agent.message("Without it.")
    agent.wait()
    assert agent.answers()[-1] == "You said: Without it."
    # Codex runs no Stop hook after a failed turn, so only a watcher notices the end.
    assert_one_watcher(agent)
    model.on("fail", Failure(400))
    agent.message("Now fail.")
    agent.wait()
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    assert_complete(agent, "With it.", "Without it.", "Now fail.")
