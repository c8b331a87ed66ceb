"""Benchmarks how soon mngr learns of changes of Codex agents, and what they cost in `mngr list`.

    MNGR_CODEX_CODEX=PATH python benches/run_observe.py [--rounds N] [--agents N]

Uses the real mngr and Codex CLI and a scripted model. Prints tables and bars, and stores them with the date in
`benches/results/`. See `benches/README.md`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import command_line
import machine
from command_line import BENCHES, progress, report, succeeds
from measure import RunError
from mngr_codex.plugin import paths
from results import Bar, check_limit, milliseconds, spread, store, table

sys.path.append(str(BENCHES.parent))

from tests.support.machine import Agent, Machine, MngrServer, RunningCommand, mngr_server, until
from tests.support.rule_based_model import Model, says

# isort: split
from scripted_model import Answer, Answered, Failure

CODEX_VARIABLE = "MNGR_CODEX_CODEX"
PUBLISHED_VARIABLE = "MNGR_CODEX_PUBLISHED_PYTHON"

POLL_SECONDS = 0.0002
POLL_TOLERANCE = 0.05
"""How much later than the event the line may be seen that has caused it: files are checked one after the other."""
GIVE_UP_SECONDS = 60.0
"""How long a change of an agent of the published plugin is awaited."""

MAX_UNTIL_EVENT = 0.020
MAX_UNTIL_SHOWN = 1.0
MAX_LIST_PER_AGENT = 0.001

BEGIN, END, ESC, FAILED = "turn begins", "turn ends", "Esc", "failed turn"
CHANGES = (BEGIN, END, ESC, FAILED)
PROMPT = "user-prompt-submit"
TURN_BEGINS = ("task_started", "turn_started")
TURN_ENDS = ("task_complete", "turn_complete", "turn_aborted")


@dataclasses.dataclass(slots=True)
class ObserveResults:
    """All measurements of one run, in seconds."""

    date: str
    machine: dict[str, str]
    codex: str = ""
    until_event: dict[str, list[float]] = dataclasses.field(default_factory=lambda: {name: [] for name in CHANGES})
    until_shown: dict[str, list[float]] = dataclasses.field(default_factory=lambda: {name: [] for name in CHANGES})
    published: dict[str, float | None] = dataclasses.field(default_factory=dict)
    listing: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    listing_cpu: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    listed_agents: int = 0
    skipped: list[str] = dataclasses.field(default_factory=list)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class Growth:
    """Records when files grow."""

    def __init__(self, files: dict[str, Path]) -> None:
        """Starts to watch the files, which need not exist yet."""
        self._files = files
        self._sizes = {name: [(0.0, _size(path))] for name, path in files.items()}
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Growth:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the thread."""
        self._is_stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_stopped.is_set():
            for name, path in self._files.items():
                if (size := _size(path)) != self._sizes[name][-1][1]:
                    self._sizes[name].append((time.time(), size))
            time.sleep(POLL_SECONDS)

    def lines(self, name: str, since: float) -> list[tuple[float, dict[str, Any]]]:
        """Returns the complete JSON lines that were written since a time, with the times when they were."""
        found: list[tuple[float, dict[str, Any]]] = []
        offset = 0
        sizes = iter(list(self._sizes[name]))
        when, size = next(sizes)
        for line in self._files[name].read_bytes().splitlines(keepends=True):
            offset += len(line)
            while size < offset:
                try:
                    when, size = next(sizes)
                except StopIteration:
                    return found
            if when >= since and line.startswith(b"{"):
                found.append((when, json.loads(line)))
        return found


