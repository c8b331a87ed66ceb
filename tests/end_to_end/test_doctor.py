"""`mngr codex doctor` with real agents. Faults that need none are in tests/plugin/cli/test_doctor.py."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.doctor_docs import documented_checks
from tests.support.folder_snapshot import snapshot
from tests.support.machine import Agent, Json, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, runs, says

# isort: split
from scripted_model import Failure

pytestmark = pytest.mark.slow

RECREATE = "run `mngr create t codex --reuse --update`"


def examine(machine: Machine, *names: str, status: int | None = None) -> list[Json]:
    """Returns the doctor's findings that are problems."""
    output = machine.mngr("codex", "doctor", "--json", *names, status=status).stdout
    return [finding for finding in json.loads(output) if finding["level"] == "problem"]


def end_codex(agent: Agent, signal_number: int) -> None:
    """Ends the agent's Codex by a signal."""
    for pid in agent.codex_pids():
        os.kill(pid, signal_number)
    until(lambda: not agent.codex_pids(), description="the end of Codex")


def test_a_healthy_agent_has_one_line(machine: Machine) -> None:
    machine.create()
    findings = json.loads(machine.mngr("codex", "doctor", "--format", "json").stdout)
    assert {finding["what"] for finding in findings} >= {"codex", "login", "program", "tmux", "disk", "clock"}
    assert {finding["what"] for finding in findings if finding["agent"]} == documented_checks("## Each agent")
    report = machine.mngr("codex", "doctor").stdout.splitlines()
    assert "✓ t: WAITING" in report and sum("t: " in line for line in report) == 1
    assert "No problems found." in report or "! " in report[0]
    verbose = machine.mngr("codex", "doctor", "-v", "t")
    assert "✓ t: watcher: process " in verbose.stdout and "✓ tmux: " in verbose.stdout
    assert "/mngr-codex (mngr-codex " in verbose.stdout and ", mngr 0.3.0, Python 3." in verbose.stdout
    assert "DEBUG" not in verbose.stderr
    assert json.loads(machine.mngr("codex", "doctor", "--format", "jsonl").stdout.splitlines()[0])["what"] == "settings"


def test_an_unknown_name_is_an_error(machine: Machine) -> None:
    refused = machine.mngr("codex", "doctor", "nobody", status=1)
    assert "cannot find a Codex agent nobody" in refused.stderr


def test_nothing_is_changed(machine: Machine) -> None:
    agent = machine.create()
    agent.message("Are you there?")
    machine.mngr("stop", "t")
    until(lambda: not agent.watcher_pids(), description="the end of the watcher")
    shutil.rmtree(agent.state / "activity")  # mngr's own, which it still writes after a stop
    before = snapshot(agent.state), snapshot(machine.home / ".codex")
    machine.mngr("codex", "doctor")
    shutil.rmtree(agent.state / "activity", ignore_errors=True)
    assert (snapshot(agent.state), snapshot(machine.home / ".codex")) == before


def test_a_watcher_that_does_not_run(machine: Machine) -> None:
    agent = machine.create()
    # The parent would restart it.
    for pid in (*agent.watcher_pids(), *parents(agent.watcher_pids())):
        machine.kill(pid)
    (problem,) = examine(machine, status=1)
    assert (problem["what"], problem["remedy"]) == ("watcher", "run `mngr stop t && mngr start t`")


