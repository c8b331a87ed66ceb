"""Agents that are stopped, killed and started again."""

import os
import signal

import pytest

from tests.support.machine import Agent, World, until
from tests.support.rule_based_model import Json, Model, asked, runs, says

# isort: split
from scripted_model import Failure

pytestmark = pytest.mark.slow


def waits(agent: Agent) -> None:
    until(lambda: not agent.is_active, what="WAITING", seconds=30)


def user_messages(request: Json) -> list[str]:
    """What users said, in a request."""
    texts = []
    for item in request["input"]:
        if item.get("role") == "user":
            texts.append("".join(part.get("text", "") for part in item["content"]))
    return texts


def has_context(model: Model, *messages: str) -> bool:
    """Whether the last request of the conversation had these messages in it."""
    request = next(each for each in reversed(model.requests) if asked(each) == messages[-1])
    return all(message in user_messages(request) for message in messages)


def assert_one_watcher(agent: Agent) -> None:
    until(lambda: len(agent.watcher_pids()) == 1, what=f"one watcher, not {agent.watcher_pids()}", seconds=5)


def assert_whole(agent: Agent, *messages: str) -> None:
    """The transcript has each message once."""
    said = [step["message"] for step in agent.records() if step.get("source") == "user"]
    assert said == list(messages)


def test_stop_and_start(world: World, model: Model) -> None:
    """The agent goes on in its session."""
    agent = world.create()
    agent.message("Remember the number 7.")
    waits(agent)
    assert_one_watcher(agent)
    world.mngr("stop", "t")
    assert agent.listed["state"] == "STOPPED"
    until(lambda: not agent.watcher_pids() and not agent.codex_pids(), what="the end of all processes", seconds=5)
    world.mngr("start", "t")
    agent.message("Which number?")
    waits(agent)
    assert has_context(model, "Remember the number 7.", "Which number?")
    session = (agent.state / "codex_root_session").read_text().strip()
    (resumed,) = [call for call in world.codex_calls() if call.startswith("resume")]
    assert resumed.startswith(f"resume {session}")
    assert_one_watcher(agent)
    assert_whole(agent, "Remember the number 7.", "Which number?")


def test_stop_in_the_middle_of_a_turn(world: World, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Never said."))
    agent = world.create()
    agent.message("Do it slowly.")
    assert agent.is_active
    world.mngr("stop", "t")
    assert not agent.is_active
    assert "turn_since" not in agent.listed["plugin"]["codex"]
    world.mngr("start", "t")
    until(lambda: agent.listed["state"] == "WAITING", what="WAITING", seconds=10)
    assert not agent.is_active
    agent.message("What now?")
    waits(agent)
    assert has_context(model, "Do it slowly.", "What now?")
    assert agent.said()[-1] == "You said: What now?"
    assert_whole(agent, "Do it slowly.", "What now?")


def test_codex_is_killed(world: World, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Never said."))
    agent = world.create()
    agent.message("Do it slowly.")
    for pid in agent.codex_pids():
        os.kill(pid, signal.SIGKILL)
    until(lambda: agent.listed["state"] == "DONE", what="DONE", seconds=10)
    waits(agent)
    refused = agent.message("Is there anybody?", status=1)
    assert "not running" in refused.stderr
    world.mngr("start", "t", "--restart")
    until(lambda: agent.listed["state"] == "WAITING", what="WAITING", seconds=10)
    agent.message("What now?")
    waits(agent)
    assert has_context(model, "Do it slowly.", "What now?")
    assert_one_watcher(agent)


def test_the_machine_goes_down(world: World, model: Model) -> None:
    """All processes are gone at once, and nothing has run that could have cleaned up."""
    model.on("slowly", runs("sleep 30"), says("Never said."))
    agent = world.create()
    agent.message("Do it slowly.")
    world.kill_agents()
    assert agent.is_active
    assert agent.listed["state"] == "STOPPED"
    world.mngr("start", "t")
    until(lambda: agent.listed["state"] == "WAITING", what="WAITING", seconds=10)
    assert not agent.is_active
    agent.message("What now?")
    waits(agent)
    assert has_context(model, "Do it slowly.", "What now?")


def test_a_session_that_is_gone(world: World) -> None:
    agent = world.create()
    agent.message("Remember this.")
    waits(agent)
    world.mngr("stop", "t")
    for rollout in (agent.state / "plugin/codex/home/sessions").rglob("rollout-*"):
        rollout.unlink()
    world.mngr("start", "t")
    agent.message("Go on.")
    waits(agent)
    assert agent.said()[-1] == "You said: Go on."
    assert not [call for call in world.codex_calls() if call.startswith("resume")]


def test_a_watcher_that_is_killed_is_missed_by_nobody(world: World, model: Model) -> None:
    """The hook that ends the turn brings the transcript up to date as well, and another watcher comes."""
    agent = world.create()
    agent.message("With it.")
    waits(agent)
    for pid in agent.watcher_pids():
        os.kill(pid, signal.SIGKILL)
    agent.message("Without it.")
    waits(agent)
    assert agent.said()[-1] == "You said: Without it."
    # Codex runs no Stop hook then, so it takes a watcher to see it.
    assert_one_watcher(agent)
    model.on("fail", Failure(400))
    agent.message("Now fail.")
    waits(agent)
    world.mngr("stop", "t")
    world.mngr("start", "t")
    assert_whole(agent, "With it.", "Without it.", "Now fail.")
