"""Two watchers and three hooks run simultaneously while a rollout grows."""

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.fake_agent import Agent
from tests.support.followed_agent import FollowedAgent, append_lines, wait_until
from tests.support.program import parse_records
from tests.support.recordings import lines_of, name, recordings

#: Duration of the test in seconds. `make torture` sets a minute.
SECONDS = float(os.environ.get("MNGR_CODEX_SECONDS_AT_ONCE", "10"))

LINES = [line for path in recordings() if name(path).startswith("0.169.0/") for line in lines_of(path)]

TIMESTAMP = re.compile(rb'^\{"timestamp":"[^"]*"')

#: Members of each hook's payload, in addition to those of all hooks.
MEMBERS: dict[str, dict[str, Any]] = {
    "user-prompt-submit": {"permission_mode": "default", "model": "gpt-5.5", "prompt": "go on " * 50},
    "pre-tool-use": {
        "permission_mode": "default",
        "model": "gpt-5.5",
        "tool_name": "Bash",
        "tool_use_id": "call_1",
        "tool_input": {"command": "seq 10000 | sort"},
    },
    "stop": {"permission_mode": "default", "stop_hook_active": False, "last_assistant_message": "Done. " * 100},
}


class Loops:
    """Repeats functions in threads until `end`, which raises the first error of a function."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._ended = threading.Event()
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def repeat(self, name: str, function: Callable[[], object]) -> None:
        def loop() -> None:
            try:
                while not self._ended.is_set():
                    function()
                    self.counts[name] += 1
            except BaseException as error:
                self._errors.append(error)

        self._threads.append(threading.Thread(target=loop, name=name))
        self._threads[-1].start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


@pytest.mark.slow
def test_transcripts_are_complete_without_duplicates(followed: FollowedAgent) -> None:
    agent = followed.agent
    agent.begin_turn()
    rollout = agent.rollout
    rollout.parent.mkdir(parents=True, exist_ok=True)
    agent.hook("session-start", source="startup")
    watchers = [followed.watch(), followed.watch()]
    loops = Loops()
    written = 0

    def write() -> None:
        """Writes a line in two parts. Each line has its own timestamp, so that all ids differ."""
        nonlocal written
        at = (datetime(2026, 11, 22, tzinfo=UTC) + timedelta(milliseconds=written)).isoformat(timespec="milliseconds")
        line = TIMESTAMP.sub(f'{{"timestamp":"{at.replace("+00:00", "Z")}"'.encode(), LINES[written % len(LINES)])
        written += 1
        middle = len(line) // 2
        append_lines(rollout, [line[:middle]])
        append_lines(rollout, [line[middle:]])
        time.sleep(0.002)

    try:
        loops.repeat("lines", write)
        for event, members in MEMBERS.items():
            loops.repeat(event, hooks_of(agent, event, members))
        time.sleep(SECONDS)
    finally:
        try:
            loops.end()
            wait_until(lambda: followed.raw == rollout.read_bytes())
        finally:
            for watcher in watchers:
                watcher.terminate()
            outputs = [watcher.communicate(timeout=30) for watcher in watchers]
    assert outputs == [(b"", b"")] * 2
    assert [watcher.returncode for watcher in watchers] == [0, 0]
    assert min(loops.counts.values()) > 10 * min(SECONDS, 5), loops.counts
    followed.run_once()
    assert followed.raw == rollout.read_bytes()
    assert followed.common == followed.converted("--partial")
    ids = [record["event_id"] for record in parse_records(followed.common)]
    assert len(ids) == len(set(ids))
    assert len(ids) > SECONDS
    # All hooks name one rollout. Nothing was logged but events deferred because of the lock.
    assert set(agent.rollouts) == {str(rollout)}
    assert all("queued for the next hook" in line["message"] for line in agent.log), agent.log


def hooks_of(agent: Agent, event: str, members: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        agent.hook(event, **members)

    return run
