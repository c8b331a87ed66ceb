"""Hooks that run simultaneously, are killed at random, or wait for a lock."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.fake_agent import Agent, Hook
from tests.support.program import program

MANY = 64


def storm(agent: Agent, hooks: list[Hook], kills: random.Random | None = None) -> list[Hook]:
    """Starts all hooks, then writes their payloads. Kills some at random, and returns those."""
    processes = [
        subprocess.Popen(
            [program(), "hook", event], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=agent.environment()
        )
        for event, _ in hooks
    ]
    for process, (_, payload) in zip(processes, hooks, strict=True):
        assert process.stdin
        process.stdin.write(payload)
        process.stdin.flush()
    for position, process in enumerate(processes):
        assert process.stdin
        process.stdin.close()
        if kills and kills.random() < 0.25:
            # A recent hook, which is running or has just exited.
            processes[kills.randint(max(0, position - 8), position)].kill()
    killed = []
    for process, hook in zip(processes, hooks, strict=True):
        with process:
            assert process.stdout
            assert process.stdout.read() == b""
        if kills and process.returncode == -signal.SIGKILL:
            killed.append(hook)
        else:
            assert process.returncode == 0
    return killed


def assert_only_deferred(agent: Agent) -> None:
    """Checks that nothing was logged but deferred events, which a busy machine causes."""
    assert all("queued for the next hook" in line["message"] for line in agent.log)


class TestStorms:
    """After each storm of hooks all files are correct, without any repair in between."""

    @pytest.mark.parametrize("round_", range(5))
    def test_simultaneous_subagent_hooks_are_all_applied(self, agent: Agent, round_: int) -> None:
        for _ in range(2):
            children = {agent.new_id(): agent.new_id() for _ in range(MANY)}
            storm(
                agent, [("subagent-start", agent.child_payload("subagent-start", *child)) for child in children.items()]
            )
            assert agent.is_active
            assert agent.subagents == set(children)
            storm(
                agent, [("subagent-stop", agent.child_payload("subagent-stop", *child)) for child in children.items()]
            )
            assert agent.subagents == set()
            assert not agent.is_active
        assert_only_deferred(agent)

    @pytest.mark.parametrize("round_", range(5))
    def test_simultaneous_root_and_subagent_hooks_are_all_applied(self, agent: Agent, round_: int) -> None:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        for _ in range(2):
            children = {agent.new_id(): agent.new_id() for _ in range(MANY)}
            hooks = [("subagent-start", agent.child_payload("subagent-start", *child)) for child in children.items()]
            hooks[10:10] = [(event, agent.payload(event)) for event in ["user-prompt-submit", "pre-tool-use"] * 5]
            storm(agent, hooks)
            assert agent.is_active
            assert agent.subagents == set(children)
            assert agent.turn_id in (agent.state_file("codex_root_active") or "")
            hooks = [("subagent-stop", agent.child_payload("subagent-stop", *child)) for child in children.items()]
            hooks[30:30] = [(event, agent.payload(event)) for event in ["stop", "post-model-request"] * 5]
            storm(agent, hooks)
            assert agent.subagents == set()
            assert not agent.is_active
            # The end of a turn and the prompt of the next one: the later turn wins.
            hooks = [("stop", agent.payload("stop"))]
            agent.begin_turn()
            hooks += [(event, agent.payload(event)) for event in ["user-prompt-submit", "pre-model-request"]]
            storm(agent, hooks)
            assert agent.is_active
        assert_only_deferred(agent)
        assert agent.rollouts == [str(agent.rollout)]

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(10))
    def test_a_killed_hook_is_applied_completely_or_not_at_all(self, agent: Agent, seed: int) -> None:
        """If the killed hooks run again they are applied, and no temporary file remains."""
        kills = random.Random(seed)
        for _ in range(10):
            children = {agent.new_id(): agent.new_id() for _ in range(MANY)}
            for event, before, after in [
                ("subagent-start", set(), set(children)), ("subagent-stop", set(children), set()),
            ]:  # fmt: skip
                hooks = {child: (event, agent.child_payload(event, child, turn)) for child, turn in children.items()}
                killed = storm(agent, list(hooks.values()), kills)
                # Any hook completes the changes of a killed hook.
                agent.hook("session-end")
                sure = {child for child, hook in hooks.items() if hook not in killed}
                assert {child for child in sure if child in agent.subagents} == sure & after
                assert agent.subagents <= before | after
                assert agent.is_active == bool(agent.subagents)
                for hook in killed:
                    agent.run_hook(*hook)
                assert agent.subagents == after
                assert agent.is_active == bool(after)
                assert {path.name for path in (agent.state / "plugin/mngr_codex").iterdir()} <= {
                    "lifecycle",
                    "following",
                }
        assert_only_deferred(agent)


@contextmanager
def stopped_lock_holder(agent: Agent) -> Iterator[None]:
    """Has the lock held by a stopped process."""
    code = "import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, 2); print(flush=True); time.sleep(600)"
    command = [sys.executable, "-S", "-E", "-c", code, str(agent.state / "plugin/mngr_codex/lifecycle")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.kill()


class TestLock:
    """A process holds the lock and makes no progress."""

    @pytest.fixture
    def prompted(self, agent: Agent) -> Agent:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        return agent

    def test_a_hook_times_out_and_its_event_is_deferred(self, prompted: Agent) -> None:
        with stopped_lock_holder(prompted):
            begun = time.monotonic()
            prompted.hook("stop")
            assert time.monotonic() - begun < 1
            lock = prompted.state / "plugin/mngr_codex/lifecycle"
            prompted.assert_logged(f"hook stop: could not acquire the lifecycle lock {lock} within 500 ms", "queued")
            assert prompted.is_active
        prompted.hook("post-model-request")
        assert not prompted.is_active

    def test_deferred_events_are_applied_in_order(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        with stopped_lock_holder(prompted):
            prompted.hook("stop")
            prompted.begin_turn()
            prompted.hook("user-prompt-submit")
            prompted.child_hook("subagent-start", child, turn)
        prompted.hook("post-model-request")
        assert prompted.turn_id in (prompted.state_file("codex_root_active") or "")
        assert prompted.subagents == {child}
        prompted.hook("stop")
        prompted.child_hook("subagent-stop", child, turn)
        assert not prompted.is_active

    @pytest.mark.parametrize("command", ["recompute", "reset"])
    def test_marker_commands_apply_deferred_events(self, prompted: Agent, command: str) -> None:
        with stopped_lock_holder(prompted):
            prompted.hook("stop")
        prompted.marker(command)
        assert not prompted.is_active

    def test_show_includes_deferred_events(self, prompted: Agent) -> None:
        with stopped_lock_holder(prompted):
            prompted.hook("stop")
        assert prompted.report()["state"] == "WAITING"
        prompted.hook("post-model-request")
        assert not prompted.is_active

    def test_an_event_of_another_session_is_deferred_as_quickly(self, prompted: Agent) -> None:
        """Checking whether the session is nested includes reading the end of the root's rollout."""
        session = prompted.new_id()
        with stopped_lock_holder(prompted):
            begun = time.monotonic()
            prompted.hook("user-prompt-submit", session_id=session, turn_id=prompted.new_id())
            assert time.monotonic() - begun < 1
        prompted.hook("post-model-request")
        assert prompted.state_file("codex_root_session") == prompted.session_id

    def test_simultaneous_hooks_are_all_deferred(self, prompted: Agent) -> None:
        children = {prompted.new_id(): prompted.new_id() for _ in range(16)}
        with stopped_lock_holder(prompted):
            hooks = [("subagent-start", prompted.child_payload("subagent-start", *child)) for child in children.items()]
            storm(prompted, hooks)
        prompted.hook("post-model-request")
        assert prompted.subagents == set(children)

    @pytest.mark.slow
    def test_recompute_fails_while_the_lock_is_held(self, prompted: Agent) -> None:
        with prompted.locked():
            done = subprocess.run([program(), "marker", "recompute"], env=prompted.environment(), capture_output=True)
            shown = prompted.marker("show")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"lock" in done.stderr
        assert shown.stdout.startswith(b"RUNNING\n"), "`marker show` waited for the lock"
