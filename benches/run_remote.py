"""Benchmarks agents on a remote host, over a slow line and over one that breaks at random moments.

    MNGR_CODEX_CODEX=PATH python benches/run_remote.py [--rounds N] [--faults] [--messages N] [--destroys N] [--seed N]

Prints tables and bars, and stores them with the date in `benches/results/`. See `benches/README.md`.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import command_line
import machine
from command_line import BENCHES, progress, report, succeeds
from measure import RunError
from results import Bar, check_limit, megabytes, milliseconds, spread, store, table

sys.path.append(str(BENCHES.parent))

from tests.support.line_faults import Destroy, Message, destroy_agents, send_messages
from tests.support.machine import Machine, mngr_server
from tests.support.remote_host import RemoteAgent, RemoteHost, reason_against_hosts
from tests.support.rule_based_model import Model

CODEX_VARIABLE = "MNGR_CODEX_CODEX"
TRACED_VARIABLE = "MNGR_CODEX_TRACED"
TRACED = BENCHES / "mngr_traced.py"

DELAY_SECONDS = 0.025
"""In each direction."""
LISTED_AGENTS = 4
TRANSCRIPT_BYTES = 200_000_000
CUTS = [0.0, 0.0, 4.0, 0.0, 15.0, 0.0, 0.0, 75.0, 0.0, 0.0]
"""For how many seconds the line is gone during successive destroys, apart from resets."""

MAX_MESSAGE = 2.5
MAX_SHARE_OF_LIST = 0.05
MAX_TAIL = 2.5
MAX_TAIL_BYTES = 1_000_000

CREATE, MESSAGE, LIST_ONE = "mngr create", "mngr message", "mngr list, 1 agent"
LIST, TAIL, STOP, START = f"mngr list, {LISTED_AGENTS} agents", "mngr transcript --tail 20", "mngr stop", "mngr start"
LARGE_TAIL, DESTROY = "the same of 200 MB", "mngr destroy"


@dataclasses.dataclass(slots=True)
class Run:
    """One mngr command, in its own process."""

    seconds: float
    connections: int
    """All connections, with those of git and rsync."""
    sent: int
    received: int


@dataclasses.dataclass(slots=True)
class Channels:
    """The ssh channels of one mngr command, which takes longer because they are recorded."""

    seconds: float
    own_seconds: float
    """How long the channels of the plugin were used."""
    channels: int
    own_channels: int


@dataclasses.dataclass(slots=True)
class RemoteResults:
    """All measurements of one run, in seconds and bytes."""

    date: str
    machine: dict[str, str]
    codex: str = ""
    delay: float = DELAY_SECONDS
    commands: dict[str, list[Run]] = dataclasses.field(default_factory=dict)
    channels: dict[str, Channels] = dataclasses.field(default_factory=dict)
    """Those of the first run of each command, which is not in `commands`."""
    seed: int = 0
    messages: list[Message] = dataclasses.field(default_factory=list)
    destroys: list[Destroy] = dataclasses.field(default_factory=list)


class Bench:
    """One run of all measurements, each part with its own host."""

    def __init__(self, work: Path, codex: Path) -> None:
        """Prepares a bench in the folder `work`."""
        self._work = work
        self._codex = codex
        # Even `codex --version` writes to its home.
        home = {**os.environ, "CODEX_HOME": str(work)}
        version = subprocess.run([codex, "--version"], capture_output=True, text=True, check=True, env=home)
        self.results = RemoteResults(
            datetime.date.today().isoformat(), machine.describe(work), codex=version.stdout.split()[-1]
        )

    @contextmanager
    def _host(self, name: str) -> Iterator[tuple[RemoteHost, Model]]:
        with ExitStack() as stack:
            model = stack.enter_context(Model())
            folders = [self._work / f"{name}-{part}" for part in ("server", "machine")]
            for folder in folders:
                folder.mkdir()
            server = stack.enter_context(mngr_server(folders[0]))
            near = stack.enter_context(Machine(folders[1], self._codex, model.base_url, server))
            yield stack.enter_context(RemoteHost(near, proxy_delay_seconds=DELAY_SECONDS)), model

    # -- speed

    def run_commands(self, rounds: int) -> None:
        """Times the commands over the slow line."""
        with self._host("speed") as (host, _):
            for number in range(LISTED_AGENTS):
                name = f"a{number}"
                progress("create", number, LISTED_AGENTS)
                self._mngr(host, CREATE, "create", f"{name}@{host.address}", "codex", "--yes", "--no-connect")
                if number == 0:
                    for _ in range(rounds + 1):
                        self._mngr(host, LIST_ONE, "list", "--format", "json")
            for number in range(rounds + 1):
                progress("messages and lists", number, rounds + 1)
                self._mngr(host, MESSAGE, "message", "a0", "-m", f"Message {number}.")
                self._mngr(host, LIST, "list", "--format", "json")
                self._mngr(host, TAIL, "transcript", "a0", "--tail", "20")
            for number in range(3):
                progress("stop and start", number, 3)
                self._mngr(host, STOP, "stop", "a1")
                self._mngr(host, START, "start", "a1")
            self._mngr(host, MESSAGE, "message", "a2", "-m", "Begin a transcript.")
            host.agent("a2").wait()
            self._mngr(host, STOP, "stop", "a2")
            self._enlarge(host.agent("a2"))
            for number in range(rounds + 1):
                progress("large transcript", number, rounds + 1)
                self._mngr(host, LARGE_TAIL, "transcript", "a2", "--tail", "20")
            for number in range(LISTED_AGENTS - 1):
                progress("destroy", number, LISTED_AGENTS - 1)
                # The one with the large transcript would measure the line.
                if number != 2:
                    self._mngr(host, DESTROY, "destroy", f"a{number}", "--force")

    def _enlarge(self, agent: RemoteAgent) -> None:
        """Makes the transcript of a stopped agent large, by repeating its steps with other ids and more text."""
        path = agent.state / "events/codex/common_transcript/events.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        steps = [record for record in records if record["type"] == "step"]
        text = "A sentence of a long conversation. " * 30
        written = 0
        with path.open("a") as file:
            for number in itertools.count(1):
                step = steps[number % len(steps)]
                long = {**step, "event_id": f"evt-{number:032x}-step", "message": f"{number}. {text}"}
                written += file.write(json.dumps(long, ensure_ascii=False, separators=(",", ":")) + "\n")
                if written >= TRANSCRIPT_BYTES:
                    return

    def _mngr(self, host: RemoteHost, label: str, *arguments: str) -> None:
        """Runs an mngr command in a separate process. The first one with each label records its channels."""
        file = self._work / "traced.json"
        is_traced = label not in self.results.channels
        program = [str(TRACED)] if is_traced else [str(Path(sys.executable).with_name("mngr"))]
        traffic = host.proxy.traffic
        before = dataclasses.replace(traffic)
        started = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=host.machine.repository,
            env={**host.machine.environment, TRACED_VARIABLE: str(file)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if ran.returncode != 0:
            raise RunError(f"mngr {' '.join(arguments)} failed: {ran.stderr}")
        if not is_traced:
            connections = traffic.connections - before.connections
            run = Run(seconds, connections, traffic.sent - before.sent, traffic.received - before.received)
            self.results.commands.setdefault(label, []).append(run)
            return
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        own = [channel for channel in found["channels"] if channel["is_own"]]
        own_seconds = sum(channel["seconds"] or found["seconds"] - channel["opened"] for channel in own)
        self.results.channels[label] = Channels(seconds, own_seconds, len(found["channels"]), len(own))

    # -- faults

    def run_messages(self, count: int, seed: int) -> None:
        """Sends messages over a line that breaks at random moments."""
        self.results.seed = seed
        with self._host("messages") as (host, model):
            sent = send_messages(host, model, count, seed=seed, report=progress)
        self.results.messages = [dataclasses.replace(each, output="") if each.is_right else each for each in sent]

    def run_destroys(self, count: int, seed: int) -> None:
        """Destroys agents over a line that breaks at random moments."""
        self.results.seed = seed
        with self._host("destroys") as (host, _):
            done = destroy_agents(host, count, seed=seed, cuts=CUTS, report=progress)
        self.results.destroys = [each if each.lost else dataclasses.replace(each, output="") for each in done]


def bars(results: RemoteResults) -> list[Bar]:
    """Compares the results with every bar."""

    def median(label: str) -> float | None:
        runs = results.commands.get(label)
        return statistics.median(run.seconds for run in runs) if runs else None

    listed, tails = results.channels.get(LIST), results.commands.get(LARGE_TAIL)
    share = listed.own_seconds / listed.seconds if listed else None
    transferred = max(run.sent + run.received for run in tails) if tails else None
    wrong = sum(not message.is_right for message in results.messages) if results.messages else None
    lossy = sum(bool(destroy.lost) for destroy in results.destroys) if results.destroys else None
    return [
        check_limit(f"`{MESSAGE}` over {2 * results.delay * 1000:.0f} ms", median(MESSAGE), MAX_MESSAGE, milliseconds),
        check_limit(f"share of the plugin in `{LIST}`", share, MAX_SHARE_OF_LIST, percent),
        check_limit(f"`{TAIL}` of 200 MB", median(LARGE_TAIL), MAX_TAIL, milliseconds),
        check_limit("bytes over the line for it", transferred, MAX_TAIL_BYTES, megabytes),
        check_limit(
            f"messages doubled, lost or wrongly reported, of {len(results.messages)}",
            wrong,
            0,
            str,
        ),
        check_limit(f"destroys that lost something, of {len(results.destroys)}", lossy, 0, str),
    ]


def percent(share: float) -> str:
    """Formats a share."""
    return f"{share:.1%}"


def to_markdown(results: RemoteResults) -> str:
    """Returns the complete result as Markdown: machine, tables, bars."""
    parts = [f"# Remote bench, {results.date}"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in results.machine.items()))
    parts.append(
        f"Codex {results.codex} with a scripted model, on a made host behind a proxy that delays each direction by "
        f"{results.delay * 1000:.0f} ms. Medians, unless noted otherwise. The timed commands are separate processes."
    )
    if results.commands:
        rows = [_row(label, runs, results.channels[label]) for label, runs in results.commands.items()]
        heads = (
            "",
            "runs",
            "median",
            "min",
            "max",
            "plugin",
            "channels",
            "plugin's",
            "connections",
            "sent",
            "received",
        )
        parts += ["## Commands", table(heads, rows)]
    if results.messages:
        parts += [f"## {len(results.messages)} messages over a line that breaks", _messages(results.messages)]
    if results.destroys:
        parts += [f"## {len(results.destroys)} destroys over a line that breaks", _destroys(results.destroys)]
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def _row(label: str, runs: list[Run], traced: Channels) -> tuple[str, ...]:
    def median(name: str) -> float:
        values: list[float] = [getattr(run, name) for run in runs]
        return statistics.median(values)

    channels = (milliseconds(traced.own_seconds), str(traced.channels), str(traced.own_channels))
    sizes = (megabytes(int(median(name))) for name in ("sent", "received"))
    seconds = spread([run.seconds for run in runs])
    return (f"`{label}`", *seconds, *channels, f"{median('connections'):.0f}", *sizes)


def _messages(messages: list[Message]) -> str:
    kinds = {
        "arrived once, reported as sent": [each for each in messages if each.status == 0 and each.arrived == 1],
        "not arrived, reported as such": [each for each in messages if each.status != 0 and each.arrived == 0],
        "WRONG: arrived more than once": [each for each in messages if each.arrived > 1],
        "WRONG: reported as sent, not arrived": [each for each in messages if each.status == 0 and each.arrived == 0],
        "WRONG: arrived, reported as not sent": [each for each in messages if each.status != 0 and each.arrived == 1],
    }
    rows = [
        (kind, str(len(found)), str(sum(each.resets for each in found)), *spread([each.seconds for each in found])[1:])
        for kind, found in kinds.items()
        if found
    ]
    shown = table(("", "messages", "resets", "median", "min", "max"), rows)
    wrong = [each for each in messages if not each.is_right]
    return "\n\n".join([shown, *(f"**{each.text}** {each.arrived} times:\n\n    {each.output}" for each in wrong)])


def _destroys(destroys: list[Destroy]) -> str:
    kinds: dict[str, list[Destroy]] = {}
    for destroy in destroys:
        gone = "" if destroy.cut is None else f", line gone for {destroy.cut.seconds:.0f} s"
        place = "LOST" if destroy.lost else " and ".join(destroy.places)
        kinds.setdefault(f"{place}, status {destroy.status}{gone}", []).append(destroy)
    rows = [
        (kind, str(len(found)), str(sum(each.resets for each in found)), *spread([each.seconds for each in found])[1:])
        for kind, found in sorted(kinds.items())
    ]
    shown = table(("sessions and transcripts", "destroys", "resets", "median", "min", "max"), rows)
    lost = [each for each in destroys if each.lost]
    return "\n\n".join(
        [shown, *(f"**{each.name}** lost {', '.join(each.lost)}:\n\n    {each.output}" for each in lost)]
    )


def main() -> int:
    """Runs the command line."""
    parser = command_line.parser(__doc__, has_program=False)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command (default: 5; 0: none)")
    parser.add_argument("--faults", action="store_true", help="also break the line at random moments, half an hour")
    parser.add_argument("--messages", type=int, default=200, help="messages over a line that breaks (default: 200)")
    parser.add_argument("--destroys", type=int, default=50, help="destroys over a line that breaks (default: 50)")
    parser.add_argument("--seed", type=int, default=7, help="determines when the line breaks (default: 7)")
    parser.add_argument("--name", default="remote", help="the last part of the file names (default: remote)")
    arguments = parser.parse_args()
    codex = os.environ.get(CODEX_VARIABLE)
    if not codex:
        report(f"{CODEX_VARIABLE} is not set\nhint: run `make bench`")
        return 1
    if reason := reason_against_hosts():
        report(f"cannot make a remote host: {reason}")
        return 1
    # A short path, because the paths of sockets are limited in length.
    with tempfile.TemporaryDirectory(prefix="mb-", ignore_cleanup_errors=True) as work:
        bench = Bench(Path(work), Path(codex))

        def run() -> None:
            if arguments.rounds:
                bench.run_commands(arguments.rounds)
            if arguments.faults and arguments.messages:
                bench.run_messages(arguments.messages, arguments.seed)
            if arguments.faults and arguments.destroys:
                bench.run_destroys(arguments.destroys, arguments.seed)

        if not succeeds(run):
            return 1
    markdown = to_markdown(bench.results)
    print(markdown)
    name = f"{bench.results.date}-{arguments.name}"
    report(f"stored as {store(bench.results, markdown, arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
