"""Hooks that run at once, that wait for one that stands still, and that are killed."""

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
from tests.support.strace import Traced

MANY = 64


Hook = tuple[str, bytes]


def storm(agent: Agent, hooks: list[Hook], kills: random.Random | None = None) -> list[Hook]:
    """Runs hooks at once: all are started, and then get their payloads. Kills some of them, and tells which."""
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
    for place, process in enumerate(processes):
        assert process.stdin
        process.stdin.close()
        if kills and kills.random() < 0.25:
            # One that is at it by now, or was.
            processes[kills.randint(max(0, place - 8), place)].kill()
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


def only_put_off(agent: Agent) -> None:
    """On a busy machine a hook may have to leave its event to another one; nothing else has gone wrong."""
    assert all("put off" in line["message"] for line in agent.log)


class TestStorms:
    """After each storm, without anything that would put it right, all files are as they are to be."""

    @pytest.mark.parametrize("round_", range(5))
    def test_subagents(self, agent: Agent, round_: int) -> None:
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
        only_put_off(agent)

    @pytest.mark.parametrize("round_", range(5))
    def test_with_the_root_s(self, agent: Agent, round_: int) -> None:
        """Events of the root in between, in whichever order they come."""
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
            # A turn's end and the next one's prompt: the later turn counts.
            hooks = [("stop", agent.payload("stop"))]
            agent.begin_turn()
            hooks += [(event, agent.payload(event)) for event in ["user-prompt-submit", "pre-model-request"]]
            storm(agent, hooks)
            assert agent.is_active
        only_put_off(agent)
        assert agent.rollouts == [str(agent.rollout)]

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(10))
    def test_with_kills(self, agent: Agent, seed: int) -> None:
        """What was killed has happened or has not; run once more it has, and nothing is left of it."""
        kills = random.Random(seed)
        for _ in range(10):
            children = {agent.new_id(): agent.new_id() for _ in range(MANY)}
            for event, before, after in [
                ("subagent-start", set(), set(children)), ("subagent-stop", set(children), set()),
            ]:  # fmt: skip
                hooks = {child: (event, agent.child_payload(event, child, turn)) for child, turn in children.items()}
                killed = storm(agent, list(hooks.values()), kills)
                # Any event puts in order what was left half done.
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
        only_put_off(agent)


@contextmanager
def stopped_owner(agent: Agent) -> Iterator[None]:
    """A process that has the lock and stands still."""
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
    """The lock, had by this process."""
    with (agent.state / "plugin/mngr_codex/lifecycle").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class TestLock:
    """A process that has the lock and does not go on."""

    @pytest.fixture
    def prompted(self, agent: Agent) -> Agent:
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        return agent

    def test_a_hook_gives_up_and_its_event_is_kept(self, prompted: Agent) -> None:
        with stopped_owner(prompted):
            begun = time.monotonic()
            prompted.hook("stop")
            assert time.monotonic() - begun < 1
            prompted.assert_logged("hook stop", "lock", "put off")
            assert prompted.is_active
        prompted.hook("post-model-request")
        assert not prompted.is_active

    def test_what_was_put_off_comes_in_its_order(self, prompted: Agent) -> None:
        child, turn = prompted.new_id(), prompted.new_id()
        with stopped_owner(prompted):
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
    def test_other_commands_take_it_in(self, prompted: Agent, command: str) -> None:
        with stopped_owner(prompted):
            prompted.hook("stop")
        prompted.marker(command)
        assert not prompted.is_active

    def test_it_is_shown(self, prompted: Agent) -> None:
        with stopped_owner(prompted):
            prompted.hook("stop")
        assert prompted.report()["state"] == "WAITING"
        prompted.hook("post-model-request")
        assert not prompted.is_active

    def test_another_session_s(self, prompted: Agent) -> None:
        """Whether it is nested takes a look at the root's rollout, which takes no longer."""
        session = prompted.new_id()
        with stopped_owner(prompted):
            begun = time.monotonic()
            prompted.hook("user-prompt-submit", session_id=session, turn_id=prompted.new_id())
            assert time.monotonic() - begun < 1
        prompted.hook("post-model-request")
        assert prompted.state_file("codex_root_session") == prompted.session_id

    def test_many_at_once(self, prompted: Agent) -> None:
        children = {prompted.new_id(): prompted.new_id() for _ in range(16)}
        with stopped_owner(prompted):
            hooks = [("subagent-start", prompted.child_payload("subagent-start", *child)) for child in children.items()]
            storm(prompted, hooks)
        prompted.hook("post-model-request")
        assert prompted.subagents == set(children)

    @pytest.mark.slow
    def test_a_command_says_that_it_could_not(self, prompted: Agent) -> None:
        with locked(prompted):
            done = subprocess.run([program(), "marker", "recompute"], env=prompted.environment(), capture_output=True)
            shown = prompted.marker("show")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"lock" in done.stderr
        assert shown.stdout.startswith(b"RUNNING\n"), "whoever looks waits for nobody"


# ---- killed at every call of the system


def first_prompt(agent: Agent) -> list[Hook]:
    agent.begin_turn()
    return [("user-prompt-submit", agent.payload("user-prompt-submit"))]


def again(agent: Agent, event: str) -> Hook:
    return event, agent.payload(event)


