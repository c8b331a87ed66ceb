"""Agents that cannot be created, or whose Codex does not start."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import Agent, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, says

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"command": "nowhere/codex"}, "cannot find nowhere/codex\nhint: "),
        ({"sandbox_mode": "none"}, "'read-only', 'workspace-write' or 'danger-full-access'"),
        ({"sandbox": "none"}, "Unknown fields"),
        ({"config_overrides": {"check_for_update_on_startup": True}}, "cannot set check_for_update_on_startup"),
        ({"version": "0.1.2"}, "requires version 0.1.2"),
    ],
)
def test_an_agent_that_cannot_be_created_leaves_nothing(
    make_machine: MakeMachine, settings: dict[str, object], message: str
) -> None:
    machine = make_machine(**settings)
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", status=None)
    assert refused.status != 0
    assert message in refused.stderr
    assert machine.agent_dirs() == []


def test_invalid_settings_only_prevent_the_creation_of_agents(make_machine: MakeMachine) -> None:
    """mngr reads them for every command, including the one that fixes them."""
    machine = make_machine(sandbox_mode="none")
    assert json.loads(machine.mngr("list", "--format", "json").stdout)["agents"] == []
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", status=None)
    assert refused.status != 0 and "[agent_types.codex]" in refused.stderr and "mngr config path" in refused.stderr
    findings = json.loads(machine.mngr("codex", "doctor", "--format", "json", status=1).stdout)
    assert [finding["what"] for finding in findings if finding["is_wrong"]] == ["settings"]
    settings = machine.profile / "settings.toml"
    thinker = '[agent_types.thinker]\nparent_type = "codex"\nsandbox_mode = "some"\n'
    settings.write_text(f"{settings.read_text()}\n{thinker}")
    findings = json.loads(machine.mngr("codex", "doctor", "--format", "json", status=1).stdout)
    assert ["thinker" in finding["said"] for finding in findings if finding["is_wrong"]] == [False, True]
    machine.mngr("config", "set", "--scope", "user", "agent_types.codex.sandbox_mode", "read-only")
    agent = machine.create()
    machine.mngr("config", "set", "--scope", "user", "agent_types.codex.sandbox_mode", "none")
    agent.message("Are you there?")


def test_a_setting_that_codex_refuses_is_named(machine: Machine) -> None:
    (machine.home / ".codex" / "config.toml").write_text("model_reasoning_effort = 7\n")
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", status=None)
    assert refused.status != 0
    assert "`model_reasoning_effort`: " in refused.stderr
    assert str(machine.home / ".codex" / "config.toml") in refused.stderr
    assert machine.agent_dirs() == []


def test_the_error_of_a_codex_that_exits_immediately_is_shown(machine: Machine) -> None:
    """mngr removes the agent."""
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", "--", "--no-such-option", status=None)
    assert refused.status != 0
    assert "Codex has exited" in refused.stderr
    assert "--no-such-option" in refused.stderr
    assert machine.agent_dirs() == []


@pytest.mark.parametrize(
    "line", ['sleep 1; exec "$0.real" "$@"', '"$0.real" "$@"'], ids=["exec after a second", "child process"]
)
def test_codex_may_be_a_shell_script(machine: Machine, model: Model, line: str) -> None:
    """Version managers install such scripts. tmux shows the name of a shell for them."""
    codex = machine.folder / "bin" / "codex"
    real = codex.with_name("codex.real")
    codex.rename(real)
    codex.write_text(f"#!/bin/sh\n{line}\n")
    codex.chmod(0o755)
    agent = machine.create()
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")


def reason(agent: Agent) -> tuple[str, str | None]:
    """Returns the state and the waiting reason that `mngr list` shows."""
    listed = agent.listed
    return listed["state"], listed["plugin"].get("codex", {}).get("waiting_reason")


def test_the_listing_shows_dialogs_and_no_reason_for_an_ended_agent(machine: Machine) -> None:
    agent = machine.create()
    assert reason(agent) == ("WAITING", "END_OF_TURN")
    agent.message("/model", status=7)
    assert reason(agent) == ("WAITING", "DIALOG")
    agent.press("Escape")
    until(lambda: reason(agent) == ("WAITING", "END_OF_TURN"), description="the end of the dialog")
    for pid in agent.codex_pids():
        machine.kill(pid)
    until(lambda: reason(agent) == ("DONE", None), description="the end of Codex")
    machine.mngr("stop", "t")
    assert reason(agent) == ("STOPPED", None)


def test_an_agent_can_be_created_before_the_login(make_machine: MakeMachine) -> None:
    """A notice names `codex login`, and the agent uses a later login."""
    provider = {"requires_openai_auth": True}
    machine = make_machine(config_overrides={"model_providers": {"scripted": provider}})
    login = machine.home / ".codex" / "auth.json"
    text = login.read_text()
    login.unlink()
    created = machine.mngr("create", "t", "codex", "--yes", "--no-connect")
    assert "codex login" in created.stderr
    agent = machine.agent("t")
    assert "Sign in" in agent.pane()
    assert reason(agent) == ("WAITING", "LOGIN")
    refused = agent.message("Are you there?", status=1)
    assert "codex login" in refused.stderr
    login.write_text(text)
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")


def work(machine: Machine) -> tuple[list[Path], list[str]]:
    """Returns the agents' folders and worktrees, and the branches of the repository."""
    git = ["git", "for-each-ref", "--format=%(refname:short)", "refs/heads"]
    branches = subprocess.run(git, cwd=machine.repository, env=machine.environment, capture_output=True, text=True)
    worktrees = (machine.home / ".mngr" / "worktrees").glob("*")
    return [*machine.agent_dirs(), *worktrees], branches.stdout.split()


