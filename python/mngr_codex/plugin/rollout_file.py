"""The parts of a rollout that decide whether an agent can adopt it: its header, its model provider, and its bytes."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from mngr_codex._core import RolloutBytes

if TYPE_CHECKING:
    from pathlib import Path

_MAX_HEADER = 64 << 20
"""The maximum length of a header in bytes. Codex's are shorter than 100 kB; those of a compressed file can be huge."""
_CHUNK = 1 << 20


class _RolloutStream(io.RawIOBase):
    """The decompressed bytes of a rollout as Python's streams need them."""

    def __init__(self, rollout: Path) -> None:
        self._bytes = RolloutBytes(rollout)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        read = self._bytes.read(len(buffer))
        buffer[: len(read)] = read
        return len(read)


def _open(rollout: Path) -> io.BufferedReader:
    return io.BufferedReader(_RolloutStream(rollout), _CHUNK)


def header(rollout: Path) -> Any:
    """Returns the payload of a rollout's first line; None if that is not a session's header.

    Args:
        rollout: The rollout, compressed or not.

    Raises:
        OSError: The file cannot be read, or the compressed file is damaged.
    """
    with _open(rollout) as stream:
        first = stream.readline(_MAX_HEADER)
    try:
        line = json.loads(first)
        return (line.get("payload") or {}) if line["type"] == "session_meta" else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def model_provider(rollout: Path) -> str | None:
    """Returns the model provider that Codex needs to resume a rollout.

    It is the one of the last ``thread_settings_applied`` line, otherwise the one of the header (seen on 0.163 and
    0.171).

    Args:
        rollout: The rollout, compressed or not.

    Raises:
        OSError: The file cannot be read, or the compressed file is damaged.
    """
    provider = None
    with _open(rollout) as stream:
        for number, line in enumerate(stream):
            if b"model_provider" in line:
                try:
                    payload = json.loads(line)["payload"]
                    if number == 0:
                        found = payload.get("model_provider")
                    elif payload.get("type") == "thread_settings_applied":
                        found = payload["thread_settings"].get("model_provider_id")
                    else:
                        continue
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    continue
                provider = found if isinstance(found, str) else provider
    return provider


def is_beginning_of(rollout: Path, other: Path) -> bool:
    """Returns whether a rollout's bytes equal another one's, or its first bytes.

    Args:
        rollout: A rollout, compressed or not.
        other: Another one.

    Raises:
        OSError: A file cannot be read, or a compressed file is damaged.
    """
    if rollout.suffix == other.suffix == ".jsonl" and rollout.stat().st_size > other.stat().st_size:
        return False
    ours, others = RolloutBytes(rollout), RolloutBytes(other)
    while chunk := ours.read(_CHUNK):
        if others.read(len(chunk)) != chunk:
            return False
    return True