def parents(pids: list[int]) -> list[int]:
    """Returns the parents of processes."""
    listed = subprocess.run(["ps", "-o", "ppid=", "-p", ",".join(map(str, pids))], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def test_edited_hooks(machine: Machine) -> None:
    agent = machine.create()
    hooks = agent.state / "plugin/codex/home/hooks.json"
    written = hooks.read_text()
    assert examine(machine) == []
    hooks.write_text(written.replace('"timeout": 60', '"timeout": 61', 1))
    (problem,) = examine(machine, status=1)
    assert "Codex will ask for a review of new or edited hooks: sessionStart" in problem["said"]
    hooks.write_text(written.replace("hook stop", "hook stop "))
    (problem,) = examine(machine)
    assert "mngr's hooks for Stop are not in " in problem["said"] and problem["remedy"] == RECREATE
    own = json.dumps({"hooks": [{"type": "command", "command": "true"}]})
    hooks.write_text(written.replace('"Stop": [', f'"Stop": [{own}, '))
    (problem,) = examine(machine)
    assert "stop (true)" in problem["said"]
    hooks.write_text(written)
    config = agent.state / "plugin/codex/home/config.toml"
    place = f'[hooks.state."{hooks}:stop:0:0"]\n'
    assert place in config.read_text()
    config.write_text(config.read_text().replace(place, f"{place}enabled = false\n"))
    (problem,) = examine(machine)
    assert "disabled" in problem["said"] and "hook stop" in problem["said"]
    machine.create("t", "--reuse", "--update")
    assert examine(machine) == []


def test_files_that_are_gone(machine: Machine) -> None:
    agent = machine.create()
    agent.message("Are you there?")
    agent.wait()
    machine.mngr("stop", "t")
    (rollout,) = (agent.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl")
    content = rollout.read_bytes()
    rollout.write_bytes(b"")
    (problem,) = examine(machine)
    assert problem["what"] == "session" and f"remove {rollout}" in problem["remedy"]
    rollout.write_bytes(content)
    for path, subject in (("plugin/codex/home/hooks.json", "hooks"), ("commands/codex", "launcher")):
        file = agent.state / path
        file.rename(file.with_name("away"))
        (problem,) = examine(machine)
        assert (problem["what"], problem["remedy"]) == (subject, RECREATE)
        file.with_name("away").rename(file)
    codex = machine.folder / "bin" / "codex"
    codex.rename(codex.with_name("away"))
    (problem,) = examine(machine)
    assert problem["remedy"] == "run `npm install -g @openai/codex`"
    machine.write_settings(command="/nowhere/codex")
    (problem,) = examine(machine)
    assert "change `command`" in problem["remedy"]


def test_a_work_directory_that_is_gone(machine: Machine) -> None:
    """The remedy works although git still has the worktree registered."""
    agent = machine.create()
    work_dir = Path(json.loads((agent.state / "data.json").read_text())["work_dir"])
    shutil.rmtree(work_dir)
    problem = next(each for each in examine(machine, status=1) if each["what"] == "work dir")
    assert f"{work_dir} does not exist" in problem["said"]
    command = problem["remedy"].split("`")[1]
    subprocess.run(command, shell=True, cwd=machine.home, env=machine.environment, check=True)
    machine.mngr("start", "t", "--restart")
    assert examine(machine) == []
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")


def test_a_login_that_is_no_longer_needed(make_machine: MakeMachine) -> None:
    """The agent has the settings of the time when it was created, so a login is not what it lacks."""
    machine = make_machine(config_overrides={"model_providers": {"scripted": {"requires_openai_auth": True}}})
    (machine.home / ".codex" / "auth.json").unlink()
    machine.create()

    def remedy() -> str:
        (problem,) = (each for each in examine(machine, "t", status=1) if each["what"] == "terminal")
        return str(problem["remedy"])

    assert "run `codex login`" in remedy()
    machine.write_settings(config_overrides={})
    assert remedy().startswith(RECREATE) and "codex login" not in remedy()
    machine.create("t", "--reuse", "--update")
    assert examine(machine) == []


def test_the_reason_why_codex_has_ended(machine: Machine) -> None:
    agent = machine.create()
    agent.message("Are you there?")
    agent.wait()
    end_codex(agent, signal.SIGKILL)
    (problem,) = examine(machine, status=1)
    assert problem["said"].startswith("DONE: Codex was ended by a signal (killed)")
    assert problem["remedy"] == "run `mngr start t --restart`" and "\n" not in problem["said"]
    machine.mngr("start", "t", "--restart")
    until(lambda: "Ask Codex" in agent.pane(), description="the composer")
    agent.press("/quit")
    until(lambda: "› /quit" in agent.pane(), description="the command")
    agent.press("Enter")
    until(lambda: not agent.codex_pids(), description="the end of Codex")
    until(lambda: "To continue this session" in agent.pane(), description="Codex's last words")
    assert examine(machine, status=0) == []
    assert "✓ t: DONE: Codex was quit" in machine.mngr("codex", "doctor").stdout
    # A Codex that refuses its settings.
    config = agent.state / "plugin/codex/home/config.toml"
    config.write_text('model_provider = "nowhere"\n')
    machine.mngr("start", "t", "--restart", status=None)
    until(lambda: "nowhere" in agent.pane(), description="Codex's error")
    state = next(each for each in examine(machine, status=1) if each["what"] == "state")
    assert "nowhere" in state["said"].partition("Its terminal shows:\n")[2]


def test_a_turn_that_failed(machine: Machine, model: Model) -> None:
    model.on("fail", Failure(400), says("Now it works."))
    agent = machine.create()
    agent.message("Please fail.")
    agent.wait()

    def last_turn() -> list[Json]:
        findings = json.loads(machine.mngr("codex", "doctor", "--json").stdout)
        return [finding for finding in findings if finding["what"] == "last turn" and finding["level"] != "ok"]

    (warning,) = until(last_turn, description="the failed turn")
    assert warning["level"] == "warning" and "The turn ended with an error" in warning["said"]
    assert "! t: last turn: The turn ended with an error" in machine.mngr("codex", "doctor").stdout
    agent.message("Please fail.")
    until(lambda: not last_turn(), description="the next turn")


def test_a_marker_left_by_a_crash(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 30"), says("Too late."))
    agent = machine.create()
    agent.message("Do it slowly.")
    machine.kill_agents()
    (marker,) = examine(machine, status=1)
    assert marker["what"] == "marker" and "together with its watcher" in marker["said"]
    program, *arguments = marker["remedy"].split("`")[3].split()
    subprocess.run([program, *arguments], check=True, capture_output=True)
    assert not agent.is_active


def test_a_server_that_runs_the_hooks_in_another_environment(machine: Machine) -> None:
    """Codex joins a server in its home even if it does not start one itself."""
    agent = machine.create()
    machine.mngr("stop", "t")
    elsewhere = machine.folder / "elsewhere"
    elsewhere.mkdir()
    home = agent.state / "plugin/codex/home"
    environment = {**machine.environment, "CODEX_HOME": str(home), "MNGR_AGENT_STATE_DIR": str(elsewhere)}
    command = [str(machine.codex), "app-server", "--listen", "unix://"]
    server = subprocess.Popen(command, env=environment, cwd=machine.home, start_new_session=True)
    try:
        until((home / "app-server-control/app-server-control.sock").exists, description="the server")
        machine.mngr("start", "t")
        agent.message("Are you there?")
        until((elsewhere / "codex_root_session").exists, description="a hook in the server's environment")
        problem = next(each for each in examine(machine, status=1) if each["what"] == "server")
        assert f"MNGR_AGENT_STATE_DIR={elsewhere}" in problem["said"] and str(server.pid) in problem["remedy"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert [each for each in examine(machine) if each["what"] == "server"] == []


def test_a_damaged_agent_does_not_hide_the_others(machine: Machine) -> None:
    """mngr lists none of them."""
    machine.create()
    damaged = machine.home / ".mngr/agents/agent-damaged/data.json"
    damaged.parent.mkdir()
    for content in ("{", "[]", '{"id": "x", "name": "y"}', '{"type": "codex"}'):
        damaged.write_text(content)
        assert machine.mngr("list", status=None).status == 1
        (problem,) = examine(machine, status=1)
        assert problem["said"].startswith(f"cannot read {damaged}: ")
        assert "✓ t: WAITING" in machine.mngr("codex", "doctor", status=1).stdout
