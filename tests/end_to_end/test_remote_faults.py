"""Agents on remote hosts of all kinds, while the host, its clock, its disk or the line to it fails."""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.end_to_end.test_turns import asks_for_approval
from tests.support.machine import Json, RunningCommand, until
from tests.support.remote_host import HomeDisk, MakeHost, Options, RemoteAgent, RemoteHost, SharedHost
from tests.support.rule_based_model import Model, after, gives_titles, has_context, runs, says

# isort: split
from scripted_model import Answered, Response, shell_call

pytestmark = [pytest.mark.slow, pytest.mark.any_codex]

LONG_SECONDS = int(os.environ.get("MNGR_CODEX_LONG_TESTS") or 0)
THOUGHT_SECONDS = 200
"""Codex waits 300 s for a model that is silent."""


def create(shared: SharedHost, name: str, **settings: Any) -> RemoteAgent:
    """Creates an agent with other settings of the agent type than the default ones."""
    before = dict(shared.machine.settings)
    shared.machine.write_settings(**settings)
    try:
        return shared.host.create(name)
    finally:
        shared.machine.settings = before
        shared.machine.write_settings()


def assert_transcript_is_complete(agent: RemoteAgent) -> None:
    """Checks that the raw transcript has each line of the rollouts once, and the common one each message."""
    assert (agent.state / "logs/codex_transcript/events.jsonl").read_bytes() == agent.rollouts()
    assert [step["message"] for step in agent.records() if step.get("source") == "user"] == agent.received()


def state_without_plugin(agent: RemoteAgent) -> str:
    """Returns the state in the listing of Modal and VPS hosts, which is one command and asks no plugin."""
    from imbue.mngr.hosts.common import determine_lifecycle_probe_result
    from imbue.mngr.providers.listing_utils import build_listing_collection_script, parse_listing_collection_output

    script = build_listing_collection_script(str(agent.host.host_dir), "mngr-")
    ran = subprocess.run([*agent.host.ssh_command(), "bash"], input=script, capture_output=True, text=True, check=True)
    listed = parse_listing_collection_output(ran.stdout)
    (raw,) = [each for each in listed["agents"] if each["data"]["name"] == agent.name]
    result = determine_lifecycle_probe_result(
        tmux_info=raw["tmux_info"],
        is_active=raw["is_active"],
        is_blocked_on_dialog=False,
        expected_process_name="codex",
        ps_output=listed["ps_output"],
    )
    return str(result.state.value)


def wait_for_command(host: RemoteHost) -> None:
    """Waits until the agent runs a command of a minute."""
    until(lambda: "sleep 60" in host.run("ps -eo args").stdout, description="the command")


def wait_for_end(command: RunningCommand, seconds: float = 150) -> int:
    return command.process.wait(seconds)


def assert_arrived_once_or_not_at_all(agent: RemoteAgent, text: str, status: int, output: Path) -> None:
    """Checks that a message arrived exactly once if mngr says that it did, and otherwise not at all."""
    agent.wait(60)
    arrived = sum(text in message for message in agent.received())
    assert arrived == (status == 0), f"mngr exited with {status}:\n{output.read_text()}\n{agent.received()}"


# -- ordinary use


def test_an_approval_is_shown_by_every_listing(shared: SharedHost) -> None:
    was_seen = Event()
    shared.model.on("approval", asks_for_approval, after(was_seen, says("Approved.")))
    agent = create(shared, "approval", sandbox_mode="workspace-write")
    agent.message("Ask for approval.")
    until(lambda: "Would you like to run" in agent.pane(), description="the question")
    fields = agent.listed
    assert (fields["state"], fields["plugin"]["codex"]["waiting_reason"]) == ("WAITING", "PERMISSIONS")
    assert state_without_plugin(agent) == "WAITING"
    assert not (agent.state / "active").exists()
    assert (agent.state / "permissions_waiting").exists() and (agent.state / "codex_root_active").exists()
    refused = agent.message("y", status=1)
    assert "an approval request" in refused.stderr
    agent.press("y")
    until(lambda: agent.is_active, description="RUNNING", seconds=10)
    assert not (agent.state / "permissions_waiting").exists()
    assert state_without_plugin(agent) == agent.listed["state"] == "RUNNING"
    was_seen.set()
    agent.wait()
    assert agent.answers()[-1] == "Approved."
    assert state_without_plugin(agent) == "WAITING"
    assert agent.listed["plugin"]["codex"]["waiting_reason"] == "END_OF_TURN"


