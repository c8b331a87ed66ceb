"""Plays recorded codex sessions again: their rollouts grow, their hooks run, and `active` is held against the truth.

A scenario is a hook log (`NAME.hooks.jsonl`) with the rollouts of the same name beside it. A line of the log is a
hook's start or end: its time, process, payload, and how large the rollouts were that it saw.
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

#: Hooks that began this close to each other, in seconds, or overlapped, could have come in another order.
CLOSE = 0.05

#: Less than lies between any two times, in seconds: puts a line before or behind a hook.
INSTANT = 1e-6

ROOT = ""

BEGINNINGS = {"UserPromptSubmit", "SubagentStart"}
ENDS = {"Interrupt", "task_complete", "turn_aborted"}
STOPS = {"Stop", "SubagentStop"}


@dataclass(frozen=True)
class Happening:
    """A hook that ran, or a line that was written."""

    at: float
    name: str
    """The hook's, or the kind of the line."""
    thread: str = ROOT
    turn: str = ""
    data: bytes = b""
    file: str = ""
    """The rollout of a line, below codex's home."""
    until: float = 0.0
    process: int = 0
    """The codex that ran the hook; 0 of a line."""
    named: tuple[tuple[str, str], ...] = ()
    """The rollouts that a hook's payload names: the path in it, and the file below codex's home."""


def scenarios() -> list[Path]:
    """The hook logs of the test data, and of the lab's what is not among them."""
    data = {name(path): path for path in DATA.rglob("*.hooks.jsonl")}
    lab = {name(path): path for path in LAB.rglob("*.hooks.jsonl")} if LAB.is_dir() else {}
    return [path for _, path in sorted((lab | data).items())]


@dataclass
class Recording:
    """What happened in a scenario, in its order."""

    log: Path
    seen: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    """When a hook saw how many bytes of which rollout."""

    @cached_property
    def happenings(self) -> list[Happening]:
        hooks = list(self._hooks())
        files = sorted({file for hook in hooks for _, file in hook.named})
        return sorted([*hooks, *self._lines(files)], key=lambda it: it.at)

    def _hooks(self) -> Iterator[Happening]:
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
                    if sight := (entry.get("seen") or {}).get(member):
                        self.seen[file].append((entry["t"], sight["size"]))
            yield Happening(
                at=entry["t"],
                name=entry["event"],
                thread=payload.get("agent_id", ROOT),
                turn=payload.get("turn_id", ""),
                data=entry["raw"].encode(),
                until=ends.get(entry["pid"], entry["t"]),
                process=entry["ppid"],
                named=tuple(named),
            )

    def _lines(self, files: list[str]) -> Iterator[Happening]:
        """What was written into the rollouts, each the one whose thread its name holds."""
        whole_name = re.compile(re.escape(self.log.name.removesuffix(".hooks.jsonl")) + r"(\.\d+|\.child\d+)?\.jsonl")
        for path in sorted(self.log.parent.iterdir()):
            if not whole_name.fullmatch(path.name):
                continue
            meta = json.loads(lines_of(path)[0])["payload"]
            is_child = isinstance(meta.get("source"), dict) and "subagent" in meta["source"]
            file = next(
                (file for file in files if meta["id"] in file), f"sessions/2026/11/22/rollout-{meta['id']}.jsonl"
            )
            if file in files:
                files.remove(file)
            yield from self._growth(path, file, meta["id"] if is_child else ROOT)

    def _growth(self, path: Path, file: str, thread: str) -> Iterator[Happening]:
        """The lines of a rollout, each at the time it tells, but behind hooks that missed it and before those that
        saw it.
        """
        size, at = 0, 0.0
        for line in lines_of(path):
            size += len(line)
            record = json.loads(line)
            missed = [when + INSTANT for when, seen in self.seen[file] if seen < size]
            saw = [when - INSTANT for when, seen in self.seen[file] if seen >= size]
            told = datetime.fromisoformat(record["timestamp"]).timestamp()
            at = max(at, min([max([told, *missed]), *saw]))
            payload = record["payload"]
            kind = payload.get("type", "") if record["type"] == "event_msg" else record["type"]
            passed_through = payload.get("internal_chat_message_metadata_passthrough") or {}
            turn = payload.get("turn_id") or passed_through.get("turn_id") or ""
            yield Happening(at, kind, thread, turn, line, file)


# ---- what is true


@dataclass
class Turn:
    """When a turn was certainly open, and when it may have been; all as places in the happenings."""

    thread: str
    first: int
    places: list[int] = field(default_factory=list)
    prompt: int | None = None
    """Where a hook tells of its beginning."""
    end: int | None = None
    """Where it is certainly over."""


def truth(happenings: list[Happening]) -> list[bool | None]:
    """Whether `active` is to be there after each happening; None where nobody can know yet, or can say otherwise.

    Of a turn that begins with `task_started` alone nobody knows before a hook has named the file. A Stop after which
    the turn shows itself again was blocked, or these are stragglers: it is uncertain until another hook or its end.
    """
    turns = turns_of(happenings)
    answers: list[bool | None] = [False] * len(happenings)
    for turn in turns.values():
        end = len(happenings) if turn.end is None else turn.end
        certain = end if turn.prompt is None else min(turn.prompt, end)
        state: bool | None = None
        own = set(turn.places)
        last_stop = max((place for place in own if place < end and happenings[place].name in STOPS), default=None)
        for place in range(turn.first, end):
            if place in own and place >= certain:
                if happenings[place].name in STOPS:
                    state = False
                elif state is False:
                    # It goes on if it will stop once more.
                    state = True if last_stop is not None and place < last_stop else None
            if place == certain:
                state = True
            if answers[place] is not True and state is not False:
                answers[place] = state
    return answers


