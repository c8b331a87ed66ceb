"""Turns of real agents, as mngr shows them."""

import json
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.machine import Agent, Json, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, after, runs, says, spawns

# isort: split
from scripted_model import Answer, Dropped, Failure, Response, function_call, message

pytestmark = pytest.mark.slow


def final_answer(agent: Agent) -> str:
    """Returns the model's last message in the transcript, which is read once, as soon as the agent waits."""
    agent.wait()
    answers = agent.answers()
    return answers[-1] if answers else ""


def test_the_transcript_is_complete_when_the_agent_waits(machine: Machine, model: Model) -> None:
    agent = machine.create()
    assert agent.listed["state"] == "WAITING"
    for word in ("first", "second", "third"):
        agent.message(f"The {word} message.")
        assert final_answer(agent) == f"You said: The {word} message."
    listed = agent.listed
    assert listed["state"] == "WAITING"
    assert listed["plugin"]["codex"]["waiting_reason"] == "END_OF_TURN"
    assert listed["plugin"]["codex"]["session_id"] == (agent.state / "codex_root_session").read_text().strip()


def test_the_common_transcript_can_be_disabled_and_enabled(make_machine: MakeMachine) -> None:
    """Once it is enabled, the missing records are added."""
    machine = make_machine(emit_common_transcript=False)
    agent = machine.create()
    agent.message("Hello.")
    raw = agent.state / "logs/codex_transcript/events.jsonl"
    until(
        lambda: raw.exists() and "You said: Hello." in raw.read_text(), description="the answer in the raw transcript"
    )
    agent.wait()
    assert not (agent.state / "events/codex/common_transcript").exists()
    machine.write_settings(emit_common_transcript=True)
    machine.create("t", "--reuse", "--update")
    until(lambda: final_answer(agent) == "You said: Hello.", description="the answer")
    agent.message("And again.")
    until(lambda: final_answer(agent) == "You said: And again.", description="the next answer")


def test_an_agent_is_running_during_a_turn(machine: Machine, model: Model) -> None:
    was_seen = Event()
    model.on("slowly", runs("true"), after(was_seen, says("Slow, but done.")))
    agent = machine.create()
    agent.message("Do it slowly.")
    assert agent.listed["state"] == "RUNNING"
    assert "waiting_reason" not in agent.listed["plugin"]["codex"]
    was_seen.set()
    assert final_answer(agent) == "Slow, but done."
    assert agent.listed["state"] == "WAITING"


def test_the_initial_message_is_sent(machine: Machine) -> None:
    agent = machine.create("t", "--message", "Begin with this.")
    assert final_answer(agent) == "You said: Begin with this."


def test_esc_ends_the_turn(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Too late."))
    agent = machine.create()
    agent.message("Do it slowly.")
    assert agent.is_active
    time.sleep(0.5)  # Codex ignores Esc just after the start of a turn
    agent.press("Escape")
    until(lambda: not agent.is_active, description="WAITING after Esc", seconds=5)
    assert agent.listed["state"] == "WAITING"
    agent.message("Continue with another.")
    assert final_answer(agent) == "You said: Continue with another."


@pytest.mark.parametrize(
    "answer", [Failure(400), Failure(500), Dropped([message("Half of an")])], ids=["400", "500", "dropped"]
)
def test_an_agent_waits_after_a_failed_turn(machine: Machine, model: Model, answer: Answer) -> None:
    """Codex runs no Stop hook after it."""
    model.on("fail", answer)
    agent = machine.create()
    agent.message("Now fail.")
    agent.wait()
    assert agent.listed["state"] == "WAITING"
    agent.message("And now work.")
    assert final_answer(agent) == "You said: And now work."


def asks_for_approval(request: Json) -> Response:
    arguments: dict[str, Any] = {"cmd": "true", "sandbox_permissions": "require_escalated", "justification": "needed"}
    return Response([function_call("exec_command", arguments)])


def test_an_agent_waits_for_an_approval(make_machine: MakeMachine, model: Model) -> None:
    """The reason is PERMISSIONS, and nothing is typed into the question."""
    machine = make_machine(sandbox_mode="workspace-write")
    model.on("approval", asks_for_approval, says("Approved."))
    agent = machine.create()
    agent.message("Ask for approval.")
    until(lambda: "Would you like to run" in agent.pane(), description="the question")
    listed = agent.listed
    assert (listed["state"], listed["plugin"]["codex"]["waiting_reason"]) == ("WAITING", "PERMISSIONS")
    assert not agent.is_active
    before = agent.pane()
    refused = agent.message("y", status=1)
    assert "an approval request" in refused.stderr
    assert agent.pane() == before
    agent.press("y")
    assert final_answer(agent) == "Approved."
    assert agent.listed["plugin"]["codex"]["waiting_reason"] == "END_OF_TURN"


def asks_a_question(request: Json) -> Response:
    options = [{"label": label, "description": f"the {label} one"} for label in ("red", "blue")]
    question = {"id": "q", "header": "Color", "question": "Which color?", "options": options}
    return Response([function_call("request_user_input", {"questions": [question]})])


def test_an_agent_waits_for_the_answer_to_a_question(machine: Machine, model: Model) -> None:
    """Codex has the tool in its plan mode. The reason is QUESTION, and nothing is typed into the question."""
    model.on("ask", asks_a_question, says("Answered."))
    agent = machine.create()
    agent.message("/plan")
    agent.message("Please ask me.")
    until(lambda: "Which color?" in agent.pane(), description="the question")
    listed = agent.listed
    assert (listed["state"], listed["plugin"]["codex"]["waiting_reason"]) == ("WAITING", "QUESTION")
    refused = agent.message("blue", status=1)
    assert "Codex is showing a question" in refused.stderr
    agent.press("Enter")
    assert final_answer(agent) == "Answered."
    assert agent.listed["plugin"]["codex"]["waiting_reason"] == "END_OF_TURN"


def test_an_agent_is_running_while_a_subagent_is(machine: Machine, model: Model) -> None:
    was_seen = Event()
    model.on("CHILD", runs("true"), after(was_seen, says("The child is done.")))
    model.on("delegate", spawns("CHILD: take your time.", then="The child continues."))
    agent = machine.create()
    agent.message("Please delegate.")
    until(lambda: not (agent.state / "codex_root_active").exists(), description="the root's end")
    assert agent.is_active, sorted(path.name for path in agent.state.iterdir())
    assert agent.listed["state"] == "RUNNING"
    assert agent.answers()[-1] == "The child continues."
    was_seen.set()
    agent.wait()
    assert agent.listed["state"] == "WAITING"


def test_a_message_during_a_turn_steers_it(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 6"), says("Not steered."))
    agent = machine.create()
    agent.message("Do it slowly.")
    agent.message("Turn left instead.")
    assert final_answer(agent) == "You said: Turn left instead."
    turns = [line for line in rollout_lines(agent) if line["payload"].get("type") == "task_started"]
    assert len(turns) == 1


def rollout_lines(agent: Agent) -> list[Json]:
    path = Path((agent.state / "codex_transcript_path").read_text().strip())
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_agents_run_independently(machine: Machine, model: Model) -> None:
    was_seen = Event()
    model.on("slowly", runs("true"), after(was_seen, says("Slow, but done.")))
    one, two = machine.create("one"), machine.create("two")
    one.message("Do it slowly.")
    two.message("Be quick.")
    assert final_answer(two) == "You said: Be quick."
    states = {name: agent["state"] for name, agent in machine.listed().items()}
    assert states == {"one": "RUNNING", "two": "WAITING"}
    was_seen.set()
    assert final_answer(one) == "Slow, but done."
