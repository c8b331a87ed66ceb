"""``mngr codex`` for agents on another host: the program's commands run there, and the doctor looks there.

The host is this machine over ssh, and its agents consist of their files only.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.cli import remote_command
from tests.plugin.cli.test_remote_transcript import RECORDED, Near, programs_of
from tests.support.doctor_docs import documented_checks
from tests.support.line_proxy import LineProxy
from tests.support.machine import MngrServer, until
from tests.support.recordings import DATA
from tests.support.ssh_server import PROGRAM, ssh_server
from tests.support.transcript_machine import TRANSCRIPT


@pytest.fixture
def near(tmp_path: Path, server: MngrServer) -> Iterator[Near]:
    with ssh_server(tmp_path / "remote") as remote, LineProxy(remote.port) as proxy:
        (tmp_path / "near").mkdir()
        yield Near(tmp_path / "near", server, remote=remote, proxy=proxy)


def test_marker_of_an_agent_on_another_host(near: Near) -> None:
    name, state_dir = near.there()
    shown = near.mngr("codex", "marker", "show", "--json", "--agent", name)
    # No hook has run yet.
    assert shown.status == 1 and json.loads(shown.stdout)["state"] == "UNKNOWN"
    assert near.mngr("codex", "marker", "reset", f"--agent={name}@remote").status == 0
    assert near.mngr("codex", "marker", "show", "--agent", f"{name}@remote.there").status == 0
    ran = near.mngr("codex", "marker", "show", "--agent", "nobody")
    assert ran.status == 1 and "nobody" in ran.stderr and "hint: `mngr list` shows all agents" in ran.stderr
    (state_dir / PROGRAM).unlink()
    ran = near.mngr("codex", "marker", "show", "--agent", name)
    assert ran.status == 1 and "there is no program mngr-codex on the host remote.there" in ran.stderr


def test_watching_an_agent_on_another_host(near: Near) -> None:
    name, state_dir = near.there(None)
    assert near.mngr("codex", "watch", "--once", "--agent", name).status == 0
    mngr = Path(sys.executable).with_name("mngr")
    command: list[str | Path] = [mngr, "codex", "watch", "--agent", name]
    with subprocess.Popen(command, env=near.environment, cwd=near.folder, stdout=subprocess.PIPE) as running:
        until(lambda: programs_of(state_dir), description="the watcher")
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == -signal.SIGINT
    until(lambda: not programs_of(state_dir), description="the end of the watcher", seconds=20)


def test_transcript_of_an_agent_on_another_host(near: Near) -> None:
    name, state_dir = near.there()
    near.mngr("list")
    shown = near.mngr("codex", "transcript", name, "--format", "jsonl", "--tail", "2").stdout
    assert shown.encode() == b"".join(RECORDED.splitlines(keepends=True)[-2:])
    here = near.here(state_dir)
    assert near.mngr("codex", "transcript", f"{name}@remote").stdout == near.mngr("codex", "transcript", here).stdout
    ran = near.mngr("codex", "transcript", "nobody")
    assert ran.status == 1 and "hint: `mngr codex transcript` lists" in ran.stderr


def test_an_agent_whose_name_could_be_a_session_is_shown(near: Near) -> None:
    """If mngr knows it. No host is asked about the beginning of a session's id."""
    _, state_dir = near.there(name="cafe")
    before = near.proxy.traffic.connections
    assert near.mngr("codex", "transcript", "cafe").status == 1
    assert near.proxy.traffic.connections == before
    near.mngr("list")
    shown = near.mngr("codex", "transcript", "cafe", "--format", "jsonl")
    assert (shown.status, shown.stdout.encode()) == (0, RECORDED)
    # An agent of this machine comes first, also before a session.
    here = near.here(state_dir)
    (agent,) = (near.host_dir / "agents").glob("*/data.json")
    agent.write_text(agent.read_text().replace(here, "cafe"))
    (agent.parent / TRANSCRIPT).write_bytes(RECORDED.splitlines(keepends=True)[0])
    session = (
        near.folder
        / ".codex/sessions/2026/01/01/rollout-2026-01-01T00-00-00-cafe0000-0000-0000-0000-000000000000.jsonl"
    )
    session.parent.mkdir(parents=True)
    shutil.copy(DATA / "0.163.0/tools.jsonl", session)
    assert near.mngr("codex", "transcript", "cafe0").status == 0
    assert near.mngr("codex", "transcript", "cafe", "--format", "jsonl").stdout.encode() == RECORDED.splitlines(True)[0]


def test_sessions_of_another_host(near: Near) -> None:
    ran = near.mngr("codex", "status", "--host", "remote")
    assert ran.status == 1 and "there is no program mngr-codex on the host remote" in ran.stderr
    assert "\nhint: the first Codex agent that mngr creates on the host brings it" in ran.stderr
    near.there()
    ran = near.mngr("codex", "status", "--host", "remote.there", "--json", "--all")
    assert (ran.status, ran.stdout) == (0, "[]\n")
    assert "cannot list the sessions of host nowhere" in near.mngr("codex", "status", "--host=nowhere").stderr


def test_a_host_that_is_down_is_named_by_commands_about_it(near: Near) -> None:
    """mngr's own discovery fails for all hosts of the provider if one is down."""
    near.there()
    with near.proxy.cut():
        ran = near.mngr("codex", "status", "--host", "remote")
    assert ran.status == 1 and "cannot connect to remote.there: " in ran.stderr


