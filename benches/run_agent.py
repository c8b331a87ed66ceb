"""Bench the mngr plugin on real mngr and real codex with a scripted model, and hold it to its bars.

    MNGR_CODEX_CODEX=PATH python benches/run_agent.py [--rounds N]

Prints tables and bars, and keeps them, dated, in `benches/results/`. See `benches/README.md`.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command_line
import machine
from command_line import BENCHES, progress, say, succeeds
from measure import RunError
from mngr_codex.plugin import paths
from results import Bar, hold, milliseconds, store, table

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
"""Between a turn's beginning and Esc: codex takes none in the moment in which a turn begins."""

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
begun = time.perf_counter()
import mngr_codex.plugin as plugin

plugin.register_agent_type()
plugin.agent_field_generators()
plugin.offline_agent_field_generators()
plugin.register_cli_commands()
print(json.dumps([time.perf_counter() - begun, sorted(set(sys.modules) - before)]))
"""


@dataclasses.dataclass(slots=True)
class AgentResults:
    """Everything that one run of the bench measured, in seconds."""

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
    """One run of everything, in a machine of its own: home, tmux server, model."""

    def __init__(self, work: Path, codex: Path) -> None:
        """Prepare a bench in the folder `work`."""
        self._work = work
        self._codex = codex
        # Codex writes into its home even then.
        home = {**os.environ, "CODEX_HOME": str(work)}
        version = subprocess.run([codex, "--version"], capture_output=True, text=True, check=True, env=home)
        self.results = AgentResults(
            datetime.date.today().isoformat(), machine.describe(work), codex=version.stdout.split()[-1]
        )

    def run(self, rounds: int) -> None:
        """Measure everything."""
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
        """Create codex agents and agents that are a mere command, in turns."""
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
        """List the codex agents."""
        agents = len(self.results.create["codex"])
        events: collections.Counter[str] = collections.Counter()
        fields: dict[str, list[float]] = collections.defaultdict(list)
        for number in range(rounds):
            progress("list", number, rounds)
            _, found = self._mngr(machine, "list", "--format", "json")
            of_fields = {name: seconds for name, seconds in found["seconds"].items() if name.startswith("field ")}
            if set(found["calls"][name] for name in of_fields) != {2 * agents}:
                raise RunError(f"the fields were not made for each of {2 * agents} agents: {found['calls']}")
            for name, seconds in of_fields.items():
                fields[name].append(seconds / agents)
            self.results.listing.append(sum(of_fields.values()) / agents)
            events.update(found["events"])
        self.results.listed_agents = agents
        self.results.listing_fields = {name: statistics.median(all_) for name, all_ in fields.items()}
        self.results.listing_events = [f"{event}, {count} times" for event, count in sorted(events.items())]

    def _mngr(self, machine: Machine, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Run a command of mngr's in a process of its own."""
        file = self._work / "timed.json"
        environment = {**machine.environment, TIMED_VARIABLE: str(file)}
        argv = [sys.executable, str(TIMED), *arguments]
        begun = time.perf_counter()
        ran = subprocess.run(argv, cwd=machine.repository, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begun
        if ran.returncode != 0:
            raise RunError(f"mngr {' '.join(arguments)} failed: {ran.stderr}")
        return seconds, json.loads(file.read_text(encoding="utf-8"))

    def _turns(self, machine: Machine, model: Model, rounds: int) -> None:
        """Time how long after the end of a turn the marker says WAITING."""
        agent = machine.create("turns")
        hooks = self._listen_to_hooks(agent)
        failed: list[float] = []

        def fails(_: Any) -> Failure:
            failed.append(time.time())
            return Failure(400)

        model.on("slowly", runs("sleep 30"), says("Never said."))
        model.on("fail", fails)
        for number in range(rounds):
            progress("turns", number, rounds)
            agent.message(f"Message {number}.")
            ended = _waits(agent)
            is_said = f"You said: Message {number}." in _common(agent)
            self.results.final_messages += is_said
            self.results.after_stop.append(ended - _last_stop(hooks))

            failed.clear()
            agent.message(f"Now fail {number}.")
            ended = _waits(agent)
            self.results.after_error.append(ended - failed[0])

            model.on("slowly", runs("sleep 30"), says("Never said."))
            agent.message(f"Do it slowly {number}.")
            time.sleep(PAUSE_SECONDS)
            pressed = time.time()
            agent.press("Escape")
            self.results.after_esc.append(_waits(agent) - pressed)
            # Codex puts an interrupted message that did nothing yet back into its input.
            until(lambda: "Never said" not in agent.pane(), what="the pane")

    def _listen_to_hooks(self, agent: Agent) -> Path:
        """Put a script in the place of the program that the agent's hooks run, which tells when it begins."""
        program = agent.state / paths.PROGRAM
        real = program.with_name("mngr-codex.real")
        log = self._work / "hooks.log"
        program.rename(real)
        program.write_text(f'#!/bin/bash\nprintf "%s %s\\n" "$EPOCHREALTIME" "$*" >>"{log}"\nexec "{real}" "$@"\n')
        program.chmod(0o755)
        return log


def _waits(agent: Agent) -> float:
    """Wait until the marker says WAITING; give when that was."""
    active = str(agent.state / "active")
    end = time.monotonic() + 60
    while os.path.exists(active):
        if time.monotonic() > end:
            raise RunError(f"the turn does not end; the pane says:\n{agent.pane()}")
        time.sleep(0.0002)
    return time.time()


def _last_stop(log: Path) -> float:
    stops = [line.split()[0] for line in log.read_text().splitlines() if line.endswith(" hook stop")]
    return float(stops[-1])


def _common(agent: Agent) -> str:
    path = agent.state / "events/codex/common_transcript/events.jsonl"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def bars(results: AgentResults) -> list[Bar]:
    """Hold the results to every bar."""
    return [
        hold("the plugin's import under mngr", statistics.median(results.imports), MAX_IMPORT, milliseconds),
        hold("what the plugin does in `mngr create`", _median_create(results), MAX_CREATE, milliseconds),
        hold("in `mngr list`, per agent", statistics.median(results.listing), MAX_LIST_PER_AGENT, milliseconds),
        hold("processes and connections in `mngr list`", len(results.listing_events), 0, str),
        hold("WAITING after the Stop hook began, all turns", max(results.after_stop), MAX_AFTER_STOP, milliseconds),
        hold("WAITING after Esc, all turns", max(results.after_esc), MAX_AFTER_END, milliseconds),
        hold("WAITING after an error, all turns", max(results.after_error), MAX_AFTER_END, milliseconds),
        hold(
            "turns whose last words were not there with WAITING",
            len(results.after_stop) - results.final_messages,
            0,
            str,
        ),
    ]


def _median_create(results: AgentResults) -> float:
    return statistics.median(sum(parts.values()) for parts in results.create_parts)


def to_markdown(results: AgentResults) -> str:
    """Return the whole result as Markdown: machine, tables, bars."""
    parts = [f"# Bench of the mngr plugin of {results.date}"]
    parts.append("\n".join(f"- {what}: {is_so}" for what, is_so in results.machine.items()))
    parts.append(f"Codex {results.codex} with a scripted model. Medians, unless it says otherwise.")
    rows = [(f"`mngr create NAME {kind}`", *_spread(runs_)) for kind, runs_ in results.create.items()]
    rows.append(("of it in the plugin", *_spread([sum(parts_.values()) for parts_ in results.create_parts])))
    names = sorted({name for parts_ in results.create_parts for name in parts_})
    for name in names:
        spread = _spread([parts_.get(name, 0.0) for parts_ in results.create_parts])
        if spread[1] != milliseconds(0):
            rows.append((f"- `{name}`", *spread))
    parts += ["## Create", table(("", "runs", "median", "least", "most"), rows)]
    listing = [(f"`{name}`", milliseconds(seconds)) for name, seconds in results.listing_fields.items()]
    parts += [f"## List, of {results.listed_agents} agents, per agent", table(("", "median"), listing)]
    parts.extend(f"**Not allowed there:** {event}." for event in results.listing_events)
    latencies = [
        ("the Stop hook began", *_spread(results.after_stop)),
        ("Esc was pressed", *_spread(results.after_esc)),
        ("the model failed", *_spread(results.after_error)),
    ]
    parts += ["## WAITING, after", table(("", "turns", "median", "least", "most"), latencies)]
    parts.append(f"Modules that mngr does not import anyway: {', '.join(results.modules)}.")
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def _spread(seconds: list[float]) -> tuple[str, str, str, str]:
    of: tuple[Callable[[list[float]], float], ...] = (statistics.median, min, max)
    middle, least, most = (milliseconds(each(seconds)) for each in of)
    return str(len(seconds)), middle, least, most


def main() -> int:
    """Run the command line."""
    parser = command_line.parser(__doc__, has_program=False)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each kind (default: 20)")
    arguments = parser.parse_args()
    codex = os.environ.get(CODEX_VARIABLE)
    if not codex:
        say(f"{CODEX_VARIABLE} names no codex: `make bench` sets it")
        return 1
    # Sockets in it, of tmux too, must have short names.
    with tempfile.TemporaryDirectory(prefix="mb-", ignore_cleanup_errors=True) as work:
        bench = Bench(Path(work), Path(codex))
        if not succeeds(lambda: bench.run(arguments.rounds)):
            return 1
    markdown = to_markdown(bench.results)
    print(markdown)
    name = f"{bench.results.date}-agent"
    say(f"stored as {store(bench.results, markdown, arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
