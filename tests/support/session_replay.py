"""Replays recorded Codex sessions: rollouts grow, hooks run, and `active` is compared with the expected marker.

A recording is a hook log (`NAME.hooks.jsonl`) and the rollouts of the same name next to it. Each line of the log is the
start or end of a hook: its time, process and payload, and the sizes that the rollouts had at that time.
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from tests.support.fake_agent import Agent
from tests.support.recordings import DATA, LAB, lines_of, name

#: Hooks that overlap, or start within this many seconds of each other, could have run in another order.
CLOSE = 0.05

#: Seconds; shorter than the time between any two events. Moves a line before or after a hook.
INSTANT = 1e-6

ROOT = ""

BEGINNINGS = {"UserPromptSubmit", "SubagentStart"}
ENDS = {"Interrupt", "task_complete", "turn_aborted"}
STOPS = {"Stop", "SubagentStop"}


@dataclass(frozen=True)
class Event:
    """A hook that ran, or a line that was written to a rollout."""

    at: float
    name: str
    """The name of the hook, or the kind of the line."""
    thread: str = ROOT
    turn: str = ""
    data: bytes = b""
    file: str = ""
    """The rollout of a line, relative to Codex's home."""
    until: float = 0.0
    process: int = 0
    """The process id of the Codex that ran the hook; 0 for a line."""
    named: tuple[tuple[str, str], ...] = ()
    """The rollouts in a hook's payload: the path as written, and the path relative to Codex's home."""


def hook_logs() -> list[Path]:
    """Returns the hook logs of the test data, and those of the lab that the test data does not have."""
    data = {name(path): path for path in DATA.rglob("*.hooks.jsonl")}
    lab = {name(path): path for path in LAB.rglob("*.hooks.jsonl")} if LAB else {}
    return [path for _, path in sorted((lab | data).items())]


@dataclass
class Recording:
    """The events of a recorded session, in order."""

    log: Path
    seen: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    """For each rollout: the times of hooks, and the sizes in bytes that they saw."""

    @cached_property
    def events(self) -> list[Event]:
        hooks = list(self._hooks())
        files = sorted({file for hook in hooks for _, file in hook.named})
        return sorted([*hooks, *self._lines(files)], key=lambda it: it.at)

    def _hooks(self) -> Iterator[Event]:
        entries = [json.loads(line) for line in lines_of(self.log)]
        ends = {entry["pid"]: entry["t"] for entry in entries if entry["phase"] == "end"}
        for entry in entries:
            if entry["phase"] != "start":
                continue
            payload = json.loads(entry["raw"])
            named = []
            for member in ("transcript_path", "agent_transcript_path"):
                if path := payload.get(member):
                    file = path[path.index("/sessions/") + 1 :]
                    named.append((path, file))
                    if seen := (entry.get("seen") or {}).get(member):
                        self.seen[file].append((entry["t"], seen["size"]))
            yield Event(
                at=entry["t"],
                name=entry["event"],
                thread=payload.get("agent_id", ROOT),
                turn=payload.get("turn_id", ""),
                data=entry["raw"].encode(),
                until=ends.get(entry["pid"], entry["t"]),
                process=entry["ppid"],
                named=tuple(named),
            )

    def _lines(self, files: list[str]) -> Iterator[Event]:
        """Yields the lines of all rollouts. A rollout file has its thread's id in its name."""
        rollout_name = re.compile(re.escape(self.log.name.removesuffix(".hooks.jsonl")) + r"(\.\d+|\.child\d+)?\.jsonl")
        for path in sorted(self.log.parent.iterdir()):
            if not rollout_name.fullmatch(path.name):
                continue
            meta = json.loads(lines_of(path)[0])["payload"]
            is_child = isinstance(meta.get("source"), dict) and "subagent" in meta["source"]
            file = next(
                (file for file in files if meta["id"] in file), f"sessions/2026/11/22/rollout-{meta['id']}.jsonl"
            )
            if file in files:
                files.remove(file)
            yield from self._growth(path, file, meta["id"] if is_child else ROOT)

    def _growth(self, path: Path, file: str, thread: str) -> Iterator[Event]:
        """Yields the lines of a rollout at the times of their timestamps.

        A line is moved after hooks that did not see it, and before hooks that did.
        """
        size, at = 0, 0.0
        for line in lines_of(path):
            size += len(line)
            record = json.loads(line)
            missed = [when + INSTANT for when, seen in self.seen[file] if seen < size]
            saw = [when - INSTANT for when, seen in self.seen[file] if seen >= size]
            written = datetime.fromisoformat(record["timestamp"]).timestamp()
            at = max(at, min([max([written, *missed]), *saw]))
            payload = record["payload"]
            kind = payload.get("type", "") if record["type"] == "event_msg" else record["type"]
            passed_through = payload.get("internal_chat_message_metadata_passthrough") or {}
            turn = payload.get("turn_id") or passed_through.get("turn_id") or ""
            yield Event(at, kind, thread, turn, line, file)