def test_a_turn_is_interrupted_and_the_agent_stopped_and_resumed(shared: SharedHost) -> None:
    shared.model.on("endlessly", runs("sleep 60"), says("Never said."))
    agent = shared.host.create("resumed")
    agent.message("Remember the number 7.")
    agent.wait()
    agent.message("Work endlessly.")
    wait_for_command(shared.host)
    agent.press("Escape")
    agent.wait(10)
    assert agent.listed["plugin"]["codex"]["waiting_reason"] == "END_OF_TURN"
    shared.machine.mngr("stop", "resumed")
    assert agent.listed["state"] == "STOPPED"
    assert not agent.codex_pids() and not agent.watcher_pids()
    shared.machine.mngr("start", "resumed")
    agent.message("Which number?")
    agent.wait()
    assert has_context(shared.model, "Remember the number 7.", "Which number?")
    assert_transcript_is_complete(agent)


# -- the host fails


def test_an_agent_resumes_after_its_host_was_rebooted_during_a_turn(shared: SharedHost) -> None:
    shared.model.on("forever", runs("sleep 60"), says("Never said."))
    agent = shared.host.create("rebooted")
    agent.message("Remember the number 8.")
    agent.wait()
    agent.message("Work forever.")
    wait_for_command(shared.host)
    shared.host.reboot()
    assert agent.is_active, "nothing could remove the marker"
    assert agent.listed["state"] == "STOPPED"
    assert state_without_plugin(agent) == "STOPPED"
    shared.machine.mngr("start", "rebooted")
    assert agent.listed["state"] == "WAITING"
    agent.message("Which number?")
    agent.wait()
    assert has_context(shared.model, "Remember the number 8.", "Which number?")
    assert agent.received() == ["Remember the number 8.", "Work forever.", "Which number?"]
    assert_transcript_is_complete(agent)


@pytest.mark.parametrize("moment", ["at the beginning", "before the answer"])
def test_a_full_disk_during_a_turn(make_host: MakeHost, model: Model, moment: str) -> None:
    """Codex cannot write the end of the turn. The agent is WAITING all the same, and continues when there is space."""
    host = make_host(Options(home_disk=HomeDisk(megabytes=512)))
    gives_titles(model)

    def answers(_: Json) -> Response:
        if moment == "before the answer":
            host.fill_disk()
        return says("Slow, but done.")

    model.on("slowly", runs("sleep 3"), answers)
    agent = host.create("full")
    agent.message("Be quick.")
    agent.wait()
    agent.message("Do it slowly.")
    if moment == "at the beginning":
        host.fill_disk()
    until(lambda: "Slow, but done." in agent.pane(), description="the end of the turn on the terminal")
    time.sleep(2)  # late hooks and lines
    host.free_disk()
    until(lambda: agent.listed["state"] == "WAITING", description="WAITING", seconds=45)
    agent.message("And now?")
    agent.wait()
    assert agent.answers()[-1] == "You said: And now?"
    assert_transcript_is_complete(agent)


def test_a_moved_state_directory(shared: SharedHost) -> None:
    """mngr's library can give an agent another id."""
    agent = shared.host.create("moved")
    agent.message("Remember the number 9.")
    agent.wait()
    shared.machine.mngr("stop", "moved")
    old = agent.state.name
    new = f"agent-{'0' * 31}1"
    mutate_id(shared.host, old, new)
    shared.machine.mngr("start", "moved")
    agent = shared.host.agent("moved")
    assert agent.state.name == new
    agent.message("Which number?")
    agent.wait()
    assert has_context(shared.model, "Remember the number 9.", "Which number?")
    assert agent.answers()[-1] == "You said: Which number?"
    assert agent.listed["state"] == "WAITING"
    assert not (agent.state.parent / old).exists()


