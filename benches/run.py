"""Benchmarks `mngr-codex convert` side by side with `cp` and the published converter.

    python benches/run.py [--quick] [--rounds N] [--program PATH] [--wheel PATH]

Prints tables and bars, and stores them with the date in `benches/results/`. See `benches/README.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import command_line
import generate
import machine
from command_line import BENCHES, PUBLISHED_PYTHON_VARIABLE, is_program, progress, report, succeeds
from measure import Contender, RunError, Sample, peak_memory, time_interleaved, time_run
from results import CP, PROGRAM, PUBLISHED, PYTHON_CALL, TRUE, Case, ImportCost, Results, Row, store, to_markdown

PUBLISHED_ROUNDS = 3
STARTUP_RUNS = 200
IMPORT_RUNS = 15


@dataclasses.dataclass(frozen=True, slots=True)
class Input:
    """A rollout to convert. `repeats` multiplies the rounds of an input that takes very little time."""

    key: str
    label: str
    size: int
    commands: bool = False
    published: bool = True
    repeats: int = 1


INPUTS = (
    Input("1MB", "1 MB", 10**6, repeats=15),
    Input("100MB", "100 MB", 10**8),
    Input("100MB-commands", "100 MB with commands", 10**8, commands=True),
    Input("1GB", "1 GB", 10**9, published=False),
)

_PUBLISHED_CALL = """
import sys
from imbue.mngr_codex.resources.common_transcript_convert import convert
convert(sys.argv[1], sys.argv[2], is_input_complete=True)
"""

_PYTHON_CALL = """
import json, sys, time
import mngr_codex
wall, cpu = time.perf_counter(), time.process_time()
mngr_codex.convert(sys.argv[1], sys.argv[2])
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""

_IMPORT = """
import sys, time
before = set(sys.modules)
started = time.perf_counter()
import mngr_codex
took = time.perf_counter() - started
loaded = sorted(set(sys.modules) - before)
import json
print(json.dumps([took, loaded]))
"""


class Bench:
    """One run of all measurements."""

    def __init__(self, program: Path, published_python: str | None, work: Path, cache: Path, rounds: int) -> None:
        """Prepares a bench of `program` with outputs in the folder `work` and inputs in `cache`."""
        self._program = program
        self._published_python = published_python
        self._output = work / "converted.jsonl"
        self._errors = work / "stderr"
        self._work = work
        self._cache = cache
        self._rounds = rounds
        self.results = Results(
            date=datetime.date.today().isoformat(),
            machine=machine.describe(work),
            generator=f"benches/generate.py version {generate.VERSION}, seed {generate.DEFAULT_SEED}",
        )

    def run(self, inputs: Sequence[Input], wheel: Path | None) -> None:
        """Runs all measurements with `inputs`: some of `INPUTS`, including 100 MB."""
        if self._published_python is None:
            self._skip(f"the published converter, because {PUBLISHED_PYTHON_VARIABLE} is not set")
        self._measure_startup()
        for rollout in INPUTS:
            if rollout in inputs:
                self._measure_case(rollout)
            else:
                self._skip(f"the {rollout.label} input, because of --quick")
        if importlib.util.find_spec("mngr_codex") is None:
            self._skip("the Python package, because this interpreter cannot import mngr_codex")
        else:
            self._measure_python_call()
            self._measure_import()
        if wheel is None:
            self._skip("the wheel's size, because dist/ has no wheel and --wheel was not given")
        else:
            self.results.wheel_bytes = wheel.stat().st_size

    def _measure_startup(self) -> None:
        empty = self._work / "empty.jsonl"
        empty.touch()
        contenders = [
            Contender(PROGRAM, self._convert(empty), STARTUP_RUNS),
            Contender(TRUE, [TRUE], STARTUP_RUNS),
        ]
        samples = self._time(contenders, self._remove_output, "start-up")
        self.results.startup_program = samples[PROGRAM]
        self.results.startup_true = samples[TRUE]

    def _measure_case(self, rollout: Input) -> None:
        source = self._input(rollout)
        argvs = {CP: self._copy(source), PROGRAM: self._convert(source)}
        if rollout.published and self._published_python is not None:
            argvs[PUBLISHED] = [self._published_python, "-c", _PUBLISHED_CALL, str(source), str(self._output)]
        case = Case(rollout.label, source.stat().st_size)
        for name, argv in argvs.items():
            report(f"{rollout.label}: {name}, peak memory")
            case.rows[name] = self._trial(argv)
        contenders = [Contender(name, argv, rollout.repeats * self._rounds_of(name)) for name, argv in argvs.items()]
        samples = self._time(contenders, lambda: self._settle(source), rollout.label)
        for name, row in case.rows.items():
            row.samples = samples[name]
        self.results.cases[rollout.key] = case

    def _measure_python_call(self) -> None:
        source = self._input(next(rollout for rollout in INPUTS if rollout.key == "100MB"))
        argv = [sys.executable, "-c", _PYTHON_CALL, str(source), str(self._output)]
        report(f"{PYTHON_CALL}: peak memory")
        row = self._trial(argv)
        program: list[Sample] = []

        def time_call() -> None:
            self._settle(source)
            wall, cpu = _answer(_PYTHON_CALL, str(source), str(self._output))
            row.samples.append(Sample(wall, cpu))

        def time_program() -> None:
            self._settle(source)
            program.append(time_run(self._convert(source), self._errors))

        for number in range(self._rounds):
            progress(PYTHON_CALL, number, self._rounds)
            for timing in (time_call, time_program) if number % 2 == 0 else (time_program, time_call):
                timing()
        self._remove_output()
        self.results.python_call = row
        self.results.python_program = program

    def _measure_import(self) -> None:
        seconds = []
        for number in range(IMPORT_RUNS):
            progress("import mngr_codex", number, IMPORT_RUNS)
            took, modules = _answer(_IMPORT)
            seconds.append(took)
        self.results.import_cost = ImportCost(seconds, statistics.median(seconds), modules)

    def _time(
        self, contenders: Sequence[Contender], prepare: Callable[[], None], label: str
    ) -> dict[str, list[Sample]]:
        rounds = max(contender.rounds for contender in contenders)
        samples = time_interleaved(contenders, prepare, self._errors, lambda number: progress(label, number, rounds))
        self._remove_output()
        return samples

    def _trial(self, argv: list[str]) -> Row:
        """Runs `argv` once to measure its memory and its output."""
        self._remove_output()
        memory = peak_memory(argv, self._errors)
        if not self._output.exists():
            raise RunError(f"{argv[0]} succeeded but wrote no output")
        with self._output.open("rb") as output:
            lines = sum(block.count(b"\n") for block in iter(lambda: output.read(2**20), b""))
        size = self._output.stat().st_size
        self._remove_output()
        return Row([], memory, size, lines)

    def _settle(self, source: Path) -> None:
        """Brings the machine into the same state before every timed run, by creating and removing a copy.

        A virtual machine may return free memory to its host, and the next run that fills the page cache pays for that:
        `cp` took up to five times its usual time after some idle seconds, such as a slow contender's run.
        """
        self._remove_output()
        time_run(self._copy(source), self._errors)
        self._remove_output()

    def _rounds_of(self, name: str) -> int:
        return min(self._rounds, PUBLISHED_ROUNDS) if name == PUBLISHED else self._rounds

    def _copy(self, source: Path) -> list[str]:
        return ["cp", str(source), str(self._output)]

    def _convert(self, source: Path) -> list[str]:
        return [str(self._program), "convert", str(source), "--output", str(self._output)]

    def _remove_output(self) -> None:
        self._output.unlink(missing_ok=True)

    def _input(self, rollout: Input) -> Path:
        return generate.cached(
            self._cache,
            rollout.size,
            commands=rollout.commands,
            before_creating=lambda: report(f"{rollout.label}: creating the input"),
        )

    def _skip(self, reason: str) -> None:
        report(f"SKIPPED: {reason}")
        self.results.skipped.append(reason)