# ---- the expected marker


@dataclass
class Turn:
    """When a turn was certainly open, and when it may have been. All positions are indexes into the events."""

    thread: str
    first: int
    positions: list[int] = field(default_factory=list)
    prompt: int | None = None
    """The first event by which a hook has reported it."""
    end: int | None = None
    """The event with which it is certainly over."""


def expected_markers(events: list[Event]) -> list[bool | None]:
    """Returns whether `active` must exist after each event, and `None` if both are correct.

    A turn that begins with `task_started` alone is unknown until a hook names its rollout. If a turn has events after
    its Stop, either the Stop was blocked or the events are late. Which of the two is uncertain until the next hook of
    the turn or its end.
    """
    turns = turns_of(events)
    markers: list[bool | None] = [False] * len(events)
    for turn in turns.values():
        end = len(events) if turn.end is None else turn.end
        certain = end if turn.prompt is None else min(turn.prompt, end)
        state: bool | None = None
        own = set(turn.positions)
        last_stop = max(
            (position for position in own if position < end and events[position].name in STOPS), default=None
        )
        for position in range(turn.first, end):
            if position in own and position >= certain:
                if events[position].name in STOPS:
                    state = False
                elif state is False:
                    # It continues if it stops again later.
                    state = True if last_stop is not None and position < last_stop else None
            if position == certain:
                state = True
            if markers[position] is not True and state is not False:
                markers[position] = state
    for position in asking(events):
        if markers[position]:
            markers[position] = None
    return markers


def asking(events: list[Event]) -> Iterator[int]:
    """Yields the positions at which an approval may be open: `active` is absent until the answer is seen."""
    asked: set[str] = set()
    for position, it in enumerate(events):
        if it.name == "PermissionRequest":
            asked.add(it.thread)
        elif it.name in {*BEGINNINGS, *ENDS, *STOPS, "PostToolUse", "PreModelRequest", "restart"}:
            asked.discard(it.thread)
        if asked:
            yield position


def turns_of(events: list[Event]) -> dict[str, Turn]:
    """Returns all turns by id. A turn belongs to the first thread that has it; other threads have copies of it."""
    named = {file: position for position, it in reversed(list(enumerate(events))) for _, file in it.named}
    turns: dict[str, Turn] = {}
    for position, it in enumerate(events):
        if not it.turn:
            continue
        turn = turns.get(it.turn)
        if turn is None:
            if it.name in BEGINNINGS or it.name == "task_started":
                turn = turns[it.turn] = Turn(it.thread, position)
            else:
                continue
        if turn.thread != it.thread:
            continue
        turn.positions.append(position)
        if turn.prompt is None and it.name in BEGINNINGS:
            turn.prompt = position
        if turn.end is None and it.name in ENDS:
            turn.end = position
    for turn in turns.values():
        if turn.prompt is None:
            hook = named.get(events[turn.first].file)
            turn.prompt = None if hook is None else max(hook, turn.first)
    end_by_next_turn(list(turns.values()), events)
    return turns


