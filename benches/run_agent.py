"""Benchmarks the mngr plugin with the real mngr and Codex CLI and a scripted model.

    MNGR_CODEX_CODEX=PATH python benches/run_agent.py [--rounds N]

Prints tables and bars, and stores them with the date in `benches/results/`. See `benches/README.md`.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import command_line
import machine
from command_line import BENCHES, progress, report, succeeds
from measure import RunError
from mngr_codex.plugin import paths
from results import Bar, check_limit, milliseconds, spread, store, table

sys.path.append(str(BENCHES.parent))

from tests.support.machine import Agent, Machine, mngr_server, until
from tests.support.rule_based_model import Model, runs, says

# isort: split
from scripted_model import Failure

CODEX_VARIABLE = "MNGR_CODEX_CODEX"
TIMED_VARIABLE = "MNGR_CODEX_TIMED"
TIMED = BENCHES / "mngr_timed.py"

IMPORTS = 15
PAUSE_SECONDS = 0.6
"""Between the start of a turn and Esc: Codex ignores Esc at the very start of a turn."""

MAX_IMPORT = 0.030
MAX_CREATE = 1.0
MAX_LIST_PER_AGENT = 0.001
MAX_AFTER_STOP = 0.020
MAX_AFTER_END = 0.100

_IMPORT = """
import importlib.metadata, json, sys, time

listed = importlib.metadata.distributions
importlib.metadata.distributions = lambda **where: [each for each in listed(**where) if each.name != "mngr-codex"]
import imbue.mngr.main

before = set(sys.modules)
assert not any(name.startswith("mngr_codex") for name in before)
started = time.perf_counter()
import mngr_codex.plugin as plugin

