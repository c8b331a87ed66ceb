"""`mngr autocompact` compacts the context of idle agents."""

import json
from threading import Event

import pytest

from tests.support.machine import Agent, Json, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, asked, says

# isort: split
from scripted_model import Answered, Response, Usage, message

pytestmark = pytest.mark.slow

CONTEXT_TOKENS = 30_000
#: Agents are compacted as soon as they are idle.
AT_ONCE = {"cache_ttl_minutes": 1, "epsilon_offset_minutes": 1}


@pytest.fixture
def machine(make_machine_with_siblings: MakeMachine, model: Model) -> Machine:
    def answer(request: Json) -> Answered:
        return Response([message("You are welcome.")], usage=Usage(input=CONTEXT_TOKENS))

    model.on("Remember", answer)
    return make_machine_with_siblings()


def configure(machine: Machine, mode: str, minimum: int) -> None:
    """Changes the settings of `mngr autocompact`."""
    machine.plugin_settings = {"autocompact": {"mode": mode, "min_context_tokens": minimum, **AT_ONCE}}
    machine.write_settings()


def check(machine: Machine) -> list[str]:
    """Returns the agents that would be compacted."""
    shown = machine.mngr("autocompact", "check", "--all", "--format", "json").stdout
    agents: list[str] = json.loads(shown)["agents"]
    return agents


def run(machine: Machine) -> list[str]:
    """Compacts idle agents, and returns their names."""
    shown = machine.mngr("autocompact", "run", "--all", "--format", "json").stdout
    compacted: list[str] = json.loads(shown)["compacted"]
    return compacted


def compactions(model: Model) -> int:
    """Returns how often Codex has asked the model for a summary of the conversation."""
    return sum("CHECKPOINT" in asked(request) for request in model.requests)


def talk(agent: Agent, text: str) -> None:
    agent.message(text)
    agent.wait()


def test_an_idle_agent_is_compacted_once(machine: Machine, model: Model) -> None:
    configure(machine, "proactive_timer", CONTEXT_TOKENS)
    agent = machine.create()
    assert check(machine) == []
    talk(agent, "Remember the number 7.")
    until(lambda: check(machine) == ["t"], description="an agent to compact")
    configure(machine, "proactive_timer", CONTEXT_TOKENS + 1)
    assert check(machine) == [] and run(machine) == []
    configure(machine, "proactive_timer", CONTEXT_TOKENS)
    assert run(machine) == ["t"]
    until(lambda: compactions(model) == 1, description="the compaction")
    agent.wait()
    until(lambda: agent.listed["state"] == "WAITING", description="the end of the compaction")
    configure(machine, "proactive_timer", 0)
    assert check(machine) == [] and run(machine) == []

    talk(agent, "Remember the color blue.")
    until(lambda: check(machine) == ["t"], description="another agent to compact")
    assert run(machine) == ["t"]
    until(lambda: compactions(model) == 2, description="the second compaction")


@pytest.mark.any_codex
def test_a_busy_agent_is_not_compacted(machine: Machine, model: Model) -> None:
    released = Event()

    def answer(request: Json) -> Answered:
        released.wait(60)
        return says("It took a while.")

    model.on("slow", answer)
    configure(machine, "proactive_timer", 0)
    agent = machine.create()
    talk(agent, "Remember the number 7.")
    agent.message("This is slow.")
    assert check(machine) == [] and run(machine) == []
    released.set()
    agent.wait()
    assert compactions(model) == 0


def test_an_agent_is_compacted_before_its_next_message(machine: Machine, model: Model) -> None:
    agent = machine.create()
    talk(agent, "Remember the number 7.")
    configure(machine, "on_next_prompt", CONTEXT_TOKENS)
    talk(agent, "Which number?")
    until(lambda: any(asked(request) == "Which number?" for request in model.requests), description="the message")
    conversation = [asked(request) for request in model.requests]
    (compaction,) = [number for number, text in enumerate(conversation) if "CHECKPOINT" in text]
    assert conversation.index("Which number?") > compaction