def _answer(code: str, *arguments: str) -> Any:
    """Runs `code` in a fresh interpreter and returns the JSON that it prints.

    Raises:
        RunError: the code failed.
    """
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RunError(f"Python failed with status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)


def _newest_wheel() -> Path | None:
    wheels = (BENCHES.parent / "dist").glob("*.whl")
    return max(wheels, key=lambda wheel: wheel.stat().st_mtime, default=None)


def _arguments() -> argparse.Namespace:
    parser = command_line.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds, no 1 GB input")
    parser.add_argument("--rounds", type=int, help="rounds for every input (default: 7, or 3 with --quick)")
    parser.add_argument("--wheel", type=Path, default=_newest_wheel(), help="the wheel (default: newest in dist/)")
    parser.add_argument("--dir", type=Path, help="the folder for outputs (default: a temporary folder in --cache)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mngr-codex-bench",
        help="the folder for inputs (default: a folder in the system's temporary folder)",
    )
    parser.add_argument("--name", help='the last part of the file names of the results (default: "full" or "quick")')
    return parser.parse_args()


def main() -> int:
    """Runs the command line. A missed bar is not a failure."""
    arguments = _arguments()
    if not is_program(arguments.program):
        return 1
    arguments.cache.mkdir(parents=True, exist_ok=True)
    if arguments.dir is not None:
        arguments.dir.mkdir(parents=True, exist_ok=True)
        if arguments.dir.stat().st_dev != arguments.cache.stat().st_dev:
            report("--dir and --cache must be on the same file system\nhint: set both")
            return 1
    rounds = arguments.rounds or (3 if arguments.quick else 7)
    inputs = [rollout for rollout in INPUTS if not (arguments.quick and rollout.key == "1GB")]
    with tempfile.TemporaryDirectory(prefix="outputs-", dir=arguments.dir or arguments.cache) as work:
        bench = Bench(
            arguments.program.absolute(),
            os.environ.get(PUBLISHED_PYTHON_VARIABLE),
            Path(work).absolute(),
            arguments.cache.absolute(),
            rounds,
        )
        if not succeeds(lambda: bench.run(inputs, arguments.wheel)):
            return 1
    print(to_markdown(bench.results))
    name = arguments.name or ("quick" if arguments.quick else "full")
    stored = store(bench.results, to_markdown(bench.results), arguments.results, f"{bench.results.date}-{name}")
    report(f"stored as {stored}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