class Bench:
    """One run of all measurements, with homes, tmux servers and a model of its own."""

    def __init__(self, work: Path, codex: Path) -> None:
        """Prepares a bench in the folder `work`."""
        self._work = work
        self._codex = codex
        self._may_answer = threading.Event()
        # Even `codex --version` writes to its home.
        home = {**os.environ, "CODEX_HOME": str(work)}
        version = subprocess.run([codex, "--version"], capture_output=True, text=True, check=True, env=home)
        self.results = ObserveResults(
            datetime.date.today().isoformat(), machine.describe(work), codex=version.stdout.split()[-1]
        )

    def run(self, rounds: int, agents: int, published_python: str | None) -> None:
        """Runs all measurements."""
        with Model() as model:
            model.on("succeed", self._later(says("It took a while.")))
            model.on("fail", self._later(Failure(400)))
            with self._server("own") as server:
                with self._machine("turns", model, server) as own:
                    self._turns(own, rounds)
                self._list(model, server, rounds, agents)
            self._published(model, published_python)

    def _later(self, answer: Answered) -> Answer:
        """Returns an answer that waits until the model may answer."""

        def wait(_: Any) -> Answered:
            self._may_answer.wait()
            return answer

        return wait

    @contextmanager
    def _server(self, name: str, python: str = sys.executable) -> Iterator[MngrServer]:
        folder = self._work / name
        folder.mkdir()
        with mngr_server(folder, python) as server:
            yield server

    @contextmanager
    def _machine(self, name: str, model: Model, server: MngrServer) -> Iterator[Machine]:
        folder = self._work / f"m-{name}"
        folder.mkdir()
        with Machine(folder, self._codex, model.base_url, server) as made:
            yield made

    def _turns(self, own: Machine, rounds: int) -> None:
        """Times the events of turns that end normally, by Esc and by an error, and when `mngr observe` shows them."""
        agent = own.create("turns")
        hooks = _log_hooks(agent, self._work / "hooks.log")
        agent.message("Begin.")  # creates the rollout
        agent.wait()
        files = {
            "events": own.home / ".mngr/events/mngr/activity/events.jsonl",
            "rollout": Path((agent.state / "codex_transcript_path").read_text().strip()),
        }
        with own.running_mngr("observe", "--stream-events", "--quiet") as observer:
            _await_listening(own, observer)
            with Growth({**files, "shown": observer.output}) as growth:
                for number in range(rounds):
                    progress("turns", number, rounds)
                    for message, end in (("succeed", END), ("fail", FAILED), ("succeed, but not if I press Esc", ESC)):
                        self._turn(agent, growth, hooks, f"Please {message} ({number}).", end)

    def _turn(self, agent: Agent, growth: Growth, hooks: Path, message: str, end: str) -> None:
        self._may_answer.clear()
        started = time.time()
        agent.message(message)
        # mngr shows no turn that is shorter than a listing.
        until(lambda: _shown(growth, "RUNNING", started), description="RUNNING in `mngr observe`")
        if end == ESC:
            agent.press("Escape")
        else:
            self._may_answer.set()

        def written(*types: str) -> list[float]:
            lines = growth.lines("rollout", started)
            return [when for when, line in lines if line.get("payload", {}).get("type") in types]

        until(lambda: written(*TURN_ENDS), description="the end of the turn in the rollout")
        shown_since = written(*TURN_ENDS)[0]
        until(lambda: _shown(growth, "WAITING", shown_since), description="WAITING in `mngr observe`")
        starts = [when for when, name in _hook_starts(hooks) if when >= started and name == PROMPT]
        stops = [when for when, name in _hook_starts(hooks) if when >= started and name != PROMPT]
        # Codex runs no hook at the end of a failed turn, and in some versions none after Esc.
        began, ended = min(starts + written(*TURN_BEGINS)), min(stops + written(*TURN_ENDS))
        for change, since, state in ((BEGIN, began, "RUNNING"), (end, ended, "WAITING")):
            event = next((when for when, _ in growth.lines("events", since - POLL_TOLERANCE)), None)
            if event is None:
                raise RunError(f"no event was written: {change}")
            self.results.until_event[change].append(max(0.0, event - since))
            shown = _shown(growth, state, event)
            if shown is None:
                raise RunError(f"mngr observe did not show the agent {state}: {change}")
            self.results.until_shown[change].append(shown - since)

    def _list(self, model: Model, server: MngrServer, rounds: int, agents: int) -> None:
        """Lists as many Codex agents as plain command agents, in turn."""
        with self._machine("codex", model, server) as own, self._machine("command", model, server) as plain:
            for number in range(agents):
                progress("create", number, agents)
                agent = own.create(f"a{number}", "--message", "Hello.")
                plain.mngr("create", f"a{number}", "command", "--yes", "--no-connect", "--", "sleep", "9999")
                agent.wait()
            machines = {"codex": own, "command": plain}
            self.results.listing = {name: [] for name in machines}
            self.results.listing_cpu = {name: [] for name in machines}
            self.results.listed_agents = agents
            for number in range(rounds):
                progress("list", number, rounds)
                for name, each in list(machines.items())[:: 1 if number % 2 else -1]:
                    started = time.perf_counter()
                    listed = each.mngr("list", "--format", "json")
                    self.results.listing[name].append(time.perf_counter() - started)
                    self.results.listing_cpu[name].append(listed.cpu_seconds)
                    if len(json.loads(listed.stdout)["agents"]) != agents:
                        raise RunError(f"mngr list does not show {agents} agents: {listed.stdout}")

    def _published(self, model: Model, python: str | None) -> None:
        """Measures when `mngr observe` shows changes of an agent of the published plugin."""
        if python is None or not _can_import(python, "imbue.mngr.main", "imbue.mngr_codex.plugin"):
            reason = "is not set" if python is None else "names an environment without mngr and its dependencies"
            self._skip(f"the published plugin, because {PUBLISHED_VARIABLE} {reason}")
            return
        with (
            self._server("published", python) as server,
            self._machine("published", model, server) as their,
        ):
            their.create("turns")
            with their.running_mngr("observe", "--stream-events", "--quiet") as observer:
                _await_listening(their, observer)
                with Growth({"shown": observer.output}) as growth:
                    requests = len(model.requests)
                    self._may_answer.clear()
                    times = [("RUNNING", BEGIN, time.time())]
                    their.mngr("message", "turns", "-m", "Please succeed.")
                    until(lambda: len(model.requests) > requests, description="the turn")
                    time.sleep(GIVE_UP_SECONDS / 2)
                    times.append(("WAITING", END, time.time()))
                    self._may_answer.set()
                    time.sleep(GIVE_UP_SECONDS)
                    for state, change, since in times:
                        shown = _shown(growth, state, since)
                        self.results.published[change] = None if shown is None else shown - since

    def _skip(self, reason: str) -> None:
        report(f"SKIPPED: {reason}")
        self.results.skipped.append(reason)


