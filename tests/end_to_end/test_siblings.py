"""mngr's other plugins, as published, with real agents."""

import json
import subprocess
from collections.abc import Iterator
from functools import partial
from threading import Event

import pytest

from tests.support.machine import Agent, Machine, until
from tests.support.rule_based_model import Model, says

# isort: split
from scripted_model import Answer, Answered, Failure, Json

pytestmark = [pytest.mark.slow, pytest.mark.any_codex]


@pytest.fixture
def machine(machine_with_siblings: Machine) -> Machine:
    return machine_with_siblings


@pytest.fixture
def release(model: Model) -> Iterator[Event]:
    """Lets the model answer messages with the words `slow` and `fail`."""
    released = Event()

    def then(answer: Answered) -> Answer:
        def wait(request: Json) -> Answered:
            released.wait(60)
            return answer

        return wait

    model.on("slow", then(says("It took a while.")))
    model.on("fail", then(Failure(400)))
    yield released
    released.set()


@pytest.mark.parametrize("message", ["This is slow.", "This will fail."])
def test_wait_ends_with_the_turn(machine: Machine, release: Event, message: str) -> None:
    agent = machine.create()
    agent.message(message)
    with machine.running_mngr("wait", "t", "WAITING", "--interval", "1s", "--format", "jsonl") as waiting:
        until(lambda: waiting.shows("to transition from agent=RUNNING"), description="the start of `mngr wait`")
        release.set()
        assert waiting.process.wait(60) == 0
    result = waiting.lines()[-1]
    assert result["is_matched"] and result["final_agent_state"] == "WAITING"


def test_notify_sends_a_notification_when_an_agent_begins_to_wait(machine: Machine, release: Event) -> None:
    sent = machine.folder / "sent"
    machine.add_program("notify-send", f'echo "$*" >>"{sent}"\n')
    machine.plugin_settings = {"notifications": {"notification_only": True}}
    machine.write_settings()
    agent = machine.create()
    with machine.running_mngr("notify", "--no-verify") as notifier:
        until(lambda: notifier.shows("Watching for agents"), description="the start of `mngr notify`")
        agent.message("This is slow.")
        states = machine.home / ".mngr/events/mngr/agent_states/events.jsonl"
        until(lambda: states.exists() and '"new_state":"RUNNING"' in states.read_text(), description="RUNNING")
        assert not sent.exists()
        release.set()
        until(sent.exists, description="the notification")
        until(lambda: sent.read_text() == "Agent waiting t is waiting for input\n", description="its text")


def test_kanpan_shows_agents_by_state(machine: Machine, release: Event) -> None:
    machine.create("idle")
    machine.create("busy").message("This is slow.")
    assert board(machine) == {"idle": "WAITING", "busy": "RUNNING"}
    assert board(machine, "--include", 'plugin.codex.waiting_reason == "END_OF_TURN"') == {"idle": "WAITING"}


def board(machine: Machine, *arguments: str) -> dict[str, str]:
    """Returns the agents on the board of kanpan with their states."""
    shown = json.loads(machine.mngr("kanpan", "--format", "json", *arguments).stdout)
    return {entry["name"]: entry["state"] for section in shown["sections"] for entry in section["entries"]}


def test_a_schedule_creates_an_agent_and_then_sends_it_messages(machine: Machine) -> None:
    """The schedule is in the user's crontab, and this test runs its command as cron does."""
    crontab = machine.folder / "crontab"
    machine.add_program(
        "crontab",
        f'if [ "$1" = -l ]; then cat {crontab} 2>/dev/null || echo "no crontab" >&2; else cat >{crontab}; fi\n',
    )
    machine.add_program("uv", 'shift\nexec "$@"\n')  # `uv run mngr …`
    arguments = "nightly codex --yes --reuse --message 'Good evening.'"
    machine.mngr("schedule", "add", "n", "--args", arguments, "--schedule", "0 2 * * *", "--provider", "local")
    marker, line = crontab.read_text().splitlines()
    assert marker.endswith("schedule:n") and line.startswith("0 2 * * * ")
    command = line.removeprefix("0 2 * * * ")
    environment = {"HOME": str(machine.home), "SHELL": "/bin/sh", "TMUX_TMPDIR": machine.environment["TMUX_TMPDIR"]}
    for answers in (["You said: Good evening."], ["You said: Good evening."] * 2):
        ran = subprocess.run(["/bin/sh", "-c", command], env=environment, cwd="/", capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        agent = machine.agent("nightly")
        until(partial(has_answered, agent, answers), description="the answer")
        agent.wait()
    assert agent.listed["state"] == "WAITING"


def has_answered(agent: Agent, answers: list[str]) -> bool:
    return agent.answers() == answers
