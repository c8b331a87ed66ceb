"""Benchmarks `mngr-codex watch` side by side with `cp`, `cat`, `tail -f` and the published plugin's loops.

    python benches/run_follow.py [--quick] [--program PATH]

Prints tables and bars, and stores them with the date in `benches/results/`. See `benches/README.md`.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import command_line
import generate
import machine
from command_line import PUBLISHED_PYTHON_VARIABLE, is_program, progress, report, succeeds
from following import Agent, Running, WakeUps, install_loops, size_of, wait_until
from measure import RunError, Sample, median_cpu, median_wall, pipe_with, time_run
from results import MEBIBYTE, TRUE, Bar, check_limit, mebibytes, milliseconds, percentile, store, table, times

MNGR_PYTHON_VARIABLE = "MNGR_CODEX_MNGR_PYTHON"

CAT = "cat"
CP = "cp"
ONCE = "mngr-codex watch --once"
STOP = "hook stop"
TAIL = "tail -f"
WATCH = "mngr-codex watch"
PUBLISHED = "published loops"

LONG_LINE = 65_000
FALLBACK_POLL_SECONDS = 30
AGENTS = 100
LINES_PER_SECOND = 10
LINES_PER_STOP = 10
PUBLISHED_LINES = 10
PUBLISHED_IDLE_BYTES = 10**8
PAUSE_SECONDS = 0.05
"""Between two hooks while a watcher is busy."""

MAX_LATENCY_MEDIAN = 0.002
MAX_LATENCY_P99 = 0.010
MAX_RATIO_TO_1MB = 1.2
MAX_RATIO_TO_CP = 3.5
MAX_WAKE_UPS = 0
MAX_IDLE_MEMORY = 3 * MEBIBYTE
MAX_SHARE_OF_A_CORE = 0.30
MAX_RATIO_TO_TRUE = 2.5
MAX_BUSY_STOP = 0.060
MAX_LAG = 0.050


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The number and size of the measurements."""

    large: int
    lines: int
    single_passes: int
    catch_ups: int
    idle_seconds: int
    agents_seconds: int
    stops: int
    floods: int
    published: bool


FULL = Plan(10**9, 1000, 40, 5, 60, 20, 300, 3, True)
QUICK = Plan(10**8, 150, 15, 3, 10, 5, 60, 3, False)


@dataclasses.dataclass(slots=True)
class Idle:
    """The measurements of an idle program over a period."""

    rollout_bytes: int
    seconds: float
    cpu: float
    wake_ups: int | None = None
    waits: int | None = None
    memory: int | None = None
    peak_memory: int | None = None
    memory_restarted: int | None = None


@dataclasses.dataclass(slots=True)
class Many:
    """The measurements of many watchers together."""

    agents: int
    lines: int
    seconds: float
    cpu: float
    polling: int
    """The number of watchers that poll, because the kernel's limit of watches is reached."""


@dataclasses.dataclass(slots=True)
class FollowResults:
    """All measurements of one run. Skipped ones are missing or None."""

    date: str
    machine: dict[str, str]
    generator: str
    large: int
    latencies: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    single_passes: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    catch_ups: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    idle: dict[str, Idle] = dataclasses.field(default_factory=dict)
    many: Many | None = None
    stops: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    stops_that_flushed: int = 0
    busy_stops: list[Sample] = dataclasses.field(default_factory=list)
    floods: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    lags: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    flood_cpu: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    checked: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    skipped: list[str] = dataclasses.field(default_factory=list)


