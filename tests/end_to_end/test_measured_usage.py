"""What an agent uses, with the real Codex: its events, its status and its live output."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine import Machine, until
from tests.support.rule_based_model import Model, says, spawns
from tests.support.session_cost import Usage, session_cost
from tests.support.usage_agent import tokens_of

pytestmark = pytest.mark.slow


def costs(state: Path) -> dict[str, Usage]:
    """Returns what each thread in an agent's Codex home cost, by its rollout."""
    rollouts = (state / "plugin/codex/home/sessions").rglob("*.jsonl")
    lines = {rollout.stem[-36:]: rollout.read_bytes().splitlines(keepends=True) for rollout in rollouts}
    return {thread: session_cost(of_thread) for thread, of_thread in lines.items()}


def usage(state: Path) -> dict[str, Usage]:
    """Returns the tokens of each thread's latest event."""
    events: list[Any] = [
        json.loads(line) for line in (state / "events/codex/usage/events.jsonl").read_text().splitlines()
    ]
    return {event["session_id"]: tokens_of(event) for event in events}


def test_a_session_with_a_subagent(machine: Machine, model: Model) -> None:
    model.on("CHILD", lambda _: says("Helped."))
    model.on("delegate", spawns("CHILD: help.", then="Delegated."))
    agent = machine.create()
    agent.message("Hello.")
    until(lambda: agent.answers()[-1:] == ["You said: Hello."], description="the answer")
    agent.message("Please delegate.")
    agent.wait()
    until(lambda: len(costs(agent.state)) == 2, description="the subagent's rollout")
    until(lambda: usage(agent.state) == costs(agent.state), description="the events")
    status = json.loads((agent.state / "plugin/codex/status.json").read_text())
    count, cached, output = costs(agent.state)[status["session_id"]]
    tokens = {"input": count, "cached_input": cached, "output": output}
    assert {name: status["tokens"][name] for name in tokens} == tokens and status["context_tokens"] > 0
    # The root answers once more if its subagent ends after its turn (0.171).
    delegated = agent.answers().count("Delegated.")
    assert delegated >= 1
    live_output = (agent.state / "plugin/codex/live_output").read_text()
    assert live_output == "You said: Hello.\n\n" + "Delegated.\n\n" * delegated
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    assert (agent.state / "plugin/codex/live_output").read_text() == ""
    assert usage(agent.state) == costs(agent.state)