def _log_hooks(agent: Agent, log: Path) -> Path:
    """Replaces the program that the agent's hooks run with a script that logs its start time."""
    program = agent.state / paths.PROGRAM
    real = program.with_name("mngr-codex.real")
    program.rename(real)
    program.write_text(f'#!/bin/bash\nprintf "%s %s\\n" "$EPOCHREALTIME" "$*" >>"{log}"\nexec "{real}" "$@"\n')
    program.chmod(0o755)
    return log


def _hook_starts(log: Path) -> Iterator[tuple[float, str]]:
    """Yields the start times and names of the hooks of turns."""
    for line in log.read_text().splitlines():
        when, *words = line.split()
        if words[0] == "hook" and words[1] in (PROMPT, "stop", "interrupt"):
            yield float(when), words[1]


def _await_listening(observed: Machine, observer: RunningCommand) -> None:
    """Waits until `mngr observe` reacts to events."""
    until(lambda: observer.shows('"AGENT_STATE"'), description="the first state")
    seen = len(observer.lines())
    log = observed.home / ".mngr/events/mngr/activity/events.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    event = {"timestamp": "2026-01-01T00:00:00.000000000Z", "type": "activity", "source": "mngr/activity"}
    with log.open("a") as file:
        file.write(json.dumps({**event, "event_id": f"evt-{0:032x}"}) + "\n")
    until(lambda: len(observer.lines()) > seen, description="the reaction to an event")


