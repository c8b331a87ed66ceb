"""Activity events: mngr learns of each change of an agent's state."""

import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.fake_agent import STATE_DIR_VARIABLE, Agent
from tests.support.followed_agent import wait_until
from tests.support.program import program, run

FORM = re.compile(
    r'\{"source":"mngr/activity","type":"activity","event_id":"evt-[0-9a-f]{32}",'
    r'"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"\}'
)


def test_a_turn_is_announced_at_its_beginning_and_its_end(mngr_agent: Agent) -> None:
    mngr_agent.marker("reset")
    assert len(mngr_agent.activity_events) == 1
    for events in (3, 5):
        mngr_agent.begin_turn()
        for event in ["user-prompt-submit", "pre-tool-use", "post-tool-use", "post-model-request", "stop", "stop"]:
            mngr_agent.hook(event)
        assert len(mngr_agent.activity_events) == events
    lines = mngr_agent.activity_log.read_text().splitlines()
    assert all(FORM.fullmatch(line) for line in lines), lines
    assert len({event["event_id"] for event in mngr_agent.activity_events}) == 5


@pytest.mark.parametrize("asks", ["permission-request", "pre-tool-use"])
def test_a_request_and_its_answer_are_announced(mngr_agent: Agent, asks: str) -> None:
    mngr_agent.begin_turn()
    mngr_agent.hook("user-prompt-submit")
    mngr_agent.hook(asks, tool_name="request_user_input")
    assert len(mngr_agent.activity_events) == 2
    mngr_agent.hook("post-tool-use")
    assert len(mngr_agent.activity_events) == 3


def test_the_end_of_a_turn_in_the_rollout_is_announced_once(mngr_agent: Agent) -> None:
    """No hook runs for Esc before 0.154."""
    turn = mngr_agent.begin_turn()
    mngr_agent.hook("user-prompt-submit")
    mngr_agent.write_line("task_started", turn)
    mngr_agent.marker("recompute")
    assert len(mngr_agent.activity_events) == 1
    mngr_agent.write_line("turn_aborted", turn)
    for _ in range(2):
        mngr_agent.marker("recompute")
        assert len(mngr_agent.activity_events) == 2


def test_every_start_is_announced(mngr_agent: Agent) -> None:
    for events in (1, 2):
        mngr_agent.marker("reset")
        assert len(mngr_agent.activity_events) == events


def test_a_prompt_touches_the_activity_file(mngr_agent: Agent) -> None:
    mngr_agent.marker("reset")
    file = mngr_agent.state / "activity/agent"
    assert not file.exists()
    mngr_agent.begin_turn()
    began = time.time()
    mngr_agent.hook("user-prompt-submit")
    content = json.loads(file.read_bytes())
    assert (list(content), content["source"]) == (["time", "source"], "mngr_codex")
    assert abs(content["time"] / 1000 - began) < 5
    os.utime(file, (1, 1))
    mngr_agent.hook("pre-tool-use")
    mngr_agent.hook("stop")
    assert file.stat().st_mtime == 1


def test_deferred_hooks_are_announced_when_they_are_applied(mngr_agent: Agent) -> None:
    mngr_agent.marker("reset")
    mngr_agent.begin_turn()
    with mngr_agent.locked():
        mngr_agent.hook("user-prompt-submit")
    assert len(mngr_agent.activity_events) == 1
    mngr_agent.hook("pre-tool-use")
    assert len(mngr_agent.activity_events) == 2


def test_subagents_are_not_announced_during_a_root_turn(mngr_agent: Agent) -> None:
    mngr_agent.begin_turn()
    mngr_agent.hook("user-prompt-submit")
    child, turn = mngr_agent.new_id(), mngr_agent.new_id()
    mngr_agent.child_hook("subagent-start", child, turn)
    mngr_agent.hook("stop")
    assert (len(mngr_agent.activity_events), mngr_agent.status["state"]) == (1, "RUNNING")
    mngr_agent.child_hook("subagent-stop", child, turn)
    assert (len(mngr_agent.activity_events), mngr_agent.status["state"]) == (2, "WAITING")


