"""Agents that cannot be made, or whose codex does not come up."""

import json
import subprocess
from collections.abc import Iterable

import pytest

from tests.support.machine import Json, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, runs, says

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"command": "nowhere/codex"}, "cannot find nowhere/codex on the host"),
        ({"sandbox_mode": "none"}, "'read-only', 'workspace-write' or 'danger-full-access'"),
        ({"sandbox": "none"}, "Unknown fields"),
        ({"config_overrides": {"check_for_update_on_startup": True}}, "cannot set check_for_update_on_startup"),
        ({"version": "0.1.2"}, "requires version 0.1.2"),
    ],
)
def test_an_agent_that_cannot_be_created_leaves_nothing(
    make_machine: MakeMachine, settings: dict[str, object], said: str
) -> None:
    machine = make_machine(**settings)
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", status=None)
    assert refused.status != 0
    assert said in refused.stderr
    assert machine.agent_dirs() == []


def test_wrong_settings_are_in_nobodys_way_but_an_agents(make_machine: MakeMachine) -> None:
    """mngr reads them with each command, also with the one that mends them."""
    machine = make_machine(sandbox_mode="none")
    assert json.loads(machine.mngr("list", "--format", "json").stdout)["agents"] == []
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", status=None)
    assert refused.status != 0 and "[agent_types.codex]" in refused.stderr and "mngr config path" in refused.stderr
    told = json.loads(machine.mngr("codex", "doctor", "--format", "json", status=1).stdout)
    assert [finding["what"] for finding in wrong(told)] == ["settings"]
    settings = machine.profile / "settings.toml"
    thinker = '[agent_types.thinker]\nparent_type = "codex"\nsandbox_mode = "some"\n'
    settings.write_text(f"{settings.read_text()}\n{thinker}")
    told = json.loads(machine.mngr("codex", "doctor", "--format", "json", status=1).stdout)
    assert ["thinker" in finding["said"] for finding in wrong(told)] == [False, True]
    machine.mngr("config", "set", "--scope", "user", "agent_types.codex.sandbox_mode", "read-only")
    agent = machine.create()
    machine.mngr("config", "set", "--scope", "user", "agent_types.codex.sandbox_mode", "none")
    agent.message("Are you there?")


def test_a_setting_that_codex_does_not_take_is_named(machine: Machine) -> None:
    (machine.home / ".codex" / "config.toml").write_text("model_reasoning_effort = 7\n")
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", status=None)
    assert refused.status != 0
    assert "`model_reasoning_effort`: " in refused.stderr
    assert str(machine.home / ".codex" / "config.toml") in refused.stderr
    assert machine.agent_dirs() == []


def test_a_codex_that_ends_at_once(machine: Machine) -> None:
    """mngr tells what it said, and takes the agent away again."""
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", "--", "--no-such-option", status=None)
    assert refused.status != 0
    assert "Codex exited immediately" in refused.stderr
    assert "--no-such-option" in refused.stderr
    assert machine.agent_dirs() == []


@pytest.mark.parametrize("line", ['sleep 1; exec "$0.real" "$@"', '"$0.real" "$@"'], ids=["late", "beside"])
def test_a_script_that_runs_codex(machine: Machine, model: Model, line: str) -> None:
    """As version managers have it: for tmux its name is that of a shell."""
    codex = machine.folder / "bin" / "codex"
    real = codex.with_name("codex.real")
    codex.rename(real)
    codex.write_text(f"#!/bin/sh\n{line}\n")
    codex.chmod(0o755)
    agent = machine.create()
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], what="the answer")


def test_without_a_login(make_machine: MakeMachine) -> None:
    """The agent is made with a word on `codex login`; a later login counts for it."""
    provider = {"requires_openai_auth": True}
    machine = make_machine(config_overrides={"model_providers": {"scripted": provider}})
    login = machine.home / ".codex" / "auth.json"
    text = login.read_text()
    login.unlink()
    created = machine.mngr("create", "t", "codex", "--yes", "--no-connect")
    assert "codex login" in created.stderr
    agent = machine.agent("t")
    until(lambda: "Sign in" in agent.pane(), what="the login screen")
    refused = agent.message("Are you there?", status=1)
    assert "codex login" in refused.stderr
    login.write_text(text)
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], what="the answer")