def turns_of(happenings: list[Happening]) -> dict[str, Turn]:
    """Every turn, by its id. A turn is the thread's that shows it first: elsewhere its lines are copies."""
    named = {file: place for place, it in reversed(list(enumerate(happenings))) for _, file in it.named}
    turns: dict[str, Turn] = {}
    for place, it in enumerate(happenings):
        if not it.turn:
            continue
        turn = turns.get(it.turn)
        if turn is None:
            if it.name in BEGINNINGS or it.name == "task_started":
                turn = turns[it.turn] = Turn(it.thread, place)
            else:
                continue
        if turn.thread != it.thread:
            continue
        turn.places.append(place)
        if turn.prompt is None and it.name in BEGINNINGS:
            turn.prompt = place
        if turn.end is None and it.name in ENDS:
            turn.end = place
    for turn in turns.values():
        if turn.prompt is None:
            hook = named.get(happenings[turn.first].file)
            turn.prompt = None if hook is None else max(hook, turn.first)
    ends_by_the_next(list(turns.values()), happenings)
    return turns


def ends_by_the_next(turns: list[Turn], happenings: list[Happening]) -> None:
    """A codex that was killed ends nothing: its thread's next turn does, or the agent's next start."""
    for turn, later in ((turn, later) for turn in turns for later in turns):
        if later.thread == turn.thread and later.first > turn.first and later.prompt is not None:
            turn.end = min(later.prompt, len(happenings) if turn.end is None else turn.end)
    starts = [place for place, it in enumerate(happenings) if it.name == "restart"]
    for turn in turns:
        ends = [*(place for place in starts if place > turn.first), *([] if turn.end is None else [turn.end])]
        turn.end = min(ends, default=None)


# ---- other forms of the same


def restarted(happenings: list[Happening]) -> list[Happening]:
    """The same with a start of the agent before each codex but the first."""
    found = []
    known: set[int] = set()
    turns: set[str] = set()
    for process in dict.fromkeys(it.process for it in happenings if it.process):
        own = [it for it in happenings if it.process == process]
        turns_of_it = {it.turn for it in own} - {""} - turns
        begun = min(it.at for it in happenings if it in own or it.turn in turns_of_it)
        if known:
            found.append(Happening(begun - INSTANT / 2, "restart"))
        known.add(process)
        turns |= turns_of_it
    return sorted([*happenings, *found], key=lambda it: it.at)


def shuffled(happenings: list[Happening], chance: random.Random) -> list[Happening]:
    """The same with hooks that ran at about one time in any order, and one in twenty of them twice."""
    order = list(happenings)
    hooks = [place for place, it in enumerate(order) if it.process]
    groups: list[list[int]] = []
    until = 0.0
    for place in hooks:
        if not groups or order[place].at > until:
            groups.append([])
        groups[-1].append(place)
        until = max(until, order[place].at + CLOSE, order[place].until)
    again: dict[int, list[Happening]] = {}
    for group in groups:
        runs = [order[place] for place in group]
        again[group[-1]] = [run for run in runs if chance.random() < 0.05]
        chance.shuffle(runs)
        for place, run in zip(group, runs, strict=True):
            order[place] = run
    return [one for place, it in enumerate(order) for one in [it, *again.get(place, [])]]


# ---- the play


@dataclass
class Play:
    """A recording as it is played for an agent."""

    agent: Agent
    wrong: list[str] = field(default_factory=list)
    judged: int = 0

    def play(self, happenings: list[Happening], answers: Iterable[bool | None]) -> None:
        """Lets all happen; after what can tell of a turn, rollouts are read and `active` is looked at."""
        waiting: list[Happening] = []
        answers = list(answers)
        for place, (it, answer) in enumerate(zip(happenings, answers, strict=True)):
            if it.file:
                waiting.append(it)
                following = happenings[place + 1 : place + 2]
                if following and following[0].file and answer == answers[place + 1]:
                    continue
                self._write(waiting)
                waiting = []
            elif it.process:
                self._hook(it)
            else:
                self.agent.marker("reset")
            if answer is not None:
                self._judge(f"{it.name} of turn {it.turn or '-'} (number {place})", answer)

    def end(self, answer: bool | None) -> None:
        """Looks once more, and starts the agent anew."""
        if answer is not None:
            self._judge("all", answer)
        self.agent.marker("reset")
        self._judge("the reset", False)

    def _judge(self, behind: str, answer: bool) -> None:
        self.agent.marker("recompute")
        self.judged += 1
        if self.agent.is_active != answer:
            self.wrong.append(f"behind {behind}: {'RUNNING' if answer else 'WAITING'} is right")

    def _write(self, lines: list[Happening]) -> None:
        for line in lines:
            path = self.agent.home / line.file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as rollout:
                rollout.write(line.data)

    def _hook(self, hook: Happening) -> None:
        payload = hook.data
        for path, file in hook.named:
            payload = payload.replace(json.dumps(path).encode(), json.dumps(str(self.agent.home / file)).encode())
        self.agent.hook_with(re.sub(r"(?<!^)(?=[A-Z])", "-", hook.name).lower(), payload)
