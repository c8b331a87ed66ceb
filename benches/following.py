"""Agents whose rollouts are followed: by `mngr-codex watch`, and by the published plugin's two shell loops."""

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

_PATIENCE_SECONDS = 120.0
_BLOCK_BYTES = 2**20


class Agent:
    """A state dir in which a hook has named a rollout."""

    def __init__(self, program: Path, folder: Path, rollout: Path | None = None) -> None:
        """Make both in the new folder `folder`; the rollout begins as a copy of another, or with nothing."""
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
        """Run a hook as codex does, which tells it the agent by a variable."""
        with pipe_with(payload) as source:
            return time_run([self._program, "hook", event], self._errors, source, {STATE_DIR_VARIABLE: str(self.state)})

    def watch(self, *options: str) -> list[str]:
        """Return the command of a watcher."""
        return [self._program, "watch", *options, "--state-dir", str(self.state)]

    def once(self) -> None:
        """Bring the transcripts up to date, untimed."""
        time_run(self.watch("--once"), self._errors)

    def append(self, lines: bytes) -> None:
        """Write lines to the rollout, as codex does: at its end, and not forced to the disk."""
        with self.rollout.open("ab", buffering=0) as file:
            file.write(lines)

    def is_copied(self) -> bool:
        """Whether all of the rollout is in the raw transcript."""
        return size_of(self.raw) >= size_of(self.rollout)

    def is_right(self) -> bool:
        """Whether raw is the rollout, and common what `convert` makes of raw."""
        wanted = self.folder / "converted.jsonl"
        time_run(
            [
                self._program,
                "convert",
                str(self.raw),
                "--partial",
                "--agent-id",
                self.state.name,
                "--output",
                str(wanted),
            ],
            self._errors,
        )
        is_right = _are_same(self.raw, self.rollout) and _are_same(self.common, wanted)
        wanted.unlink()
        return is_right

    def log(self) -> list[str]:
        """Return what a watcher said went wrong."""
        path = self.state / LOG
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def remove(self) -> None:
        """Remove all files; what a shell loop that was ended has started may still write some."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Running:
    """A program that runs until it is told to end."""

    def __init__(self, argv: list[str], errors: Path, **variables: str) -> None:
        """Start it, with its stderr in the file `errors`."""
        self._argv = argv
        self._errors = errors
        with errors.open("wb") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **variables}
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        """Leave it running."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it by SIGTERM; a watcher then makes its last pass."""
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait()
        if kind is None and status not in (0, -signal.SIGTERM):
            said = self._errors.read_text(errors="replace").strip()
            raise RunError(f"{self._argv[0]} ended with status {status}: {said[-2000:]}")

    def cpu(self) -> float:
        """Return the CPU seconds of its threads so far, to the nanosecond, without its children's."""
        return sum(int(file.read_text().split()[0]) for file in self._tasks("schedstat")) / 1e9

    def cpu_with_children(self) -> float:
        """Return the CPU seconds so far, its children's that have ended among them, in ticks of the system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def waits(self) -> int:
        """Return how often its threads began to wait so far, be it for a change or for the system in a pass."""
        return sum(_number(file, "voluntary_ctxt_switches") for file in self._tasks("status"))

    def memory(self, what: str = "VmRSS") -> int:
        """Return its resident bytes, or with `VmHWM` the most that they ever were."""
        return _number(Path(f"/proc/{self.pid}/status"), what) * 1024

    def _tasks(self, name: str) -> list[Path]:
        return [task / name for task in Path(f"/proc/{self.pid}/task").iterdir()]


class WakeUps:
    """Counts how often a program that idles wakes up: one that waits several times in a row woke up once."""

    _SECONDS = 0.2

    def __init__(self, program: Running) -> None:
        """Count from when this is entered until it is left."""
        self._program = program
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self.found = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _count(self) -> None:
        before = self._program.waits()
        while not self._ended.wait(self._SECONDS):
            now = self._program.waits()
            self.found += now > before
            before = now


def install_loops(agent: Agent, published: Path, mngr: Path) -> list[list[str]]:
    """Put the published plugin's two loops into an agent's state dir as it does, and return their commands."""
    commands = agent.state / "commands"
    commands.mkdir()
    for folder, names in ((published, _PUBLISHED_FILES), (mngr, _MNGR_FILES)):
        for name in names:
            shutil.copy(folder / name, commands / name)
    return [["bash", str(commands / name)] for name in LOOPS]


def wait_until(holds: Callable[[], bool], what: str, pause: float = 0.002) -> None:
    """Wait until something holds.

    Raises:
        RunError: it took two minutes.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise RunError(f"waited for {_PATIENCE_SECONDS:.0f} s: {what}")
        time.sleep(pause)


def size_of(path: Path) -> int:
    """Return a file's size, or nothing where it is not there yet."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _number(file: Path, key: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise OSError(f"{file} has no {key} line")


def _are_same(one: Path, other: Path) -> bool:
    if size_of(one) != size_of(other):
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(_BLOCK_BYTES):
            if block != second.read(_BLOCK_BYTES):
                return False
    return True
