"""`mngr usage` shows what the model has charged, whatever happens to the agents."""

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from threading import Event

import pytest

from tests.support.machine import Agent, Json, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, asked, runs, says, spawns

# isort: split
from scripted_model import Answered, Failure, Response, Usage

pytestmark = pytest.mark.slow

MODEL = "gpt-5.2-codex"
#: Dollars per token: the prices of imbue-mngr-usage 0.2.0 for the model.
PRICES = {"input": 1.75e-06, "cache_read": 1.75e-07, "output": 1.4e-05}


class Billing(Model):
    """A model that charges a different number of tokens for each response, and adds them up.

    Codex asks for the title of a session in another thread, of which it keeps nothing. Such requests are free here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.charged: list[Usage] = []

    def answer(self, request: Json) -> Answered | None:
        answered = super().answer(request)
        if not isinstance(answered, Response):
            return answered
        if '"thread_source":"thread_title"' in request.get("client_metadata", {}).get("x-codex-turn-metadata", ""):
            return dataclasses.replace(answered, usage=Usage(input=0, output=0))
        number = len(self.charged) + 1
        usage = Usage(
            input=10_000 + 1_000 * number,
            cached_input=1_000 * number,
            output=100 + 10 * number,
            reasoning_output=10 * number,
        )
        self.charged.append(usage)
        return dataclasses.replace(answered, usage=usage)

    @property
    def tokens(self) -> Json:
        """The charged tokens, as `mngr usage` counts them."""
        return {
            "input": sum(each.input - each.cached_input for each in self.charged),
            "cache_read": sum(each.cached_input for each in self.charged),
            "output": sum(each.output for each in self.charged),
        }


@pytest.fixture
def model() -> Iterator[Billing]:
    with Billing() as running:
        yield running


@pytest.fixture
def machine(make_machine_with_siblings: MakeMachine) -> Machine:
    return make_machine_with_siblings(model=MODEL)


def shown(machine: Machine) -> Json:
    """Returns what `mngr usage` shows of all Codex agents, destroyed ones included."""
    sources = json.loads(machine.mngr("usage", "--format", "json", "--detail").stdout)["sources"]
    return next((source for source in sources if source["source"] == "codex"), {})


def assert_exact(machine: Machine, model: Billing) -> Json:
    """Waits until `mngr usage` shows exactly the charged tokens and their price, and returns what it shows."""
    usage: Json = {}

    def is_exact() -> bool:
        usage.update(shown(machine))
        tokens = usage.get("api_tokens", {})
        return {name: tokens.get(name) for name in model.tokens} == model.tokens

    try:
        until(is_exact, description="the usage", seconds=15)
    except AssertionError as error:
        raise AssertionError(f"{usage.get('api_tokens')} is not {model.tokens}: {json.dumps(usage)}") from error
    price = sum(count * PRICES[name] for name, count in model.tokens.items())
    assert usage["api_cost"]["total_cost_usd"] == pytest.approx(price)
    return usage


def say(agent: Agent, *messages: str) -> None:
    """Sends messages, one turn each."""
    for message in messages:
        agent.message(message)
        agent.wait()


def begin_session(agent: Agent, command: str) -> None:
    """Runs a command of Codex that begins another session, in the same folder if Codex asks."""
    if agent.machine.mngr("message", agent.name, "-m", command, status=None).status != 0:
        until(lambda: "Use current" in agent.pane(), description="the question")
        agent.press("Enter")
        until(lambda: "Use current" not in agent.pane(), description="the end of the question")


def session(agent: Agent) -> str:
    return (agent.state / "codex_root_session").read_text().strip()


def test_turns_with_and_without_an_answer_and_after_a_restart(machine: Machine, model: Billing) -> None:
    model.on("fail", Failure(400))
    model.on("tool", runs("true"), says("Done."))
    agent = machine.create()
    say(agent, "Hello.", "Use a tool.", "Now fail.")
    assert_exact(machine, model)
    machine.mngr("stop", "t")
    assert_exact(machine, model)
    machine.mngr("start", "t")
    say(agent, "Are you back?")
    (counted,) = assert_exact(machine, model)["sessions"]
    assert counted["session_id"] == session(agent)
    assert (counted["model"], counted["cost_mode"]) == (f"openai/{MODEL}", "API_KEY")


def test_a_compaction_and_another_session(machine: Machine, model: Billing) -> None:
    agent = machine.create()
    say(agent, "Hello.", "/compact")
    until(lambda: any("CHECKPOINT" in asked(request) for request in model.requests), description="the compaction")
    say(agent, "What do you know?")
    assert_exact(machine, model)
    first = session(agent)
    begin_session(agent, "/new")
    say(agent, "Hello again.")
    usage = assert_exact(machine, model)
    assert {counted["session_id"] for counted in usage["sessions"]} == {first, session(agent)} and first != session(
        agent
    )


def test_subagents(machine: Machine, model: Billing) -> None:
    """Each is a session of its own."""
    model.on("CHILD", runs("true"), says("The child is done."))
    model.on("delegate", spawns("CHILD: take your time.", then="The child continues."))
    agent = machine.create()
    say(agent, "Hello.", "Please delegate.")
    assert len(assert_exact(machine, model)["sessions"]) == 2


def test_a_fork_and_a_clone(machine: Machine, model: Billing) -> None:
    """The history that they begin with was charged once."""
    agent = machine.create("first")
    say(agent, "Hello.", "And hello again.")
    original = session(agent)
    begin_session(agent, "/fork")
    say(agent, "Now you are a fork.")
    assert session(agent) != original, agent.pane()
    assert_exact(machine, model)
    machine.mngr("clone", "first", "second", "--type", "codex", "--yes", "--no-connect")
    assert_exact(machine, model)
    say(machine.agent("second"), "Now you are a clone.")
    say(agent, "And you are not.")
    assert_exact(machine, model)


@pytest.mark.parametrize("is_preserved", [True, False], ids=["preserved", "not-preserved"])
def test_an_agent_that_is_destroyed_during_a_turn(
    make_machine_with_siblings: MakeMachine, model: Billing, is_preserved: bool
) -> None:
    """What the watcher has not measured yet is measured before mngr-usage copies the events."""
    released = Event()

    def hang(request: Json) -> Answered:
        released.wait(60)
        return says("Too late.")

    model.on("tool", runs("true"), hang)
    machine = make_machine_with_siblings(model=MODEL, preserve_on_destroy=is_preserved)
    agent = machine.create()
    for pid in agent.watcher_pids():
        os.kill(pid, signal.SIGSTOP)
    agent.message("Use a tool.")
    until(lambda: is_in_second_request(model), description="the request after the tool")
    until(lambda: has_written_tokens(agent), description="the tokens of the first request")
    try:
        machine.mngr("destroy", "t", "--force")
        assert_exact(machine, model)
    finally:
        released.set()


def is_in_second_request(model: Billing) -> bool:
    return sum(asked(request) == "Use a tool." for request in model.requests) == 2


def has_written_tokens(agent: Agent) -> bool:
    rollouts = (agent.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl")
    lines = [line for each in rollouts for line in each.read_text().splitlines()]
    return any('"token_count"' in line and '"last_token_usage"' in line for line in lines)


def test_a_destroyed_agent_whose_session_is_adopted(machine: Machine, model: Billing) -> None:
    agent = machine.create("first")
    say(agent, "Hello.", "And hello again.")
    machine.mngr("destroy", "first", "--force")
    assert_exact(machine, model)
    heir = machine.create("heir", "--adopt", session_of_destroyed(machine, "first"))
    assert_exact(machine, model)
    say(heir, "Do you remember?")
    assert_exact(machine, model)
    machine.mngr("destroy", "heir", "--force")
    assert_exact(machine, model)


def session_of_destroyed(machine: Machine, name: str) -> str:
    (folder,) = (machine.home / ".mngr" / "preserved").glob(f"{name}*")
    return (folder / "codex_root_session").read_text().strip()
