"""Benchmarks `mngr-codex transcript` side by side with `cat` and `true`, and `mngr transcript` with mngr's own.

    python benches/run_transcript.py [--quick] [--cache FOLDER] [--program PATH]

Prints tables and bars, and stores them with the date in `benches/results/`. See `benches/README.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import random
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import command_line
import generate
import machine
from command_line import is_program, progress, report, succeeds
from measure import Contender, RunError, Sample, median_cpu, median_wall, peak_memory, time_interleaved, time_run
from results import MEBIBYTE, TRUE, Bar, check_limit, mebibytes, milliseconds, percentile, store, table, times

CAT = "cat"
TAIL, USER_TAIL, COPY, DOCUMENT = "--tail 20", "--tail 20 --role user", "--format jsonl", "--format atif"
HEAD, ARRAY, HUMAN = "--head 20", "--format json", "human-readable"
HELP, PLUGIN_COMMAND, MNGR_COMMAND = "mngr --help", "mngr transcript NAME --tail 20", "the same with mngr's own command"
SMALL = "1 MB"

AGENT_ID = "agent-" + "1" * 32
SEED = 7
FOLLOWED_LINES = 2000
SECONDS = 30.0

MAX_TAIL = 0.010
MAX_RATIO_TO_SMALL = 1.5
MAX_RATIO_TO_CAT = 1.5
MAX_DOCUMENT_MEMORY = 64 * MEBIBYTE
MIN_DOCUMENT_RATE = 400e6
MAX_OVER_HELP = 0.1
MAX_FOLLOWED = 0.010

MNGR = "from imbue.mngr.main import cli; cli(prog_name='mngr')"
"""Runs mngr as installed."""
WITHOUT_PLUGIN_COMMANDS = f"import mngr_codex.plugin; del mngr_codex.plugin.register_cli_commands; {MNGR}"
"""Runs mngr without this plugin's commands."""


@dataclasses.dataclass(slots=True)
class TranscriptResults:
    """All measurements of one run."""

    date: str
    machine: dict[str, str]
    bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    parts: dict[str, dict[str, list[Sample]]] = dataclasses.field(default_factory=dict)
    """Samples by size of the transcript, then by options."""
    complete: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    peak_memory: dict[str, int] = dataclasses.field(default_factory=dict)
    mngr: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    followed: list[float] = dataclasses.field(default_factory=list)


