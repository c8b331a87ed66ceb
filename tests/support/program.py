"""Runs the program `mngr-codex` and parses its output."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.rollout_builder import Rollout

#: The environment variable that names the program to test.
VARIABLE = "MNGR_CODEX_PROGRAM"

#: By default, the program that is installed next to the Python that runs the tests. Absolute, because tests change the
#: working directory.
PROGRAM = Path(os.environ.get(VARIABLE) or Path(sys.executable).with_name("mngr-codex")).absolute()

#: The id of an unprivileged user, and of its group.
NOBODY = 65534

EMITTER = "codex/common_transcript"

Record = dict[str, Any]

_COUNTS = re.compile(r"mngr-codex: (\d+) lines? read, (\d+) records? written, (\d+) lines? malformed")
_PARTIAL_LINE = re.compile(r"partial line of (\d+) bytes? at offset (\d+) skipped")


@dataclass(frozen=True)
class Summary:
    """The last line that `convert` writes to stderr."""

    lines: int
    records: int
    malformed: int
    skipped: dict[str, int]
    partial_line: tuple[int, int] | None
    """Length in bytes and offset of a half line at the end."""

    def count(self, kind: str) -> int:
        """Returns how many lines of a kind and its subkinds were skipped."""
        return sum(n for name, n in self.skipped.items() if name == kind or name.startswith(f"{kind}/"))


def parse_summary(line: str) -> Summary:
    counts, *more = line.split("; ")
    match = _COUNTS.fullmatch(counts)
    assert match, f"not a summary: {line!r}"
    skipped: dict[str, int] = {}
    partial_line = None
    for part in more:
        if part.startswith("skipped: "):
            entries = part.removeprefix("skipped: ").split(", ")
            skipped = {kind: int(count) for kind, count in (entry.rsplit(" ", 1) for entry in entries)}
        else:
            half = _PARTIAL_LINE.fullmatch(part)
            assert half, f"not a part of a summary: {part!r}"
            partial_line = int(half[1]), int(half[2])
    return Summary(int(match[1]), int(match[2]), int(match[3]), skipped, partial_line)


@dataclass(frozen=True)
class Completed:
    """A finished run of the program: exit status, output, and the records in it."""

    status: int
    stdout: bytes
    stderr: str

    @cached_property
    def records(self) -> list[Record]:
        """All records, including the header."""
        return parse_records(self.stdout)

    @property
    def steps(self) -> list[Record]:
        return [record for record in self.records if record["type"] == "step"]

    @property
    def observations(self) -> list[Record]:
        return [record for record in self.records if record["type"] == "observation"]

    @property
    def results(self) -> list[Record]:
        """The results of all observations."""
        return [result for observation in self.observations for result in observation["results"]]

    @property
    def summary(self) -> Summary:
        return parse_summary(self.stderr.splitlines()[-1])


def run(*arguments: str | Path, stdin: bytes = b"", **options: Any) -> Completed:
    """Runs the program, which may fail. ``options`` are passed to `subprocess.run`."""
    done = subprocess.run([program(), *arguments], input=stdin, capture_output=True, timeout=120, **options)
    return Completed(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def run_as_nobody(folder: Path, *arguments: str | Path, stdin: bytes = b"", **options: Any) -> Completed:
    """Runs the program as an unprivileged user, from a copy in a folder that every user can read."""
    copied = shutil.copy(program(), folder / "mngr-codex")
    nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    command = [copied, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, **nobody, **options)
    return Completed(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def convert(rollout: Rollout | bytes, *arguments: str) -> Completed:
    """Converts a rollout from stdin, which must succeed."""
    data = rollout.data if isinstance(rollout, Rollout) else rollout
    conversion = run("convert", "-", "--verbose", *arguments, stdin=data)
    assert conversion.status == 0, conversion.stderr
    return conversion


def convert_file(path: Path, *arguments: str) -> Completed:
    """Converts a file, which must succeed."""
    conversion = run("convert", path, "--verbose", *arguments)
    assert conversion.status == 0, f"{path}: {conversion.stderr}"
    return conversion


def program() -> Path:
    """Returns the path of the program under test."""
    assert PROGRAM.is_file(), f"{PROGRAM} does not exist: run `make install`, or set {VARIABLE} to a built program"
    return PROGRAM


def parse_records(stream: bytes) -> list[Record]:
    """Parses a stream of records. Each line must be complete, and JSON without Python's extensions."""
    assert not stream or stream.endswith(b"\n"), "the last record has no newline"
    return [json.loads(line, parse_constant=_no_constant) for line in stream.split(b"\n")[:-1]]


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def event_id(timestamp: str, text: str, kind: str) -> str:
    """Returns the id of the first record with a timestamp and text."""
    digest = hashlib.sha256(f"{timestamp}:{text[:1024]}".encode("utf-8", "replace")).hexdigest()
    return f"evt-{digest[:32]}-{kind}"


def header_id(agent_id: str) -> str:
    """Returns the id of a stream's header."""
    return f"header-{hashlib.sha256(f'{agent_id}:{EMITTER}'.encode()).hexdigest()[:32]}"