plugin.register_agent_type()
plugin.agent_field_generators()
plugin.offline_agent_field_generators()
plugin.register_cli_commands()
print(json.dumps([time.perf_counter() - started, sorted(set(sys.modules) - before)]))
"""


@dataclasses.dataclass(slots=True)
class AgentResults:
    """All measurements of one run, in seconds."""

    date: str
    machine: dict[str, str]
    codex: str = ""
    imports: list[float] = dataclasses.field(default_factory=list)
    modules: list[str] = dataclasses.field(default_factory=list)
    create: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    create_parts: list[dict[str, float]] = dataclasses.field(default_factory=list)
    listing: list[float] = dataclasses.field(default_factory=list)
    listed_agents: int = 0
    listing_fields: dict[str, float] = dataclasses.field(default_factory=dict)
    listing_events: list[str] = dataclasses.field(default_factory=list)
    after_stop: list[float] = dataclasses.field(default_factory=list)
    final_messages: int = 0
    after_esc: list[float] = dataclasses.field(default_factory=list)
    after_error: list[float] = dataclasses.field(default_factory=list)


class Bench:
    """One run of all measurements, with its own home, tmux server and model."""

    def __init__(self, work: Path, codex: Path) -> None:
        """Prepares a bench in the folder `work`."""
        self._work = work
        self._codex = codex
        # Even `codex --version` writes to its home.
        home = {**os.environ, "CODEX_HOME": str(work)}
        version = subprocess.run([codex, "--version"], capture_output=True, text=True, check=True, env=home)
        self.results = AgentResults(
            datetime.date.today().isoformat(), machine.describe(work), codex=version.stdout.split()[-1]
        )

    def run(self, rounds: int) -> None:
        """Runs all measurements."""
        self._imports()
        server_folder = self._work / "server"
        server_folder.mkdir()
        folder = self._work / "machine"
        folder.mkdir()
        with (
            Model() as model,
            mngr_server(server_folder) as server,
            Machine(folder, self._codex, model.base_url, server) as machine,
        ):
            self._create(machine, max(3, rounds // 4))
            self._list(machine, rounds)
            self._turns(machine, model, rounds)

    def _imports(self) -> None:
        for number in range(IMPORTS):
            progress("imports", number, IMPORTS)
            ran = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=False)
            if ran.returncode != 0:
                raise RunError(f"the import failed: {ran.stderr}")
            seconds, self.results.modules = json.loads(ran.stdout)
            self.results.imports.append(seconds)

    def _create(self, machine: Machine, rounds: int) -> None:
        """Creates Codex agents and plain command agents in turn."""
        kinds = {"codex": ["codex"], "command": ["command", "--", "sleep", "9999"]}
        self.results.create = {kind: [] for kind in kinds}
        for number in range(rounds):
            progress("create", number, rounds)
            for kind, arguments in kinds.items():
                name = f"{kind}-{number}"
                rest = arguments[1:]
                seconds, found = self._mngr(machine, "create", name, arguments[0], "--yes", "--no-connect", *rest)
                self.results.create[kind].append(seconds)
                if kind == "codex":
                    self.results.create_parts.append(found["seconds"])

    def _list(self, machine: Machine, rounds: int) -> None:
        """Lists the Codex agents."""
        agents = len(self.results.create["codex"])
        events: collections.Counter[str] = collections.Counter()
        fields: dict[str, list[float]] = collections.defaultdict(list)
        for number in range(rounds):
            progress("list", number, rounds)
            _, found = self._mngr(machine, "list", "--format", "json")
            field_seconds = {name: seconds for name, seconds in found["seconds"].items() if name.startswith("field ")}
            if set(found["calls"][name] for name in field_seconds) != {2 * agents}:
                raise RunError(f"the fields were not listed for each of {2 * agents} agents: {found['calls']}")
            for name, seconds in field_seconds.items():
                fields[name].append(seconds / agents)
            self.results.listing.append(sum(field_seconds.values()) / agents)
            events.update(found["events"])
        self.results.listed_agents = agents
        self.results.listing_fields = {name: statistics.median(all_) for name, all_ in fields.items()}
        self.results.listing_events = [f"{event}, {count} times" for event, count in sorted(events.items())]

    def _mngr(self, machine: Machine, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Runs an mngr command in a separate process."""
        file = self._work / "timed.json"
        environment = {**machine.environment, TIMED_VARIABLE: str(file)}
        argv = [sys.executable, str(TIMED), *arguments]
        started = time.perf_counter()
        ran = subprocess.run(argv, cwd=machine.repository, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if ran.returncode != 0:
            raise RunError(f"mngr {' '.join(arguments)} failed: {ran.stderr}")
        return seconds, json.loads(file.read_text(encoding="utf-8"))

    def _turns(self, machine: Machine, model: Model, rounds: int) -> None:
        """Times the delay between the end of a turn and WAITING."""
        agent = machine.create("turns")
        hooks = self._log_hooks(agent)
        failed: list[float] = []

        def fails(_: Any) -> Failure:
            failed.append(time.time())
            return Failure(400)

        model.on("slowly", runs("sleep 30"), says("Never said."))
        model.on("fail", fails)
        for number in range(rounds):
            progress("turns", number, rounds)
            agent.message(f"Message {number}.")
            ended = _wait_for_waiting(agent)
            is_complete = f"You said: Message {number}." in _common(agent)
            self.results.final_messages += is_complete
            self.results.after_stop.append(ended - _last_stop(hooks))

            failed.clear()
            agent.message(f"Now fail {number}.")
            ended = _wait_for_waiting(agent)
            self.results.after_error.append(ended - failed[0])

            model.on("slowly", runs("sleep 30"), says("Never said."))
            agent.message(f"Do it slowly {number}.")
            time.sleep(PAUSE_SECONDS)
            pressed = time.time()
            agent.press("Escape")
            self.results.after_esc.append(_wait_for_waiting(agent) - pressed)
            # Codex returns the message of an interrupted turn that did nothing yet to the composer.
            until(lambda: "Never said" not in agent.pane(), description="the pane")

    def _log_hooks(self, agent: Agent) -> Path:
        """Replaces the program that the agent's hooks run with a script that logs its start time."""
        program = agent.state / paths.PROGRAM
        real = program.with_name("mngr-codex.real")
        log = self._work / "hooks.log"
        program.rename(real)
        program.write_text(f'#!/bin/bash\nprintf "%s %s\\n" "$EPOCHREALTIME" "$*" >>"{log}"\nexec "{real}" "$@"\n')
        program.chmod(0o755)
        return log


def _wait_for_waiting(agent: Agent) -> float:
    """Waits until the agent is WAITING, and returns the time."""
    active = str(agent.state / "active")
    end = time.monotonic() + 60
    while os.path.exists(active):
        if time.monotonic() > end:
            raise RunError(f"the turn did not end; the pane shows:\n{agent.pane()}")
        time.sleep(0.0002)
    return time.time()


def _last_stop(log: Path) -> float:
    stops = [line.split()[0] for line in log.read_text().splitlines() if line.endswith(" hook stop")]
    return float(stops[-1])


def _common(agent: Agent) -> str:
    path = agent.state / "events/codex/common_transcript/events.jsonl"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def bars(results: AgentResults) -> list[Bar]:
    """Compares the results with every bar."""
    return [
        check_limit("importing the plugin in mngr", statistics.median(results.imports), MAX_IMPORT, milliseconds),
        check_limit("the plugin in `mngr create`", _median_create(results), MAX_CREATE, milliseconds),
        check_limit(
            "the plugin in `mngr list`, per agent", statistics.median(results.listing), MAX_LIST_PER_AGENT, milliseconds
        ),
        check_limit("processes and connections in `mngr list`", len(results.listing_events), 0, str),
        check_limit(
            "WAITING after the Stop hook began, all turns", max(results.after_stop), MAX_AFTER_STOP, milliseconds
        ),
        check_limit("WAITING after Esc, all turns", max(results.after_esc), MAX_AFTER_END, milliseconds),
        check_limit("WAITING after an error, all turns", max(results.after_error), MAX_AFTER_END, milliseconds),
        check_limit(
            "turns WAITING before their last message was in the transcript",
            len(results.after_stop) - results.final_messages,
            0,
            str,
        ),
    ]


def _median_create(results: AgentResults) -> float:
    return statistics.median(sum(parts.values()) for parts in results.create_parts)


def to_markdown(results: AgentResults) -> str:
    """Returns the complete result as Markdown: machine, tables, bars."""
    parts = [f"# Plugin bench, {results.date}"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in results.machine.items()))
    parts.append(f"Codex {results.codex} with a scripted model. Medians, unless noted otherwise.")
    rows = [(f"`mngr create NAME {kind}`", *spread(samples)) for kind, samples in results.create.items()]
    rows.append(("of this in the plugin", *spread([sum(seconds.values()) for seconds in results.create_parts])))
    names = sorted({name for seconds in results.create_parts for name in seconds})
    for name in names:
        cells = spread([seconds.get(name, 0.0) for seconds in results.create_parts])
        if cells[1] != milliseconds(0):
            rows.append((f"- `{name}`", *cells))
    parts += ["## Create", table(("", "runs", "median", "min", "max"), rows)]
    listing = [(f"`{name}`", milliseconds(seconds)) for name, seconds in results.listing_fields.items()]
    parts += [f"## List, of {results.listed_agents} agents, per agent", table(("", "median"), listing)]
    parts.extend(f"**Not allowed here:** {event}." for event in results.listing_events)
    latencies = [
        ("the Stop hook began", *spread(results.after_stop)),
        ("Esc was pressed", *spread(results.after_esc)),
        ("the model failed", *spread(results.after_error)),
    ]
    parts += ["## WAITING, after", table(("", "turns", "median", "min", "max"), latencies)]
    parts.append(f"Modules that only the plugin imports: {', '.join(results.modules)}.")
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Runs the command line."""
    parser = command_line.parser(__doc__, has_program=False)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each kind (default: 20)")
    arguments = parser.parse_args()
    codex = os.environ.get(CODEX_VARIABLE)
    if not codex:
        report(f"{CODEX_VARIABLE} is not set\nhint: run `make bench`")
        return 1
    # A short path, because the paths of sockets are limited in length.
    with tempfile.TemporaryDirectory(prefix="mb-", ignore_cleanup_errors=True) as work:
        bench = Bench(Path(work), Path(codex))
        if not succeeds(lambda: bench.run(arguments.rounds)):
            return 1
    markdown = to_markdown(bench.results)
    print(markdown)
    name = f"{bench.results.date}-agent"
    report(f"stored as {store(bench.results, markdown, arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
