"""Bench `mngr-codex hook` side by side with `/bin/true` and the published plugin's hook, and hold it to its bars.

    python benches/run_hooks.py [--rounds N] [--storms N] [--program PATH]

Prints tables and bars, and keeps them, dated, in `benches/results/`. See `benches/README.md`.
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
from pathlib import Path
from typing import Any

import command_line
import machine
from command_line import BENCHES, PUBLISHED_PYTHON_VARIABLE, is_program, say, succeeds
from measure import RunError, Sample, median_cpu, median_wall, peak_memory, pipe_with, time_run
from results import MEBIBYTE, TRUE, Bar, hold, mebibytes, milliseconds, store, table, times

RECORDED = BENCHES.parent / "tests/data/0.169.0/tui_spawnleave.hooks.jsonl"
STATE_DIR_VARIABLE = "MNGR_AGENT_STATE_DIR"
PUBLISHED_SCRIPT = "record_session_pointers.sh"

EVENTS = ("user-prompt-submit", "subagent-start", "subagent-stop", "stop")
"""In the order in which a turn has them."""
PUBLISHED = "published hook, user-prompt-submit"
IN_FLIGHT = 50
REMEMBERED = 256
AT_ONCE = 64
LARGE_PROMPT = 10**8
LARGE_ROUNDS = 9

MAX_RATIO_TO_TRUE = 1.3
MAX_RATIO_TO_TRUE_IN_FLIGHT = 1.4
MAX_RATIO_TO_CAT = 2.0
MAX_PEAK_MEMORY = 8 * MEBIBYTE


@dataclasses.dataclass(slots=True)
class HookResults:
    """Everything that one run of the bench measured; what was left out is missing or None."""

    date: str
    machine: dict[str, str]
    alone: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    in_flight: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    seasoned: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    large: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    large_piped: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)
    peak_memory: dict[str, int] = dataclasses.field(default_factory=dict)
    storms: int = 0
    wrong_storms: list[str] = dataclasses.field(default_factory=list)
    system_calls: dict[str, int] = dataclasses.field(default_factory=dict)
    skipped: list[str] = dataclasses.field(default_factory=list)


class Codex:
    """Makes the payloads of hooks: recorded ones, with ids that go up and rollouts that are there."""

    def __init__(self, folder: Path) -> None:
        """Take the payloads' form from the recording, and write the rollouts into `folder`."""
        self._forms: dict[str, dict[str, Any]] = {}
        for line in RECORDED.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            payload = json.loads(entry["raw"])
            event = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in entry["event"])[1:]
            if event not in self._forms and (event.startswith("subagent") or "agent_id" not in payload):
                self._forms[event] = payload
        self._folder = folder
        self._given = 0
        self._session = self.new_id()
        self._turn = self._session
        self._agent_turns: dict[str, str] = {}

    def new_id(self) -> str:
        """Return an id that is later than all before."""
        self._given += 1
        return f"01a20219-{self._given >> 16:04x}-7000-8000-{self._given & 0xFFFF:012x}"

    def new_turn(self, agent: str | None = None) -> None:
        """Begin another turn of the root, or of a subagent."""
        if agent is None:
            self._turn = self.new_id()
        else:
            self._agent_turns[agent] = self.new_id()

    def payload(self, event: str, agent: str | None = None, **members: Any) -> bytes:
        """Return what codex hands to a hook."""
        payload = {**self._forms[event], "session_id": self._session, "turn_id": self._turn, **members}
        payload["transcript_path"] = str(self._rollout(self._session))
        if agent is not None:
            payload |= {"agent_id": agent, "turn_id": self._agent_turns.setdefault(agent, agent)}
            named = "agent_transcript_path" if event == "subagent-stop" else "transcript_path"
            payload[named] = str(self._rollout(agent))
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()

    def _rollout(self, thread: str) -> Path:
        path = self._folder / f"rollout-2026-11-22T07-13-02-{thread}.jsonl"
        if not path.exists():
            path.write_bytes(b'{"timestamp":"2026-11-22T07:13:02.000Z","type":"session_meta","payload":{}}\n')
        return path