def end_by_next_turn(turns: list[Turn], events: list[Event]) -> None:
    """Ends turns that a killed Codex left open with the next turn of the thread, or the next start of the agent."""
    for turn, later in ((turn, later) for turn in turns for later in turns):
        if later.thread == turn.thread and later.first > turn.first and later.prompt is not None:
            turn.end = min(later.prompt, len(events) if turn.end is None else turn.end)
    starts = [position for position, it in enumerate(events) if it.name == "restart"]
    for turn in turns:
        ends = [*(position for position in starts if position > turn.first), *([] if turn.end is None else [turn.end])]
        turn.end = min(ends, default=None)


# ---- variants of a recording


def with_restarts(events: list[Event]) -> list[Event]:
    """Returns the events with a restart of the agent before each Codex but the first."""
    found = []
    known: set[int] = set()
    turns: set[str] = set()
    for process in dict.fromkeys(it.process for it in events if it.process):
        own = [it for it in events if it.process == process]
        turns_of_it = {it.turn for it in own} - {""} - turns
        begun = min(it.at for it in events if it in own or it.turn in turns_of_it)
        if known:
            found.append(Event(begun - INSTANT / 2, "restart"))
        known.add(process)
        turns |= turns_of_it
    return sorted([*events, *found], key=lambda it: it.at)


def reordered(events: list[Event], chance: random.Random) -> list[Event]:
    """Returns the events with simultaneous hooks in random order, and one hook in twenty repeated."""
    order = list(events)
    hooks = [position for position, it in enumerate(order) if it.process]
    groups: list[list[int]] = []
    until = 0.0
    for position in hooks:
        if not groups or order[position].at > until:
            groups.append([])
        groups[-1].append(position)
        until = max(until, order[position].at + CLOSE, order[position].until)
    again: dict[int, list[Event]] = {}
    for group in groups:
        runs = [order[position] for position in group]
        again[group[-1]] = [run for run in runs if chance.random() < 0.05]
        chance.shuffle(runs)
        for position, run in zip(group, runs, strict=True):
            order[position] = run
    return [one for position, it in enumerate(order) for one in [it, *again.get(position, [])]]


# ---- the replay


@dataclass
class Replay:
    """Replays a recording for an agent, and counts checks of the marker."""

    agent: Agent
    wrong: list[str] = field(default_factory=list)
    checked: int = 0

    def run(self, events: list[Event], markers: Iterable[bool | None]) -> None:
        """Replays the events, and checks `active` after each one for which it is known."""
        unwritten: list[Event] = []
        expected = list(markers)
        for position, (it, marker) in enumerate(zip(events, expected, strict=True)):
            if it.file:
                unwritten.append(it)
                following = events[position + 1 : position + 2]
                if following and following[0].file and marker == expected[position + 1]:
                    continue
                self._write(unwritten)
                unwritten = []
            elif it.process:
                self._hook(it)
            else:
                self.agent.marker("reset")
            if marker is not None:
                self._check(f"{it.name} of turn {it.turn or '-'} (number {position})", marker)

    def end(self, marker: bool | None) -> None:
        """Checks the final marker, then restarts the agent and checks that it waits."""
        if marker is not None:
            self._check("all events", marker)
        self.agent.marker("reset")
        self._check("the reset", False)

    def _check(self, event: str, marker: bool) -> None:
        self.agent.marker("recompute")
        self.checked += 1
        if self.agent.is_active != marker:
            self.wrong.append(f"after {event}: {'RUNNING' if marker else 'WAITING'} expected")

    def _write(self, lines: list[Event]) -> None:
        for line in lines:
            path = self.agent.home / line.file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as rollout:
                rollout.write(line.data)

    def _hook(self, hook: Event) -> None:
        payload = hook.data
        for path, file in hook.named:
            payload = payload.replace(json.dumps(path).encode(), json.dumps(str(self.agent.home / file)).encode())
        self.agent.run_hook(re.sub(r"(?<!^)(?=[A-Z])", "-", hook.name).lower(), payload)
