"""The results of `run.py`, its bars, and the tables and formats shared by all benches."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measure import Sample, median_cpu, median_wall

CP = "cp"
PROGRAM = "mngr-codex convert"
PUBLISHED = "published converter"
PYTHON_CALL = "mngr_codex.convert"
TRUE = "/bin/true"

MEBIBYTE = 2**20

MAX_RATIO_TO_CP = 2.5
MAX_RATIO_TO_CP_WITH_COMMANDS = 3.0
MAX_RATIO_BETWEEN_SIZES = 1.10
MAX_PEAK_MEMORY = 16 * MEBIBYTE
MAX_RATIO_TO_TRUE = 1.5
MAX_RATIO_TO_PROGRAM = 1.05
MAX_WHEEL_BYTES = 4_000_000
MAX_IMPORT_SECONDS = 0.015
UNWANTED_MODULES = ("imbue", "mngr", "pydantic", "click")


@dataclass(slots=True)
class Row:
    """The measurements of one contender with one input."""

    samples: list[Sample]
    peak_memory: int
    output_bytes: int
    output_lines: int

    @property
    def wall(self) -> float:
        """Median wall-clock seconds."""
        return median_wall(self.samples)

    @property
    def cpu(self) -> float:
        """Median CPU seconds."""
        return median_cpu(self.samples)


@dataclass(slots=True)
class Case:
    """One input, and every contender's measurements with it."""

    label: str
    input_bytes: int
    rows: dict[str, Row] = field(default_factory=dict)


@dataclass(slots=True)
class ImportCost:
    """The time of `import mngr_codex`, and the modules that it loads."""

    seconds: list[float]
    median: float
    modules: list[str]

    @property
    def unwanted(self) -> list[str]:
        """The imported top-level packages that must not be imported."""
        tops = {module.partition(".")[0] for module in self.modules}
        return sorted(tops.intersection(UNWANTED_MODULES))