class Bench:
    """One run of all measurements."""

    def __init__(self, program: Path, work: Path, cache: Path, plan: Plan) -> None:
        """Prepares a bench of `program` in the folder `work`, with inputs in `cache`."""
        self._program = program
        self._work = work
        self._cache = cache
        self._plan = plan
        self._errors = work / "stderr"
        self._random = random.Random(generate.DEFAULT_SEED)
        self.results = FollowResults(
            datetime.date.today().isoformat(),
            machine.describe(work),
            f"benches/generate.py version {generate.VERSION}, seed {generate.DEFAULT_SEED}",
            plan.large,
        )

    def run(self) -> None:
        """Runs all measurements."""
        self._latency()
        self._once()
        self._catch_up()
        self._idle()
        self._many()
        self._stop()
        self._stop_while_busy()
        self._flood()

    # Latency

    def _latency(self) -> None:
        """Appends lines one by one, and waits for the record of each line that has one."""
        lines = self._lines(10**7)
        agent = self._agent("latency")
        grown = self._sizes_of_common(agent, lines)
        echo = self._work / "echo"
        with ExitStack() as stack:
            watcher = self._watch(stack, agent)
            first = next(number for number, size in enumerate(grown) if size > 0)
            agent.append(b"".join(lines[: first + 1]))
            wait_until(lambda: size_of(agent.common) == grown[first], "the first record")
            rollout = os.open(agent.rollout, os.O_WRONLY | os.O_APPEND)
            stack.callback(os.close, rollout)
            common = os.open(agent.common, os.O_RDONLY)
            stack.callback(os.close, common)
            tailed, tail = self._tail(stack, echo)
            latencies: dict[str, list[float]] = {WATCH: [], TAIL: []}
            for number in range(first + 1, len(grown)):
                time.sleep(self._random.uniform(0.002, 0.008))
                if grown[number] == grown[number - 1]:
                    os.write(rollout, lines[number])
                    wait_until(agent.is_copied, "a line without a record", 0.0005)
                    continue
                progress("latency", len(latencies[WATCH]), self._plan.lines)
                latencies[WATCH].append(_until_grown(rollout, lines[number], common, grown[number]))
                if len(latencies[WATCH]) % 5 == 0:
                    time.sleep(0.002)
                    size = os.fstat(tail).st_size + len(lines[number])
                    latencies[TAIL].append(_until_grown(tailed, lines[number], tail, size))
            wait_until(agent.is_copied, "the last line")
            self.results.latencies = latencies
            report(f"latency: {watcher.memory() / MEBIBYTE:.1f} MiB resident memory afterwards")
        self._check(agent, "appended lines")

    def _sizes_of_common(self, agent: Agent, lines: list[bytes]) -> list[int]:
        """Returns the expected size of common after each line, until enough lines have added records."""
        report("latency: converting each prefix")
        prefix, converted = self._work / "prefix.jsonl", self._work / "converted.jsonl"
        argv = [str(self._program), "convert", str(prefix), "--partial", "--agent-id", agent.state.name]
        grown: list[int] = []
        records = 0
        with prefix.open("wb", buffering=0) as file:
            for line in lines:
                file.write(line)
                time_run([*argv, "--output", str(converted)], self._errors)
                grown.append(size_of(converted))
                records += len(grown) > 1 and 0 < grown[-2] < grown[-1]
                if records == self._plan.lines:
                    return grown
        raise RunError(f"only {records} lines have records")

    def _tail(self, stack: ExitStack, echo: Path) -> tuple[int, int]:
        """Starts `tail -f` from one file to another. Returns the first file for writing and the second for reading."""
        source = self._work / "tailed"
        source.write_bytes(b"")
        with echo.open("wb") as out:
            tail = subprocess.Popen(["tail", "-n", "+1", "-f", source], stdin=subprocess.DEVNULL, stdout=out)
        stack.callback(tail.wait)
        stack.callback(tail.terminate)
        files = os.open(source, os.O_WRONLY | os.O_APPEND), os.open(echo, os.O_RDONLY)
        for file in files:
            stack.callback(os.close, file)
        _until_grown(files[0], b"first\n", files[1], 6)
        return files

    # One pass

    def _once(self) -> None:
        """Times a pass after one new line, on rollouts of several sizes."""
        sizes = [size for size in (10**6, 10**8, 10**9) if size <= self._plan.large]
        agents = {}
        for size in sizes:
            report(f"one new line: catching up {_size(size)}")
            agents[f"{ONCE}, {_size(size)}"] = agent = self._agent(f"once-{size}", self._input(size))
            agent.once()
        lines = self._lines(10**7)[50:]
        samples: dict[str, list[Sample]] = {name: [] for name in (TRUE, *agents)}
        names = list(samples)
        for number in range(self._plan.single_passes):
            progress("one new line", number, self._plan.single_passes)
            for name in (*names[number % len(names) :], *names[: number % len(names)]):
                if name == TRUE:
                    samples[name].append(time_run([TRUE], self._errors))
                else:
                    agents[name].append(lines[number])
                    samples[name].append(time_run(agents[name].watch("--once"), self._errors))
        self.results.single_passes = samples
        for name, agent in agents.items():
            self._check(agent, name)

    def _catch_up(self) -> None:
        """Times a pass over a complete rollout with empty transcripts, next to `cp`."""
        rollout = self._input(self._plan.large)
        copy = self._work / "copy"
        samples: dict[str, list[Sample]] = {CP: [], ONCE: []}
        for number in range(self._plan.catch_ups):
            progress(f"catching up {_size(self._plan.large)}", number, self._plan.catch_ups)
            agent = self._agent("catch-up", rollout)
            for name in (CP, ONCE) if number % 2 == 0 else (ONCE, CP):
                self._settle(rollout, copy)
                argv = ["cp", str(rollout), str(copy)] if name == CP else agent.watch("--once")
                samples[name].append(time_run(argv, self._errors))
                copy.unlink(missing_ok=True)
            self._check(agent, f"catching up, round {number + 1}")
        self.results.catch_ups = samples

    def _settle(self, rollout: Path, copy: Path) -> None:
        """Brings the machine into the same state before every timed run, as `run.py` does for reasons given there.

        Writes at least as much as a pass does, which is the raw transcript and half as much again.
        """
        copies = [copy, copy.with_name("another copy")]
        for path in copies:
            time_run(["cp", str(rollout), str(path)], self._errors)
        for path in copies:
            path.unlink()

    # Idle, and almost idle

    def _idle(self) -> None:
        """Measures an idle watcher, and the idle published loops at the same time."""
        plan = self._plan
        agent = self._agent("idle", self._input(plan.large))
        with ExitStack() as stack:
            published = self._published(stack)
            watcher = self._watch(stack, agent)
            wait_until(agent.is_copied, f"catching up {_size(plan.large)}")
            time.sleep(2)
            report(f"idle: {plan.idle_seconds} s")
            started, before, cpu = time.perf_counter(), watcher.waits(), watcher.cpu()
            counter = stack.enter_context(WakeUps(watcher))
            loops = [loop.cpu_with_children() for loop in published]
            if published:
                self._published_latency()
            time.sleep(max(0.0, plan.idle_seconds - (time.perf_counter() - started)))
            took = time.perf_counter() - started
            self.results.idle[WATCH] = idle = Idle(
                size_of(agent.rollout),
                took,
                watcher.cpu() - cpu,
                counter.found,
                watcher.waits() - before,
                watcher.memory(),
                watcher.memory("VmHWM"),
            )
            if published:
                spent = sum(loop.cpu_with_children() - then for loop, then in zip(published, loops, strict=True))
                self.results.idle[PUBLISHED] = Idle(PUBLISHED_IDLE_BYTES, took, spent)
        with ExitStack() as stack:
            watcher = self._watch(stack, agent)
            time.sleep(1)
            idle.memory_restarted = watcher.memory()
        self._check(agent, "idle")

    def _published(self, stack: ExitStack) -> list[Running]:
        """Starts the published loops on a rollout, and waits until they are idle."""
        folders = self._published_folders()
        if folders is None:
            return []
        agent = self._agent("published-idle", self._input(PUBLISHED_IDLE_BYTES))
        stack.callback(agent.remove)
        loops = [self._loop(stack, agent, argv) for argv in install_loops(agent, *folders)]
        report(f"idle: the published loops are catching up {_size(PUBLISHED_IDLE_BYTES)}")
        wait_until(lambda: agent.is_copied() and size_of(agent.common) > 0, "the published loops", 0.1)
        # They convert once more after five seconds without changes.
        time.sleep(15)
        return loops

    def _published_latency(self) -> None:
        """Appends lines to a rollout that the published loops follow, each after the previous one was converted."""
        folders = self._published_folders()
        assert folders is not None
        agent = self._agent("published-latency", self._input(10**6))
        found: list[float] = []
        with ExitStack() as stack:
            for argv in install_loops(agent, *folders):
                self._loop(stack, agent, argv)
            wait_until(lambda: agent.is_copied() and size_of(agent.common) > 0, "the published loops", 0.1)
            # The records of these lines do not wait for later lines.
            lines = [line for line in self._lines(10**7) if b'"user.text"' in line[-600:]]
            for line in lines[20 : 20 + PUBLISHED_LINES]:
                time.sleep(self._random.uniform(0.5, 1.5))
                size = size_of(agent.common)
                started = time.perf_counter()
                agent.append(line)
                wait_until(partial(_is_longer, agent.common, size), "the published loops")
                found.append(time.perf_counter() - started)
        self.results.latencies[PUBLISHED] = found
        agent.remove()

    def _published_folders(self) -> tuple[Path, Path] | None:
        if not self._plan.published:
            self._skip("the published loops, because of --quick")
            return None
        folders = []
        for variable, module in (
            (PUBLISHED_PYTHON_VARIABLE, "imbue.mngr_codex.resources"),
            (MNGR_PYTHON_VARIABLE, "imbue.mngr.resources"),
        ):
            if (python := os.environ.get(variable)) is None:
                self._skip(f"the published loops, because {variable} is not set")
                return None
            code = f"import {module} as module; print(module.__path__[0])"
            done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RunError(f"{python} failed with status {done.returncode}: {done.stderr.strip()[-2000:]}")
            folders.append(Path(done.stdout.strip()))
        return folders[0], folders[1]

    def _loop(self, stack: ExitStack, agent: Agent, argv: list[str]) -> Running:
        variables = {"MNGR_AGENT_STATE_DIR": str(agent.state)}
        return stack.enter_context(Running(argv, agent.folder / "loop-stderr", **variables))

    def _many(self) -> None:
        """Writes ten lines per second to each of a hundred agents, and measures the CPU time of all watchers."""
        lines = self._lines(10**7)
        agents = [self._agent(f"agent-{number}") for number in range(AGENTS)]
        with ExitStack() as stack:
            report(f"{AGENTS} agents: starting their watchers")
            watchers = [self._watch(stack, agent) for agent in agents]
            files = [os.open(agent.rollout, os.O_WRONLY | os.O_APPEND) for agent in agents]
            for file in files:
                stack.callback(os.close, file)
                os.write(file, lines[0])
            wait_until(lambda: all(agent.is_copied() for agent in agents), "the first line of every agent", 0.05)
            time.sleep(1)
            report(f"{AGENTS} agents: {self._plan.agents_seconds} s")
            before = [watcher.cpu() for watcher in watchers]
            started = time.perf_counter()
            count = self._plan.agents_seconds * LINES_PER_SECOND * AGENTS
            for number in range(count):
                line_number, agent_number = divmod(number, AGENTS)
                os.write(files[agent_number], lines[1 + line_number])
                due = started + (number + 1) / (LINES_PER_SECOND * AGENTS)
                if (remaining := due - time.perf_counter()) > 0:
                    time.sleep(remaining)
            took = time.perf_counter() - started
            wait_until(lambda: all(agent.is_copied() for agent in agents), "the last line of every agent", 0.01)
            spent = sum(watcher.cpu() - then for watcher, then in zip(watchers, before, strict=True))
            polling = sum(any("every so often" in line for line in agent.log()) for agent in agents)
            self.results.many = Many(AGENTS, count, took, spent, polling)
        for agent in agents:
            self._check(agent, f"{agent.folder.name} of {AGENTS}")

    # Hooks

    def _stop(self) -> None:
        """Times Stop hooks, each after ten lines that have not been followed yet, between runs of `/bin/true`."""
        agent = self._agent("stop", self._input(10**6))
        agent.once()
        lines = self._lines(10**7)[800:]
        samples: dict[str, list[Sample]] = {TRUE: [], STOP: []}
        for number in range(self._plan.stops):
            progress(STOP, number, self._plan.stops)
            first = number * LINES_PER_STOP % (len(lines) - LINES_PER_STOP)
            self._begin_turn(agent, b"".join(lines[first : first + LINES_PER_STOP]))
            payload = agent.codex.payload("stop")
            for name in (TRUE, STOP) if number % 2 == 0 else (STOP, TRUE):
                if name == STOP:
                    samples[name].append(agent.run_hook("stop", payload))
                else:
                    with pipe_with(payload) as source:
                        samples[name].append(time_run([TRUE], self._errors, source))
            self.results.stops_that_flushed += agent.is_copied()
            agent.once()
        self.results.stops = samples
        self._check(agent, STOP)

    def _stop_while_busy(self) -> None:
        """Times Stop hooks while a watcher catches up a large rollout."""
        lines = self._lines(10**7)[800:]
        agent = self._agent("busy", self._input(self._plan.large))
        large = size_of(agent.rollout)
        report(f"{STOP}, with a watcher busy with {_size(self._plan.large)}")
        with ExitStack() as stack:
            self._watch(stack, agent)
            wait_until(lambda: size_of(agent.raw) > 0, "the watcher")
            number = 0
            while True:
                time.sleep(PAUSE_SECONDS)
                ten = lines[number * LINES_PER_STOP : (number + 1) * LINES_PER_STOP]
                self._begin_turn(agent, b"".join(ten))
                sample = agent.run_hook("stop", agent.codex.payload("stop"))
                if size_of(agent.raw) >= large:
                    # The watcher may have caught up before the hook ended.
                    break
                self.results.busy_stops.append(sample)
                number += 1
            wait_until(agent.is_copied, "the last lines")
        self._check(agent, f"{STOP} with a busy watcher")

    def _begin_turn(self, agent: Agent, lines: bytes) -> None:
        agent.codex.new_turn()
        agent.run_hook("user-prompt-submit", agent.codex.payload("user-prompt-submit"))
        agent.append(lines)

    # As fast as possible

    def _flood(self) -> None:
        """Writes a complete rollout with `cat`: unfollowed, followed by `tail -f`, and followed by a watcher."""
        source = self._input(self._plan.large, LONG_LINE)
        converted = self._work / "converted.jsonl"
        # All ids have the same length, so every agent's transcript has this size.
        argv = [str(self._program), "convert", str(source), "--partial", "--agent-id", "any"]
        time_run([*argv, "--output", str(converted)], self._errors)
        expected = size_of(converted)
        converted.unlink()
        found: dict[str, list[float]] = {"none": [], TAIL: [], WATCH: []}
        names = list(found)
        for number in range(self._plan.floods):
            progress(f"{_size(self._plan.large)} written by {CAT}", number, self._plan.floods)
            for name in (*names[number % len(names) :], *names[: number % len(names)]):
                agent = self._agent("flood")
                with ExitStack() as stack:
                    follower, written, size = None, agent.rollout, size_of(source)
                    if name == WATCH:
                        follower, written, size = self._watch(stack, agent), agent.common, expected
                    elif name == TAIL:
                        written = agent.folder / "tailed"
                        argv = ["sh", "-c", 'exec tail -c +1 -f "$0" >"$1"', str(agent.rollout), str(written)]
                        follower = stack.enter_context(Running(argv, self._errors))
                    time.sleep(0.3)
                    before = follower.cpu() if follower else 0.0
                    with agent.rollout.open("ab") as out:
                        started = time.perf_counter()
                        subprocess.run(["cat", source], stdout=out, check=True)
                        ended = time.perf_counter()
                    found[name].append(ended - started)
                    if follower:
                        wait_until(partial(_is_longer, written, size - 1), "the last record", 0.0002)
                        self.results.lags.setdefault(name, []).append(time.perf_counter() - ended)
                        self.results.flood_cpu.setdefault(name, []).append(follower.cpu() - before)
                if name == WATCH:
                    self._check(agent, f"written by {CAT}, round {number + 1}")
                else:
                    agent.remove()
        self.results.floods = found

    # Shared parts

    def _agent(self, name: str, rollout: Path | None = None) -> Agent:
        return Agent(self._program, self._work / name, rollout)

    def _watch(self, stack: ExitStack, agent: Agent) -> Running:
        return stack.enter_context(Running(agent.watch(), agent.folder / "watch-stderr"))

    def _check(self, agent: Agent, measurement: str) -> None:
        """Checks an agent's transcripts, and removes them."""
        self.results.checked += 1
        if not agent.is_correct():
            self.results.wrong.append(measurement)
            report(f"WRONG: {measurement}")
        agent.remove()

    def _lines(self, size: int) -> list[bytes]:
        """Returns the lines of a rollout of the given size."""
        return self._input(size).read_bytes().splitlines(keepends=True)

    def _input(self, size: int, printed: int | None = None) -> Path:
        return generate.cached(
            self._cache, size, printed=printed, before_creating=lambda: report(f"{_size(size)}: creating the input")
        )

    def _skip(self, reason: str) -> None:
        if reason not in self.results.skipped:
            report(f"SKIPPED: {reason}")
            self.results.skipped.append(reason)


