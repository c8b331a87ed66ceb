"""Read what the OpenAI Codex CLI writes, as mngr's common transcript.

:func:`convert` writes the transcript of a rollout to a file, :func:`iter_records` gives its records one at a time::

    summary = convert("rollout.jsonl", "transcript.jsonl")
    for record in iter_records("rollout.jsonl.zst"):
        print(record["type"])

:func:`tail` gives the last records of a rollout, a transcript or an agent, at once at any size::

    for record in tail("transcript.jsonl", 3):
        print(record.get("message"))

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
    last_records,
    marker,
    may_exceed_64_bits,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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
    "tail",
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
    return _parsed(RecordBatches(source))


def tail(path: str | PathLike[str], n: int) -> list[dict[str, Any]]:
    """Give the last records of a transcript.

    A common transcript is read from its end, so this takes as long for 1 GB as for 1 MB; a rollout is converted whole::

        last = tail(os.environ["MNGR_AGENT_STATE_DIR"], 1)

    Args:
        path: A common transcript, an agent's state dir (with the parts that mngr has rotated away), or a rollout,
            ``.jsonl`` or ``.jsonl.zst``; told by the content.
        n: How many records, 0 or more; all of them where there are fewer. The header is one. They are held in memory.

    Returns:
        The records, in their order. Lines that are no JSON object are none, as one that is still being written.

    Raises:
        OSError: ``path``, or the agent's transcript, cannot be read (``FileNotFoundError``, ``PermissionError``).
        ValueError: ``n`` is below 0; ``path`` is none of these; a line is longer than 1 GiB, or the compressed file is
            damaged. The message has the path, and the byte offset where there is one.
    """
    if n < 0:
        raise ValueError(f"{n} records cannot be had; 0 or more can")
    return list(_parsed([last_records(path, n)]))


def _parsed(batches: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    import json

    import orjson

    for batch in batches:
        is_beyond_64_bits = may_exceed_64_bits(batch)
        for line in filter(None, batch.split(b"\n")):
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