@dataclass(slots=True)
class Results:
    """All measurements of one run. Skipped ones are missing or None."""

    date: str
    machine: dict[str, str]
    generator: str
    cases: dict[str, Case] = field(default_factory=dict)
    startup_program: list[Sample] = field(default_factory=list)
    startup_true: list[Sample] = field(default_factory=list)
    python_call: Row | None = None
    python_program: list[Sample] = field(default_factory=list)
    import_cost: ImportCost | None = None
    wheel_bytes: int | None = None
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, the measured value, the limit, and the verdict."""

    name: str
    measured: str
    limit: str
    verdict: str


def bars(results: Results) -> list[Bar]:
    """Compares the results with every bar. The verdict on a missing result is "not measured"."""
    found = [
        *_ratio_to_cp(results, "100MB", "convert 100 MB", MAX_RATIO_TO_CP),
        *_ratio_to_cp(results, "100MB-commands", "convert 100 MB with commands", MAX_RATIO_TO_CP_WITH_COMMANDS),
        *_per_megabyte(results, "1MB", "1 MB"),
        *_per_megabyte(results, "1GB", "1 GB"),
    ]
    peaks = [case.rows[PROGRAM].peak_memory for case in results.cases.values()]
    found.append(check_limit("peak memory, any input", max(peaks, default=None), MAX_PEAK_MEMORY, mebibytes))
    startup = median_wall(results.startup_program) / median_wall(results.startup_true)
    found.append(check_limit(f"start-up, wall, to {TRUE}", startup, MAX_RATIO_TO_TRUE, times))
    call = results.python_call
    wall = call.wall / median_wall(results.python_program) if call else None
    cpu = call.cpu / median_cpu(results.python_program) if call else None
    found.append(check_limit("mngr_codex.convert 100 MB, CPU, to the program", cpu, MAX_RATIO_TO_PROGRAM, times))
    found.append(check_limit("mngr_codex.convert 100 MB, wall, to the program", wall, MAX_RATIO_TO_PROGRAM, times))
    found.append(check_limit("wheel", results.wheel_bytes, MAX_WHEEL_BYTES, megabytes))
    cost = results.import_cost
    found.append(check_limit("import mngr_codex", cost.median if cost else None, MAX_IMPORT_SECONDS, milliseconds))
    name = f"import mngr_codex does not import {', '.join(UNWANTED_MODULES)}"
    if cost is None:
        found.append(Bar(name, "-", "none", "not measured"))
    else:
        found.append(Bar(name, ", ".join(cost.unwanted) or "none", "none", "MISS" if cost.unwanted else "pass"))
    return found


def to_markdown(results: Results) -> str:
    """Returns the complete result as Markdown: machine, tables, bars."""
    parts = [
        f"# Conversion bench, {results.date}",
        "\n".join(f"- {name}: {value}" for name, value in results.machine.items()),
    ]
    parts.append(f"Input: {results.generator}. Medians; CPU is user plus system time.")
    parts.extend(f"**Skipped:** {reason}." for reason in results.skipped)
    for case in results.cases.values():
        parts.append(f"## {case.label}\n\n{case.input_bytes:,} bytes")
        parts.append(_case_table(case))
    parts.append("## Start-up")
    parts.append(_startup_table(results))
    if results.python_call is not None:
        parts.append(
            "## From Python, 100 MB\n\nThe call is timed alone, in a fresh interpreter; the program with its start-up."
        )
        parts.append(_python_table(results, results.python_call))
    if results.import_cost is not None:
        cost = results.import_cost
        spread = f"{milliseconds(min(cost.seconds))} to {milliseconds(max(cost.seconds))}"
        parts.append(
            f"## `import mngr_codex`\n\n"
            f"{milliseconds(cost.median)} (median of {len(cost.seconds)} fresh interpreters, {spread}), "
            f"{len(cost.modules)} modules: {', '.join(cost.modules)}."
        )
    parts.append("## Bars")
    rows = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts.append(table(("bar", "measured", "at most", "verdict"), rows))
    return "\n\n".join(parts) + "\n"


def _ratio_to_cp(results: Results, key: str, name: str, limit: float) -> list[Bar]:
    case = results.cases.get(key)
    cpu = case.rows[PROGRAM].cpu / case.rows[CP].cpu if case else None
    wall = case.rows[PROGRAM].wall / case.rows[CP].wall if case else None
    return [
        check_limit(f"{name}, CPU, to cp", cpu, limit, times),
        check_limit(f"{name}, wall, to cp", wall, limit, times),
    ]


def _per_megabyte(results: Results, key: str, name: str) -> list[Bar]:
    """Compares the time per megabyte with the 100 MB input, after subtracting the start-up from both."""
    case, reference = results.cases.get(key), results.cases.get("100MB")
    cpu = wall = None
    if case and reference:
        start_cpu, start_wall = median_cpu(results.startup_program), median_wall(results.startup_program)
        scale = reference.input_bytes / case.input_bytes
        row, reference_row = case.rows[PROGRAM], reference.rows[PROGRAM]
        cpu = (row.cpu - start_cpu) / (reference_row.cpu - start_cpu) * scale
        wall = (row.wall - start_wall) / (reference_row.wall - start_wall) * scale
    title = f"{name} per MB, without start-up, {{}}, to 100 MB"
    return [
        check_limit(title.format("CPU"), cpu, MAX_RATIO_BETWEEN_SIZES, times),
        check_limit(title.format("wall"), wall, MAX_RATIO_BETWEEN_SIZES, times),
    ]


def check_limit[Number: (int, float)](
    name: str, measured: Number | None, limit: Number, shown: Callable[[Number], str]
) -> Bar:
    """Compares a measurement, if any, with its limit."""
    if measured is None:
        return Bar(name, "-", shown(limit), "not measured")
    return Bar(name, shown(measured), shown(limit), "pass" if measured <= limit else "MISS")


def _case_table(case: Case) -> str:
    copied = case.rows[CP]
    rows = [
        (
            name,
            str(len(row.samples)),
            milliseconds(row.wall),
            milliseconds(row.cpu),
            f"{case.input_bytes / 1e6 / row.wall:,.0f}",
            mebibytes(row.peak_memory),
            times(row.wall / copied.wall),
            times(row.cpu / copied.cpu),
            f"{row.output_lines:,}",
            f"{row.output_bytes / case.input_bytes:.0%}",
        )
        for name, row in case.rows.items()
    ]
    heads = ("", "runs", "wall", "CPU", "MB/s", "peak memory", "wall / cp", "CPU / cp", "lines out", "bytes out / in")
    return table(heads, rows)


def _startup_table(results: Results) -> str:
    rows = [
        (name, str(len(samples)), milliseconds(median_wall(samples)), milliseconds(median_cpu(samples)))
        for name, samples in (
            (f"{PROGRAM}, empty input", results.startup_program),
            (TRUE, results.startup_true),
        )
    ]
    return table(("", "runs", "wall", "CPU"), rows)


def _python_table(results: Results, call: Row) -> str:
    program = results.python_program
    rows = [
        (
            PYTHON_CALL,
            str(len(call.samples)),
            milliseconds(call.wall),
            milliseconds(call.cpu),
            mebibytes(call.peak_memory),
        ),
        (PROGRAM, str(len(program)), milliseconds(median_wall(program)), milliseconds(median_cpu(program)), ""),
    ]
    return table(("", "runs", "wall", "CPU", "peak memory, with Python"), rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns an aligned Markdown table, with the first column left-aligned and all others right-aligned."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        shown = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return f"| {' | '.join(shown)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(heads), f"|{rule}|", *(line(row) for row in rows)])


def percentile(values: list[float], percent: int) -> float:
    """Returns the given percentile."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def times(ratio: float) -> str:
    """Formats a ratio."""
    return f"{ratio:.2f}x"


def milliseconds(seconds: float) -> str:
    """Formats a time in milliseconds."""
    return f"{seconds * 1000:,.1f} ms" if seconds >= 0.01 else f"{seconds * 1000:.2f} ms"


def spread(seconds: list[float]) -> tuple[str, str, str, str]:
    """Returns cells with the number of samples, and with their median, minimum and maximum in milliseconds."""
    middle, lowest, highest = (milliseconds(each) for each in (statistics.median(seconds), min(seconds), max(seconds)))
    return str(len(seconds)), middle, lowest, highest


def mebibytes(size: int) -> str:
    """Formats a size in MiB."""
    return f"{size / MEBIBYTE:.1f} MiB"


def megabytes(size: int) -> str:
    """Formats a size in MB."""
    return f"{size / 1e6:.2f} MB"


def store(results: Any, markdown: str, folder: Path, name: str) -> str:
    """Writes the tables as Markdown and all samples as JSON, and returns the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(markdown, encoding="utf-8")
    content = json.dumps(_rounded(asdict(results)), separators=(",", ":"))
    (folder / f"{name}.json").write_text(content + "\n", encoding="utf-8")
    return f"{name}.md and {name}.json in {folder.name}/"


def _rounded(value: Any) -> Any:
    """Rounds all numbers to a tenth of a microsecond, which is more precise than the clocks."""
    match value:
        case float():
            return round(value, 7)
        case dict():
            return {key: _rounded(member) for key, member in value.items()}
        case list():
            return [_rounded(member) for member in value]
    return value