NOTHING: tuple[list[Path], list[str]] = ([], ["main"])
MESSAGE = ("--message", "Are you there?")
LOGIN_NEEDED = {"model_providers": {"scripted": {"requires_openai_auth": True}}}


def test_a_first_message_without_a_login_is_refused(make_machine: MakeMachine) -> None:
    machine = make_machine(config_overrides=LOGIN_NEEDED)
    (machine.home / ".codex" / "auth.json").unlink()
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", *MESSAGE, status=None)
    assert refused.status != 0
    assert "not logged in" in refused.stderr and "hint: run `codex login` first" in refused.stderr
    assert work(machine) == NOTHING
    assert not any("app-server" in call for call in machine.codex_calls())


@pytest.mark.parametrize("message", ["/model", "/compact", "/review", "/model gpt-5.5\nand more"])
def test_a_command_as_the_first_message_is_refused(machine: Machine, message: str) -> None:
    refused = machine.mngr("create", "t", "codex", "--yes", "--no-connect", "--message", message, status=None)
    assert refused.status != 0
    assert f"Codex command {message.split()[0]}" in refused.stderr and "mngr message t -m" in refused.stderr
    assert work(machine) == NOTHING


def test_a_command_that_starts_a_turn_can_be_the_first_message(machine: Machine, model: Model) -> None:
    """Codex asks about the plan after the end of the turn, so only its terminal shows that."""
    model.on("make a plan", says("<proposed_plan>\n# Plan\n\n- do it\n</proposed_plan>"))
    agent = machine.create("t", "--message", "/plan make a plan")
    until(lambda: reason(agent) == ("WAITING", "QUESTION"), description="the question about the plan")
    assert "a question about its plan" in agent.message("Are you there?", status=1).stderr


def test_a_running_agent_stays_if_its_first_message_fails(make_machine: MakeMachine) -> None:
    """The model provider could be another one with these arguments, so the agent is created."""
    machine = make_machine(config_overrides=LOGIN_NEEDED)
    (machine.home / ".codex" / "auth.json").unlink()
    arguments = ("--", "-c", 'model="gpt-5.5"')
    created = machine.mngr("create", "t", "codex", "--yes", "--no-connect", *MESSAGE, *arguments)
    assert "agent t is running, but does not have the first message" in created.stderr
    assert "codex login" in created.stderr and "mngr message t -m 'Are you there?'" in created.stderr
    agent = machine.agent("t")
    assert "Sign in with" in agent.pane()
    assert "Codex is showing its login screen" in machine.mngr("codex", "doctor", "t", status=1).stdout
    files, branches = work(machine)
    assert len(files) == 2 and branches == ["main", "mngr/t"]
    # Only the first message may fail without an error.
    assert "its login screen" in agent.message("Are you there?", status=1).stderr


