"""An agent whose rollouts are in its own Codex home, and the usage events that `watch` writes for it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.program import run
from tests.support.session_cost import Usage

KEYS = {"source", "type", "event_id", "timestamp", "session_id", "cost", "tokens", "model"}
OPTIONAL_KEYS = {"cost_mode", "rate_limits"}

type Event = dict[str, Any]


class UsageAgent:
    """A state directory with a Codex home. Every event that is read has the form that mngr requires."""

    def __init__(self, folder: Path, state: Path | None = None) -> None:
        self.state = state or folder / "agent-1"
        self.home = self.state / "plugin/codex/home"
        self.home.mkdir(parents=True)
        self.file = self.state / "events/codex/usage/events.jsonl"
        self.checkpoint = self.state / "plugin/mngr_codex/usage"

    def rollout(self, thread: str, suffix: str = "") -> Path:
        """Returns the path of a thread's rollout, which may not exist yet."""
        path = self.home / f"sessions/2026/11/22/rollout-2026-11-22T07-00-00-{thread}{suffix}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, thread: str, lines: Iterable[bytes], suffix: str = "") -> Path:
        """Replaces a thread's rollout and returns its path."""
        path = self.rollout(thread, suffix)
        path.write_bytes(b"".join(lines))
        return path

    def make_current(self, rollout: Path) -> None:
        """Makes a rollout the root's, as its hooks do."""
        with (self.state / "codex_transcript_paths").open("a") as paths:
            paths.write(f"{rollout}\n")

    def run_once(self, *options: str) -> None:
        """Makes a pass, which must succeed."""
        done = run("watch", "--once", *options, "--state-dir", self.state)
        assert (done.status, done.stdout, done.stderr) == (0, b"", ""), done

    @property
    def log(self) -> str:
        """The agent's log, or "" if nothing was logged."""
        path = self.state / "events/logs/mngr_codex/events.jsonl"
        return path.read_text() if path.exists() else ""

    @property
    def events(self) -> list[Event]:
        """The events, each on its own line. The ids are unique, and the times of a thread never go back."""
        data = self.file.read_bytes() if self.file.exists() else b""
        assert not data or data.endswith(b"\n")
        events = [json.loads(line) for line in data.splitlines()]
        times: dict[str, str] = {}
        for event in events:
            assert set(event) - OPTIONAL_KEYS == KEYS, event
            assert (event["source"], event["type"], event["cost"]) == ("codex/usage", "cost_snapshot", None)
            assert event["timestamp"] >= times.get(event["session_id"], ""), events
            times[event["session_id"]] = event["timestamp"]
        assert len({event["event_id"] for event in events}) == len(events), "an event is repeated"
        return events

    @property
    def totals(self) -> dict[str, Usage]:
        """The latest tokens of each thread: input with cached tokens, cached input, and output."""
        return {event["session_id"]: tokens_of(event) for event in self.events if event["tokens"]}


def tokens_of(event: Event) -> Usage:
    """Returns the tokens of an event, as `session_cost` counts them."""
    tokens = event["tokens"]
    assert set(tokens) == {"input", "output", "cache_read", "cache_creation"} and tokens["cache_creation"] is None
    return (tokens["input"] + tokens["cache_read"], tokens["cache_read"], tokens["output"])
