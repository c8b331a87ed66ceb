"""The log of what Codex writes to standard error."""

import os
from pathlib import Path

import pytest

from tests.support.machine import Agent, Machine, until

pytestmark = pytest.mark.slow


def parent_of(pid: int) -> int:
    """Returns the process id of a process's parent."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("PPid:")[2].split()[0])


def log_writers(agent: Agent) -> dict[int, int]:
    """Returns the processes that write the agent's log, each with its parent."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
            parent = parent_of(int(process.name))
        except OSError:
            continue
        if words[0] == "tee" and str(agent.state / "stderr.log") in words:
            found[int(process.name)] = parent
    return found


def test_the_error_of_a_codex_that_fails_to_start_is_in_the_log(machine: Machine) -> None:
    """And in the terminal, and in mngr's error."""
    agent = machine.create()
    assert "model_reasoning_effort" not in (agent.state / "stderr.log").read_text()
    config = agent.state / "plugin/codex/home/config.toml"
    config.write_text(f"model_reasoning_effort = 7\n{config.read_text()}")
    machine.mngr("stop", "t")
    failed = machine.mngr("start", "t", status=None)
    assert failed.status != 0 and "model_reasoning_effort" in failed.stderr
    assert "model_reasoning_effort" in (agent.state / "stderr.log").read_text()
    assert "model_reasoning_effort" in agent.pane()
    until(lambda: not log_writers(agent), description="the end of the process that writes the log")


def test_a_running_codex_has_a_log_and_leaves_no_process(machine: Machine) -> None:
    """The process that writes the log and the shell that has started it are no children of Codex, which would not reap
    them."""
    agent = machine.create()
    (codex,) = agent.codex_pids()
    ((writer, parent),) = log_writers(agent).items()
    assert codex not in (parent, parent_of(parent))
    # Codex and its TUI work, and what is written to standard error later is logged too.
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    with open(f"/proc/{codex}/fd/2", "w") as stderr:
        stderr.write("a later error\n")
    until(lambda: "a later error\n" in (agent.state / "stderr.log").read_text(), description="the line in the log")
    # A killed watcher is restarted, and does not hold the pipe.
    for pid in agent.watcher_pids():
        machine.kill(pid)
    until(agent.watcher_pids, description="another watcher")
    os.kill(codex, 9)
    until(lambda: writer not in log_writers(agent), description="the end of the process that writes the log")
    until(lambda: not agent.watcher_pids(), description="the end of the watcher")


def launcher_shells(agent: Agent) -> list[int]:
    """Returns the processes that still run the script that has started Codex."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if str(agent.state / "commands/codex") in words[:2]:
            found.append(int(process.name))
    return found


def test_codex_runs_on_without_the_process_that_writes_the_log(machine: Machine) -> None:
    """And the terminal still gets its errors. The shell that passes them on exits with Codex."""
    agent = machine.create()
    (codex,) = agent.codex_pids()
    ((writer, _),) = log_writers(agent).items()
    os.kill(writer, 9)
    until(lambda: not log_writers(agent), description="the end of the process that writes the log")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    # After the message, because the line appears in the composer, as a draft.
    with open(f"/proc/{codex}/fd/2", "w") as stderr:
        stderr.write("an error on the terminal\n")
    until(lambda: "an error on the terminal" in agent.pane(), description="the line in the terminal")
    assert agent.codex_pids() == [codex] and launcher_shells(agent)
    os.kill(codex, 9)
    until(lambda: not launcher_shells(agent), description="the end of the launcher's processes")
