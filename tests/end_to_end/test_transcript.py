"""`mngr transcript` of real agents, with and without `--follow`."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from tests.support.machine import Json, Machine, until
from tests.support.rule_based_model import Model, after, runs, says

pytestmark = pytest.mark.slow


def records(text: str) -> list[Json]:
    """Parses the complete lines."""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def answers(shown: list[Json]) -> list[str]:
    """Returns the messages of the model."""
    return [step["message"] for step in shown if step.get("source") == "agent" and step.get("message")]


def test_every_format_has_the_final_message(machine: Machine, model: Model) -> None:
    model.on("look", runs("echo looked"), says("I have looked."))
    agent = machine.create()
    agent.message("Please look around.")
    agent.wait()
    assert "I have looked." in machine.mngr("transcript", "t", "--tail", "1").stdout
    human = machine.mngr("transcript", "t").stdout
    # mngr's own human-readable format has neither of these.
    assert "echo looked" in human and "exit 0" in human
    shown = machine.mngr("transcript", "t", "--tail", "1", "--format", "jsonl").stdout
    assert answers(records(shown)) == ["I have looked."]
    document = json.loads(machine.mngr("transcript", "t", "--format", "atif").stdout)
    assert document["agent"]["name"] == "codex"
    assert document["steps"][-1]["message"] == "I have looked."


def test_records_are_followed_while_the_agent_runs(machine: Machine, model: Model) -> None:
    """From before its first message until Ctrl-C."""
    was_seen = Event()
    model.on("slowly", runs("true"), after(was_seen, says("Slow, but done.")))
    agent = machine.create()
    shown = machine.folder / "shown"
    mngr = Path(sys.executable).with_name("mngr")
    command = [mngr, "transcript", "t", "--follow", "--format", "jsonl"]
    how = {"env": machine.environment, "cwd": machine.repository}
    with shown.open("wb") as out, subprocess.Popen(command, stdout=out, **how) as following:  # type: ignore[call-overload]
        try:
            agent.message("Do it slowly.")
            until(lambda: any(step.get("tool_calls") for step in records(shown.read_text())), description="the call")
            assert agent.is_active
            assert "Slow, but done." not in shown.read_text()
            was_seen.set()
            until(lambda: "Slow, but done." in answers(records(shown.read_text())), description="the answer")
            agent.wait()
            agent.message("And another.")
            until(lambda: "You said: And another." in answers(records(shown.read_text())), description="another answer")
            agent.wait()
            following.send_signal(signal.SIGINT)
            until(lambda: following.poll() is not None, description="the end")
        finally:
            following.kill()
    assert records(shown.read_text()) == agent.records()