def mutate_id(host: RemoteHost, old: str, new: str) -> None:
    script = """
import sys
from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
from imbue.mngr.api.providers import get_provider_instance
from imbue.mngr.config.loader import load_config
from imbue.mngr.hosts.mutate_id import mutate_agent_id
from imbue.mngr.main import get_or_create_plugin_manager
from imbue.mngr.primitives import AgentId, HostName, ProviderInstanceName

provider, name, old, new = sys.argv[1:]
with ConcurrencyGroup(name="test") as group:
    context = load_config(get_or_create_plugin_manager(), group)
    host = get_provider_instance(ProviderInstanceName(provider), context).get_host(HostName(name))
    mutate_agent_id(host, AgentId(old), AgentId(new), context.config)
    host.disconnect()
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, host.provider, host.name, old, new],
        env=host.machine.environment,
        cwd=host.machine.repository,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("hours", [-2, 2])
def test_clocks_that_differ_by_two_hours(shared: SharedHost, hours: int) -> None:
    """mngr's clock is behind or ahead of the host's."""
    compiler, library = shutil.which("cc"), shared.machine.folder / "shifted_clock.so"
    if compiler is None:
        pytest.skip("the C compiler cc is not installed (apt install gcc libc6-dev)")
    source = Path(__file__).parents[1] / "support" / "shifted_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    name = f"clock{'behind' if hours < 0 else 'ahead'}"
    was_seen = Event()
    shared.model.on("slowly", runs("true"), after(was_seen, says("Slow, but done.")))
    other = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(hours * 3600)}

    def mngr(*arguments: str) -> str:
        ran = subprocess.run(
            [shared.machine.folder / "bin" / "mngr", *arguments],
            cwd=shared.machine.repository,
            env={**shared.machine.environment, **other},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def listed() -> Json:
        (found,) = [each for each in json.loads(mngr("list", "--format", "json"))["agents"] if each["name"] == name]
        return dict(found)

    shifted = subprocess.run(["date", "+%s"], env={**os.environ, **other}, capture_output=True, text=True).stdout
    assert abs(int(shifted) - time.time() - hours * 3600) < 60, "the clock is not shifted"
    mngr("create", f"{name}@{shared.host.address}", "codex", "--yes", "--no-connect")
    agent = shared.host.agent(name)
    mngr("message", name, "-m", "Do it slowly.")
    fields = listed()
    assert fields["state"] == "RUNNING" and "turn_since" in fields["plugin"]["codex"]
    was_seen.set()
    agent.wait()
    fields = listed()
    assert (fields["state"], fields["plugin"]["codex"]["waiting_reason"]) == ("WAITING", "END_OF_TURN")
    mngr("stop", name)
    assert listed()["state"] == "STOPPED"
    mngr("start", name)
    mngr("message", name, "-m", "And now?")
    agent.wait()
    assert agent.received() == ["Do it slowly.", "And now?"]
    assert_transcript_is_complete(agent)


# -- the line fails


def test_the_ssh_server_is_killed_while_a_message_waits_for_its_turn(shared: SharedHost) -> None:
    agent = busy_agent(shared, "killed")
    with shared.machine.running_mngr("message", "killed", "-m", "Message K.") as command:
        time.sleep(2.5)
        with shared.host.without_sshd():
            time.sleep(2)
        status = wait_for_end(command)
    assert_arrived_once_or_not_at_all(agent, "Message K.", status, command.output)


@pytest.mark.parametrize("seconds", [40 if LONG_SECONDS else 5])
def test_the_line_is_silent_while_a_message_is_sent(shared: SharedHost, seconds: float) -> None:
    agent = busy_agent(shared, "silent")
    with shared.machine.running_mngr("message", "silent", "-m", "Message S.") as command:
        time.sleep(2.5)
        with shared.host.proxy.black_hole():
            time.sleep(seconds)
        status = wait_for_end(command)
    assert_arrived_once_or_not_at_all(agent, "Message S.", status, command.output)


def busy_agent(shared: SharedHost, name: str) -> RemoteAgent:
    """Creates an agent in a turn of 8 s, so that a message is sent while it is working."""
    shared.model.on("busily", runs("sleep 8"), says("Busy no more."))
    agent = shared.host.create(name)
    agent.message("Work busily.")
    assert agent.is_active
    return agent


# -- kinds of hosts


def test_an_agent_on_a_host_with_busybox(make_host: MakeHost, model: Model) -> None:
    """Busybox's programs, such as `sh`, `ps` and `stat`, come before GNU's on PATH."""
    if not shutil.which("busybox"):
        pytest.skip("busybox is not installed (apt install busybox-static)")
    host = make_host(Options(has_busybox=True))
    assert "BusyBox" in host.run("stat --help 2>&1", check=False).stdout
    was_seen = Event()
    model.on("slowly", runs("true"), after(was_seen, says("Slow, but done.")))
    agent = host.create("bb")
    agent.message("Do it slowly.")
    assert agent.listed["state"] == "RUNNING"
    was_seen.set()
    agent.wait()
    fields = agent.listed
    assert (fields["state"], fields["plugin"]["codex"]["waiting_reason"]) == ("WAITING", "END_OF_TURN")
    long = "A long message. " * 500
    agent.message(long)
    agent.wait()
    assert agent.received()[-1].strip() == long.strip()
    host.machine.mngr("stop", "bb")
    host.machine.mngr("start", "bb")
    agent.message("And now?")
    agent.wait()
    assert agent.answers()[-1] == "You said: And now?"
    assert_transcript_is_complete(agent)
    host.machine.mngr("destroy", "bb", "--force", status=None)
    assert not agent.state.exists()
    (kept,) = (host.machine.home / ".mngr" / "preserved").glob("bb*")
    assert list((kept / "plugin/codex/home/sessions").rglob("rollout-*.jsonl"))


def test_a_home_whose_programs_cannot_be_run(make_host: MakeHost) -> None:
    """Nothing is created, and the error names the way out."""
    host = make_host(Options(home_disk=HomeDisk(megabytes=512, is_executable=False)))
    place = f"noexec@{host.address}"
    refused = host.machine.mngr("create", place, "codex", "--yes", "--no-connect", status=1)
    assert "cannot be run (mounted with noexec?)\nhint: set host_dir" in refused.stderr
    assert not list(host.path(host.host_dir / "agents").glob("*"))


def test_a_host_that_stops_when_idle_is_not_stopped_during_a_turn(make_host: MakeHost, model: Model) -> None:
    """mngr's own watcher stops the host, but only after the turn."""
    if not shutil.which("jq"):
        pytest.skip("jq, which mngr's activity watcher needs, is not installed (apt install jq)")
    turn, idle, interval = (LONG_SECONDS, 40, 15) if LONG_SECONDS else (26, 18, 2)
    host = make_host()
    gives_titles(model)
    agent = host.create("idle")
    commands = host.path(host.host_dir / "commands")
    script = importlib.resources.files("imbue.mngr.resources").joinpath("activity_watcher.sh").read_text()
    assert "CHECK_INTERVAL=15" in script
    host.write(host.host_dir / "commands/watcher.sh", script.replace("CHECK_INTERVAL=15", f"CHECK_INTERVAL={interval}"))
    host.write(host.host_dir / "commands/shutdown.sh", f"#!/bin/sh\ndate +%s >{host.host_dir}/stopped\n", mode=0o755)
    assert (commands / "mngr_log.sh").exists()
    sources = ["AGENT", "CREATE", "START"]
    data = {"activity_sources": sources, "idle_timeout_seconds": idle, "tmux_session_prefix": "mngr-"}
    host.write(host.host_dir / "data.json", json.dumps(data))
    stopped = host.path(host.host_dir / "stopped")
    end = time.monotonic() + turn

    def thinks(request: Json) -> Answered:
        left = end - time.monotonic()
        time.sleep(max(0.0, min(left, THOUGHT_SECONDS)))
        return says("Done at last.") if left <= THOUGHT_SECONDS else Response([shell_call(request, "true")])

    model.on("long", thinks)
    agent.message("A long turn.")
    host.run(f"setsid bash {host.host_dir}/commands/watcher.sh {host.host_dir} >watcher.log 2>&1 &")
    agent.wait(turn + 30)
    ended = time.time()
    assert time.monotonic() >= end, "the turn was too short"
    assert not stopped.exists(), host.run("cat watcher.log").stdout
    assert agent.answers()[-1] == "Done at last."
    until(stopped.exists, description="the stop of the idle host", seconds=idle + 3 * interval + 10)
    assert time.time() - ended >= idle - 16, "activity is noted every 15 s"
