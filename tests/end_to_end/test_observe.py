"""A running `mngr observe` learns of each change at once. Without an event it lists the agents every 5 minutes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import pytest

from tests.end_to_end.test_turns import asks_for_approval
from tests.support.machine import Agent, Json, Machine, MakeMachine, RunningCommand, until
from tests.support.rule_based_model import Model, says

# isort: split
from scripted_model import Answered, Failure

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Observer:
    """A running `mngr observe`."""

    command: RunningCommand

    def events(self) -> list[Json]:
        """Returns the agent in each event that an activity has caused."""
        return [event["agent"] for event in self.command.lines() if event["type"] == "AGENT_STATE"]

    def await_state(self, state: str, reason: str | None = None) -> None:
        """Waits until the agent is shown in a state."""

        def shown() -> list[tuple[str, str | None]]:
            return [(agent["state"], agent["plugin"]["codex"].get("waiting_reason")) for agent in self.events()]

        try:
            until(lambda: shown()[-1] == (state, reason), description=f"{state} {reason or ''}")
        except AssertionError as error:
            raise AssertionError(f"`mngr observe` has shown {shown()}") from error


@contextmanager
def observe(machine: Machine) -> Iterator[Observer]:
    """Starts `mngr observe` on a machine with an agent, and waits until it listens to events."""
    with machine.running_mngr("observe", "--stream-events", "--quiet") as command:
        observer = Observer(command)
        until(lambda: command.shows('"AGENT_STATE"'), description="the first state")
        seen = len(observer.events())
        event = {"timestamp": "2026-01-01T00:00:00.000000000Z", "type": "activity", "source": "mngr/activity"}
        log = machine.home / ".mngr/events/mngr/activity/events.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(json.dumps({**event, "event_id": f"evt-{0:032x}"}) + "\n")
        until(lambda: len(observer.events()) > seen, description="the reaction to an event")
        yield observer


def gate(model: Model, word: str) -> Event:
    """Lets the model answer messages with this word only after an event."""
    opened = Event()

    def answer(request: Json) -> Answered:
        opened.wait(60)
        return says("It took a while.")

    model.on(word, answer)
    return opened


def test_each_change_of_an_agent_is_shown(make_machine: MakeMachine, model: Model) -> None:
    machine = make_machine(sandbox_mode="workspace-write")
    first, second, third = (gate(model, word) for word in ("first", "second", "third"))
    model.on("fail", Failure(400))
    model.on("approval", asks_for_approval, says("Approved."))
    agent = machine.create()
    with observe(machine) as observer:
        agent.message("The first message.")
        observer.await_state("RUNNING")
        first.set()
        observer.await_state("WAITING", "END_OF_TURN")

        agent.message("The second message.")
        observer.await_state("RUNNING")
        agent.press("Escape")
        observer.await_state("WAITING", "END_OF_TURN")
        second.set()

        agent.message("Ask for approval.")
        observer.await_state("WAITING", "PERMISSIONS")
        until(lambda: "Would you like to run" in agent.pane(), description="the question")
        agent.press("y")
        observer.await_state("WAITING", "END_OF_TURN")

        seen = len(observer.events())
        agent.message("Now fail.")
        until(lambda: len(observer.events()) > seen, description="an event of the failed turn")
        observer.await_state("WAITING", "END_OF_TURN")

        agent.message("The third message.")
        observer.await_state("RUNNING")
        kill_codex(agent)
        observer.await_state("DONE")
        third.set()


def kill_codex(agent: Agent) -> None:
    for pid in agent.codex_pids():
        agent.machine.kill(pid)
