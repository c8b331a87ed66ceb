"""Bench `mngr-codex transcript` side by side with `cat` and `true`, `mngr transcript` with mngr's own, and hold them to
their bars.

    python benches/run_transcript.py [--quick] [--cache FOLDER] [--program PATH]

Prints tables and bars, and keeps them, dated, in `benches/results/`. See `benches/README.md`.
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
from command_line import is_program, progress, say, succeeds
from measure import Contender, RunError, Sample, median_cpu, median_wall, peak_memory, time_interleaved, time_run
from results import MEBIBYTE, TRUE, Bar, hold, mebibytes, milliseconds, percentile, store, table, times

CAT = "cat"
TAIL, TAIL_OF_USER, COPY, DOCUMENT = "--tail 20", "--tail 20 --role user", "--format jsonl", "--format atif"
HEAD, ARRAY, PEOPLE = "--head 20", "--format json", "for people"
HELP, OURS, MNGRS = "mngr --help", "mngr transcript NAME --tail 20", "the same, mngr's own command"
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
"""mngr as it is installed."""
WITHOUT_OURS = f"import mngr_codex.plugin; del mngr_codex.plugin.register_cli_commands; {MNGR}"
"""mngr as it is where this plugin leaves its commands alone."""


@dataclasses.dataclass(slots=True)
class TranscriptResults:
    """Everything that one run of the bench measured."""

    date: str
    machine: dict[str, str]
    bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    parts: dict[str, dict[str, list[Sample]]] = dataclasses.field(default_factory=dict)
    """By size, what of the transcript is shown."""
    wholes: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    peak_memory: dict[str, int] = dataclasses.field(default_factory=dict)
    mngr: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    followed: list[float] = dataclasses.field(default_factory=list)


class Bench:
    """One run of everything, in a folder of its own."""

    def __init__(self, program: Path, work: Path, cache: Path, *, is_quick: bool) -> None:
        """Prepare a bench of `program` in the folder `work`."""
        self._program = program
        self._work = work
        self._cache = cache
        self._is_quick = is_quick
        self._errors = work / "stderr"
        self.large = "100 MB" if is_quick else "1 GB"
        self.results = TranscriptResults(datetime.date.today().isoformat(), machine.describe(work))

    def run(self) -> None:
        """Measure everything."""
        states = {
            SMALL: self._state(SMALL, 2_300_000),
            self.large: self._state(self.large, 225_000_000 if self._is_quick else 2_400_000_000),
        }
        self._parts(states)
        self._wholes(states[self.large])
        self._mngr(states[self.large])
        self._follow(self._state("followed", 2_300_000))

    def _state(self, name: str, rollout_bytes: int) -> Path:
        """Make the state dir of an agent, with a transcript of about 45 % of so many bytes."""
        rollout = generate.cached(self._cache, rollout_bytes, before_making=lambda: say(f"{name}: making the input"))
        state = self._work / name.replace(" ", "-") / "agents" / AGENT_ID
        transcript = state / "events/codex/common_transcript/events.jsonl"
        transcript.parent.mkdir(parents=True)
        time_run([str(self._program), "convert", str(rollout), "--output", str(transcript)], self._errors)
        known = {"id": AGENT_ID, "name": "bench", "type": "codex", "command": "codex", "work_dir": str(self._work)}
        (state / "data.json").write_text(json.dumps(known | {"create_time": "2026-11-22T07:00:00+00:00"}))
        self.results.bytes[name] = transcript.stat().st_size
        return state

    def _shown(self, state: Path, options: str) -> list[str]:
        return [str(self._program), "transcript", str(state), *(options.split() if options != PEOPLE else [])]

    def _parts(self, states: dict[str, Path]) -> None:
        """Show a little of a small transcript and of a large one, in turns."""
        rounds = 40
        options = (TAIL, TAIL_OF_USER, HEAD)
        contenders = [
            Contender(f"{size}|{each}", self._shown(state, each), rounds)
            for size, state in states.items()
            for each in options
        ]
        contenders.append(Contender(f"|{TRUE}", [TRUE], rounds))
        samples = time_interleaved(contenders, lambda: None, self._errors, lambda n: progress("a little", n, rounds))
        for name, runs in samples.items():
            size, _, what = name.partition("|")
            self.results.parts.setdefault(size, {})[what] = runs

    def _wholes(self, state: Path) -> None:
        """Show all of it."""
        rounds = 7
        transcript = state / "events/codex/common_transcript/events.jsonl"
        contenders = [
            Contender(CAT, [CAT, str(transcript)], rounds),
            *(Contender(each, self._shown(state, each), rounds) for each in (COPY, DOCUMENT)),
            *(Contender(each, self._shown(state, each), 2) for each in (ARRAY, PEOPLE)),
        ]
        self.results.wholes = time_interleaved(
            contenders, lambda: None, self._errors, lambda n: progress("all of it", n, rounds)
        )
        for each in (TAIL, COPY, DOCUMENT, ARRAY, PEOPLE):
            self.results.peak_memory[each] = peak_memory(self._shown(state, each), self._errors)

    def _mngr(self, state: Path) -> None:
        """Run mngr's commands as a user does, each in a process of its own."""
        host_dir = state.parent.parent
        profile = host_dir / "profiles" / "bench"
        profile.mkdir(parents=True)
        (host_dir / "config.toml").write_text('profile = "bench"\n')
        (profile / "settings.toml").write_text('enabled_backends = ["local"]\n')
        variables = {"HOME": str(self._work), "MNGR_HOST_DIR": str(host_dir)}
        rounds = 15
        commands = {
            HELP: ([sys.executable, "-c", MNGR, "--help"], rounds),
            OURS: ([sys.executable, "-c", MNGR, "transcript", "bench", "--tail", "20"], rounds),
            MNGRS: ([sys.executable, "-c", WITHOUT_OURS, "transcript", "bench", "--tail", "20"], 2),
        }
        self.results.mngr = {name: [] for name in commands}
        for number in range(rounds):
            progress("mngr", number, rounds)
            for name, (argv, most) in commands.items():
                if number < most:
                    self.results.mngr[name].append(time_run(argv, self._errors, variables=variables))

    def _follow(self, state: Path) -> None:
        """Time how long after a record is written it is printed."""
        transcript = state / "events/codex/common_transcript/events.jsonl"
        lines = transcript.read_bytes().splitlines(keepends=True)[1 : FOLLOWED_LINES + 1]
        chance = random.Random(SEED)
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
                # From here on it waits.
                time.sleep(0.5)
                for number in range(FOLLOWED_LINES):
                    line = lines[number % len(lines)]
                    progress("following", number, FOLLOWED_LINES)
                    time.sleep(chance.uniform(0.002, 0.008))
                    begun = time.perf_counter()
                    file.write(line)
                    said = _read_line(output, ready)
                    self.results.followed.append(time.perf_counter() - begun)
                    if said != line:
                        raise RunError(f"record {number} was not printed as it was written")
            finally:
                process.terminate()


