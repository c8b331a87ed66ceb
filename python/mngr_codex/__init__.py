"""Read the session files of the OpenAI Codex CLI as mngr's common transcript.

:func:`convert` writes the transcript of a rollout to a file, :func:`iter_records` yields its records one by one::

    summary = convert("rollout.jsonl", "transcript.jsonl")
    for record in iter_records("rollout.jsonl.zst"):
        print(record["type"])

:func:`tail` returns the last records of a rollout, a transcript or an agent, quickly at any size::

    for record in tail("transcript.jsonl", 3):
        print(record.get("message"))

:func:`follow` updates the transcripts of a running agent, :func:`marker` returns whether it is working::

    follow(state_dir)
    print(marker(state_dir).state)

Works without mngr.
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
    """Iterate over the common transcript of a Codex rollout.

    Converts the rollout while reading it, in memory that does not grow with its size.

    Args:
        source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (detected by content).

    Yields:
        The records in mngr's schema: the header, then steps and observations. Integers of any size are exact.

    Raises:
        OSError: If ``source`` cannot be read (``FileNotFoundError``, ``PermissionError``, ``IsADirectoryError``).
        ValueError: While iterating, if ``source`` is not a rollout, a line is longer than 1 GiB or the compressed file
            is damaged; the message has the path and, if known, the byte offset.
    """
    # The file is opened here and not at the first record, so a wrong path raises at the call.
    return _parsed(RecordBatches(source))


def tail(path: str | PathLike[str], n: int) -> list[dict[str, Any]]:
    """Return the last records of a transcript.

    Reads a common transcript from its end, so 1 GB takes as long as 1 MB. Converts a rollout completely::

        last = tail(os.environ["MNGR_AGENT_STATE_DIR"], 1)

    Args:
        path: A common transcript, an agent's state directory (including the parts that mngr has rotated), or a rollout,
            ``.jsonl`` or ``.jsonl.zst``; detected by content.
        n: The number of records, 0 or more. The header counts as one. The records are kept in memory.

    Returns:
        The records in file order; all of them if there are fewer than ``n``. Lines that are not JSON objects, such as a
        line that is still being written, are skipped.

    Raises:
        OSError: If ``path``, or the agent's transcript, cannot be read (``FileNotFoundError``, ``PermissionError``).
        ValueError: If ``n`` is negative, ``path`` is none of these, a line is longer than 1 GiB, or the compressed file
            is damaged. The message has the path and, if known, the byte offset.
    """
    if n < 0:
        raise ValueError(f"n must not be negative: {n}")
    return list(_parsed([last_records(path, n)]))


def _parsed(batches: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    import json

    import orjson

    for batch in batches:
        is_beyond_64_bits = may_exceed_64_bits(batch)
        for line in filter(None, batch.split(b"\n")):
            # orjson turns an integer of more than 64 bits into a float. It also rejects unpaired surrogates, which
            # Codex keeps in tool arguments.
            if is_beyond_64_bits and may_exceed_64_bits(line):
                yield json.loads(line)
                continue
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                record = json.loads(line)
            yield record
