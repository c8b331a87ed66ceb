"""`mngr-codex send` and `mngr-codex screen` with the real Codex."""

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.end_to_end.test_messages import HUNDRED_KILOBYTES, assert_received, received
from tests.support.machine import Agent, Machine, MakeMachine, until
from tests.support.program import PROGRAM
from tests.support.rule_based_model import Model, runs, says

pytestmark = pytest.mark.slow


def run(agent: Agent, command: str, *arguments: str, text: str = "") -> dict[str, Any]:
    ran = subprocess.run(
        [PROGRAM, command, "--json", "--state-dir", agent.state, *arguments],
        input=text,
        env=agent.machine.environment,
        capture_output=True,
        text=True,
    )
    line: dict[str, Any] = json.loads(ran.stdout)
    return line


def send(agent: Agent, text: str, *arguments: str) -> dict[str, Any]:
    """Sends a message with the program, without mngr."""
    return run(agent, "send", *arguments, text=text)


def test_every_kind_of_message_arrives_once(machine: Machine, model: Model) -> None:
    agent = machine.create()
    assert run(agent, "screen")["view"] == "empty"
    messages = [
        "One line.",
        "y",
        "line\n" * 500,
        HUNDRED_KILOBYTES * 10,
        "/etc/hosts is not a command",
        "/nosuch command\nin two lines",
        "1. first\n2. second",
        "two\nlines and @READ",
        "/nosuchcommand",
        "/lo",
        "look at this:\n        › 1. Yes\n  enter select · esc back\nis it a dialog?",
        "!echo no",
        "y",
    ]
    for message in messages:
        line = send(agent, message, "--token", "again")
        assert line["outcome"] == "arrived", (message[:80], line)
        (agent.state / "plugin/mngr_codex/messages/again.json").unlink()
        typed = f"\u2060{message}" if message.startswith("!") else message
        assert_received(model, typed.strip())
        agent.wait()
    asked = [text.strip().removeprefix("\u2060") for text in received(model)]
    assert asked == [message.strip() for message in messages]


def test_commands_and_dialogs(machine: Machine, model: Model) -> None:
    agent = machine.create()
    opened = send(agent, "/model")
    assert (opened["outcome"], opened["view"], opened["dialog"]) == ("taken", "dialog", "menu")
    assert (opened["command"], opened["showing"]) == ("/model", "a menu")
    refused = send(agent, "Are you there?")
    assert (refused["outcome"], refused["arrived"]) == ("dialog", False)
    agent.press("Escape")
    until(lambda: run(agent, "screen")["view"] == "empty", description="the composer")
    agent.press("-l", "my draft")
    until(lambda: run(agent, "screen")["view"] == "draft", description="the draft")
    assert send(agent, "Are you there?")["row"] == "› my draft"
    agent.press("C-u")
    until(lambda: run(agent, "screen")["view"] == "empty", description="the composer")
    assert send(agent, "Are you there?")["outcome"] == "arrived"
    agent.wait()
    assert send(agent, "/quit")["outcome"] == "taken"
    until(lambda: run(agent, "screen")["view"] == "shell", description="the exit")
    assert received(model) == ["Are you there?"]


def test_a_command_is_repeated_while_mcp_servers_start(make_machine: MakeMachine) -> None:
    slow = {"command": "sleep", "args": ["4"]}
    agent = make_machine(config_overrides={"mcp_servers": {"slow": slow}}).create()
    assert send(agent, "/plan")["outcome"] == "taken"
    assert "Plan mode" in agent.pane()


def test_messages_during_a_turn(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 8"), says("Not steered."))
    agent = machine.create()
    assert send(agent, "Do it slowly.")["outcome"] == "arrived"
    queued = send(agent, "Turn left instead.", "--timeout", "3")
    assert (queued["outcome"], queued["arrived"]) == ("queued", None)
    refused = send(agent, "/compact")
    assert (refused["outcome"], refused["command"]) == ("refused", "/compact")
    until(lambda: received(model)[-1] == "Turn left instead.", description="the message", seconds=20)


def test_ctrl_c_leaves_no_text_in_the_composer(machine: Machine, model: Model) -> None:
    """At some moments while the program sends the message."""
    agent = machine.create()
    records = agent.state / "plugin/mngr_codex/messages"
    agent.message("The first.")
    agent.wait()
    for number in range(6):
        before = set(records.glob("*.json"))
        with machine.running_mngr("message", "t", "-m", f"Message {number}.") as command:
            until(lambda: set(records.glob("*.json")) - before, description="the program")  # noqa: B023
            time.sleep(0.01 * number)
            # As the terminal does.
            os.killpg(command.process.pid, signal.SIGINT)
            command.process.wait(30)
        agent.wait()
        until(lambda: run(agent, "screen")["view"] == "empty", description="the empty composer", seconds=5)
        assert sum(f"Message {number}." in message for message in received(model)) <= 1
