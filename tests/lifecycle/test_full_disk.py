"""An agent's disk becomes full during a turn, and has space again later."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.fake_agent import Agent
from tests.support.program import run


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, leave: int = 0) -> None:
        """Fills the disk but for some bytes, which are rounded up to pages."""
        filler = self.folder / "filler"
        with suppress(OSError), filler.open("ab", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass
        with suppress(OSError), filler.open("ab", buffering=0) as file:
            while file.write(b"\0"):
                pass
        if leave:
            os.truncate(filler, filler.stat().st_size - leave)

    def free(self) -> None:
        """Gives the space back."""
        (self.folder / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The disk of the agent."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk, which root can: {mounted.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def agent(disk: Disk) -> Agent:
    """An agent of mngr on that disk in the middle of its second turn."""
    agent = Agent(disk.folder, state="host/agents/agent-1")
    for _ in range(2):
        agent.write_line("task_started", agent.begin_turn())
        agent.hook("user-prompt-submit")
        assert agent.is_active
        agent.hook("stop")
        agent.write_line("task_complete", agent.turn_id)
        watch(agent)
    agent.write_line("task_started", agent.begin_turn())
    agent.hook("user-prompt-submit")
    return agent


def watch(agent: Agent) -> None:
    """Makes one pass of the watcher, which fails on a full disk."""
    run("watch", "--once", env=agent.environment())


def status(agent: Agent) -> str:
    state: str = json.loads((agent.state / "plugin/codex/status.json").read_text())["state"]
    return state


def test_late_lines_do_not_reopen_a_turn_that_ended_on_a_full_disk(agent: Agent, disk: Disk) -> None:
    """Codex writes lines of before the Stop after it, and cannot write the turn's end."""
    disk.fill()
    agent.hook("stop")
    assert not agent.is_active
    os.truncate(disk.folder / "filler", (disk.folder / "filler").stat().st_size - 4096)
    agent.write_line("agent_message", agent.turn_id)
    disk.fill()
    watch(agent)
    assert not agent.is_active and agent.report()["state"] == "WAITING"
    disk.free()
    watch(agent)
    assert not agent.is_active and status(agent) == "WAITING"
    agent.write_line("task_started", agent.begin_turn())
    agent.hook("user-prompt-submit")
    assert agent.is_active and status(agent) == "RUNNING"


@pytest.mark.parametrize("event", ["pre-tool-use", "post-tool-use", "pre-model-request", "user-prompt-submit"])
def test_hooks_still_reopen_it(agent: Agent, disk: Disk, event: str) -> None:
    """Another hook has blocked the Stop."""
    disk.fill()
    agent.hook("stop")
    assert not agent.is_active
    disk.free()
    agent.hook(event)
    assert agent.is_active
    agent.hook("stop")
    assert not agent.is_active
    # There was space at this Stop, so lines after it count again.
    agent.write_line("agent_message", agent.turn_id)
    agent.marker("recompute")
    assert agent.is_active


def test_a_full_disk_without_a_file_for_the_next_state(agent: Agent, disk: Disk) -> None:
    """A turn begins and ends on a full disk. The status file follows when there is space, without another event."""
    agent.hook("stop")
    agent.write_line("task_complete", agent.turn_id)
    watch(agent)
    agent.begin_turn()
    disk.fill()
    agent.hook("user-prompt-submit")
    assert agent.report()["state"] == "RUNNING"
    agent.hook("stop")
    assert agent.report()["state"] == "WAITING" and not agent.is_active
    disk.free()
    watch(agent)
    assert status(agent) == "WAITING" and not agent.is_active


def test_events_that_were_cut_short_are_followed_by_a_new_line(agent: Agent, disk: Disk) -> None:
    """mngr reads the file line by line."""
    events = disk.folder / "host/events/mngr/activity/events.jsonl"
    logs = agent.state / "events/logs/mngr_codex/events.jsonl"
    logs.parent.mkdir(parents=True, exist_ok=True)
    for file in (events, logs):
        with file.open("ab") as appended:
            appended.write(b'{"source":"mngr/activity","ty')
    agent.hook("stop")
    agent.run_hook("stop", b"no payload")
    *lines, last = events.read_bytes().split(b"\n")
    assert last == b"" and lines[-2] == b'{"source":"mngr/activity","ty' and json.loads(lines[-1])["type"] == "activity"
    *lines, last = logs.read_bytes().split(b"\n")
    assert last == b"" and b'{"source":"mngr/activity","ty' in lines and json.loads(lines[-1])["level"]
