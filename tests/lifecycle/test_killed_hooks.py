"""A hook that is killed at any system call leaves a valid state, which the next hook completes."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_agent import Agent, Hook
from tests.support.strace import TracedCommand


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
UNCHANGING = ["session-start", "pre-tool-use", "pre-model-request", "post-model-request"]

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
    "a question": lambda agent: [
        *first_prompt(agent),
        ("pre-tool-use", agent.payload("pre-tool-use", tool_name="request_user_input")),
    ],
    "the beginning of a compaction": in_turn("pre-compact"),
    "a compaction": in_turn("pre-compact", "post-compact"),
    "the end of a session": in_turn("session-end"),
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
        host = self.agent.folder / f"host-{self.copies}"
        self.agent.state = host / "agents/agent-1"
        if source:
            shutil.copytree(source.parent.parent, host)
        else:
            self.agent.state.mkdir(parents=True)

    @property
    def status(self) -> dict[str, Any] | None:
        """What the status file shows, without its times."""
        if not (self.agent.state / "plugin/codex/status.json").exists():
            return None
        status = self.agent.status
        times = {name: status[name] is not None for name in ("since", "turn_since", "idle_since", "last_compaction")}
        return status | times

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
    """Each file has its content from before or after the hook, and after the next hook the files agree.

    The change is announced at least once. It is announced twice if the hook was killed right after that.
    """
    *before, killed = hooks(agent)
    if deferred and not before:
        return
    then = root_hook(agent, "post-model-request")
    killer.renew(None)
    agent.hook("session-end")
    for event in before[: len(before) - deferred]:
        agent.run_hook(*event)
    with agent.locked():
        for event in before[len(before) - deferred :] if deferred else []:
            agent.run_hook(*event)
    log = agent.log
    start = agent.state
    ends = []
    for run_of_it in ([], [killed]):
        killer.renew(start)
        for event in run_of_it:
            agent.run_hook(*event)
        files = (agent.files(), killer.status)
        agent.run_hook(*then)
        ends.append((files, (agent.files(), killer.status), len(agent.activity_events)))
    ((undone, undone_status), undone_then, undone_events), ((done, done_status), done_then, done_events) = ends
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
        if killer.status not in (undone_status, done_status):
            wrong.append(f"{name} {number}: the status is {killer.status}")
        agent.run_hook(*then)
        end = (agent.files(), killer.status)
        if end not in (undone_then, done_then):
            wrong.append(f"{name} {number}: {end}")
        # If the two ends are the same, nothing shows which one this is.
        expected = {
            events for known, events in ((undone_then, undone_events), (done_then, done_events)) if end == known
        }
        if expected and not min(expected) <= len(agent.activity_events) <= max(expected) + 1:
            wrong.append(f"{name} {number}: {len(agent.activity_events)} events instead of {expected}")
        if agent.log != log:
            wrong.append(f"{name} {number}: {agent.log}")
        if not agent.private_files <= {"lifecycle", "following", "following.queue"}:
            wrong.append(f"{name} {number}: {agent.private_files}")
        shutil.rmtree(agent.state.parent.parent)
    assert wrong == []


@pytest.mark.slow
def test_a_hook_killed_while_it_defers_its_event_loses_no_other(agent: Agent, killer: Killer) -> None:
    """Its own event is deferred or lost."""
    first, second = first_prompt(agent)[0], root_hook(agent, "stop")
    killer.renew(None)
    agent.hook("session-end")
    with agent.locked():
        agent.run_hook(*first)
    start = agent.state
    killer.renew(start)
    with agent.locked():
        # The number of attempts to take the lock differs from run to run.
        calls = [call for call in killer.calls(second, "lifecycle.pending") if call[0] != "flock"]
    assert len(calls) > 10
    ends = set()
    for name, number in calls:
        killer.renew(start)
        with agent.locked():
            killer.kill(name, number, second)
        agent.hook("post-model-request")
        assert agent.state_file("codex_root_session") == agent.session_id
        assert agent.private_files <= {"lifecycle", "following", "following.queue"}
        ends.add(agent.is_active)
    assert ends == {False, True}