def test_lines_of_many_agents_do_not_mix(tmp_path: Path) -> None:
    agents = [Agent(tmp_path / "all", state=f"host/agents/agent-{number}") for number in range(20)]
    for agent in agents:
        agent.begin_turn()

    def run_turns(agent: Agent) -> None:
        for event in ["user-prompt-submit", "stop"] * 3:
            agent.hook(event)
            if event == "stop":
                # The next turn of this agent.
                agent.begin_turn()

    with ThreadPoolExecutor(len(agents)) as pool:
        list(pool.map(run_turns, agents))
    lines = agents[0].activity_log.read_text().splitlines()
    assert all(FORM.fullmatch(line) for line in lines)
    assert len(lines) == len({line for line in lines}) == len(agents) * 6


@pytest.mark.parametrize("is_in_shell_of_agent", [True, False])
def test_a_session_outside_mngr_announces_nothing(agent: Agent, tmp_path: Path, is_in_shell_of_agent: bool) -> None:
    host = tmp_path / "host"
    host.mkdir()
    environment = {name: value for name, value in agent.environment().items() if name != STATE_DIR_VARIABLE}
    if is_in_shell_of_agent:
        environment |= {"MNGR_HOST_DIR": str(host), STATE_DIR_VARIABLE: str(host / "agents/other")}
    agent.begin_turn()
    for event in ["user-prompt-submit", "stop"]:
        run("hook", event, "--state-dir", str(agent.state), stdin=agent.payload(event), env=environment)
    assert list(host.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("agent", "host")] == []
    assert not (agent.state / "activity").exists()
    assert agent.log == []


def test_a_folder_called_agents_with_sessions_of_a_user_is_no_host(agent: Agent, tmp_path: Path) -> None:
    folder = tmp_path / "user/agents"
    folder.mkdir(parents=True)
    agent.begin_turn()
    for event in ["user-prompt-submit", "stop"]:
        run("hook", event, "--state-dir", f"{folder}/{{session_id}}", stdin=agent.payload(event))
    assert [path.name for path in folder.parent.iterdir()] == ["agents"]
    (session,) = folder.iterdir()
    assert not (session / "activity").exists() and (session / "plugin/codex/status.json").exists()


def test_a_change_is_announced_once_if_the_status_file_cannot_be_written(mngr_agent: Agent) -> None:
    status = mngr_agent.state / "plugin/codex/status.json"
    status.mkdir(parents=True)
    mngr_agent.begin_turn()
    for events, names in ((1, ["user-prompt-submit", "pre-tool-use", "post-tool-use"]), (2, ["stop", "stop"])):
        for name in names:
            mngr_agent.hook(name)
            assert mngr_agent.is_active == (events == 1)
            assert len(mngr_agent.activity_events) == events
    assert (mngr_agent.state / "activity/agent").exists()
    mngr_agent.assert_logged("status.json")
    status.rmdir()
    mngr_agent.begin_turn()
    mngr_agent.hook("user-prompt-submit")
    assert status.is_file()


