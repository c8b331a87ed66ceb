"""Benchmarks finding one of many sessions, side by side with `find`.

    python benches/run_sessions.py [--sessions N] [--program PATH]

Prints tables and bars, and stores them with the date in `benches/results/`. See `benches/README.md`.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import sys
import tempfile
from pathlib import Path

import command_line
import machine
from command_line import is_program, progress, report, succeeds
from measure import Contender, Sample, median_cpu, median_wall, time_interleaved
from results import Bar, check_limit, milliseconds, store, table, times

FIND = "find -name '*.jsonl'"
ID, BEGINNING, LATEST, LATEST_IN = "an id", "the beginning of an id", "latest", "latest --cwd, the oldest session"

RECORDING = Path(__file__).parents[1] / "tests/data/0.171.0/plain.jsonl"
RECORDED_ID = "01a22cf9-1255-7310-ae91-b487198a0950"
RECORDED_FOLDER = "/srv/lab/runs/0.171.0/plain/proj"
FIRST_DAY = datetime.datetime(2025, 6, 1, tzinfo=datetime.UTC)
DAYS = 400

ROUNDS = 15
MAX_RATIO_TO_FIND = 1.5
"""An id is compared with the names of all files, as `find` does."""


@dataclasses.dataclass(slots=True)
class SessionResults:
    """All measurements of one run."""

    date: str
    machine: dict[str, str]
    sessions: int
    samples: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)


def create(home: Path, sessions: int) -> str:
    """Fills a Codex home, and returns the id of a session. The oldest one was started in the folder `home`.

    Except for the oldest one, the sessions are hard links to one recording: only their names differ.
    """
    recording = RECORDING.read_text(encoding="utf-8")
    linked = home / "recording.jsonl"
    linked.write_text(recording, encoding="utf-8")
    chosen = ""
    for number in range(sessions):
        started = FIRST_DAY + datetime.timedelta(days=DAYS) * number / sessions
        time = f"{round(started.timestamp() * 1000):012x}"
        session = f"{time[:8]}-{time[8:]}-7000-8000-{number:012x}"
        day = home / f"sessions/{started:%Y/%m/%d}"
        day.mkdir(parents=True, exist_ok=True)
        path = day / f"rollout-{started:%Y-%m-%dT%H-%M-%S}-{session}.jsonl"
        if number == 0:
            path.write_text(recording.replace(RECORDED_ID, session).replace(RECORDED_FOLDER, str(home)))
            os.utime(path, (FIRST_DAY.timestamp(),) * 2)
        else:
            os.link(linked, path)
        if number == sessions // 2:
            chosen = session
    return chosen


def measure(program: Path, work: Path, results: SessionResults) -> None:
    """Finds sessions in turn. Each is also converted, which takes a few milliseconds for one of this size."""
    home = work / "codex"
    home.mkdir()
    report(f"creating {results.sessions:,} sessions")
    session = create(home, results.sessions)
    targets = {
        ID: [session],
        BEGINNING: [session[:13]],
        LATEST: ["latest"],
        LATEST_IN: ["latest", "--cwd", str(home)],
    }
    contenders = [
        Contender(FIND, ["find", str(home), "-name", "*.jsonl"], ROUNDS),
        *(
            Contender(name, [str(program), "convert", *target, "--codex-home", str(home)], ROUNDS)
            for name, target in targets.items()
        ),
    ]
    results.samples = time_interleaved(
        contenders, lambda: None, work / "stderr", lambda number: progress("sessions", number, ROUNDS)
    )


def bars(results: SessionResults) -> list[Bar]:
    """Compares the results with every bar."""
    found = median_cpu(results.samples[FIND])
    return [
        check_limit(f"{name}, CPU to find", median_cpu(results.samples[name]) / found, MAX_RATIO_TO_FIND, times)
        for name in (ID, BEGINNING)
    ]


def to_markdown(results: SessionResults) -> str:
    """Returns the complete result as Markdown: machine, table, bars."""
    found = median_cpu(results.samples[FIND])
    rows = [
        (
            name,
            str(len(runs)),
            milliseconds(median_wall(runs)),
            milliseconds(median_cpu(runs)),
            times(median_cpu(runs) / found),
        )
        for name, runs in results.samples.items()
    ]
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts = [
        f"# Sessions bench, {results.date}",
        "\n".join(f"- {name}: {value}" for name, value in results.machine.items()),
        f"`mngr-codex convert TARGET` among {results.sessions:,} sessions, in the page cache. Medians.",
        table(("TARGET", "runs", "wall", "CPU", "CPU / find"), rows),
        "## Bars",
        table(("bar", "measured", "at most", "verdict"), verdicts),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Runs the command line. A missed bar is not a failure."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--sessions", type=int, default=20_000, help="the number of sessions (default: 20,000)")
    arguments = parser.parse_args()
    if not is_program(arguments.program):
        return 1
    with tempfile.TemporaryDirectory(prefix="mngr-codex-sessions-") as folder:
        work = Path(folder).resolve()
        date = datetime.date.today().isoformat()
        results = SessionResults(date, machine.describe(work), max(2, arguments.sessions))
        if not succeeds(lambda: measure(arguments.program.absolute(), work, results)):
            return 1
    markdown = to_markdown(results)
    print(markdown)
    report(f"stored as {store(results, markdown, arguments.results, f'{date}-sessions')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