class Bench:
    """One run of everything."""

    def __init__(self, program: Path, work: Path) -> None:
        """Prepare a bench of `program` in the folder `work`."""
        self._program = str(program)
        self._work = work
        self._errors = work / "stderr"
        self._states = 0
        self.results = HookResults(datetime.date.today().isoformat(), machine.describe(work))
        self._codex = Codex(work)

    def run(self, rounds: int, storms: int, published_python: str | None) -> None:
        """Measure everything."""
        script = None
        if published_python is None:
            self._leave_out(f"the published plugin's hook, because {PUBLISHED_PYTHON_VARIABLE} is not set")
        else:
            script = _published_script(published_python)
        self.results.alone = self._turns(rounds, 0, script)
        self.results.in_flight = self._turns(rounds, IN_FLIGHT, None)
        self.results.seasoned = self._turns(rounds, 0, None, REMEMBERED)
        self._large_prompt()
        self._storms(storms)
        self._system_calls()

    def _turns(self, rounds: int, in_flight: int, script: Path | None, remembered: int = 0) -> dict[str, list[Sample]]:
        """Time the hooks of `rounds` turns with one subagent each, every one after a run of `/bin/true`."""
        self._begin(in_flight)
        agents = [self._codex.new_id() for _ in range(max(remembered, 4))]
        for agent in agents[:remembered]:
            for event in ("subagent-start", "subagent-stop"):
                self._time(self._hook(event), self._codex.payload(event, agent))
        state = Path(os.environ[STATE_DIR_VARIABLE])
        published = ["bash", str(state / "commands" / PUBLISHED_SCRIPT)]
        if script is not None:
            (state / "commands").mkdir()
            shutil.copy(script, published[1])
        samples: dict[str, list[Sample]] = {name: [] for name in (TRUE, *EVENTS, *([PUBLISHED] if script else []))}
        for number in range(rounds):
            if number % max(1, rounds // 5) == 0:
                say(f"hooks with {in_flight} subagents in flight: round {number + 1} of {rounds}")
            self._codex.new_turn()
            agent = agents[number % len(agents)]
            self._codex.new_turn(agent)
            for place, event in enumerate(EVENTS):
                if script is not None and place == number % len(EVENTS):
                    # What runs after a shell script finds cold caches: that is to befall each event as often.
                    samples[PUBLISHED].append(self._time(published, self._codex.payload("user-prompt-submit")))
                payload = self._codex.payload(event, agent if event.startswith("subagent") else None)
                samples[TRUE].append(self._time([TRUE], payload))
                samples[event].append(self._time(self._hook(event), payload))
        self._expect(active=in_flight > 0, subagents=in_flight)
        return samples

    def _large_prompt(self) -> None:
        """Time a prompt of 100 MB, from a file and through a pipe, and look at the memory that it takes."""
        self._begin(0)
        self._codex.new_turn()
        text = (
            '    # What a user pastes: code, and "quotes" in some lines, of caf\u00e9.rs.\n'
            "    value = other.member(1)\n"
        )
        path = self._work / "payload"
        path.write_bytes(self._codex.payload("user-prompt-submit", prompt=text * (LARGE_PROMPT // len(text))))
        contenders = {"cat": ["cat"], "user-prompt-submit": self._hook("user-prompt-submit")}
        self.results.large = {name: [] for name in contenders}
        self.results.large_piped = {name: [] for name in contenders}
        for number in range(LARGE_ROUNDS):
            say(f"a prompt of 100 MB: round {number + 1} of {LARGE_ROUNDS}")
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
        """Run 64 hooks at once, again and again, and look at the files right after each time."""
        self._begin(0)
        for number in range(storms):
            if number % max(1, storms // 5) == 0:
                say(f"storms: {number + 1} of {storms}")
            self._codex.new_turn()
            agents = [self._codex.new_id() for _ in range(AT_ONCE)]
            for event, expected in (("subagent-start", AT_ONCE), ("subagent-stop", 0)):
                self._at_once(event, agents)
                found = _files_of()
                self.results.storms += 1
                if found != (expected > 0, expected):
                    self.results.wrong_storms.append(f"{event} of {AT_ONCE}: active, subagents are {found}")

    def _at_once(self, event: str, agents: list[str]) -> None:
        processes = [subprocess.Popen(self._hook(event), stdin=subprocess.PIPE) for _ in agents]
        for process, agent in zip(processes, agents, strict=True):
            assert process.stdin
            process.stdin.write(self._codex.payload(event, agent))
            process.stdin.flush()
        for process in processes:
            assert process.stdin
            process.stdin.close()
        for process in processes:
            if process.wait() != 0:
                raise RunError(f"{event} ended with status {process.returncode}")

    def _system_calls(self) -> None:
        if not shutil.which("strace"):
            self._leave_out("the number of system calls, because there is no strace")
            return
        self._begin(0)
        self._codex.new_turn()
        agent = self._codex.new_id()
        log = self._work / "calls"
        for event in EVENTS:
            payload = self._codex.payload(event, agent if event.startswith("subagent") else None)
            for name, argv in ((event, self._hook(event)), (TRUE, [TRUE])):
                self._time(["strace", "-c", "-U", "calls", "-o", str(log), *argv], payload)
                self.results.system_calls[name] = int(log.read_text().split()[-2])

    def _begin(self, in_flight: int) -> None:
        """Make a new state dir, in which that many subagents are in flight."""
        self._states += 1
        state = self._work / f"state-{self._states}"
        state.mkdir()
        os.environ[STATE_DIR_VARIABLE] = str(state)
        for event in ("user-prompt-submit", "stop"):
            self._time(self._hook(event), self._codex.payload(event))
        for _ in range(in_flight):
            agent = self._codex.new_id()
            self._time(self._hook("subagent-start"), self._codex.payload("subagent-start", agent))

    def _time(self, argv: list[str], payload: bytes) -> Sample:
        with pipe_with(payload) as source:
            return time_run(argv, self._errors, source)

    def _hook(self, event: str) -> list[str]:
        return [self._program, "hook", event]

    def _expect(self, active: bool, subagents: int) -> None:
        found = _files_of()
        if found != (active, subagents):
            raise RunError(f"active and the number of subagents are {found}, not {(active, subagents)}")

    def _leave_out(self, what: str) -> None:
        say(f"LEFT OUT: {what}")
        self.results.skipped.append(what)


def bars(results: HookResults) -> list[Bar]:
    """Hold the results to every bar."""
    found = []
    for samples, limit, what in (
        (results.alone, MAX_RATIO_TO_TRUE, ""),
        (results.in_flight, MAX_RATIO_TO_TRUE_IN_FLIGHT, f", {IN_FLIGHT} subagents in flight"),
    ):
        for event in EVENTS:
            ratio = median_wall(samples[event]) / median_wall(samples[TRUE])
            found.append(hold(f"hook {event}{what}, wall, to {TRUE}", ratio, limit, times))
    ratio = median_wall(results.large_piped["user-prompt-submit"]) / median_wall(results.large_piped["cat"])
    found.append(hold("prompt of 100 MB through a pipe, wall, to cat", ratio, MAX_RATIO_TO_CAT, times))
    peak = results.peak_memory["user-prompt-submit"]
    found.append(hold("prompt of 100 MB, memory", peak, MAX_PEAK_MEMORY, mebibytes))
    found.append(hold(f"{AT_ONCE} hooks at once, wrong of {results.storms}", len(results.wrong_storms), 0, str))
    return found


def to_markdown(results: HookResults) -> str:
    """Return the whole result as Markdown: machine, tables, bars."""
    parts = [f"# Bench of hooks of {results.date}"]
    parts.append("\n".join(f"- {what}: {is_so}" for what, is_so in results.machine.items()))
    parts.append("Medians, from spawn to exit; payloads of codex 0.169, handed over through a pipe.")
    parts.extend(f"**Left out:** {what}." for what in results.skipped)
    parts += ["## A hook", _hooks_table(results.alone, results.system_calls)]
    parts += [f"## With {IN_FLIGHT} subagents in flight", _hooks_table(results.in_flight, {})]
    parts += [f"## After {REMEMBERED} subagents that are over", _hooks_table(results.seasoned, {})]
    rows = [
        (
            name,
            *(milliseconds(median_wall(samples[name])) for samples in (results.large, results.large_piped)),
            mebibytes(results.peak_memory[name]),
        )
        for name in results.large
    ]
    parts += ["## A prompt of 100 MB", table(("", "from a file", "through a pipe", "peak memory"), rows)]
    parts.append(f"## {AT_ONCE} hooks at once\n\n{results.storms} times, {len(results.wrong_storms)} wrong.")
    parts.extend(results.wrong_storms)
    verdicts = [(bar.name, bar.measured, bar.limit, bar.verdict) for bar in bars(results)]
    parts += ["## Bars", table(("bar", "measured", "at most", "verdict"), verdicts)]
    return "\n\n".join(parts) + "\n"


def _hooks_table(samples: dict[str, list[Sample]], calls: dict[str, int]) -> str:
    true = median_wall(samples[TRUE])
    rows = []
    for name, runs in samples.items():
        wall = median_wall(runs)
        late = statistics.quantiles([run.wall for run in runs], n=20)[-1]
        shown = (milliseconds(wall), milliseconds(late), milliseconds(median_cpu(runs)), times(wall / true))
        rows.append((name, str(len(runs)), *shown, str(calls.get(name, ""))))
    heads = ("", "runs", "wall", "95 of 100 within", "CPU", f"wall / {TRUE}", "system calls")
    return table(heads, rows)


def _files_of() -> tuple[bool, int]:
    """Whether `active` is there, and how many subagents are in flight by their files."""
    state = Path(os.environ[STATE_DIR_VARIABLE])
    folder = state / "codex_subagents"
    return (state / "active").exists(), len(list(folder.iterdir())) if folder.exists() else 0


def _published_script(python: str) -> Path:
    code = "import imbue.mngr_codex.resources as it; print(it.__path__[0])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RunError(f"{python} ended with status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return Path(done.stdout.strip()) / PUBLISHED_SCRIPT


def main() -> int:
    """Run the command line; a missed bar is no failure."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="turns whose hooks are timed (500)")
    parser.add_argument("--storms", type=int, default=50, help="how often 64 hooks run at once, and 64 once more (50)")
    parser.add_argument("--name", default="hooks", help='last part of the results\' name (default: "hooks")')
    arguments = parser.parse_args()
    if not is_program(arguments.program):
        return 1
    with tempfile.TemporaryDirectory(prefix="mngr-codex-bench-") as work:
        bench = Bench(arguments.program.absolute(), Path(work))
        if not succeeds(
            lambda: bench.run(arguments.rounds, arguments.storms, os.environ.get(PUBLISHED_PYTHON_VARIABLE))
        ):
            return 1
    print(to_markdown(bench.results))
    name = f"{bench.results.date}-{arguments.name}"
    say(f"stored as {store(bench.results, to_markdown(bench.results), arguments.results, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
