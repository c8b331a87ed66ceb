"""The program answers for an agent on another host: its transcript, its state, and what the doctor finds."""

import json
from typing import Any

import pytest

from tests.support.doctor_docs import documented_checks
from tests.support.machine import until
from tests.support.remote_host import RemoteHost
from tests.support.rule_based_model import Model, runs, says

pytestmark = pytest.mark.slow


def test_the_program_answers_for_an_agent_on_another_host(host: RemoteHost, model: Model) -> None:
    machine = host.machine
    model.on("slowly", runs("until [ -e ~/was_seen ]; do sleep 0.1; done"), says("Slow, but done."))
    agent = host.create()
    machine.mngr("message", "t", "-m", "Hello there.")
    until(lambda: agent.answers()[-1:] == ["You said: Hello there."], description="the answer")
    agent.wait()

    def doctor(*arguments: str, status: int = 0) -> dict[str, dict[str, Any]]:
        """Returns what was found about the agent, by what was checked."""
        shown = machine.mngr("codex", "doctor", *arguments, "--format", "json", status=status).stdout
        found = [each for each in json.loads(shown) if each["host"] == host.address]
        assert all(each["level"] != "problem" for each in found if each["agent"] is None), found
        return {each["what"]: each for each in found if each["agent"] == "t"}

    found = doctor("t")
    of_agent = documented_checks("| check of an agent there ")
    assert {name: each["level"] for name, each in found.items()} == dict.fromkeys(of_agent, "ok")
    assert found["state"]["said"] == "WAITING" and found["codex"]["said"].endswith(" on host box")
    # The human format is the program's, not mngr's.
    shown = machine.mngr("transcript", "t").stdout
    assert shown.startswith("session ") and "Codex 0." in shown.splitlines()[0]
    marker = machine.mngr("codex", "marker", "show", "--json", "--agent", f"t@{host.address}").stdout
    assert json.loads(marker)["state"] == "WAITING"
    status = json.loads(machine.mngr("codex", "status", "--host", host.address, "--json").stdout)
    assert [each["state"] for each in status] == ["WAITING"]
    with machine.running_mngr("transcript", "t", "--follow", "--tail", "1") as following:
        until(lambda: following.shows("You said: Hello there."), description="the last record")
        machine.mngr("message", "t", "-m", "Do it slowly.")
        # Announced before its record is written, from files that only the host has.
        until(lambda: following.shows("● running since"), description="the call that runs")
        assert "until [ -e ~/was_seen ]" in machine.mngr("transcript", "t", "--tail", "1").stdout
        host.run("touch was_seen")
        until(lambda: following.shows("Slow, but done."), description="the answer")
    agent.wait()
    agent.press("C-c")
    agent.press("C-c")
    until(lambda: machine.listed()["t"]["state"] == "DONE", description="the end of Codex")
    assert doctor("t")["state"]["said"] == "DONE: Codex was quit"
