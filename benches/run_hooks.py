"""Benchmarks `mngr-codex hook` side by side with `/bin/true` and the published plugin's hook.

    python benches/run_hooks.py [--rounds N] [--storms N] [--program PATH] [--before PATH]

Prints tables and bars, and stores them with the date in `benches/results/`. See `benches/README.md`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import command_line
import machine
from command_line import BENCHES, PUBLISHED_PYTHON_VARIABLE, is_program, report, succeeds
from measure import RunError, Sample, median_cpu, median_wall, peak_memory, pipe_with, time_run
from results import MEBIBYTE, TRUE, Bar, check_limit, mebibytes, milliseconds, store, table, times

RECORDED = BENCHES.parent / "tests/data/0.169.0/tui_spawnleave.hooks.jsonl"
STATE_DIR_VARIABLE = "MNGR_AGENT_STATE_DIR"
HOST_DIR_VARIABLE = "MNGR_HOST_DIR"
PUBLISHED_SCRIPT = "record_session_pointers.sh"

EVENTS = ("user-prompt-submit", "subagent-start", "subagent-stop", "stop")
"""In the order in which they occur in a turn."""
PUBLISHED = "published hook, user-prompt-submit"
IN_FLIGHT = 50
ENDED_SUBAGENTS = 256
AT_ONCE = 64
LARGE_PROMPT = 10**8
LARGE_ROUNDS = 9

MAX_RATIO_TO_TRUE = 1.3
MAX_RATIO_TO_TRUE_IN_FLIGHT = 1.4
MAX_RATIO_TO_CAT = 2.0
MAX_RATIO_TO_BEFORE = 1.1
MAX_PEAK_MEMORY = 8 * MEBIBYTE


@dataclasses.dataclass(slots=True)
class HookResults:
    """All measurements of one run. Skipped ones are missing or None."""

    date: str
    machine: dict[str, str]
    alone: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    in_flight: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    after_many: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    large: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    large_piped: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    peak_memory: dict[str, int] = dataclasses.field(default_factory=dict)
    storms: int = 0
    wrong_storms: list[str] = dataclasses.field(default_factory=list)
    system_calls: dict[str, int] = dataclasses.field(default_factory=dict)
    skipped: list[str] = dataclasses.field(default_factory=list)


class Codex:
    """Creates payloads of hooks from recorded ones, with increasing ids and existing rollouts."""

    def __init__(self, folder: Path) -> None:
        """Reads the recorded payloads, and writes rollouts to `folder`."""
        self._templates: dict[str, dict[str, Any]] = {}
        for line in RECORDED.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            payload = json.loads(entry["raw"])
            event = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in entry["event"])[1:]
            if event not in self._templates and (event.startswith("subagent") or "agent_id" not in payload):
                self._templates[event] = payload
        self._folder = folder
        self._last_id = 0
        self._session = self.new_id()
        self._turn = self._session
        self._agent_turns: dict[str, str] = {}

    def new_id(self) -> str:
        """Returns an id that is later than all previous ones."""
        self._last_id += 1
        return f"01a20219-{self._last_id >> 16:04x}-7000-8000-{self._last_id & 0xFFFF:012x}"

    def new_turn(self, agent: str | None = None) -> None:
        """Starts a new turn of the root, or of a subagent."""
        if agent is None:
            self._turn = self.new_id()
        else:
            self._agent_turns[agent] = self.new_id()

    def payload(self, event: str, agent: str | None = None, **members: Any) -> bytes:
        """Returns the payload that Codex passes to a hook."""
        payload = {**self._templates[event], "session_id": self._session, "turn_id": self._turn, **members}
        payload["transcript_path"] = str(self._rollout(self._session))
        if agent is not None:
            payload |= {"agent_id": agent, "turn_id": self._agent_turns.setdefault(agent, agent)}
            path_key = "agent_transcript_path" if event == "subagent-stop" else "transcript_path"
            payload[path_key] = str(self._rollout(agent))
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()

    def _rollout(self, thread: str) -> Path:
        path = self._folder / f"rollout-2026-11-22T07-13-02-{thread}.jsonl"
        if not path.exists():
            path.write_bytes(b'{"timestamp":"2026-11-22T07:13:02.000Z","type":"session_meta","payload":{}}\n')
        return path


class Bench:
    """One run of all measurements."""

    def __init__(self, program: Path, work: Path, before: Path | None = None) -> None:
        """Prepares a bench of `program` in the folder `work`, next to another build of it if there is one."""
        self._program = str(program)
        self._before = before and str(before)
        self._work = work
        self._errors = work / "stderr"
        self._states = 0
        self.results = HookResults(datetime.date.today().isoformat(), machine.describe(work))
        self._codex = Codex(work)
        # Hooks report activity to mngr in this folder.
        os.environ[HOST_DIR_VARIABLE] = str(work / "host")

    def run(self, rounds: int, storms: int, published_python: str | None) -> None:
        """Runs all measurements."""
        script = None
        if published_python is None:
            self._skip(f"the published plugin's hook, because {PUBLISHED_PYTHON_VARIABLE} is not set")
        else:
            script = _published_script(published_python)
        self.results.alone = self._turns(rounds, 0, script)
        self.results.in_flight = self._turns(rounds, IN_FLIGHT, None)
        self.results.after_many = self._turns(rounds, 0, None, ENDED_SUBAGENTS)
        self._large_prompt()
        self._storms(storms)
        self._system_calls()

    def _turns(self, rounds: int, in_flight: int, script: Path | None, ended: int = 0) -> dict[str, list[Sample]]:
        """Times the hooks of `rounds` turns with one subagent each, each hook after a run of `/bin/true`."""
        self._begin(in_flight)
        agents = [self._codex.new_id() for _ in range(max(ended, 4))]
        for agent in agents[:ended]:
            for event in ("subagent-start", "subagent-stop"):
                self._hook_both(event, self._codex.payload(event, agent))
        state = Path(os.environ[STATE_DIR_VARIABLE])
        published = ["bash", str(state / "commands" / PUBLISHED_SCRIPT)]
        if script is not None:
            (state / "commands").mkdir()
            shutil.copy(script, published[1])
        before = [before_name(event) for event in EVENTS] if self._before else []
        samples: dict[str, list[Sample]] = {
            name: [] for name in (TRUE, *EVENTS, *before, *([PUBLISHED] if script else []))
        }
        for number in range(rounds):
            if number % max(1, rounds // 5) == 0:
                report(f"hooks with {in_flight} subagents in flight: round {number + 1} of {rounds}")
            self._codex.new_turn()
            agent = agents[number % len(agents)]
            self._codex.new_turn(agent)
            for position, event in enumerate(EVENTS):
                if script is not None and position == number % len(EVENTS):
                    # A run after a shell script finds cold caches. This affects each event equally often.
                    samples[PUBLISHED].append(self._time(published, self._codex.payload("user-prompt-submit")))
                payload = self._codex.payload(event, agent if event.startswith("subagent") else None)
                samples[TRUE].append(self._time([TRUE], payload))
                runs = [(event, self._hook)] + ([(before_name(event), self._hook_before)] if self._before else [])
                for name, run in runs if number % 2 else reversed(runs):
                    samples[name].append(run(event, payload))
        self._expect(active=in_flight > 0, subagents=in_flight)
        return samples

    def _large_prompt(self) -> None:
        """Times a prompt of 100 MB, from a file and through a pipe, and measures the peak memory."""
        self._begin(0)
        self._codex.new_turn()
        text = '    # Pasted text: code, and "quotes" in some lines, of caf\u00e9.rs.\n    value = other.member(1)\n'
        path = self._work / "payload"
        path.write_bytes(self._codex.payload("user-prompt-submit", prompt=text * (LARGE_PROMPT // len(text))))
        contenders = {"cat": ["cat"], "user-prompt-submit": self._argv("user-prompt-submit")}
        self.results.large = {name: [] for name in contenders}
        self.results.large_piped = {name: [] for name in contenders}
        for number in range(LARGE_ROUNDS):
            report(f"a prompt of 100 MB: round {number + 1} of {LARGE_ROUNDS}")
            for name, argv in contenders.items():
                with path.open("rb") as source:
                    self.results.large[name].append(time_run(argv, self._errors, source.fileno()))
                with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as feeder:
                    assert feeder.stdout
                    self.results.large_piped[name].append(time_run(argv, self._errors, feeder.stdout.fileno()))
        for name, argv in contenders.items():
            self.results.peak_memory[name] = peak_memory(argv, self._errors, path)
        self._expect(active=True, subagents=0)

    def _storms(self, storms: int) -> None:
        """Runs batches of 64 simultaneous hooks, and checks the files after each batch."""
        self._begin(0)
        for number in range(storms):
            if number % max(1, storms // 5) == 0:
                report(f"storms: {number + 1} of {storms}")
            self._codex.new_turn()
            agents = [self._codex.new_id() for _ in range(AT_ONCE)]
            for event, expected in (("subagent-start", AT_ONCE), ("subagent-stop", 0)):
                self._at_once(event, agents)
                found = _marker_files()
                self.results.storms += 1
                if found != (expected > 0, expected):
                    self.results.wrong_storms.append(f"{event} of {AT_ONCE}: (active, subagents) is {found}")

    def _at_once(self, event: str, agents: list[str]) -> None:
        processes = [subprocess.Popen(self._argv(event), stdin=subprocess.PIPE) for _ in agents]
        for process, agent in zip(processes, agents, strict=True):
            assert process.stdin
            process.stdin.write(self._codex.payload(event, agent))
            process.stdin.flush()
        for process in processes:
            assert process.stdin
            process.stdin.close()
        for process in processes:
            if process.wait() != 0:
                raise RunError(f"{event} failed with status {process.returncode}")

    def _system_calls(self) -> None:
        if not shutil.which("strace"):
            self._skip("the number of system calls, because strace is not installed")
            return
        self._begin(0)
        self._codex.new_turn()
        agent = self._codex.new_id()
        log = self._work / "calls"
        for event in EVENTS:
            payload = self._codex.payload(event, agent if event.startswith("subagent") else None)
            for name, argv in ((event, self._argv(event)), (TRUE, [TRUE])):
                self._time(["strace", "-c", "-U", "calls", "-o", str(log), *argv], payload)
                self.results.system_calls[name] = int(log.read_text().split()[-2])

    def _begin(self, in_flight: int) -> None:
        """Creates a new state directory with the given number of subagents in flight."""
        self._states += 1
        state = self._work / f"host/agents/state-{self._states}"
        for folder in (state, _state_dir_of_before(state)):
            folder.mkdir(parents=True)
        os.environ[STATE_DIR_VARIABLE] = str(state)
        for event in ("user-prompt-submit", "stop"):
            self._hook_both(event, self._codex.payload(event))
        for _ in range(in_flight):
            self._hook_both("subagent-start", self._codex.payload("subagent-start", self._codex.new_id()))

    def _hook(self, event: str, payload: bytes) -> Sample:
        return self._time(self._argv(event), payload)

    def _hook_before(self, event: str, payload: bytes) -> Sample:
        """Runs the hook of the other build, which has its own state directory."""
        assert self._before
        variables = {STATE_DIR_VARIABLE: str(_state_dir_of_before(Path(os.environ[STATE_DIR_VARIABLE])))}
        return self._time([self._before, "hook", event], payload, variables)

    def _hook_both(self, event: str, payload: bytes) -> None:
        self._hook(event, payload)
        if self._before:
            self._hook_before(event, payload)

    def _time(self, argv: list[str], payload: bytes, variables: Mapping[str, str] | None = None) -> Sample:
        with pipe_with(payload) as source:
            return time_run(argv, self._errors, source, variables)

    def _argv(self, event: str) -> list[str]:
        return [self._program, "hook", event]

    def _expect(self, active: bool, subagents: int) -> None:
        found = _marker_files()
        if found != (active, subagents):
            raise RunError(f"(active, subagents) is {found}, not {(active, subagents)}")

    def _skip(self, reason: str) -> None:
        report(f"SKIPPED: {reason}")
        self.results.skipped.append(reason)


def bars(results: HookResults) -> list[Bar]:
    """Compares the results with every bar."""
    found = []
    for samples, limit, condition in (
        (results.alone, MAX_RATIO_TO_TRUE, ""),
        (results.in_flight, MAX_RATIO_TO_TRUE_IN_FLIGHT, f", {IN_FLIGHT} subagents in flight"),
    ):
        for event in EVENTS:
            ratio = median_wall(samples[event]) / median_wall(samples[TRUE])
            found.append(check_limit(f"hook {event}{condition}, wall, to {TRUE}", ratio, limit, times))
            if before := samples.get(before_name(event)):
                ratio = median_wall(samples[event]) / median_wall(before)
                found.append(
                    check_limit(f"hook {event}{condition}, wall, to before", ratio, MAX_RATIO_TO_BEFORE, times)
                )
    ratio = median_wall(results.large_piped["user-prompt-submit"]) / median_wall(results.large_piped["cat"])
    found.append(check_limit("prompt of 100 MB through a pipe, wall, to cat", ratio, MAX_RATIO_TO_CAT, times))
    peak = results.peak_memory["user-prompt-submit"]
    found.append(check_limit("prompt of 100 MB, memory", peak, MAX_PEAK_MEMORY, mebibytes))
    found.append(
        check_limit(f"{AT_ONCE} simultaneous hooks, wrong of {results.storms}", len(results.wrong_storms), 0, str)
    )
    return found


def to_markdown(results: HookResults) -> str:
    """Returns the complete result as Markdown: machine, tables, bars."""
    parts = [f"# Hook bench, {results.date}"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in results.machine.items()))
    parts.append("Medians, from spawn to exit; payloads of Codex 0.169, through a pipe.")
    parts.extend(f"**Skipped:** {reason}." for reason in results.skipped)
    parts += ["## One hook", _hooks_table(results.alone, results.system_calls)]
    parts += [f"## With {IN_FLIGHT} subagents in flight", _hooks_table(results.in_flight, {})]
    parts += [f"## After {ENDED_SUBAGENTS} ended subagents", _hooks_table(results.after_many, {})]
    rows = [
        (
            name,
            *(milliseconds(median_wall(samples[name])) for samples in (results.large, results.large_piped)),
            mebibytes(results.peak_memory[name]),
        )
        for name in results.large
    ]
    parts += ["## A prompt of 100 MB", table(("", "from a file", "through a pipe", "peak memory"), rows)]
    parts.append(f"## {AT_ONCE} simultaneous hooks\n\n{results.storms} batches, {len(results.wrong_storms)} wrong.")
    parts.extend(results.wrong_storms)
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def before_name(event: str) -> str:
    """Returns the name of a hook of the other build."""
    return f"before, {event}"


def _state_dir_of_before(state: Path) -> Path:
    return state.with_name(f"{state.name}-before")


def _hooks_table(samples: dict[str, list[Sample]], calls: dict[str, int]) -> str:
    true = median_wall(samples[TRUE])
    rows = []
    for name, runs in samples.items():
        wall = median_wall(runs)
        slow = statistics.quantiles([run.wall for run in runs], n=20)[-1]
        shown = (milliseconds(wall), milliseconds(slow), milliseconds(median_cpu(runs)), times(wall / true))
        rows.append((name, str(len(runs)), *shown, str(calls.get(name, ""))))
    heads = ("", "runs", "wall", "95th percentile", "CPU", f"wall / {TRUE}", "system calls")
    return table(heads, rows)


def _marker_files() -> tuple[bool, int]:
    """Returns whether `active` exists, and the number of files of subagents in flight."""
    state = Path(os.environ[STATE_DIR_VARIABLE])
    folder = state / "codex_subagents"
    return (state / "active").exists(), len(list(folder.iterdir())) if folder.exists() else 0


def _published_script(python: str) -> Path:
    code = "import imbue.mngr_codex.resources as module; print(module.__path__[0])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RunError(f"{python} failed with status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return Path(done.stdout.strip()) / PUBLISHED_SCRIPT


def main() -> int:
    """Runs the command line. A missed bar is not a failure."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="turns whose hooks are timed (default: 500)")
    parser.add_argument(
        "--storms",
        type=int,
        default=50,
        help="how often 64 simultaneous hooks run, followed by another 64 (default: 50)",
    )
    parser.add_argument("--before", type=Path, help="another build of the program, whose hooks run in turn with these")
    parser.add_argument(
        "--name", default="hooks", help='the last part of the file names of the results (default: "hooks")'
    )
    arguments = parser.parse_args()
    before: Path | None = arguments.before
    if not all(is_program(program) for program in (arguments.program, before) if program):
        return 1
    with tempfile.TemporaryDirectory(prefix="mngr-codex-bench-") as work:
        bench = Bench(arguments.program.absolute(), Path(work), before and before.absolute())
        if not succeeds(
            lambda: bench.run(arguments.rounds, arguments.storms, os.environ.get(PUBLISHED_PYTHON_VARIABLE))
        ):
            return 1
    print(to_markdown(bench.results))
    name = f"{bench.results.date}-{arguments.name}"
    report(f"stored as {store(bench.results, to_markdown(bench.results), arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
