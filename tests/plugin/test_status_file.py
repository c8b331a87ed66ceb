"""The status file of an agent: whatever is in it, reading it gives known values or none."""

from __future__ import annotations

import dataclasses
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin import paths, status_file
from mngr_codex.plugin.status_file import Status

TIME = "2026-01-05T10:00:00.125Z"
CONTENT: dict[str, Any] = {
    "state": "WAITING",
    "since": TIME,
    "waiting_reason": "END_OF_TURN",
    "session_id": "01a216be-b0ac-7de1-b797-a17b3106c1df",
    "model": "gpt-5.5",
    "turn_since": TIME,
    "idle_since": TIME,
    "context_tokens": 1234,
    "tokens": {"input": 9, "cached_input": 5, "output": 4, "reasoning_output": 2},
    "last_compaction": {"at": TIME, "trigger": None},
    "last_error": {"at": TIME, "message": "no"},
}
VALUES = [None, True, -1, 0, 1.5, "", "x", "\x1b[2J", [], [1], {}, {"at": 1}, {"at": TIME}, {"input": "1"}, TIME]


def parsed(**changed: Any) -> Status:
    status = status_file.parse(json.dumps({"version": 1, **CONTENT, **changed}))
    assert status is not None
    return status


def test_a_complete_status(tmp_path: Path) -> None:
    assert dataclasses.asdict(parsed()) == CONTENT
    file = tmp_path / paths.STATUS
    assert status_file.read(tmp_path) is None
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"version": 1, **CONTENT, "later": "unknown"}))
    assert status_file.read(tmp_path) == parsed()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", "{}", '{"version": 2}', '{"version": "1"}', "[" * 100_000]
)
def test_what_is_no_status(text: str) -> None:
    assert status_file.parse(text) is None


@pytest.mark.parametrize("member", CONTENT)
def test_a_member_with_an_unexpected_value_is_unknown(member: str) -> None:
    expected = {name: value for name, value in CONTENT.items() if name != member}
    accepted: list[Any] = []
    for value in VALUES:
        read = dataclasses.asdict(parsed(**{member: value}))
        if read.pop(member) is not None:
            accepted.append(value)
        assert read == expected
    assert accepted == {
        "since": [TIME],
        "turn_since": [TIME],
        "idle_since": [TIME],
        "session_id": ["x"],
        "model": ["x", "\x1b[2J", TIME],
        "context_tokens": [0],
        "last_compaction": [{"at": TIME}],
    }.get(member, [])


@pytest.mark.parametrize("tokens", [{"input": 1}, {**CONTENT["tokens"], "output": None}])
def test_incomplete_tokens_are_unknown(tokens: Any) -> None:
    assert parsed(tokens=tokens).tokens is None


def test_random_damage() -> None:
    numbers = random.Random(7)
    text = json.dumps({"version": 1, **CONTENT})
    for _ in range(3000):
        damaged = list(text)
        for _ in range(numbers.randrange(1, 6)):
            damaged[numbers.randrange(len(damaged))] = numbers.choice('{}[]":,01ez\\\x00é')
        status_file.parse("".join(damaged)[: numbers.randrange(len(text))])
        status_file.parse("".join(damaged))


@pytest.mark.parametrize("time", [None, "", "yesterday", "2026-01-05T10:00:00", "9999-13-01T00:00:00Z"])
def test_what_is_no_time(time: str | None) -> None:
    assert status_file.moment(time) is None


def test_times_are_utc() -> None:
    moment = datetime(2026, 1, 5, 10, 0, 0, 125_000, UTC)
    assert status_file.moment(TIME) == status_file.moment("2026-01-05T12:00:00.125+02:00") == moment