def test_a_first_message_without_a_login(make_machine: MakeMachine) -> None:
    """Is refused, though codex shows its composer before its login; and nobody begins to log in."""
    machine = make_machine(config_overrides={"model_providers": {"scripted": {"requires_openai_auth": True}}})
    (machine.home / ".codex" / "auth.json").unlink()
    message = ("--message", "Are you there?")
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", *message, status=None)
    assert refused.status != 0
    assert "its login screen" in refused.stderr and "codex login" in refused.stderr
    assert "Sign in with" in machine.agent("t").pane()
    assert "Codex is showing its login screen" in machine.mngr("codex", "doctor", "t", status=1).stdout


def test_an_agent_type_of_the_users_own(machine: Machine) -> None:
    settings = machine.profile / "settings.toml"
    own = '[agent_types.thinker]\nparent_type = "codex"\nmodel_reasoning_effort = "high"\n'
    settings.write_text(f"{settings.read_text()}\n{own}")
    machine.mngr("create", "t", "thinker", "--yes", "--no-connect")
    agent = machine.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], what="the answer")
    assert 'model_reasoning_effort = "high"' in (agent.state / "plugin/codex/home/config.toml").read_text()
    machine.mngr("destroy", "t", "--force")
    (kept,) = (machine.home / ".mngr" / "preserved").glob("t*")
    assert json.loads((kept / "manifest.json").read_text())["identity"]["agent_type"] == "thinker"


def wrong(findings: Iterable[Json]) -> list[Json]:
    """What the doctor found wrong, but for limits of this machine."""
    return [finding for finding in findings if finding["is_wrong"] and not finding["what"].startswith("inotify")]


def test_the_doctor(machine: Machine) -> None:
    """It finds nothing wrong with an agent that is well, and says what to do for one that is not."""
    agent = machine.create()
    findings = json.loads(machine.mngr("codex", "doctor", "--format", "json").stdout)
    assert not wrong(findings)
    assert {finding["what"] for finding in findings} >= {"codex", "login", "program", "hooks", "watcher", "marker"}
    for pid in agent.watcher_pids():
        machine.kill(pid)
    hooks = agent.state / "plugin/codex/home/hooks.json"
    hooks.write_text(hooks.read_text().replace("hook stop", "hook stop "))
    told = machine.mngr("codex", "doctor", "t", status=1).stdout
    assert "mngr stop t && mngr start t" in told
    assert "hooks" in told
    damaged = agent.state.with_name("agent-damaged") / "data.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    told = machine.mngr("codex", "doctor", status=1).stdout
    assert f"cannot read {damaged}" in told


def test_the_doctor_names_what_helps(machine: Machine) -> None:
    agent = machine.create()
    agent.message("Are you there?")
    machine.mngr("stop", "t")

    def remedies(what: str) -> list[str]:
        lines = machine.mngr("codex", "doctor", "--format", "jsonl", status=1).stdout.splitlines()
        found = wrong(map(json.loads, lines))
        assert {finding["what"] for finding in found} == {what}, found
        return [finding["remedy"] for finding in found]

    (rollout,) = (agent.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl")
    whole = rollout.read_bytes()
    rollout.write_bytes(b"")
    assert f"remove {rollout}" in remedies("session")[0]
    rollout.write_bytes(whole)
    for path, what in (("plugin/codex/home/hooks.json", "hooks"), ("commands/codex", "launcher")):
        file = agent.state / path
        file.rename(file.with_name("away"))
        assert remedies(what) == ["mngr create t codex --reuse --update"]
        file.with_name("away").rename(file)
    codex = machine.folder / "bin" / "codex"
    codex.rename(codex.with_name("away"))
    assert remedies("codex") == ["npm install -g @openai/codex"]
    machine.write_settings(command="/nowhere/codex")
    assert "change `command`" in remedies("codex")[0]


def test_the_doctor_finds_a_marker_that_nobody_took_back(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Never said."))
    agent = machine.create()
    agent.message("Do it slowly.")
    machine.kill_agents()
    findings = json.loads(machine.mngr("codex", "doctor", "--format", "json", status=1).stdout)
    (marker,) = [finding for finding in findings if finding["what"] == "marker"]
    assert marker["is_wrong"]
    program, *arguments = marker["remedy"].partition(": ")[2].split()
    subprocess.run([program, *arguments], check=True, capture_output=True)
    assert not agent.is_active
