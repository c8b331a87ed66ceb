"""`mngr-codex watch` writes mngr's usage events: each token of each thread once, whatever happens to the rollouts."""

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import zstd_frames
from tests.support.fake_agent import Agent
from tests.support.followed_agent import wait_until
from tests.support.program import program, run
from tests.support.recordings import all_recordings, lines_of, name, parse, recordings, session_meta
from tests.support.rollout_builder import Rollout, turn, uuid7
from tests.support.session_cost import Usage, own_lines, session_cost, usage_of
from tests.support.strace import TracedCommand
from tests.support.usage_agent import UsageAgent, tokens_of

THREAD = uuid7(1)

#: A script that prints the exit status and the peak memory of a command.
PEAK_MEMORY = Path(__file__).parents[1] / "support/peak_memory.py"


@pytest.fixture
def agent(tmp_path: Path) -> UsageAgent:
    """An agent with its own Codex home."""
    return UsageAgent(tmp_path)


def recorded(recording: str) -> tuple[bytes, ...]:
    return lines_of(next(path for path in recordings() if name(path) == recording))


def cost_by_responses(lines: tuple[bytes, ...]) -> Usage | None:
    """Adds up the usage of all responses, each once. Returns `None` for versions that do not write their ids."""
    parsed = [parse(line) for line in lines]
    own = [line["payload"] for line, own in zip(parsed, own_lines(parsed), strict=True) if own]
    records = [payload for payload in own if "response_id" in payload and "usage" in payload]
    # A scripted model gave all of its responses the same id.
    responses = {(it["response_id"], *usage_of(it["thread_token_usage"])): usage_of(it["usage"]) for it in records}
    return tuple(map(sum, zip(*responses.values(), strict=True))) if responses else None