def _read_line(output: int, ready: selectors.BaseSelector) -> bytes:
    """Read what is printed up to the end of a line."""
    said = b""
    end = time.monotonic() + SECONDS
    while not said.endswith(b"\n"):
        if not ready.select(max(0, end - time.monotonic())):
            raise RunError("a record was not printed")
        said += os.read(output, 1 << 20)
    return said


def bars(results: TranscriptResults) -> list[Bar]:
    """Hold the results to every bar."""
    (large,) = (size for size in results.parts if size not in (SMALL, ""))
    tail, small = (median_wall(results.parts[size][TAIL]) for size in (large, SMALL))
    cat = median_wall(results.wholes[CAT])
    rate = results.bytes[large] / median_wall(results.wholes[DOCUMENT])
    p99 = percentile(results.followed, 99)
    over_help = median_wall(results.mngr[OURS]) - median_wall(results.mngr[HELP])
    at_least = "pass" if rate >= MIN_DOCUMENT_RATE else "MISS"
    return [
        hold(f"transcript {TAIL}, {large}", tail, MAX_TAIL, milliseconds),
        hold(f"transcript {TAIL}, {large}, to {SMALL}", tail / small, MAX_RATIO_TO_SMALL, times),
        hold(f"transcript {COPY}, {large}, to {CAT}", median_wall(results.wholes[COPY]) / cat, MAX_RATIO_TO_CAT, times),
        hold(f"transcript {DOCUMENT}, {large}, memory", results.peak_memory[DOCUMENT], MAX_DOCUMENT_MEMORY, mebibytes),
        Bar(f"transcript {DOCUMENT}, {large}, rate (at least)", _rate(rate), _rate(MIN_DOCUMENT_RATE), at_least),
        hold(f"{OURS}, {large}, over {HELP}", over_help, MAX_OVER_HELP, _difference),
        hold("--follow, record written to printed, 99 of 100", p99, MAX_FOLLOWED, milliseconds),
    ]


