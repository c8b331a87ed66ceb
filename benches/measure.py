"""Runs programs and measures them: time with `wait4`, peak memory by stopping the program just before it exits."""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PTRACE_TRACEME = 0
_PTRACE_CONT = 7
_PTRACE_SETOPTIONS = 0x4200
_PTRACE_O_TRACEEXEC = 0x10
_PTRACE_O_TRACEEXIT = 0x40
_PTRACE_O_EXITKILL = 0x100000
_PTRACE_EVENT_EXIT = 6

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_LIBC.ptrace.restype = ctypes.c_long


class RunError(Exception):
    """A measured program failed, so its numbers are meaningless."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: wall-clock seconds from spawn to reap, and seconds of user and system time together."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Contender:
    """A program to time, and its number of rounds."""

    name: str
    argv: list[str]
    rounds: int


def median_wall(samples: Sequence[Sample]) -> float:
    """Returns the median of the wall-clock seconds."""
    return statistics.median(sample.wall for sample in samples)


def median_cpu(samples: Sequence[Sample]) -> float:
    """Returns the median of the CPU seconds."""
    return statistics.median(sample.cpu for sample in samples)


def time_run(
    argv: list[str], errors: Path, source: int | None = None, variables: Mapping[str, str] | None = None
) -> Sample:
    """Runs `argv` once, with its stdout discarded and its stderr written to the file `errors`.

    Its stdin is the open file `source`, or empty. `variables` are added to its environment.

    Raises:
        RunError: the program did not exit with status 0.
    """
    program = _located(argv[0])
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    streams = ((null if source is None else source, 0), (null, 1), (log, 2))
    redirects = [(os.POSIX_SPAWN_DUP2, file, stream) for file, stream in streams]
    environment = {**os.environ, **(variables or {})}
    try:
        started = time.perf_counter()
        pid = os.posix_spawn(program, argv, environment, file_actions=redirects)
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - started
    finally:
        os.close(null)
        os.close(log)
    if status != 0:
        raise _failure(argv, status, errors)
    return Sample(wall, usage.ru_utime + usage.ru_stime)


def peak_memory(argv: list[str], errors: Path, source: Path = Path(os.devnull)) -> int:
    """Returns the peak resident memory of `argv` in bytes, from a separate run with `source` as stdin.

    `ru_maxrss` is not usable: on Linux a child inherits the peak of the process that spawned it, even through `vfork`,
    so a small program spawned by Python would show Python's memory. The kernel's high-water mark of the program's
    address space is correct but disappears with the process. So the run is traced and stopped as it exits.

    Raises:
        RunError: the program did not exit with status 0.
        OSError: the system does not allow a process to trace its children.
    """
    program = _located(argv[0])
    pid = os.fork()
    if pid == 0:
        _become_traced(program, argv, errors, source)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        raise _failure(argv, status, errors)
    _ptrace(_PTRACE_SETOPTIONS, pid, _PTRACE_O_TRACEEXEC | _PTRACE_O_TRACEEXIT | _PTRACE_O_EXITKILL)
    peak = 0
    forwarded = 0
    while True:
        _ptrace(_PTRACE_CONT, pid, forwarded)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            break
        event = status >> 16
        if event == _PTRACE_EVENT_EXIT:
            peak = _high_water_mark(pid)
        forwarded = 0 if event else os.WSTOPSIG(status)
    if status != 0:
        raise _failure(argv, status, errors)
    return peak


def time_interleaved(
    contenders: Sequence[Contender], prepare: Callable[[], None], errors: Path, progress: Callable[[int], None]
) -> dict[str, list[Sample]]:
    """Runs every contender once per round, each round starting with a different one, until all have run all rounds.

    Calls `prepare` before every run, and `progress` with the number of each round before it starts.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(max(contender.rounds for contender in contenders)):
        progress(number)
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            if number < contender.rounds:
                prepare()
                samples[contender.name].append(time_run(contender.argv, errors))
    return samples


@contextmanager
def pipe_with(payload: bytes) -> Iterator[int]:
    """Yields the reading end of a pipe that contains only `payload`."""
    source, feed = os.pipe()
    try:
        try:
            os.write(feed, payload)
        finally:
            os.close(feed)
        yield source
    finally:
        os.close(source)


def _located(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise RunError(f"cannot find the program {program}")
    return path


def _failure(argv: list[str], status: int, errors: Path) -> RunError:
    output = errors.read_text(errors="replace").strip() if errors.exists() else ""
    return RunError(f"{argv[0]} failed with status {os.waitstatus_to_exitcode(status)}: {output[-2000:]}")


def _become_traced(program: str, argv: list[str], errors: Path, source: Path) -> None:
    """Replaces this forked child with `program`, stopped at its start. Never returns."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        log = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for file, target in ((os.open(source, os.O_RDONLY), 0), (null, 1), (log, 2)):
            os.dup2(file, target)
        _ptrace(_PTRACE_TRACEME, 0, 0)
        os.execv(program, argv)
    finally:
        os._exit(127)


def _ptrace(request: int, pid: int, data: int) -> None:
    if _LIBC.ptrace(request, pid, None, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace: {os.strerror(code)}")


def _high_water_mark(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/status has no VmHWM line")