class TestRecordings:
    """The totals of recorded sessions equal two independent counts."""

    @pytest.mark.parametrize("path", all_recordings(), ids=name)
    def test_the_total_is_what_the_session_cost(self, agent: UsageAgent, path: Path) -> None:
        lines, thread = lines_of(path), session_meta(path)["id"]
        positions = [*range(0, len(lines), max(1, len(lines) // 3)), len(lines)]
        costs = []
        for _, end in pairwise(positions):
            # The next line is half written.
            agent.write(thread, [*lines[:end], b"".join(lines[end : end + 1])[:40]])
            agent.run_once()
            costs.append(session_cost(lines[:end]))
            assert agent.totals == ({} if sum(costs[-1]) == 0 else {thread: costs[-1]})
        # In a session that an older version began, not all responses have an id.
        if path.parent.name != "mixed" and (expected := cost_by_responses(lines)):
            assert costs[-1] == expected
        assert len(agent.events) == len({cost for cost in costs if sum(cost)})

    def test_sessions_with_subagents_and_forks_are_counted_by_thread(self, agent: UsageAgent) -> None:
        expected: dict[str, Usage] = {}
        for path in (path for path in recordings() if path.parent.name == "0.171.0"):
            thread = session_meta(path)["id"]
            agent.write(thread, lines_of(path))
            cost = session_cost(lines_of(path))
            expected |= {thread: cost} if sum(cost) else {}
        agent.run_once()
        assert agent.totals == expected and len(agent.events) == len(expected)
        agent.run_once("--final")
        assert len(agent.events) == len(expected)

    def test_a_migrated_rollout_counts_once(self, agent: UsageAgent) -> None:
        """Codex adds ordinals to the lines of an old session."""
        old = recorded("0.138.0/resume")
        new = [line.replace(b'Z","', b'Z","ordinal":%d,"' % number, 1) for number, line in enumerate(old)]
        agent.write(THREAD, old)
        agent.run_once()
        agent.write(THREAD, new)
        agent.run_once()
        assert list(agent.totals.values()) == [session_cost(old)]


def growing(*usages: int) -> Rollout:
    """Returns a session with one inference of each number of input tokens, of which 10 are cached."""
    rollout = turn()
    for tokens in usages:
        rollout.assistant("x").usage(tokens)
    return rollout


class TestEvents:
    """The content of the events."""

    def test_a_change_of_the_tokens_is_one_line(self, agent: UsageAgent) -> None:
        rollout = growing(100)
        agent.write(THREAD, [rollout.data])
        agent.run_once()
        agent.run_once()
        [event] = agent.events
        assert event == {
            **event,
            "timestamp": rollout.timestamp,
            "session_id": THREAD,
            "tokens": {"input": 90, "output": 5, "cache_read": 10, "cache_creation": None},
            "model": "openai/gpt-5.5",
        }
        assert event["event_id"].startswith("evt-") and len(event["event_id"]) == 36
        assert "cost_mode" not in event and "rate_limits" not in event
        agent.write(THREAD, [rollout.user("more").data])
        agent.run_once()
        assert agent.events == [event]
        agent.write(THREAD, [rollout.context(model="vendor/model-1").assistant("y").usage(50).data])
        agent.run_once()
        assert tokens_of(agent.events[1]) == (150, 20, 10) and agent.events[1]["model"] == "vendor/model-1"

    @pytest.mark.parametrize(
        ("login", "provider", "used", "expected"),
        [
            ({"auth_mode": "apikey", "OPENAI_API_KEY": "sk-1"}, "openai", None, "API_KEY"),
            ({"OPENAI_API_KEY": "sk-1", "tokens": None}, "openai", 3, "API_KEY"),
            ({"auth_mode": "chatgpt", "tokens": {"id_token": "x"}}, "openai", None, "SUBSCRIPTION"),
            ({"OPENAI_API_KEY": None, "tokens": {"id_token": "x"}}, None, None, "SUBSCRIPTION"),
            ({"auth_mode": "chatgpt", "tokens": {"id_token": "x"}}, "azure", None, "API_KEY"),
            (None, "openai", 3, "SUBSCRIPTION"),
            (None, "openai", None, None),
        ],
    )
    def test_the_login_and_the_provider_decide_who_pays(
        self, agent: UsageAgent, login: Any, provider: str | None, used: int | None, expected: str | None
    ) -> None:
        if login is not None:
            (agent.home / "auth.json").write_text(json.dumps(login, indent=2) + "\n")
        rollout = Rollout().line("session_meta", {"id": THREAD, "model_provider": provider}).started().context()
        limits = {"primary": {"used_percent": used, "window_minutes": 300}} if used is not None else None
        rollout.event("token_count", info=None, rate_limits=limits).assistant("x").usage(100)
        agent.write(THREAD, [rollout.data])
        agent.run_once("--final")
        [event] = agent.events
        assert event.get("cost_mode") == expected
        others = (file for file in agent.state.rglob("*") if file.is_file() and file.name != "auth.json")
        assert not any(b"sk-1" in file.read_bytes() for file in others)

    def test_limits_are_named_by_their_windows(self, agent: UsageAgent) -> None:
        def window(minutes: int | None, used: float = 12.5) -> dict[str, Any]:
            return {"used_percent": used, "window_minutes": minutes, "resets_at": 1795340000}

        def limits(primary: Any, secondary: Any, limit_id: str | None = "codex") -> dict[str, Any]:
            return {"limit_id": limit_id, "primary": primary, "secondary": secondary, "credits": None}

        def shown(label: str, minutes: int, used: float = 12.5) -> dict[str, Any]:
            seconds = {"window_seconds": 60 * minutes}
            return {"used_percentage": used, "resets_at": 1795340000, **seconds, "label": label}

        rollout = turn()
        for value, expected in [
            (limits(window(300), None), {"five_hour": shown("5h", 300)}),
            # Nothing has changed.
            (limits(window(300), None), None),
            (None, None),
            (limits(None, None), None),
            # The limit of one model.
            (limits(window(300, 99), None, "codex_other"), None),
            # Primary and secondary are exchanged.
            (
                limits(window(10080, 7), window(300, 8), None),
                {"seven_day": shown("7d", 10080, 7), "five_hour": shown("5h", 300, 8)},
            ),
            (limits(window(90), window(43200)), {"window_90m": shown("90m", 90), "window_30d": shown("30d", 43200)}),
        ]:
            before = agent.events
            rollout.event("token_count", info=None, rate_limits=value)
            agent.write(THREAD, [rollout.data])
            agent.run_once()
            added = agent.events[len(before) :]
            assert [event["rate_limits"] for event in added] == ([] if expected is None else [expected])
            assert all(event["tokens"] is None and event["timestamp"] == rollout.timestamp for event in added)
        # Limits that were not read again are not repeated: they could hide newer ones of another agent.
        agent.write(THREAD, [rollout.assistant("x").usage(100).data])
        agent.run_once()
        assert agent.events[-1]["tokens"] and "rate_limits" not in agent.events[-1]

    def test_times_never_go_back_although_the_clock_does(self, agent: UsageAgent) -> None:
        rollout = growing(100)
        agent.write(THREAD, [rollout.data])
        agent.run_once()
        rollout.clock = -900_000
        agent.write(THREAD, [rollout.assistant("x").usage(30).data])
        agent.run_once()
        assert agent.totals == {THREAD: (130, 20, 10)} and len(agent.events) == 2


class TestFiles:
    """Rollouts that are rewritten, moved, compressed or removed, and sessions with several files."""

    def test_a_compressed_or_archived_rollout_continues(self, agent: UsageAgent) -> None:
        rollout = growing(100)
        path = agent.write(THREAD, [rollout.data])
        agent.run_once()
        rollout.assistant("x").usage(20)
        compressed = path.with_name(f"{path.name}.zst")
        compressed.write_bytes(zstd_frames.compress(rollout.data))
        path.unlink()
        agent.run_once()
        assert agent.totals == {THREAD: (120, 20, 10)}
        archived = agent.home / "archived_sessions" / path.name
        archived.parent.mkdir()
        compressed.unlink()
        archived.write_bytes(rollout.assistant("x").usage(30).data)
        agent.run_once()
        assert agent.totals == {THREAD: (150, 30, 15)} and len(agent.events) == 3
        archived.rename(path)
        agent.run_once()
        path.unlink()
        agent.run_once("--final")
        assert agent.totals == {THREAD: (150, 30, 15)} and len(agent.events) == 3

    def test_an_archived_rollout_that_is_new_is_found(self, agent: UsageAgent) -> None:
        (agent.home / "archived_sessions").mkdir()
        path = agent.home / f"archived_sessions/rollout-2026-11-22T07-00-00-{THREAD}.jsonl.zst"
        path.write_bytes(zstd_frames.compress(growing(100, 20).data))
        agent.run_once()
        assert agent.totals == {THREAD: (120, 20, 10)}
        # It is resumed.
        path.unlink()
        agent.write(THREAD, [growing(100, 20, 3).data])
        agent.run_once()
        assert agent.totals == {THREAD: (123, 30, 15)}

    def test_a_rewritten_rollout_takes_nothing_back(self, agent: UsageAgent) -> None:
        agent.write(THREAD, [growing(100, 50).data])
        agent.run_once()
        for usages, total in [([70], (150, 20, 10)), ([100, 50, 1], (151, 30, 15)), ([200], (200, 30, 15))]:
            agent.write(THREAD, [growing(*usages).data])
            agent.run_once()
            assert agent.totals == {THREAD: total}

    def test_the_files_of_a_thread_are_added_up(self, agent: UsageAgent) -> None:
        """After going back in a conversation, Codex writes a further file of the same thread."""
        agent.write(THREAD, [growing(100, 50).data])
        agent.run_once()
        later = Rollout(clock=60_000).meta(history_base={"thread_id": THREAD}).started(uuid7(5)).context(uuid7(5))
        agent.write(THREAD, [later.assistant("x").usage(30).data], "_0b1c")
        agent.run_once()
        assert agent.totals == {THREAD: (180, 30, 15)} and len(agent.events) == 2

    def test_a_fork_is_a_thread_of_its_own(self, agent: UsageAgent) -> None:
        expected = {}
        for recording in ("0.171.0/fork", "0.171.0/fork.2"):
            lines = recorded(recording)
            thread = parse(lines[0])["payload"]["id"]
            agent.write(thread, lines)
            expected[thread] = session_cost(lines)
        agent.run_once()
        assert agent.totals == expected and len(expected) == 2

    def test_a_file_without_a_header_belongs_to_the_thread_in_its_name(self, agent: UsageAgent) -> None:
        agent.write(THREAD, [b"".join(growing(100).data.splitlines(keepends=True)[1:])])
        agent.run_once()
        assert agent.totals == {THREAD: (100, 10, 5)}


class TestSearch:
    """Which rollouts are measured when."""

    def test_sessions_that_no_hook_has_named_are_found_when_the_agent_stops(self, tmp_path: Path) -> None:
        """A side conversation, for example, or a Codex that the agent runs as a tool."""
        agent = Agent(tmp_path)
        usage = UsageAgent(tmp_path, agent.state)
        agent.home = usage.home
        agent.begin_session()
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        root, nested = agent.session_id, agent.new_id()
        rollout = Rollout().meta(root).started(agent.turn_id).context(agent.turn_id)
        watcher = subprocess.Popen([program(), "watch", "--state-dir", agent.state])

        def write_and_wait(rollout: Rollout, **totals: int) -> None:
            agent.rollout.parent.mkdir(parents=True, exist_ok=True)
            agent.rollout.write_bytes(rollout.data)
            wait_until(lambda: {thread: usage[0] for thread, usage in usage.totals.items()} == totals)

        try:
            write_and_wait(rollout.assistant("x").usage(100), **{root: 100})
            usage.write(nested, [Rollout().meta(nested).started().context().assistant("x").usage(40).data])
            write_and_wait(rollout.assistant("x").usage(20), **{root: 120})
            write_and_wait(rollout.complete(agent.turn_id), **{root: 120, nested: 40})
        finally:
            watcher.terminate()
            assert watcher.wait(timeout=30) == 0

    def test_sessions_of_a_codex_that_is_killed_during_a_turn_are_found(self, tmp_path: Path) -> None:
        agent = Agent(tmp_path)
        usage = UsageAgent(tmp_path, agent.state)
        agent.home = usage.home
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        root, nested = agent.session_id, agent.new_id()
        agent.rollout.parent.mkdir(parents=True, exist_ok=True)
        rollout = Rollout().meta(root).started(agent.turn_id).context(agent.turn_id).assistant("x").usage(100)
        codex = subprocess.Popen(["sleep", "60"])
        watcher = subprocess.Popen([program(), "watch", "--with-pid", str(codex.pid), "--state-dir", agent.state])
        try:
            agent.rollout.write_bytes(rollout.data)
            wait_until(lambda: list(usage.totals) == [root])
            usage.write(nested, [Rollout().meta(nested).started().context().assistant("x").usage(40).data])
        finally:
            codex.kill()
            codex.wait()
            assert watcher.wait(timeout=30) == 0
        assert {thread: usage[0] for thread, usage in usage.totals.items()} == {root: 100, nested: 40}
        assert agent.status["state"] == "ENDED"

    def test_a_rollout_of_a_subagent_is_measured_as_it_grows(self, tmp_path: Path) -> None:
        agent = Agent(tmp_path)
        usage = UsageAgent(tmp_path, agent.state)
        agent.home = tmp_path / "elsewhere"
        agent.begin_session()
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        child, turn_id = agent.new_id(), agent.new_id()
        agent.child_hook("user-prompt-submit", child, turn_id)
        rollout = Rollout().meta(child).started(turn_id).context(turn_id)
        path = agent.rollout_path(child)
        path.parent.mkdir(parents=True, exist_ok=True)
        for tokens, total in [(100, 100), (20, 120)]:
            path.write_bytes(rollout.assistant("x").usage(tokens).data)
            usage.run_once()
            assert {thread: usage[0] for thread, usage in usage.totals.items()} == {child: total}


@pytest.mark.not_emulated("the emulator's memory counts")
def test_a_replaced_history_is_not_kept_in_memory(agent: UsageAgent) -> None:
    """Real ones have hundreds of megabytes."""
    history = b'"payload":{"message":"","replacement_history":["' + b"x" * (100 << 20) + b'"]}}\n'
    line = f'{{"timestamp":"{turn().timestamp}","type":"compacted",'.encode() + history
    rollout = growing(100)
    before = len(rollout.data)
    rollout.assistant("y").usage(30)
    agent.write(THREAD, [rollout.data[:before], line, rollout.data[before:]])
    measure: list[str | Path] = [sys.executable, PEAK_MEMORY, program(), "watch", "--once", "--state-dir", agent.state]
    status, peak = map(int, subprocess.run(measure, capture_output=True, check=True).stdout.split())
    assert status == 0 and peak < 48 << 10, f"{peak} KiB"
    assert agent.totals == {THREAD: (130, 20, 10)}


class TestInterruptions:
    """No event is lost or repeated, whatever happens to the program's files."""

    @pytest.mark.parametrize("damage", ["removed", "emptied", "damaged"])
    def test_a_lost_checkpoint_is_rebuilt_from_the_rollouts(self, agent: UsageAgent, damage: str) -> None:
        rollout = growing(100, 20)
        agent.write(THREAD, [rollout.data])
        agent.write(uuid7(7), [growing(50).data.replace(THREAD.encode(), uuid7(7).encode())])
        agent.run_once()
        before = agent.events
        if damage == "removed":
            agent.checkpoint.unlink()
        else:
            agent.checkpoint.write_bytes(b"" if damage == "emptied" else b"\xff" * 4096)
        agent.run_once()
        assert agent.events == before
        agent.write(THREAD, [rollout.assistant("x").usage(3).data])
        agent.run_once()
        assert agent.events[:-1] == before and tokens_of(agent.events[-1]) == (123, 30, 15)

    def test_a_half_written_event_is_replaced(self, agent: UsageAgent) -> None:
        rollout = growing(100)
        agent.write(THREAD, [rollout.data])
        agent.run_once()
        with agent.file.open("ab") as file:
            file.write(b'{"source":"codex/usa')
        agent.write(THREAD, [rollout.assistant("x").usage(3).data])
        agent.run_once()
        assert [tokens_of(event)[0] for event in agent.events] == [100, 103]

    def test_a_removed_file_of_events_begins_again_with_the_total(self, agent: UsageAgent) -> None:
        rollout = growing(100)
        agent.write(THREAD, [rollout.data])
        agent.run_once()
        agent.file.unlink()
        agent.run_once()
        assert agent.events == []
        agent.write(THREAD, [rollout.assistant("x").usage(3).data])
        agent.run_once()
        assert [tokens_of(event)[0] for event in agent.events] == [103]

    def test_a_thread_id_with_invalid_utf_8_leaves_the_file_readable(self, agent: UsageAgent) -> None:
        agent.write(uuid7(2), [growing(7).data.replace(THREAD.encode(), b"x\xffy")])
        agent.run_once()
        assert [event["session_id"] for event in agent.events] == ["x\ufffdy"]

    def test_events_that_cannot_be_written_are_written_later(self, agent: UsageAgent) -> None:
        agent.write(THREAD, [growing(100).data])
        agent.file.mkdir(parents=True)
        agent.run_once()
        assert str(agent.file) in agent.log
        agent.file.rmdir()
        agent.run_once()
        assert agent.totals == {THREAD: (100, 10, 5)}

    def test_a_damaged_rollout_does_not_stop_the_others(self, agent: UsageAgent) -> None:
        damaged = agent.write(uuid7(7), [b"\x28\xb5\x2f\xfd" + b"\xff" * 50]).rename(
            agent.rollout(uuid7(7)).with_suffix(".jsonl.zst")
        )
        path = agent.write(THREAD, [growing(100).data])
        agent.make_current(path)
        watcher = subprocess.Popen([program(), "watch", "--state-dir", agent.state])
        try:
            wait_until(lambda: agent.totals == {THREAD: (100, 10, 5)})
            path.write_bytes(growing(100, 20).data)
            wait_until(lambda: agent.totals == {THREAD: (120, 20, 10)})
        finally:
            watcher.terminate()
            assert watcher.wait(timeout=30) == 0
        assert agent.log.count(str(damaged)) == 1
        damaged.write_bytes(zstd_frames.compress(growing(70).data.replace(THREAD.encode(), uuid7(7).encode())))
        agent.run_once()
        assert agent.totals == {THREAD: (120, 20, 10), uuid7(7): (70, 10, 5)}

    @pytest.mark.slow
    def test_a_pass_that_is_killed_at_any_system_call(self, agent: UsageAgent, tracing: None, tmp_path: Path) -> None:
        rollout = growing(100)
        path = agent.write(THREAD, [rollout.data])
        agent.make_current(path)
        agent.run_once()
        path.write_bytes(rollout.assistant("y").usage(20).assistant("z").usage(3).data)
        agent.write(uuid7(7), [growing(50).data.replace(THREAD.encode(), uuid7(7).encode())])
        before = tmp_path / "before"
        shutil.copytree(agent.state, before)

        def restore() -> TracedCommand:
            shutil.rmtree(agent.state)
            shutil.copytree(before, agent.state)
            return TracedCommand(["watch", "--once", "--state-dir", str(agent.state)], {})

        calls = list(restore().calls(tmp_path / "calls", "mngr_codex/usage"))
        events = agent.events
        assert agent.totals == {THREAD: (123, 30, 15), uuid7(7): (50, 10, 5)}
        assert {"pwrite64", "write", "flock"} <= {called for called, _ in calls}
        for called, number in calls:
            restore().kill(called, number)
            agent.run_once()
            assert agent.events == events, (called, number)


class TestAdoption:
    """Two agents with the same session: each reports what it has used itself."""

    @staticmethod
    def adopt(agent: UsageAgent) -> str:
        done = run("adopt", "--state-dir", agent.state)
        assert (done.status, done.stderr) == (0, ""), done
        return done.stdout.decode()

    @pytest.mark.parametrize("recording", ["0.138.0/tools", "0.147.0/tui_resume", "0.163.0/resume", "0.171.0/tools"])
    @pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
    def test_the_sum_is_what_the_session_cost(self, agent: UsageAgent, recording: str, part: float) -> None:
        lines = recorded(recording)
        thread, copied = parse(lines[0])["payload"]["id"], max(1, int(part * len(lines)))
        source = UsageAgent(agent.state.parent / "source")
        source.write(thread, lines[:copied])
        source.run_once("--final")
        agent.write(thread, lines[:copied])
        self.adopt(agent)
        agent.run_once()
        assert agent.events == []
        # Both continue.
        for continued in (source, agent):
            continued.write(thread, lines)
            continued.run_once()
        nothing = (0, 0, 0)
        before, after = session_cost(lines[:copied]), session_cost(lines)
        assert source.totals.get(thread, nothing) == after
        own = tuple(one - other for one, other in zip(after, before, strict=True))
        assert agent.totals.get(thread, nothing) == own
        assert len(agent.events) == (sum(own) > 0)

    def test_limits_of_another_agent_are_not_repeated(self, agent: UsageAgent) -> None:
        def limits(used: int) -> Any:
            return {"primary": {"used_percent": used, "window_minutes": 300, "resets_at": 1795340000}}

        rollout = growing(100).event("token_count", info=None, rate_limits=limits(7))
        agent.write(THREAD, [rollout.data])
        assert self.adopt(agent) == "1 session was used by other agents\n"
        agent.write(THREAD, [rollout.assistant("x").usage(20).data])
        agent.run_once()
        agent.write(THREAD, [rollout.event("token_count", info=None, rate_limits=limits(8)).data])
        agent.run_once()
        first, second = agent.events
        assert "rate_limits" not in first and second["rate_limits"]["five_hour"]["used_percentage"] == 8
        assert tokens_of(first) == tokens_of(second) == (20, 10, 5)

    @pytest.mark.parametrize("lost", ["checkpoint", "file", None])
    def test_a_second_adoption_leaves_what_the_agent_has_used(self, agent: UsageAgent, lost: str | None) -> None:
        def write(thread: str, *usages: int) -> None:
            agent.write(thread, [growing(*usages).data.replace(THREAD.encode(), thread.encode())])

        write(THREAD, 100)
        self.adopt(agent)
        write(THREAD, 100, 20)
        write(uuid7(7), 30)
        agent.run_once()
        expected = {THREAD: (20, 10, 5), uuid7(7): (30, 10, 5)}
        assert agent.totals == expected
        write(uuid7(8), 70)
        if lost == "checkpoint":
            agent.checkpoint.unlink()
        elif lost == "file":
            agent.file.unlink()
        assert self.adopt(agent) == "2 sessions were used by other agents\n"
        agent.run_once()
        assert agent.totals == ({} if lost == "file" else expected)
        for thread, usage in [(THREAD, (100, 20, 50)), (uuid7(7), (30, 50)), (uuid7(8), (70, 50))]:
            write(thread, *usage)
        agent.run_once()
        assert agent.totals == {THREAD: (70, 20, 10), uuid7(7): (80, 20, 10), uuid7(8): (50, 10, 5)}

    def test_it_lasts_although_everything_else_changes(self, agent: UsageAgent) -> None:
        rollout = growing(100, 50)
        path = agent.write(THREAD, [rollout.data])
        agent.write(uuid7(7), [growing(70).data.replace(THREAD.encode(), uuid7(7).encode())])
        assert self.adopt(agent) == "2 sessions were used by other agents\n"
        agent.checkpoint.unlink()
        rewritten = rollout.assistant("x").usage(30).data.replace(b'"payload":', b'"payload": ')
        path.write_bytes(rewritten)
        agent.run_once()
        assert agent.totals == {THREAD: (30, 10, 5)}
        path.with_name(f"{path.name}.zst").write_bytes(zstd_frames.compress(rewritten))
        path.unlink()
        agent.checkpoint.unlink()
        agent.run_once()
        assert agent.totals == {THREAD: (30, 10, 5)} and len(agent.events) == 1

    def test_damage_is_an_error_instead_of_a_guess(self, agent: UsageAgent) -> None:
        agent.write(THREAD, [growing(100).data])
        self.adopt(agent)
        inherited = agent.checkpoint.with_name("inherited")
        inherited.write_bytes(inherited.read_bytes()[:-1] + b"?")
        agent.run_once()
        assert agent.events == []
        log = (agent.state / "events/logs/mngr_codex/events.jsonl").read_text()
        assert f"cannot read {inherited}: it is damaged" in log and "no usage events are written" in log

    def test_without_an_agent(self, tmp_path: Path) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "MNGR_AGENT_STATE_DIR"}
        assert run("adopt", env=environment).status == 2
        done = run("adopt", "--state-dir", tmp_path / "missing")
        assert done.status == 1 and "no such directory" in done.stderr


inferences = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=inferences, actions=st.lists(st.sampled_from(["pass", "lose", "rewrite", "compress"]), max_size=6))
def test_any_order_of_events(tmp_path_factory: pytest.TempPathFactory, steps: Any, actions: list[str]) -> None:
    """Whatever happens in between, the totals are the sums of all inferences of each thread."""
    agent = UsageAgent(tmp_path_factory.mktemp("agent"))
    threads = [uuid7(100 + number) for number in range(3)]
    rollouts = {thread: Rollout().meta(thread).started(uuid7(500)).context(uuid7(500)) for thread in threads}
    expected = dict.fromkeys(threads, 0)
    remaining = list(actions)
    for number, (thread, tokens) in enumerate(steps):
        rollouts[threads[thread]].assistant("x").usage(100 * tokens)
        expected[threads[thread]] += 100 * tokens
        path = agent.write(threads[thread], [rollouts[threads[thread]].data])
        action = remaining.pop(0) if remaining and number % 2 else "none"
        if action == "lose":
            agent.checkpoint.unlink(missing_ok=True)
        elif action == "rewrite":
            # The same lines with other white space.
            path.write_bytes(path.read_bytes().replace(b'"payload":', b'"payload": '))
        elif action == "compress":
            path.with_name(f"{path.name}.zst").write_bytes(zstd_frames.compress(path.read_bytes()))
            path.unlink()
        if action != "none":
            agent.run_once()
            path.with_name(f"{path.name}.zst").unlink(missing_ok=True)
    for thread in threads:
        agent.write(thread, [rollouts[thread].data])
    agent.run_once("--final")
    assert {thread: usage[0] for thread, usage in agent.totals.items()} == {
        thread: total for thread, total in expected.items() if total
    }
    assert os.path.getsize(agent.file) > 0