def _is_longer(path: Path, size: int) -> bool:
    return size_of(path) > size


def _until_grown(target: int, line: bytes, other: int, size: int) -> float:
    """Writes a line to one file, and returns the seconds until the other file reaches a size."""
    started = time.perf_counter()
    os.write(target, line)
    while os.fstat(other).st_size < size:
        if time.perf_counter() > started + 10:
            raise RunError(f"timed out after 10 s: {os.fstat(other).st_size:,} bytes, not {size:,}")
        # Otherwise a process woken on this CPU would wait for the scheduler's tick, up to 4 ms.
        os.sched_yield()
    return time.perf_counter() - started


def bars(results: FollowResults) -> list[Bar]:
    """Compares the results with every bar. The verdict on a missing result is "not measured"."""
    large = _size(results.large)
    latencies = results.latencies[WATCH]
    found = [
        check_limit("line to record, median", statistics.median(latencies), MAX_LATENCY_MEDIAN, milliseconds),
        check_limit("line to record, 99th percentile", percentile(latencies, 99), MAX_LATENCY_P99, milliseconds),
    ]
    small = median_wall(results.single_passes[f"{ONCE}, 1 MB"])
    for size in ("100 MB", "1 GB"):
        samples = results.single_passes.get(f"{ONCE}, {size}")
        ratio = median_wall(samples) / small if samples else None
        found.append(check_limit(f"watch --once after a line, {size}, wall, to 1 MB", ratio, MAX_RATIO_TO_1MB, times))
    ratio = median_cpu(results.catch_ups[ONCE]) / median_cpu(results.catch_ups[CP])
    found.append(check_limit(f"catching up {large}, CPU, to cp", ratio, MAX_RATIO_TO_CP, times))
    idle = results.idle[WATCH]
    name = f"idle {idle.seconds:.0f} s after {large}, wake-ups without fallback polls"
    found.append(check_limit(name, _extra_wake_ups(idle), MAX_WAKE_UPS, str))
    found.append(check_limit(f"idle after {large}, memory", idle.memory, MAX_IDLE_MEMORY, mebibytes))
    many = results.many
    share = many.cpu / many.seconds if many else None
    name = f"{AGENTS} agents with {LINES_PER_SECOND} lines per second, share of one core"
    found.append(check_limit(name, share, MAX_SHARE_OF_A_CORE, _percent))
    ratio = median_wall(results.stops[STOP]) / median_wall(results.stops[TRUE])
    bar = check_limit(f"{STOP}, {LINES_PER_STOP} new lines, wall, to {TRUE}", ratio, MAX_RATIO_TO_TRUE, times)
    if results.stops_that_flushed < len(results.stops[STOP]):
        # The time is meaningless if the hook did not flush.
        bar = dataclasses.replace(bar, verdict="no flush")
    found.append(bar)
    slowest = max((sample.wall for sample in results.busy_stops), default=None)
    found.append(check_limit(f"{STOP}, watcher busy with {large}, slowest", slowest, MAX_BUSY_STOP, milliseconds))
    name = f"{large} of long lines written by {CAT}, lag at the end"
    found.append(check_limit(name, statistics.median(results.lags[WATCH]), MAX_LAG, milliseconds))
    found.append(check_limit(f"wrong transcripts of {results.checked}", len(results.wrong), 0, str))
    return found