def test_an_agent_elsewhere_has_the_host_that_the_environment_names(agent: Agent, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    agent.begin_turn()
    environment = {**agent.environment(), "MNGR_HOST_DIR": str(host)}
    run("hook", "user-prompt-submit", stdin=agent.payload("user-prompt-submit"), env=environment)
    assert len((host / "events/mngr/activity/events.jsonl").read_text().splitlines()) == 1
    assert (agent.state / "activity/agent").exists()


def test_the_host_is_that_of_the_state_directory_whatever_the_environment_says(
    mngr_agent: Agent, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "agents").mkdir(parents=True)
    mngr_agent.begin_turn()
    environment = {**mngr_agent.environment(), "MNGR_HOST_DIR": str(other)}
    run("hook", "user-prompt-submit", stdin=mngr_agent.payload("user-prompt-submit"), env=environment)
    assert len(mngr_agent.activity_events) == 1
    assert [path.name for path in other.iterdir()] == ["agents"]


def test_an_event_that_cannot_be_written_is_logged(mngr_agent: Agent) -> None:
    events = mngr_agent.state.parent.parent / "events"
    events.write_text("not a folder")
    mngr_agent.begin_turn()
    mngr_agent.hook("user-prompt-submit")
    assert mngr_agent.is_active
    mngr_agent.assert_logged("cannot announce that the state has changed", "events.jsonl")
    assert len(mngr_agent.log) == 1
    # It is not tried again: the next change is announced anyway.
    mngr_agent.hook("pre-tool-use")
    assert len(mngr_agent.log) == 1
    events.unlink()
    mngr_agent.hook("stop")
    assert len(mngr_agent.activity_events) == 1


@pytest.mark.not_emulated("strace sees the emulator's system calls")
def test_a_reader_of_an_event_finds_the_new_state(mngr_agent: Agent, tmp_path: Path) -> None:
    """The event is written last: strace shows the order."""
    mngr_agent.marker("reset")
    mngr_agent.begin_turn()
    for event, change in [("user-prompt-submit", "O_CREAT"), ("stop", "unlink")]:
        log = tmp_path / event
        strace = ["strace", "-f", "-qq", "-e", "trace=openat,unlink,rename,renameat2,write", "-o", str(log)]
        subprocess.run(
            [*strace, program(), "hook", event],
            input=mngr_agent.payload(event),
            env={**mngr_agent.environment(), STATE_DIR_VARIABLE: str(mngr_agent.state)},
            check=True,
            timeout=60,
        )
        calls = log.read_text().splitlines()
        position = {
            name: max(number for number, call in enumerate(calls) if all(part in call for part in parts))
            for name, parts in {
                "active": ["agents/agent-1/active", change],
                "status": ["rename", "status.json"],
                "event": ["events/mngr/activity"],
            }.items()
        }
        assert position["status"] < position["active"] < position["event"], calls


@pytest.mark.slow
def test_a_watcher_touches_the_activity_file_during_a_turn_and_no_other_time(mngr_agent: Agent) -> None:
    """It does so without lines: a long command writes none."""
    file = mngr_agent.state / "activity/agent"
    mngr_agent.marker("reset")
    command = [str(program()), "watch", "--state-dir", str(mngr_agent.state)]
    watcher = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        for asks in (False, True):
            mngr_agent.begin_turn()
            mngr_agent.hook("user-prompt-submit")
            if asks:
                mngr_agent.hook("permission-request")
            # The watcher notices the turn, and is not due for the next 15 seconds.
            time.sleep(2)
            os.utime(file, (1, 1))
            time.sleep(10)
            assert file.stat().st_mtime == 1
            wait_until(lambda: file.stat().st_mtime > 1, 10)
            mngr_agent.hook("stop")
            os.utime(file, (1, 1))
        time.sleep(17)
        assert file.stat().st_mtime == 1
    finally:
        watcher.terminate()
        assert watcher.wait(30) == 0


def test_the_end_of_codex_is_announced_once(mngr_agent: Agent) -> None:
    mngr_agent.marker("reset")
    with subprocess.Popen(["sleep", "600"]) as codex:
        command = [str(program()), "watch", "--state-dir", str(mngr_agent.state), "--with-pid", str(codex.pid)]
        watcher = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until((mngr_agent.state / "plugin/mngr_codex/session.json").exists)
        assert len(mngr_agent.activity_events) == 1
        codex.kill()
    assert watcher.wait(30) == 0
    assert len(mngr_agent.activity_events) == 2
    status = mngr_agent.status
    assert (status["state"], status["waiting_reason"], status["turn_since"]) == ("ENDED", None, None)
    mngr_agent.marker("reset")
    assert (len(mngr_agent.activity_events), mngr_agent.status["state"]) == (3, "WAITING")


def test_a_codex_that_ends_during_a_turn_is_announced_once(mngr_agent: Agent) -> None:
    mngr_agent.marker("reset")
    mngr_agent.begin_turn()
    mngr_agent.hook("user-prompt-submit")
    with subprocess.Popen(["sleep", "600"]) as codex:
        command = [str(program()), "watch", "--state-dir", str(mngr_agent.state), "--with-pid", str(codex.pid)]
        watcher = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until((mngr_agent.state / "plugin/mngr_codex/session.json").exists)
        codex.kill()
    assert watcher.wait(30) == 0
    assert len(mngr_agent.activity_events) == 3
    assert (mngr_agent.status["state"], mngr_agent.is_active) == ("ENDED", False)


def test_a_stopped_watcher_of_a_running_codex_announces_nothing(mngr_agent: Agent) -> None:
    mngr_agent.marker("reset")
    with subprocess.Popen(["sleep", "600"]) as codex:
        command = [str(program()), "watch", "--state-dir", str(mngr_agent.state), "--with-pid", str(codex.pid)]
        watcher = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until((mngr_agent.state / "plugin/mngr_codex/session.json").exists)
        watcher.terminate()
        assert watcher.wait(30) == 0
        codex.kill()
    assert (len(mngr_agent.activity_events), mngr_agent.status["state"]) == (1, "WAITING")
