"""The native part of mngr_codex; use it through :mod:`mngr_codex`."""

from collections.abc import Iterator
from os import PathLike
from typing import Final, Literal, final

__all__ = [
    "ConversionSummary",
    "FollowSummary",
    "MarkerState",
    "MarkerTurn",
    "RecordBatches",
    "__version__",
    "convert",
    "follow",
    "last_records",
    "marker",
    "may_exceed_64_bits",
]

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
    def partial_line(self) -> tuple[int, int] | None:
        """Where the unfinished line behind the last newline starts and how many bytes it has; None if there is none."""
    @property
    def skipped(self) -> dict[str, int]:
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

def last_records(path: str | PathLike[str], n: int) -> bytes:
    """The last ``n`` records of what stands at ``path``, as JSON lines; :func:`mngr_codex.tail` parses them.

    Other threads run meanwhile, and Ctrl-C works while a rollout is converted.

    Raises:
        OSError: It cannot be read (``FileNotFoundError``, ``PermissionError``).
        ValueError: It is no transcript, rollout or state dir; a line is longer than 1 GiB, or the compressed file is
            damaged.
        OverflowError: ``n`` is below 0.
    """

def may_exceed_64_bits(json: bytes) -> bool:
    """Whether JSON may hold an integer beyond 64 bits; ``False`` is sure."""

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

@final
class FollowSummary:
    """What a pass added to an agent's transcripts. Two are equal where both counts are."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def raw_bytes(self) -> int:
        """Bytes that the raw transcript grew by; 0 if there was nothing new."""
    @property
    def common_bytes(self) -> int:
        """Bytes that the common transcript grew by; can be 0 while the raw one grew, if a step is held back."""

def follow(state_dir: str | PathLike[str], *, final: bool = False) -> FollowSummary:
    """Bring an agent's transcripts and its marker up to what its rollouts hold now.

    One pass, as ``mngr-codex watch --once`` makes it, also beside a watcher that runs. A pass that was ended in any
    way is completed by the next one::

        added = follow(os.environ["MNGR_AGENT_STATE_DIR"])
        if added.common_bytes:
            print("there is something new")

    Other threads run meanwhile. Ctrl-C works between two steps: each copies 8 MiB or one line, but where a file is not
    what it was, all that must be compared line by line is compared in one step.

    Args:
        state_dir: The agent's state dir. The transcripts are made in it, where they are missing.
        final: Nothing more will come, as when the agent is destroyed: hold back no step whose token counts are unknown.

    Returns:
        How many bytes were added.

    Raises:
        OSError: ``state_dir`` is not there or no folder (``FileNotFoundError``, ``NotADirectoryError``), or a file
            cannot be read or written (``PermissionError``, or ``OSError`` with the system's number, such as a full
            disk). A rollout that cannot be opened is none: it is left for the next pass, and the agent's log says so.
        TimeoutError: Another process has followed this agent, or has had its marker's lock, for ten seconds.
    """

@final
class MarkerState:
    """Whether an agent is at work, and what told so. Two are equal where all that they say is."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def state(self) -> Literal["RUNNING", "WAITING"]:
        """``RUNNING`` while a turn of the root or of a subagent goes on."""
    @property
    def is_marker_there(self) -> bool:
        """Whether the file ``active`` is there; differs from ``state`` only where a hook was killed, until the next."""
    @property
    def is_permission_awaited(self) -> bool:
        """Whether Codex waits for an approval."""
    @property
    def session_id(self) -> str | None:
        """The id of the root's session; None before any hook has named one."""
    @property
    def root(self) -> MarkerTurn | None:
        """The root's latest turn; None if none is known."""
    @property
    def subagents(self) -> tuple[MarkerTurn, ...]:
        """The turns of the subagents in flight."""

@final
class MarkerTurn:
    """The latest turn of the root or of a subagent. Two are equal where all that they say is."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def agent_id(self) -> str | None:
        """The subagent's id; None for the root."""
    @property
    def turn_id(self) -> str | None:
        """The turn's id, a UUID of version 7."""
    @property
    def phase(self) -> Literal["open", "stopped", "over"]:
        """``open``: goes on. ``stopped``: would end, unless a hook blocks that. ``over``: has ended."""
    @property
    def since(self) -> str | None:
        """Since when it is so: UTC to the millisecond, such as ``2026-11-22T07:11:33.397Z``."""
    @property
    def evidence(self) -> str | None:
        """What told so, for people, such as ``a hook says that it was prompted``."""
    @property
    def transcript_path(self) -> str | None:
        """The path of the thread's rollout, as the hooks name it; None if none has."""
    @property
    def is_transcript_there(self) -> bool:
        """Whether that rollout is there, compressed or not; True also where it cannot be known."""

def marker(state_dir: str | PathLike[str]) -> MarkerState:
    """Read whether an agent is at work, as ``mngr-codex marker show`` tells.

    Locks nothing, waits for nobody and writes nothing. What hooks did not tell is not looked for in the rollouts:
    :func:`follow` does that::

        if marker(state_dir).state == "WAITING":
            print("it is your turn")

    Args:
        state_dir: The agent's state dir.

    Returns:
        What ``marker show --json`` prints, as attributes of the same names.

    Raises:
        OSError: ``state_dir`` is not there or no folder (``FileNotFoundError``, ``NotADirectoryError``), or what it
            holds cannot be read (``PermissionError``).
    """
