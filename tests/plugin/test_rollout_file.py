"""What adoption reads of a rollout."""

import json
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.rollout_file import is_beginning_of, model_provider
from tests.support.recordings import DATA
from tests.support.zstd_frames import compress


def settings(provider: object) -> dict[str, Any]:
    payload = {"type": "thread_settings_applied", "thread_settings": {"model_provider_id": provider}}
    return {"type": "event_msg", "payload": payload}


def meta(**payload: object) -> dict[str, Any]:
    return {"type": "session_meta", "payload": payload}


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([meta()], None),
        ([meta(model_provider="a")], "a"),
        ([meta(model_provider=3)], None),
        ([meta(model_provider="a"), settings("b")], "b"),
        ([meta(model_provider="a"), settings("b"), settings("c"), settings(None)], "c"),
        ([meta(model_provider="a"), meta(model_provider="of the parent")], "a"),
        ([meta(model_provider="a"), {"payload": {"type": "message", "text": '"model_provider_id":"b"'}}], "a"),
        ([meta(model_provider="a"), {"payload": {"type": "thread_settings_applied", "model_provider": 1}}], "a"),
        ([], None),
    ],
)
def test_the_last_model_provider(
    tmp_path: Path, lines: list[dict[str, Any]], expected: str | None, is_compressed: bool
) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines).encode() + b'{"model_provider": half a li'
    rollout = tmp_path / "rollout.jsonl"
    rollout.write_bytes(compress(text) if is_compressed else text)
    assert model_provider(rollout) == expected


@pytest.mark.parametrize("version", ["0.138.0", "0.147.0", "0.163.0", "0.171.0"])
def test_the_model_provider_of_recorded_sessions(version: str) -> None:
    assert model_provider(DATA / version / "plain.jsonl") == "mock"


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_the_beginning_of_a_rollout(tmp_path: Path, size: int, is_compressed: bool) -> None:
    text = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    long, other = tmp_path / "long.jsonl", tmp_path / "other.jsonl"
    short = tmp_path / ("short.jsonl.zst" if is_compressed else "short.jsonl")
    short.write_bytes(compress(text) if is_compressed else text)
    long.write_bytes(text + b"more")
    other.write_bytes(text[:-1] + b"\n" + b"more")
    assert is_beginning_of(short, short) and is_beginning_of(short, long)
    assert not is_beginning_of(long, short)
    assert is_beginning_of(short, other) == (size == 0)