def _shown(growth: Growth, state: str, since: float) -> float | None:
    """Returns the first time after another at which `mngr observe` shows a state."""
    for when, line in growth.lines("shown", since):
        if line["type"] == "AGENT_STATE" and line["agent"]["state"] == state:
            return when
    return None


def _can_import(python: str, *modules: str) -> bool:
    code = f"import {', '.join(modules)}"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def bars(results: ObserveResults) -> list[Bar]:
    """Compares the results with every bar. The slowest turn counts."""
    found = []
    for change in CHANGES:
        event, shown = max(results.until_event[change]), max(results.until_shown[change])
        found.append(check_limit(f"{change}: until the event", event, MAX_UNTIL_EVENT, milliseconds))
        found.append(check_limit(f"{change}: until mngr observe shows it", shown, MAX_UNTIL_SHOWN, milliseconds))
    more = _more_per_agent(results)
    found.append(check_limit("mngr list, CPU per agent, more than a plain one", more, MAX_LIST_PER_AGENT, milliseconds))
    return found


def _more_per_agent(results: ObserveResults) -> float:
    codex, plain = (statistics.median(results.listing_cpu[name]) for name in ("codex", "command"))
    return (codex - plain) / results.listed_agents


def to_markdown(results: ObserveResults) -> str:
    """Returns the complete result as Markdown: machine, tables, bars."""
    parts = [f"# Observe bench, {results.date}"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in results.machine.items()))
    parts.append(f"Codex {results.codex} with a scripted model. Medians, unless noted otherwise.")
    parts.extend(f"**Skipped:** {reason}." for reason in results.skipped)
    for title, samples in (
        ("From the hook or the line in the rollout, whichever is first, to the event", results.until_event),
        ("From there to the output of `mngr observe`", results.until_shown),
    ):
        rows = [(change, *spread(samples[change])) for change in CHANGES]
        parts += [f"## {title}", table(("", "turns", "median", "min", "max"), rows)]
    if results.published:
        shown = [
            (change, f"not within {GIVE_UP_SECONDS:.0f} s" if seconds is None else milliseconds(seconds))
            for change, seconds in results.published.items()
        ]
        parts += ["## The published plugin, until `mngr observe` shows it", table(("", "one turn"), shown)]
    listing = [
        (f"{results.listed_agents} `{name}` agents, {kind}", *spread(samples[name]))
        for name in results.listing
        for kind, samples in (("wall", results.listing), ("CPU", results.listing_cpu))
    ]
    parts += ["## `mngr list`", table(("", "runs", "median", "min", "max"), listing)]
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Runs the command line. A missed bar is not a failure."""
    parser = command_line.parser(__doc__, has_program=False)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each kind, and listings (default: 15)")
    parser.add_argument("--agents", type=int, default=10, help="listed agents of each type (default: 10)")
    arguments = parser.parse_args()
    codex = os.environ.get(CODEX_VARIABLE)
    if not codex:
        report(f"{CODEX_VARIABLE} is not set\nhint: run `make bench`")
        return 1
    # A short path, because the paths of sockets are limited in length.
    with tempfile.TemporaryDirectory(prefix="mb-", ignore_cleanup_errors=True) as work:
        bench = Bench(Path(work), Path(codex))
        published = os.environ.get(PUBLISHED_VARIABLE)
        if not succeeds(lambda: bench.run(arguments.rounds, arguments.agents, published)):
            return 1
    markdown = to_markdown(bench.results)
    print(markdown)
    name = f"{bench.results.date}-observe"
    report(f"stored as {store(bench.results, markdown, arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
