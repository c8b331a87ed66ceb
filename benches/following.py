"""Agents whose rollouts are followed by `mngr-codex watch` or by the published plugin's two shell loops."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from measure import RunError, Sample, pipe_with, time_run
from run_hooks import STATE_DIR_VARIABLE, Codex

RAW = "logs/codex_transcript/events.jsonl"
COMMON = "events/codex/common_transcript/events.jsonl"
LOG = "events/logs/mngr_codex/events.jsonl"

LOOPS = ("stream_transcript.sh", "common_transcript.sh")
_PUBLISHED_FILES = (*LOOPS, "common_transcript_convert.py")
_MNGR_FILES = ("mngr_log.sh", "mngr_common_transcript_lib.sh")

_TIMEOUT_SECONDS = 120.0
_BLOCK_BYTES = 2**20


class Agent:
    """A state directory in which a hook has named a rollout."""

    def __init__(self, program: Path, folder: Path, rollout: Path | None = None) -> None:
        """Creates both in the new folder `folder`. The rollout starts as a copy of another one, or empty."""
        folder.mkdir()
        self.folder = folder
        self.state = folder / f"{folder.name}-state"
        self.state.mkdir()
        self.raw = self.state / RAW
        self.common = self.state / COMMON
        self._program = str(program)
        self._errors = folder / "stderr"
        self.codex = Codex(folder)
        payload = self.codex.payload("user-prompt-submit")
        self.rollout = Path(json.loads(payload)["transcript_path"])
        if rollout is None:
            self.rollout.write_bytes(b"")
        else:
            shutil.copyfile(rollout, self.rollout)
        self.run_hook("user-prompt-submit", payload)

    def run_hook(self, event: str, payload: bytes) -> Sample:
        """Runs a hook as Codex does, with the agent's state directory in an environment variable."""
        with pipe_with(payload) as source:
            return time_run([self._program, "hook", event], self._errors, source, {STATE_DIR_VARIABLE: str(self.state)})

    def watch(self, *options: str) -> list[str]:
        """Returns the command that starts a watcher."""
        return [self._program, "watch", *options, "--state-dir", str(self.state)]

    def once(self) -> None:
        """Updates the transcripts, untimed."""
        time_run(self.watch("--once"), self._errors)

    def append(self, lines: bytes) -> None:
        """Appends lines to the rollout as Codex does, without syncing them to the disk."""
        with self.rollout.open("ab", buffering=0) as file:
            file.write(lines)

    def is_copied(self) -> bool:
        """Returns whether the raw transcript contains the complete rollout."""
        return size_of(self.raw) >= size_of(self.rollout)

    def is_correct(self) -> bool:
        """Returns whether raw equals the rollout, and common equals the output of `convert` for raw."""
        expected = self.folder / "converted.jsonl"
        time_run(
            [
                self._program,
                "convert",
                str(self.raw),
                "--partial",
                "--agent-id",
                self.state.name,
                "--output",
                str(expected),
            ],
            self._errors,
        )
        is_correct = _are_same(self.raw, self.rollout) and _are_same(self.common, expected)
        expected.unlink()
        return is_correct

    def log(self) -> list[str]:
        """Returns the lines of the agent's log."""
        path = self.state / LOG
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def remove(self) -> None:
        """Removes all files. Errors are ignored, because child processes of a stopped shell loop may still write."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Running:
    """A program that runs until it is terminated."""

    def __init__(self, argv: list[str], errors: Path, **variables: str) -> None:
        """Starts it, with its stderr in the file `errors`."""
        self._argv = argv
        self._errors = errors
        with errors.open("wb") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **variables}
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        """Returns the running program."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Sends SIGTERM and waits. A watcher makes its final pass before it exits."""
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait()
        if kind is None and status not in (0, -signal.SIGTERM):
            output = self._errors.read_text(errors="replace").strip()
            raise RunError(f"{self._argv[0]} failed with status {status}: {output[-2000:]}")

    def cpu(self) -> float:
        """Returns the CPU seconds of its threads so far, in nanosecond resolution, without child processes."""
        return sum(int(file.read_text().split()[0]) for file in self._tasks("schedstat")) / 1e9

    def cpu_with_children(self) -> float:
        """Returns the CPU seconds so far, in system ticks, including child processes that have exited."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def waits(self) -> int:
        """Returns how often its threads have waited so far: for a change, or for the system during a pass."""
        return sum(_number(file, "voluntary_ctxt_switches") for file in self._tasks("status"))

    def memory(self, key: str = "VmRSS") -> int:
        """Returns its resident memory in bytes, or with `VmHWM` the peak."""
        return _number(Path(f"/proc/{self.pid}/status"), key) * 1024

    def _tasks(self, name: str) -> list[Path]:
        return [task / name for task in Path(f"/proc/{self.pid}/task").iterdir()]


class WakeUps:
    """Counts how often an idle program wakes up. Several waits in a row count as one wake-up."""

    _SECONDS = 0.2

    def __init__(self, program: Running) -> None:
        """Prepares counting within the `with` block."""
        self._program = program
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self.found = 0

    def __enter__(self) -> Self:
        """Starts counting."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stops counting."""
        self._ended.set()
        self._thread.join()

    def _count(self) -> None:
        before = self._program.waits()
        while not self._ended.wait(self._SECONDS):
            now = self._program.waits()
            self.found += now > before
            before = now


def install_loops(agent: Agent, published: Path, mngr: Path) -> list[list[str]]:
    """Installs the published plugin's two loops in an agent's state directory, and returns their commands."""
    commands = agent.state / "commands"
    commands.mkdir()
    for folder, names in ((published, _PUBLISHED_FILES), (mngr, _MNGR_FILES)):
        for name in names:
            shutil.copy(folder / name, commands / name)
    return [["bash", str(commands / name)] for name in LOOPS]


def wait_until(condition: Callable[[], bool], description: str, pause: float = 0.002) -> None:
    """Waits until a condition is true.

    Raises:
        RunError: the condition was still false after two minutes.
    """
    end = time.monotonic() + _TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise RunError(f"timed out after {_TIMEOUT_SECONDS:.0f} s: {description}")
        time.sleep(pause)


def size_of(path: Path) -> int:
    """Returns the size of a file, or 0 if it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _number(file: Path, key: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise OSError(f"no {key} line in {file}")


def _are_same(one: Path, other: Path) -> bool:
    if size_of(one) != size_of(other):
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(_BLOCK_BYTES):
            if block != second.read(_BLOCK_BYTES):
                return False
    return True