REQUIRED = {"mcp_servers": {"broken": {"command": "false", "required": True}}}


def test_a_codex_that_exits_after_its_composer_is_visible_is_an_error(make_machine: MakeMachine) -> None:
    """Codex has shown an empty composer by then."""
    machine = make_machine(config_overrides=REQUIRED)
    failed = machine.mngr("create", "t", "codex", "--yes", "--no-connect", status=None)
    assert failed.status != 0
    assert "Codex has exited" in failed.stderr and "MCP servers failed to initialize" in failed.stderr
    assert work(machine) == NOTHING


def test_start_shows_why_codex_exits(machine: Machine) -> None:
    """Codex shows an empty composer while it looks for the session."""
    agent = machine.create()
    agent.message("Are you there?")
    agent.wait()
    machine.mngr("stop", "t")
    (rollout,) = (agent.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl")
    content = rollout.read_bytes()
    rollout.write_bytes(b"")
    failed = machine.mngr("start", "t", status=None)
    assert failed.status != 0
    assert "No saved session found" in failed.stderr and "mngr start t --restart" in failed.stderr
    # The terminal still exists, so mngr starts nothing.
    failed = machine.mngr("start", "t", status=None)
    assert failed.status != 0 and "mngr start t --restart" in failed.stderr
    rollout.write_bytes(content)
    assert machine.mngr("start", "t", "--restart").stderr == ""
    assert machine.mngr("start", "t").stderr == ""
    agent.message("Are you still there?")


def test_a_failed_update_deletes_nothing(machine: Machine) -> None:
    """mngr removes the agent and its worktree if the plugin reports the error while the agent is created."""
    agent = machine.create()
    agent.message("Are you there?")
    agent.wait()
    ((folder),) = (machine.home / ".mngr" / "worktrees").glob("*")
    (folder / "new").write_text("not committed")
    before = work(machine)
    update = ("create", "t", "codex", "--yes", "--no-connect", "--reuse", "--update")
    failed = machine.mngr(*update, "--", "--no-such-option", status=None)
    assert failed.status != 0
    assert "--no-such-option" in failed.stderr and "nothing was deleted" in failed.stderr
    assert work(machine) == before and (folder / "new").exists()
    machine.mngr(*update)
    agent.message("Are you still there?")


def test_a_worktree_of_the_user_is_never_deleted(machine: Machine) -> None:
    own = machine.folder / "own"
    command = ["git", "worktree", "add", "-q", str(own), "-b", "own"]
    subprocess.run(command, cwd=machine.repository, env=machine.environment, check=True)
    create = ("create", "t", "codex", "--yes", "--no-connect", "--transfer", "none", "--", "--no-such-option")
    failed = machine.mngr(*create, folder=own, status=None)
    assert failed.status != 0
    assert "--no-such-option" in failed.stderr and "nothing was deleted" in failed.stderr
    assert (own / "README.md").exists()


def test_an_agent_type_derived_from_codex_works(machine: Machine) -> None:
    settings = machine.profile / "settings.toml"
    own = '[agent_types.thinker]\nparent_type = "codex"\nmodel_reasoning_effort = "high"\n'
    settings.write_text(f"{settings.read_text()}\n{own}")
    machine.mngr("create", "t", "thinker", "--yes", "--no-connect")
    agent = machine.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    assert 'model_reasoning_effort = "high"' in (agent.state / "plugin/codex/home/config.toml").read_text()
    machine.mngr("destroy", "t", "--force")
    (kept,) = (machine.home / ".mngr" / "preserved").glob("t*")
    assert json.loads((kept / "manifest.json").read_text())["identity"]["agent_type"] == "thinker"
