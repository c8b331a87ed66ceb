"""Hooks that run simultaneously, wait for a lock, or are killed."""

import fcntl
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fake_agent import Agent
from tests.support.program import program
from tests.support.strace import TracedCommand

MANY = 64


Hook = tuple[str, bytes]


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
    assert all("put off" in line["message"] for line in agent.log)


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


@contextmanager
def locked(agent: Agent) -> Iterator[None]:
    """Holds the lock in this process."""
    with (agent.state / "plugin/mngr_codex/lifecycle").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
            prompted.assert_logged("hook stop", "lock", "put off")
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
        with locked(prompted):
            done = subprocess.run([program(), "marker", "recompute"], env=prompted.environment(), capture_output=True)
            shown = prompted.marker("show")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"lock" in done.stderr
        assert shown.stdout.startswith(b"RUNNING\n"), "`marker show` waited for the lock"


# ---- killed at every system call


def first_prompt(agent: Agent) -> list[Hook]:
    agent.begin_turn()
    return [("user-prompt-submit", agent.payload("user-prompt-submit"))]


def root_hook(agent: Agent, event: str) -> Hook:
    return event, agent.payload(event)


def next_prompt(agent: Agent) -> list[Hook]:
    before = [*first_prompt(agent), root_hook(agent, "stop")]
    agent.begin_turn()
    return [*before, root_hook(agent, "user-prompt-submit")]


def next_session(agent: Agent) -> list[Hook]:
    before = [*first_prompt(agent), root_hook(agent, "stop")]
    agent.begin_session()
    return [*before, ("session-start", agent.payload("session-start", turn_id=None))]


def in_turn(*events: str) -> Callable[[Agent], list[Hook]]:
    return lambda agent: [*first_prompt(agent), *(root_hook(agent, event) for event in events)]


def with_child(*events: str) -> Callable[[Agent], list[Hook]]:
    def hooks(agent: Agent) -> list[Hook]:
        before = first_prompt(agent)
        child, turn = agent.new_id(), agent.new_id()
        of_child = {"subagent-start", "subagent-stop"}
        return before + [
            (event, agent.child_payload(event, child, turn) if event in of_child else agent.payload(event))
            for event in events
        ]

    return hooks


#: Hooks that change nothing during a turn.
UNCHANGING = [
    "session-start", "pre-tool-use", "pre-model-request", "post-model-request", "pre-compact", "post-compact",
    "session-end",
]  # fmt: skip

#: Sequences of hooks, the last of which is killed.
KILLED: dict[str, Callable[[Agent], list[Hook]]] = {
    "the first prompt": first_prompt,
    "a later prompt": next_prompt,
    "another session": next_session,
    "a stop": in_turn("stop"),
    "a blocked stop": in_turn("stop", "pre-tool-use"),
    "an interrupt": in_turn("interrupt"),
    "an approval request": in_turn("permission-request"),
    "an approval": in_turn("permission-request", "post-tool-use"),
    "a subagent's start": with_child("subagent-start"),
    "a subagent's stop": with_child("subagent-start", "subagent-stop"),
    "the last subagent's stop": with_child("subagent-start", "stop", "subagent-stop"),
    **{f"no change: {event}": in_turn(event) for event in UNCHANGING},
}


class Killer:
    """Runs and kills hooks on copies of a state directory."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.copies = 0

    def renew(self, source: Path | None) -> None:
        """Gives the agent a copy of a state directory, or an empty one."""
        self.copies += 1
        self.agent.state = self.agent.folder / f"state-{self.copies}"
        if source:
            shutil.copytree(source, self.agent.state)
        else:
            self.agent.state.mkdir()

    def traced(self, hook: Hook) -> TracedCommand:
        return TracedCommand(["hook", hook[0]], self.agent.environment(), hook[1])

    def calls(self, hook: Hook, first: str = "") -> Iterator[tuple[str, int]]:
        """Returns the system calls of a hook, see `TracedCommand.calls`."""
        return self.traced(hook).calls(self.agent.folder / "calls", first)

    def kill(self, name: str, number: int, hook: Hook) -> None:
        """Kills a hook at one of its system calls."""
        self.traced(hook).kill(name, number)


@pytest.fixture
def killer(agent: Agent, tracing: None) -> Killer:
    """Kills hooks of the agent."""
    return Killer(agent)


@pytest.mark.slow
@pytest.mark.parametrize("deferred", [0, 2], ids=["", "after deferred events"])
@pytest.mark.parametrize("hooks", KILLED.values(), ids=KILLED)
def test_a_hook_killed_at_any_system_call_leaves_a_valid_state(
    agent: Agent, killer: Killer, hooks: Callable[[Agent], list[Hook]], deferred: int
) -> None:
    """Each file has its content from before or after the hook, and after the next hook the files agree."""
    *before, killed = hooks(agent)
    if deferred and not before:
        return
    then = root_hook(agent, "post-model-request")
    killer.renew(None)
    agent.hook("session-end")
    for event in before[: len(before) - deferred]:
        agent.run_hook(*event)
    with locked(agent):
        for event in before[len(before) - deferred :] if deferred else []:
            agent.run_hook(*event)
    log = agent.log
    start = agent.state
    ends = []
    for run_of_it in ([], [killed]):
        killer.renew(start)
        for event in run_of_it:
            agent.run_hook(*event)
        files = agent.files()
        agent.run_hook(*then)
        ends.append((files, agent.files()))
    (undone, undone_then), (done, done_then) = ends
    killer.renew(start)
    calls = list(killer.calls(killed))
    assert len(calls) > 10
    wrong = []
    for name, number in calls:
        killer.renew(start)
        killer.kill(name, number, killed)
        for file, content in agent.files().items():
            # A list of paths is empty until its first line is written.
            is_new_list = (file, content, undone.get(file)) == ("codex_transcript_paths", b"", None)
            if content not in (undone.get(file), done.get(file)) and not is_new_list:
                wrong.append(f"{name} {number}: {file} is {content!r}")
        agent.run_hook(*then)
        if agent.files() not in (undone_then, done_then):
            wrong.append(f"{name} {number}: {agent.files()}")
        if agent.log != log:
            wrong.append(f"{name} {number}: {agent.log}")
        if not agent.private_files <= {"lifecycle", "following", "following.queue"}:
            wrong.append(f"{name} {number}: {agent.private_files}")
        shutil.rmtree(agent.state)
    assert wrong == []


@pytest.mark.slow
def test_a_hook_killed_while_it_defers_its_event_loses_no_other(agent: Agent, killer: Killer) -> None:
    """Its own event is deferred or lost."""
    first, second = first_prompt(agent)[0], root_hook(agent, "stop")
    killer.renew(None)
    agent.hook("session-end")
    with locked(agent):
        agent.run_hook(*first)
    start = agent.state
    killer.renew(start)
    with locked(agent):
        # The number of attempts to take the lock differs from run to run.
        calls = [call for call in killer.calls(second, "lifecycle.pending") if call[0] != "flock"]
    assert len(calls) > 10
    ends = set()
    for name, number in calls:
        killer.renew(start)
        with locked(agent):
            killer.kill(name, number, second)
        agent.hook("post-model-request")
        assert agent.state_file("codex_root_session") == agent.session_id
        assert agent.private_files <= {"lifecycle", "following", "following.queue"}
        ends.add(agent.is_active)
    assert ends == {False, True}
