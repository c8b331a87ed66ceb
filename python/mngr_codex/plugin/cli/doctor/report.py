"""Prints the doctor's findings: what needs attention first, then one line for each healthy agent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mngr_codex.plugin.cli.doctor.finding import Finding, Level

_MACHINE = "this machine"
_SYMBOLS: dict[Level, str] = {"problem": "✗", "warning": "!", "ok": "✓"}


def json_text(findings: Sequence[Finding], *, is_lines: bool) -> str:
    """Returns all findings as JSON: one list, or one object per line."""
    rows = [finding.row() for finding in findings]
    return "\n".join(json.dumps(row) for row in rows) if is_lines else json.dumps(rows, indent=2)


def human_lines(findings: Sequence[Finding], *, is_verbose: bool) -> Iterator[str]:
    """Yields the lines of the report for people.

    Args:
        findings: All findings, those of one agent in a row.
        is_verbose: Whether the successful checks are shown one by one.
    """
    problems = [finding for finding in findings if finding.level == "problem"]
    warnings = [finding for finding in findings if finding.level == "warning"]
    for finding in (*problems, *warnings):
        yield from _full(finding)
    if problems or warnings:
        yield ""
    if is_verbose:
        for finding in findings:
            if finding.level == "ok":
                yield from _full(finding)
    else:
        yield from _healthy(findings)
    yield _summary(len(problems), len(warnings), is_verbose=is_verbose)


def _full(finding: Finding) -> Iterator[str]:
    about = f"{_subject(finding)}: " if finding.agent or finding.host else ""
    said, *details = finding.said.splitlines() or [""]
    yield _printable(f"{_SYMBOLS[finding.level]} {about}{finding.what}: {said}")
    for line in details:
        yield _printable(f"      {line}")
    if finding.remedy is not None:
        hint = finding.remedy if "hint:" in finding.remedy else f"hint: {finding.remedy}"
        for line in hint.splitlines():
            yield _printable(f"    {line}")


def _healthy(findings: Sequence[Finding]) -> Iterator[str]:
    """Yields one line for each machine and agent for which all checks succeeded."""
    by_subject: dict[str, list[Finding]] = {}
    for finding in findings:
        by_subject.setdefault(_subject(finding), []).append(finding)
    for subject, checked in by_subject.items():
        if any(finding.level != "ok" for finding in checked):
            continue
        if checked[0].agent is None:
            yield _printable(f"✓ {subject}: {len(checked)} check{'s' * (len(checked) != 1)}")
        else:
            state = next((finding.said for finding in checked if finding.what == "state"), "fine")
            yield _printable(f"✓ {subject}: {state}")


def _subject(finding: Finding) -> str:
    """Returns the machine or the agent that a finding is about."""
    if finding.agent is None:
        return _MACHINE if finding.host is None else f"host {finding.host}"
    return finding.agent if finding.host is None else f"{finding.agent}@{finding.host}"


def _summary(problems: int, warnings: int, *, is_verbose: bool) -> str:
    if not problems and not warnings:
        return "No problems found."
    counts = [f"{count} {noun}{'s' * (count != 1)}" for count, noun in ((problems, "problem"), (warnings, "warning"))]
    found = " and ".join(text for text in counts if not text.startswith("0 "))
    return f"{found}." if is_verbose else f"{found}. Use --verbose to list all checks."


def _printable(line: str) -> str:
    """Escapes characters that a terminal would act on: parts of a line may be from a terminal or from a file."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