def to_markdown(results: FollowResults) -> str:
    """Returns the complete result as Markdown: machine, tables, bars."""
    large = _size(results.large)
    parts = [f"# Following bench, {results.date}"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in results.machine.items()))
    parts.append(f"Input: {results.generator}. Medians, unless noted otherwise; CPU is user plus system time.")
    parts.extend(f"**Skipped:** {reason}." for reason in results.skipped)
    parts += ["## From a line to its record", _latencies_table(results)]
    parts += ["## A pass after one line", _runs_table(results.single_passes, TRUE)]
    parts += [f"## Catching up {large} from the start", _runs_table(results.catch_ups, CP)]
    parts += ["## Idle", _idle_table(results)]
    if (many := results.many) is not None:
        parts.append(
            f"## {many.agents} agents\n\n{many.lines:,} lines in {many.seconds:.1f} s: {many.cpu:.2f} s of CPU for all "
            f"watchers together, {_percent(many.cpu / many.seconds)} of one core, {many.cpu / many.lines * 1e6:.0f} µs "
            f"per line. {many.polling} of the watchers polled."
        )
    parts += [f"## A Stop hook, with {LINES_PER_STOP} new lines", _runs_table(results.stops, TRUE)]
    ran = len(results.stops[STOP])
    parts.append(
        f"After the hook the transcripts contained the lines in {results.stops_that_flushed} of {ran} runs."
        + ("" if results.stops_that_flushed == ran else " **In the other runs the hook did not flush.**")
    )
    parts.append(f"## The same while a watcher catches up {large}")
    if busy := [sample.wall for sample in results.busy_stops]:
        parts.append(
            f"{len(busy)} hooks: median {milliseconds(statistics.median(busy))}, slowest {milliseconds(max(busy))}."
        )
    else:
        parts.append("The watcher caught up before the first hook.")
    parts += [f"## {large} in lines of {LONG_LINE // 1000} KB, written by `{CAT}`", _floods_table(results)]
    parts.append(f"## Correctness of the transcripts\n\n{results.checked} checked, {len(results.wrong)} wrong.")
    parts.extend(f"- {wrong}" for wrong in results.wrong)
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def _latencies_table(results: FollowResults) -> str:
    rows = [
        (
            name,
            str(len(found)),
            *(milliseconds(percentile(found, part)) for part in (50, 95, 99)),
            milliseconds(max(found)),
        )
        for name, found in results.latencies.items()
    ]
    return table(("", "lines", "median", "95th percentile", "99th percentile", "max"), rows)


