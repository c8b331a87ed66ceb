"""`mngr transcript` of real agents, as it stands and as it grows."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine import Agent, Json, Machine, until
from tests.support.rule_based_model import Model, runs, says

pytestmark = pytest.mark.slow


def waits(agent: Agent) -> None:
    until(lambda: not agent.is_active, what="WAITING", seconds=30)


def records(text: str) -> list[Json]:
    """Those that are whole."""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def said(shown: list[Json]) -> list[str]:
    return [step["message"] for step in shown if step.get("source") == "agent" and step.get("message")]


def test_the_end_of_a_transcript(machine: Machine, model: Model) -> None:
    model.on("look", runs("echo looked"), says("I have looked."))
    agent = machine.create()
    agent.message("Please look around.")
    waits(agent)
    assert "I have looked." in machine.mngr("transcript", "t", "--tail", "1").stdout
    people = machine.mngr("transcript", "t").stdout
    # Of these mngr's own view for people says nothing.
    assert "echo looked" in people and "exit 0" in people
    shown = machine.mngr("transcript", "t", "--tail", "1", "--format", "jsonl").stdout
    assert said(records(shown)) == ["I have looked."]
    document = json.loads(machine.mngr("transcript", "t", "--format", "atif").stdout)
    assert document["agent"]["name"] == "codex"
    assert document["steps"][-1]["message"] == "I have looked."


def test_following_an_agent_while_it_works(machine: Machine, model: Model) -> None:
    """From before its first message until it is stopped."""
    model.on("slowly", runs("sleep 2"), says("Slow, but done."))
    agent = machine.create()
    shown = machine.folder / "shown"
    mngr = Path(sys.executable).with_name("mngr")
    command = [mngr, "transcript", "t", "--follow", "--format", "jsonl"]
    how = {"env": machine.environment, "cwd": machine.repository}
    with shown.open("wb") as out, subprocess.Popen(command, stdout=out, **how) as following:  # type: ignore[call-overload]
        try:
            agent.message("Do it slowly.")
            until(lambda: any(step.get("tool_calls") for step in records(shown.read_text())), what="the call")
            assert agent.is_active
            assert "Slow, but done." not in shown.read_text()
            until(lambda: "Slow, but done." in said(records(shown.read_text())), what="the answer")
            waits(agent)
            agent.message("And another.")
            until(lambda: "You said: And another." in said(records(shown.read_text())), what="another answer")
            waits(agent)
            following.send_signal(signal.SIGINT)
            until(lambda: following.poll() is not None, what="the end")
        finally:
            following.kill()
    assert records(shown.read_text()) == agent.records()
