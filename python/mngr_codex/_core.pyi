"""The native part of mngr_codex; use it through :mod:`mngr_codex`."""

from collections.abc import Iterator
from os import PathLike
from typing import Final, final

__all__ = ["ConversionSummary", "RecordBatches", "__version__", "convert", "may_exceed_64_bits"]

__version__: Final[str]

@final
class ConversionSummary:
    """What came of a conversion. Two are equal where all of their counts are."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def lines(self) -> int:
        """Whole lines read, blank ones too."""
    @property
    def records(self) -> int:
        """Records written, the header too."""
    @property
    def malformed(self) -> int:
        """Lines that are not a JSON object, and so were left out."""
    @property
    def half_line(self) -> tuple[int, int] | None:
        """Where the unfinished line behind the last newline starts and how many bytes it has; None if there is none."""
    @property
    def left_out(self) -> dict[str, int]:
        """How many lines of each kind made no record, such as ``{"event_msg/task_started": 2}``."""

@final
class RecordBatches(Iterator[bytes]):
    """The records of a rollout as JSON lines, some hundred at a time.

    Args:
        source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (told by its content).

    Raises:
        OSError: ``source`` cannot be read (``FileNotFoundError``, ``PermissionError``, ``IsADirectoryError``).
        ValueError: while iterating, a line is longer than 1 GiB or the compressed file is damaged; the message has
            the path and the byte offset.
    """

    def __new__(cls, source: str | PathLike[str]) -> RecordBatches: ...
    def __iter__(self) -> RecordBatches: ...
    def __next__(self) -> bytes: ...

def may_exceed_64_bits(json: bytes) -> bool:
    """Whether compact JSON may hold an integer beyond 64 bits; ``False`` is sure."""

def convert(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    agent_id: str = "",
    partial: bool = False,
) -> ConversionSummary:
    """Convert a Codex rollout to mngr's common transcript (ATIF v1.7, one record a line).

    The output appears when it is whole, or not at all; an output that is there is replaced. Other threads run
    meanwhile, and Ctrl-C works.

    Args:
        source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (told by its content).
        output: Where the transcript is to stand.
        agent_id: The agent whose transcript this is; seeds the id of the header.
        partial: The rollout may still grow: hold back the last step until its token counts are known.

    Returns:
        The counts, as the command's last line tells them.

    Raises:
        OSError: ``source`` cannot be read or ``output`` cannot be written (``FileNotFoundError``,
            ``PermissionError``, ``IsADirectoryError``, or ``OSError`` with the system's number, such as a full disk).
        ValueError: A line is longer than 1 GiB, the compressed file is damaged, or ``output`` is ``source``; the
            message has the path, and the byte offset where there is one.
    """