def _floods_table(results: FollowResults) -> str:
    rows = [
        (
            name,
            str(len(found)),
            milliseconds(statistics.median(found)),
            ", ".join(milliseconds(lag) for lag in results.lags.get(name, [])),
            milliseconds(statistics.median(results.flood_cpu[name])) if name in results.flood_cpu else "",
        )
        for name, found in results.floods.items()
    ]
    heads = ("follower", "runs", f"wall of {CAT}", "lag at the end, each run", "CPU of the follower")
    return table(heads, rows)


def _runs_table(samples: dict[str, list[Sample]], reference: str) -> str:
    wall, cpu = median_wall(samples[reference]), median_cpu(samples[reference])
    rows = [
        (
            name,
            str(len(runs)),
            milliseconds(median_wall(runs)),
            milliseconds(percentile([run.wall for run in runs], 95)),
            milliseconds(median_cpu(runs)),
            times(median_wall(runs) / wall),
            times(median_cpu(runs) / cpu),
        )
        for name, runs in samples.items()
    ]
    heads = ("", "runs", "wall", "95th percentile", "CPU", f"wall / {reference}", f"CPU / {reference}")
    return table(heads, rows)


def _idle_table(results: FollowResults) -> str:
    def shown[Value](value: Value | None, formatted: Callable[[Value], str]) -> str:
        return "" if value is None else formatted(value)

    rows = [
        (
            name,
            _size(idle.rollout_bytes),
            f"{idle.seconds:.1f} s",
            milliseconds(idle.cpu),
            shown(idle.wake_ups, str),
            shown(idle.waits, str),
            shown(_extra_wake_ups(idle), str),
            shown(idle.memory, mebibytes),
            shown(idle.peak_memory, mebibytes),
            shown(idle.memory_restarted, mebibytes),
        )
        for name, idle in results.idle.items()
    ]
    heads = (
        "",
        "rollout",
        "for",
        "CPU",
        "wake-ups",
        "waits",
        "wake-ups without fallback polls",
        "memory",
        "peak",
        "after a restart",
    )
    return table(heads, rows)