def next_prompt(agent: Agent) -> list[Hook]:
    before = [*first_prompt(agent), again(agent, "stop")]
    agent.begin_turn()
    return [*before, again(agent, "user-prompt-submit")]


def next_session(agent: Agent) -> list[Hook]:
    before = [*first_prompt(agent), again(agent, "stop")]
    agent.begin_session()
    return [*before, ("session-start", agent.payload("session-start", turn_id=None))]


def in_turn(*events: str) -> Callable[[Agent], list[Hook]]:
    return lambda agent: [*first_prompt(agent), *(again(agent, event) for event in events)]


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


#: Hooks that change nothing in a turn.
NOTHING_NEW = [
    "session-start", "pre-tool-use", "pre-model-request", "post-model-request", "pre-compact", "post-compact",
    "session-end",
]  # fmt: skip

#: Hooks of which the last is killed.
KILLED: dict[str, Callable[[Agent], list[Hook]]] = {
    "the first prompt": first_prompt,
    "a later prompt": next_prompt,
    "another session": next_session,
    "a stop": in_turn("stop"),
    "a blocked stop": in_turn("stop", "pre-tool-use"),
    "an interrupt": in_turn("interrupt"),
    "an approval asked for": in_turn("permission-request"),
    "an approval given": in_turn("permission-request", "post-tool-use"),
    "a subagent's start": with_child("subagent-start"),
    "a subagent's stop": with_child("subagent-start", "subagent-stop"),
    "the last subagent's stop": with_child("subagent-start", "stop", "subagent-stop"),
    **{f"nothing new: {event}": in_turn(event) for event in NOTHING_NEW},
}


class Killer:
    """Runs hooks on copies of one state dir."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.copies = 0

    def fresh(self, source: Path | None) -> None:
        """Makes a copy of a state dir the agent's; an empty one if none is given."""
        self.copies += 1
        self.agent.state = self.agent.folder / f"state-{self.copies}"
        if source:
            shutil.copytree(source, self.agent.state)
        else:
            self.agent.state.mkdir()

    def traced(self, hook: Hook) -> Traced:
        return Traced(["hook", hook[0]], self.agent.environment(), hook[1])

    def calls(self, hook: Hook, first: str = "") -> Iterator[tuple[str, int]]:
        """Every call of the system that a hook makes: see `Traced.calls`."""
        return self.traced(hook).calls(self.agent.folder / "calls", first)

    def kill(self, name: str, number: int, hook: Hook) -> None:
        """Kills a hook at one of its calls."""
        self.traced(hook).kill(name, number)


@pytest.fixture
def killer(agent: Agent, tracing: None) -> Killer:
    """What kills hooks."""
    return Killer(agent)


@pytest.mark.slow
@pytest.mark.parametrize("put_off", [0, 2], ids=["", "behind what was put off"])
@pytest.mark.parametrize("hooks", KILLED.values(), ids=KILLED)
def test_a_kill_at_every_call(agent: Agent, killer: Killer, hooks: Callable[[Agent], list[Hook]], put_off: int) -> None:
    """The next event finds all as it was or as it was to be, and brings it in order."""
    *before, killed = hooks(agent)
    if put_off and not before:
        return
    then = again(agent, "post-model-request")
    killer.fresh(None)
    agent.hook("session-end")
    for event in before[: len(before) - put_off]:
        agent.run_hook(*event)
    with locked(agent):
        for event in before[len(before) - put_off :] if put_off else []:
            agent.run_hook(*event)
    log = agent.log
    start = agent.state
    ends = []
    for run_of_it in ([], [killed]):
        killer.fresh(start)
        for event in run_of_it:
            agent.run_hook(*event)
        files = agent.files()
        agent.run_hook(*then)
        ends.append((files, agent.files()))
    (undone, undone_then), (done, done_then) = ends
    killer.fresh(start)
    calls = list(killer.calls(killed))
    assert len(calls) > 10
    wrong = []
    for name, number in calls:
        killer.fresh(start)
        killer.kill(name, number, killed)
        for file, content in agent.files().items():
            # A list of paths is empty before its first line.
            is_begun = (file, content, undone.get(file)) == ("codex_transcript_paths", b"", None)
            if content not in (undone.get(file), done.get(file)) and not is_begun:
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
def test_a_kill_at_every_call_while_an_event_is_put_off(agent: Agent, killer: Killer) -> None:
    """It is kept or it is not, and no other one is lost."""
    first, second = first_prompt(agent)[0], again(agent, "stop")
    killer.fresh(None)
    agent.hook("session-end")
    with locked(agent):
        agent.run_hook(*first)
    start = agent.state
    killer.fresh(start)
    with locked(agent):
        # How often it asks for the lock before differs from run to run.
        calls = [call for call in killer.calls(second, "lifecycle.pending") if call[0] != "flock"]
    assert len(calls) > 10
    ends = set()
    for name, number in calls:
        killer.fresh(start)
        with locked(agent):
            killer.kill(name, number, second)
        agent.hook("post-model-request")
        assert agent.state_file("codex_root_session") == agent.session_id
        assert agent.private_files <= {"lifecycle", "following", "following.queue"}
        ends.add(agent.is_active)
    assert ends == {False, True}
