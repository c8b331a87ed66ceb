"""Read what the OpenAI Codex CLI writes, as mngr's common transcript.

:func:`convert` writes the transcript of a rollout to a file, :func:`iter_records` gives its records one at a time::

    summary = convert("rollout.jsonl", "transcript.jsonl")
    for record in iter_records("rollout.jsonl.zst"):
        print(record["type"])

:func:`follow` brings the transcripts of an agent that is at work up to date, :func:`marker` tells whether it is::

    follow(state_dir)
    print(marker(state_dir).state)

Needs nothing of mngr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mngr_codex._core import (
    ConversionSummary,
    FollowSummary,
    MarkerState,
    MarkerTurn,
    RecordBatches,
    __version__,
    convert,
    follow,
    marker,
    may_exceed_64_bits,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

__all__ = [
    "ConversionSummary",
    "FollowSummary",
    "MarkerState",
    "MarkerTurn",
    "__version__",
    "convert",
    "follow",
    "iter_records",
    "marker",
]


def iter_records(source: str | PathLike[str]) -> Iterator[dict[str, Any]]:
    """Go over the common transcript of a Codex rollout, one record at a time.

    The rollout is converted as it is read, in memory that does not grow with it.

    Args:
        source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (told by its content).

    Yields:
        The records: the header, then steps and observations, as mngr's schema has them. Integers of any size are
        exact.

    Raises:
        OSError: ``source`` cannot be read (``FileNotFoundError``, ``PermissionError``, ``IsADirectoryError``).
        ValueError: A line is longer than 1 GiB, or the compressed file is damaged; the message has the path and the
            byte offset.
    """
    # Opened here and not at the first record, so that a wrong path is told where the call stands.
    return _records(RecordBatches(source))


def _records(batches: RecordBatches) -> Iterator[dict[str, Any]]:
    import json

    import orjson

    for batch in batches:
        is_beyond_64_bits = may_exceed_64_bits(batch)
        for line in batch.splitlines():
            # orjson makes a float of an integer beyond 64 bits, and refuses a surrogate without its partner, which
            # codex keeps in tool arguments.
            if is_beyond_64_bits and may_exceed_64_bits(line):
                yield json.loads(line)
                continue
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                record = json.loads(line)
            yield record