class Bench:
    """One run of all measurements, in its own folder."""

    def __init__(self, program: Path, work: Path, cache: Path, *, is_quick: bool) -> None:
        """Prepares a bench of `program` in the folder `work`."""
        self._program = program
        self._work = work
        self._cache = cache
        self._is_quick = is_quick
        self._errors = work / "stderr"
        self.large = "100 MB" if is_quick else "1 GB"
        self.results = TranscriptResults(datetime.date.today().isoformat(), machine.describe(work))

    def run(self) -> None:
        """Runs all measurements."""
        states = {
            SMALL: self._state(SMALL, 2_300_000),
            self.large: self._state(self.large, 225_000_000 if self._is_quick else 2_400_000_000),
        }
        self._parts(states)
        self._show_all(states[self.large])
        self._mngr(states[self.large])
        self._follow(self._state("followed", 2_300_000))

    def _state(self, name: str, rollout_bytes: int) -> Path:
        """Creates an agent's state directory whose transcript has about 45% of the size of a rollout."""
        rollout = generate.cached(
            self._cache, rollout_bytes, before_creating=lambda: report(f"{name}: creating the input")
        )
        state = self._work / name.replace(" ", "-") / "agents" / AGENT_ID
        transcript = state / "events/codex/common_transcript/events.jsonl"
        transcript.parent.mkdir(parents=True)
        time_run([str(self._program), "convert", str(rollout), "--output", str(transcript)], self._errors)
        agent = {"id": AGENT_ID, "name": "bench", "type": "codex", "command": "codex", "work_dir": str(self._work)}
        (state / "data.json").write_text(json.dumps(agent | {"create_time": "2026-11-22T07:00:00+00:00"}))
        self.results.bytes[name] = transcript.stat().st_size
        return state

    def _shown(self, state: Path, options: str) -> list[str]:
        return [str(self._program), "transcript", str(state), *(options.split() if options != HUMAN else [])]

    def _parts(self, states: dict[str, Path]) -> None:
        """Shows parts of a small and of a large transcript in turn."""
        rounds = 40
        options = (TAIL, USER_TAIL, HEAD)
        contenders = [
            Contender(f"{size}|{each}", self._shown(state, each), rounds)
            for size, state in states.items()
            for each in options
        ]
        contenders.append(Contender(f"|{TRUE}", [TRUE], rounds))
        samples = time_interleaved(contenders, lambda: None, self._errors, lambda n: progress("parts", n, rounds))
        for name, runs in samples.items():
            size, _, shown = name.partition("|")
            self.results.parts.setdefault(size, {})[shown] = runs

    def _show_all(self, state: Path) -> None:
        """Shows all of a transcript."""
        rounds = 7
        transcript = state / "events/codex/common_transcript/events.jsonl"
        contenders = [
            Contender(CAT, [CAT, str(transcript)], rounds),
            *(Contender(each, self._shown(state, each), rounds) for each in (COPY, DOCUMENT)),
            *(Contender(each, self._shown(state, each), 2) for each in (ARRAY, HUMAN)),
        ]
        self.results.complete = time_interleaved(
            contenders, lambda: None, self._errors, lambda n: progress("complete", n, rounds)
        )
        for each in (TAIL, COPY, DOCUMENT, ARRAY, HUMAN):
            self.results.peak_memory[each] = peak_memory(self._shown(state, each), self._errors)

    def _mngr(self, state: Path) -> None:
        """Runs mngr commands as a user does, each in a separate process."""
        host_dir = state.parent.parent
        profile = host_dir / "profiles" / "bench"
        profile.mkdir(parents=True)
        (host_dir / "config.toml").write_text('profile = "bench"\n')
        (profile / "settings.toml").write_text('enabled_backends = ["local"]\n')
        variables = {"HOME": str(self._work), "MNGR_HOST_DIR": str(host_dir)}
        rounds = 15
        commands = {
            HELP: ([sys.executable, "-c", MNGR, "--help"], rounds),
            PLUGIN_COMMAND: ([sys.executable, "-c", MNGR, "transcript", "bench", "--tail", "20"], rounds),
            MNGR_COMMAND: ([sys.executable, "-c", WITHOUT_PLUGIN_COMMANDS, "transcript", "bench", "--tail", "20"], 2),
        }
        self.results.mngr = {name: [] for name in commands}
        for number in range(rounds):
            progress("mngr", number, rounds)
            for name, (argv, limit) in commands.items():
                if number < limit:
                    self.results.mngr[name].append(time_run(argv, self._errors, variables=variables))

    def _follow(self, state: Path) -> None:
        """Times the delay between writing a record and printing it."""
        transcript = state / "events/codex/common_transcript/events.jsonl"
        lines = transcript.read_bytes().splitlines(keepends=True)[1 : FOLLOWED_LINES + 1]
        rng = random.Random(SEED)
        command = self._shown(state, "--follow --format jsonl --tail 1")
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as process,
            transcript.open("ab", buffering=0) as file,
            selectors.DefaultSelector() as ready,
        ):
            assert process.stdout
            try:
                output = process.stdout.fileno()
                os.set_blocking(output, False)
                ready.register(output, selectors.EVENT_READ)
                _read_line(output, ready)
                # Give the program time to start waiting for changes.
                time.sleep(0.5)
                for number in range(FOLLOWED_LINES):
                    line = lines[number % len(lines)]
                    progress("following", number, FOLLOWED_LINES)
                    time.sleep(rng.uniform(0.002, 0.008))
                    started = time.perf_counter()
                    file.write(line)
                    printed = _read_line(output, ready)
                    self.results.followed.append(time.perf_counter() - started)
                    if printed != line:
                        raise RunError(f"record {number} was printed differently than written")
            finally:
                process.terminate()


def _read_line(output: int, ready: selectors.BaseSelector) -> bytes:
    """Reads the printed output up to the end of a line."""
    line = b""
    end = time.monotonic() + SECONDS
    while not line.endswith(b"\n"):
        if not ready.select(max(0, end - time.monotonic())):
            raise RunError("a record was not printed in time")
        line += os.read(output, 1 << 20)
    return line