def _extra_wake_ups(idle: Idle) -> int | None:
    """Returns the number of wake-ups without the fallback polls every 30 seconds."""
    if idle.wake_ups is None:
        return None
    return max(
        0, idle.wake_ups - int(idle.seconds / FALLBACK_POLL_SECONDS) - (idle.seconds % FALLBACK_POLL_SECONDS > 1)
    )


def _size(size: int) -> str:
    """Formats a size, rounded because inputs are slightly larger than requested."""
    megabytes = round(size / 1e6)
    return f"{megabytes // 1000} GB" if megabytes >= 1000 else f"{megabytes} MB"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def main() -> int:
    """Runs the command line. A missed bar is not a failure."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller measurements, 100 MB instead of 1 GB")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "mngr-codex-bench",
        help="the folder for inputs and agents (default: a folder in the system's temporary folder)",
    )
    parser.add_argument(
        "--name", help='the last part of the file names of the results (default: "follow" or "follow-quick")'
    )
    arguments = parser.parse_args()
    if not is_program(arguments.program):
        return 1
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="agents-", dir=arguments.cache) as work:
        plan = QUICK if arguments.quick else FULL
        bench = Bench(arguments.program.absolute(), Path(work).absolute(), arguments.cache.absolute(), plan)
        if not succeeds(bench.run):
            return 1
    print(to_markdown(bench.results))
    name = f"{bench.results.date}-{arguments.name or ('follow-quick' if arguments.quick else 'follow')}"
    report(f"stored as {store(bench.results, to_markdown(bench.results), arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
