"""Turns of real agents: who looks at mngr sees what codex does."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine import Agent, Json, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, runs, says, spawns

# isort: split
from scripted_model import Answer, Dropped, Failure, Response, function_call, message

pytestmark = pytest.mark.slow


def waits(agent: Agent, seconds: float = 30) -> None:
    """Waits until the marker says WAITING."""
    until(lambda: not agent.is_active, what="WAITING", seconds=seconds)


def last_said(agent: Agent) -> str:
    """What the model said last, in mngr's transcript: asked for as soon as the agent waits, and never again."""
    waits(agent)
    said = agent.answers()
    return said[-1] if said else ""


def test_a_plain_turn(machine: Machine, model: Model) -> None:
    """Whoever sees the agent WAITING finds the final message in the transcript."""
    agent = machine.create()
    assert agent.listed["state"] == "WAITING"
    for word in ("first", "second", "third"):
        agent.message(f"The {word} message.")
        assert last_said(agent) == f"You said: The {word} message."
    listed = agent.listed
    assert listed["state"] == "WAITING"
    assert listed["plugin"]["codex"]["waiting_reason"] == "END_OF_TURN"
    assert listed["plugin"]["codex"]["session_id"] == (agent.state / "codex_root_session").read_text().strip()


def test_an_agent_can_be_without_a_common_transcript(make_machine: MakeMachine) -> None:
    """What it then lacks is made up for when it is updated with other settings."""
    machine = make_machine(emit_common_transcript=False)
    agent = machine.create()
    agent.message("Hello.")
    raw = agent.state / "logs/codex_transcript/events.jsonl"
    until(lambda: raw.exists() and "You said: Hello." in raw.read_text(), what="the answer in the raw transcript")
    waits(agent)
    assert not (agent.state / "events/codex").exists()
    machine.write_settings(emit_common_transcript=True)
    machine.create("t", "--reuse", "--update")
    until(lambda: last_said(agent) == "You said: Hello.", what="the answer")
    agent.message("And again.")
    until(lambda: last_said(agent) == "You said: And again.", what="the next answer")


def test_a_slow_turn_is_seen_running(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 2"), says("Slow, but done."))
    agent = machine.create()
    agent.message("Do it slowly.")
    assert agent.listed["state"] == "RUNNING"
    assert "waiting_reason" not in agent.listed["plugin"]["codex"]
    assert last_said(agent) == "Slow, but done."
    assert agent.listed["state"] == "WAITING"


def test_an_initial_message(machine: Machine) -> None:
    agent = machine.create("t", "--message", "Begin with this.")
    assert last_said(agent) == "You said: Begin with this."


def test_esc_ends_the_turn(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Never said."))
    agent = machine.create()
    agent.message("Do it slowly.")
    assert agent.is_active
    time.sleep(0.5)  # codex takes no Esc in the moment in which a turn begins
    agent.press("Escape")
    until(lambda: not agent.is_active, what="WAITING after Esc", seconds=5)
    assert agent.listed["state"] == "WAITING"
    agent.message("Go on with another.")
    assert last_said(agent) == "You said: Go on with another."


@pytest.mark.parametrize(
    "answer", [Failure(400), Failure(500), Dropped([message("Half of an")])], ids=["400", "500", "dropped"]
)
def test_a_turn_that_fails(machine: Machine, model: Model, answer: Answer) -> None:
    """Codex runs no Stop hook then."""
    model.on("fail", answer)
    agent = machine.create()
    agent.message("Now fail.")
    waits(agent)
    assert agent.listed["state"] == "WAITING"
    agent.message("And now work.")
    assert last_said(agent) == "You said: And now work."


def asks_for_approval(request: Json) -> Response:
    arguments: dict[str, Any] = {"cmd": "true", "sandbox_permissions": "require_escalated", "justification": "needed"}
    return Response([function_call("exec_command", arguments)])


def test_an_approval(make_machine: MakeMachine, model: Model) -> None:
    """A wait for approval is a WAITING for PERMISSIONS, and nothing is typed into the question."""
    machine = make_machine(sandbox_mode="workspace-write")
    model.on("approval", asks_for_approval, says("Approved."))
    agent = machine.create()
    agent.message("Ask for approval.")
    until(lambda: "Would you like to run" in agent.pane(), what="the question")
    listed = agent.listed
    assert (listed["state"], listed["plugin"]["codex"]["waiting_reason"]) == ("WAITING", "PERMISSIONS")
    before = agent.pane()
    refused = agent.message("y", status=1)
    assert "an approval request" in refused.stderr
    assert agent.pane() == before
    agent.press("y")
    assert last_said(agent) == "Approved."
    assert agent.listed["plugin"]["codex"]["waiting_reason"] == "END_OF_TURN"


def test_a_subagent_that_outlives_its_root(machine: Machine, model: Model) -> None:
    model.on("CHILD", runs("sleep 4"), says("The child is done."))
    model.on("delegate", spawns("CHILD: take your time.", then="The child goes on."))
    agent = machine.create()
    agent.message("Please delegate.")
    until(lambda: not (agent.state / "codex_root_active").exists(), what="the root's end")
    assert agent.is_active, sorted(path.name for path in agent.state.iterdir())
    assert agent.listed["state"] == "RUNNING"
    assert agent.answers()[-1] == "The child goes on."
    waits(agent)
    assert agent.listed["state"] == "WAITING"


def test_steering(machine: Machine, model: Model) -> None:
    """A message while a turn runs is of that turn."""
    model.on("slowly", runs("sleep 3"), says("Not steered."))
    agent = machine.create()
    agent.message("Do it slowly.")
    agent.message("Turn left instead.")
    assert last_said(agent) == "You said: Turn left instead."
    turns = [line for line in rollout_lines(agent) if line["payload"].get("type") == "task_started"]
    assert len(turns) == 1


def rollout_lines(agent: Agent) -> list[Json]:
    path = Path((agent.state / "codex_transcript_path").read_text().strip())
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_agents_at_once(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 3"), says("Slow, but done."))
    one, two = machine.create("one"), machine.create("two")
    one.message("Do it slowly.")
    two.message("Be quick.")
    assert last_said(two) == "You said: Be quick."
    states = {name: agent["state"] for name, agent in machine.listed().items()}
    assert states == {"one": "RUNNING", "two": "WAITING"}
    assert last_said(one) == "Slow, but done."