def bars(results: TranscriptResults) -> list[Bar]:
    """Compares the results with every bar."""
    (large,) = (size for size in results.parts if size not in (SMALL, ""))
    tail, small = (median_wall(results.parts[size][TAIL]) for size in (large, SMALL))
    cat = median_wall(results.complete[CAT])
    rate = results.bytes[large] / median_wall(results.complete[DOCUMENT])
    p99 = percentile(results.followed, 99)
    over_help = median_wall(results.mngr[PLUGIN_COMMAND]) - median_wall(results.mngr[HELP])
    at_least = "pass" if rate >= MIN_DOCUMENT_RATE else "MISS"
    return [
        check_limit(f"transcript {TAIL}, {large}", tail, MAX_TAIL, milliseconds),
        check_limit(f"transcript {TAIL}, {large}, to {SMALL}", tail / small, MAX_RATIO_TO_SMALL, times),
        check_limit(
            f"transcript {COPY}, {large}, to {CAT}", median_wall(results.complete[COPY]) / cat, MAX_RATIO_TO_CAT, times
        ),
        check_limit(
            f"transcript {DOCUMENT}, {large}, memory", results.peak_memory[DOCUMENT], MAX_DOCUMENT_MEMORY, mebibytes
        ),
        Bar(f"transcript {DOCUMENT}, {large}, rate (at least)", _rate(rate), _rate(MIN_DOCUMENT_RATE), at_least),
        check_limit(f"{PLUGIN_COMMAND}, {large}, over {HELP}", over_help, MAX_OVER_HELP, _difference),
        check_limit("--follow, from written to printed, 99th percentile", p99, MAX_FOLLOWED, milliseconds),
    ]


def _rate(rate: float) -> str:
    return f"{rate / 1e6:,.0f} MB/s"


def _difference(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def to_markdown(results: TranscriptResults) -> str:
    """Returns the complete result as Markdown: machine, tables, bars."""
    parts = [f"# Transcript bench, {results.date}"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in results.machine.items()))
    sizes = ", ".join(f"{name}: {size:,} bytes" for name, size in results.bytes.items())
    parts.append(f"Common transcripts of synthetic sessions, {sizes}, in the page cache. Medians.")
    rows = [
        (f"{shown}, {size}" if size else shown, *_spread(runs))
        for size, samples in results.parts.items()
        for shown, runs in samples.items()
    ]
    parts += ["## Parts of it", table(("", "runs", "wall", "min", "max", "CPU"), rows)]
    (large,) = (size for size in results.parts if size not in (SMALL, ""))
    cat = median_wall(results.complete[CAT])
    complete = [
        (
            shown,
            *_spread(runs),
            _rate(results.bytes[large] / median_wall(runs)),
            times(median_wall(runs) / cat),
            mebibytes(results.peak_memory[shown]) if shown in results.peak_memory else "",
        )
        for shown, runs in results.complete.items()
    ]
    heads = ("", "runs", "wall", "min", "max", "CPU", "rate", f"wall / {CAT}", "peak memory")
    parts += [f"## All of {large}, to /dev/null", table(heads, complete)]
    mngr_rows = [(command, *_spread(runs)) for command, runs in results.mngr.items()]
    parts += [f"## mngr, {large}", table(("", "runs", "wall", "min", "max", "CPU"), mngr_rows)]
    latencies = [milliseconds(percentile(results.followed, percent)) for percent in (50, 95, 99, 100)]
    followed = [("from written to printed", str(len(results.followed)), *latencies)]
    parts += [
        "## Following",
        table(("", "records", "median", "95th percentile", "99th percentile", "longest"), followed),
    ]
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def _spread(samples: list[Sample]) -> tuple[str, str, str, str, str]:
    walls = [sample.wall for sample in samples]
    shown = (statistics.median(walls), min(walls), max(walls), median_cpu(samples))
    middle, lowest, highest, cpu = map(milliseconds, shown)
    return str(len(samples)), middle, lowest, highest, cpu


def main() -> int:
    """Runs the command line. A missed bar is not a failure."""
    parser: argparse.ArgumentParser = command_line.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="100 MB instead of 1 GB")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mngr-codex-bench",
        help="the folder for inputs and transcripts (default: a folder in the system's temporary folder)",
    )
    arguments = parser.parse_args()
    if not is_program(arguments.program):
        return 1
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="transcripts-", dir=arguments.cache) as work:
        bench = Bench(arguments.program.absolute(), Path(work), arguments.cache.absolute(), is_quick=arguments.quick)
        if not succeeds(bench.run):
            return 1
    markdown = to_markdown(bench.results)
    print(markdown)
    name = f"{bench.results.date}-transcript{'-quick' if arguments.quick else ''}"
    report(f"stored as {store(bench.results, markdown, arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