def test_the_hint_about_a_host_that_does_not_exist_names_hosts(near: Near) -> None:
    name, _ = near.there()
    near.mngr("list")
    ran = near.mngr("codex", "recover", name)
    assert ran.status == 1 and f"there is no host {name}\nhint: {name} is an agent; give its host: " in ran.stderr
    assert "remote.there" in ran.stderr.partition("hint: ")[2]
    assert "hint: the hosts are remote.there\n" in near.mngr("codex", "recover", "nowhere").stderr


def findings(near: Near, *arguments: str) -> list[dict[str, Any]]:
    ran = near.mngr("codex", "doctor", "--json", *arguments)
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    assert ran.status == int(any(each["level"] == "problem" for each in found))
    return found


def about(found: list[dict[str, Any]], what: str, agent: str | None) -> dict[str, Any]:
    (one,) = [each for each in found if (each["what"], each["agent"], each["host"]) == (what, agent, "remote.there")]
    return one


def test_the_doctor_looks_at_another_host(near: Near) -> None:
    name, state_dir = near.there(type="codex")
    (near.remote.home / "work").mkdir()
    found = findings(near)
    assert about(found, "disk", None)["level"] in ("ok", "warning", "problem")
    assert about(found, "clock", None)["level"] == "ok"
    assert about(found, "state", name)["said"] == "STOPPED"
    assert about(found, "program", name)["said"].startswith("mngr-codex ")
    assert about(found, "marker", name)["said"] == "no hook has run yet"
    launcher = about(found, "launcher", name)
    assert "`mngr clone" in launcher["remedy"] and "--update" not in launcher["remedy"]
    missing = "codex is neither on PATH nor in ~/.local/bin or npm's folder on host remote"
    assert about(found, "codex", name)["said"] == missing
    assert about(found, "tmux", None)["level"] == "ok"
    of_host = {each["what"] for each in found if each["host"] and each["agent"] is None}
    assert of_host == documented_checks("| check of the host ")
    of_agent = [each["what"] for each in found if each["agent"] == name]
    # The agent does not run, and the host lacks Codex.
    absent = {"terminal", "watcher", "status", "last turn", "sandbox", "login"}
    assert {*of_agent, *absent} == documented_checks("| check of an agent there ") and len(of_agent) == len(
        set(of_agent)
    )
    # A program that does not run, and a Codex whose sandbox does not work.
    (state_dir / PROGRAM).unlink()
    (state_dir / PROGRAM).write_text("\x7fELF nonsense")
    (state_dir / PROGRAM).chmod(0o755)
    (state_dir / "commands/codex").touch()
    local_bin = near.remote.home / ".local/bin"
    local_bin.mkdir(parents=True)
    (local_bin / "codex").write_text(
        '#!/bin/sh\ntouch "$CODEX_HOME"/written\n[ "$1" != sandbox ] && echo "codex-cli 0.163.0" && exit\n'
        "echo 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n"
    )
    (local_bin / "codex").chmod(0o755)
    found = findings(near, f"{name}@remote")
    assert about(found, "program", name)["level"] == "problem"
    assert about(found, "codex", name)["said"] == "0.163.0 on host remote"
    sandbox = about(found, "sandbox", name)
    assert sandbox["level"] == "warning" and "No permissions to create a new namespace" in sandbox["said"]
    assert about(found, "launcher", name)["level"] == "ok"
    assert "there is none on host remote" in about(found, "login", name)["said"]
    (near.remote.home / ".codex").mkdir()
    (state_dir / "plugin/codex/home").mkdir(parents=True)
    (state_dir / "plugin/codex/home/auth.json").write_text("{}")
    assert about(findings(near, name), "login", name)["said"] == "there is one on host remote"
    assert not list(near.remote.home.rglob("written"))


def test_the_doctor_reports_a_host_that_does_not_answer(near: Near) -> None:
    near.there()
    near.mngr("list")
    with near.proxy.cut():
        assert "Error in thread" not in near.mngr("codex", "doctor").stderr
        found = findings(near)
        named = findings(near, "nobody")
    connection = about(found, "connection", None)
    assert connection["level"] == "problem" and connection["said"].startswith("cannot connect to it: ")
    assert "mngr list" not in connection["remedy"]
    # Nobody knows whether the agent is there.
    (missing,) = [each for each in named if each["agent"] == "nobody"]
    assert missing["said"] == "not found, but remote.there could not be asked" and missing["level"] == "problem"
    assert about(named, "connection", None)
    shown = near.mngr("codex", "doctor", "nobody")
    assert shown.status == 1 and "cannot find a Codex agent nobody" in shown.stderr


def test_the_doctor_with_a_local_name_looks_nowhere_else(near: Near) -> None:
    name, state_dir = near.there()
    here = near.here(state_dir)
    before = near.proxy.traffic.connections
    found = findings(near, here)
    assert not any(each["host"] for each in found) and name
    assert near.proxy.traffic.connections == before


@pytest.mark.slow
def test_the_doctor_waits_for_a_silent_host_for_a_limited_time(near: Near) -> None:
    near.there()
    with near.proxy.black_hole():
        begun = time.monotonic()
        found = findings(near)
        assert time.monotonic() - begun < 40
    assert about(found, "connection", None)["level"] == "problem"


def test_only_the_agent_is_taken_out_of_the_arguments_of_transcript() -> None:
    """The value of an option can be the same word."""
    assert remote_command._target_index(["--role", "agent", "--tail", "3", "agent"]) == 4
    assert remote_command.transcript_target(["--tail", "3"]) is None