def _rate(rate: float) -> str:
    return f"{rate / 1e6:,.0f} MB/s"


def _difference(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def to_markdown(results: TranscriptResults) -> str:
    """Return the whole result as Markdown: machine, tables, bars."""
    parts = [f"# Bench of transcripts of {results.date}"]
    parts.append("\n".join(f"- {what}: {is_so}" for what, is_so in results.machine.items()))
    sizes = ", ".join(f"{name}: {size:,} bytes" for name, size in results.bytes.items())
    parts.append(f"Common transcripts of synthetic sessions, {sizes}, in the page cache. Medians.")
    rows = [
        (f"{what}, {size}" if size else what, *_spread(runs))
        for size, of_size in results.parts.items()
        for what, runs in of_size.items()
    ]
    parts += ["## A little of it", table(("", "runs", "wall", "least", "most", "CPU"), rows)]
    (large,) = (size for size in results.parts if size not in (SMALL, ""))
    cat = median_wall(results.wholes[CAT])
    wholes = [
        (
            what,
            *_spread(runs),
            _rate(results.bytes[large] / median_wall(runs)),
            times(median_wall(runs) / cat),
            mebibytes(results.peak_memory[what]) if what in results.peak_memory else "",
        )
        for what, runs in results.wholes.items()
    ]
    heads = ("", "runs", "wall", "least", "most", "CPU", "rate", f"wall / {CAT}", "peak memory")
    parts += [f"## All of {large}, to /dev/null", table(heads, wholes)]
    of_mngr = [(what, *_spread(runs)) for what, runs in results.mngr.items()]
    parts += [f"## mngr, {large}", table(("", "runs", "wall", "least", "most", "CPU"), of_mngr)]
    shares = [milliseconds(percentile(results.followed, part)) for part in (50, 95, 99, 100)]
    followed = [("record written to printed", str(len(results.followed)), *shares)]
    parts += ["## Following", table(("", "records", "median", "95 of 100", "99 of 100", "longest"), followed)]
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def _spread(samples: list[Sample]) -> tuple[str, str, str, str, str]:
    walls = [sample.wall for sample in samples]
    shown = (statistics.median(walls), min(walls), max(walls), median_cpu(samples))
    middle, least, most, cpu = map(milliseconds, shown)
    return str(len(samples)), middle, least, most, cpu


def main() -> int:
    """Run the command line; a missed bar is no failure."""
    parser: argparse.ArgumentParser = command_line.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="100 MB instead of 1 GB")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mngr-codex-bench",
        help="where inputs are kept and transcripts made (default: a folder in the system's temporary one)",
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
    say(f"stored as {store(bench.results, markdown, arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
