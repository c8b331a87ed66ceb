"""The native module of mngr_codex. Import its names from :mod:`mngr_codex`."""

from collections.abc import Iterator
from os import PathLike
from typing import Final, Literal, final

__all__ = [
    "ConversionSummary",
    "FollowSummary",
    "MarkerState",
    "MarkerTurn",
    "RecordBatches",
    "RolloutBytes",
    "Screen",
    "StartWatch",
    "__version__",
    "clean_message",
    "convert",
    "follow",
    "is_slash_command",
    "last_records",
    "marker",
    "may_exceed_64_bits",
    "read_screen",
    "typed_message",
]

__version__: Final[str]

@final
class ConversionSummary:
    """The counts of a conversion. Compares equal if all counts are equal."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def lines(self) -> int:
        """Complete lines read, including blank lines."""
    @property
    def records(self) -> int:
        """Records written, including the header."""
    @property
    def malformed(self) -> int:
        """Damaged lines: those that are not exactly one JSON object. Whole records in them are converted."""
    @property
    def partial_line(self) -> tuple[int, int] | None:
        """The offset and the length, in bytes, of an unfinished line at the end; None if there is none."""
    @property
    def skipped(self) -> dict[str, int]:
        """The number of lines that produce no record, by kind: ``{"event_msg/task_started": 2}``."""

@final
class RecordBatches(Iterator[bytes]):
    """Iterates over the records of a rollout as JSON lines, in batches of a few hundred.

    Args:
        source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (detected by content).

    Raises:
        OSError: If ``source`` cannot be read (``FileNotFoundError``, ``PermissionError``, ``IsADirectoryError``).
        ValueError: While iterating, if ``source`` is not a rollout, a line is longer than 1 GiB or the compressed file
            is damaged; the message has the path and, if known, the byte offset.
    """

    def __new__(cls, source: str | PathLike[str]) -> RecordBatches: ...
    def __iter__(self) -> RecordBatches: ...
    def __next__(self) -> bytes: ...

@final
class RolloutBytes:
    """The bytes of a rollout, decompressed if necessary. Not part of the public API.

    Args:
        source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (detected by content).

    Raises:
        OSError: If ``source`` cannot be read, or the compressed file is damaged.
    """

    def __new__(cls, source: str | PathLike[str]) -> RolloutBytes: ...
    def read(self, size: int) -> bytes:
        """Return at most this many of the next bytes, fewer only at the end."""

def last_records(path: str | PathLike[str], n: int) -> bytes:
    """Returns the last ``n`` records at ``path`` as JSON lines; :func:`mngr_codex.tail` parses them.

    Releases the GIL. Ctrl-C works while a rollout is converted.

    Raises:
        OSError: If ``path`` cannot be read (``FileNotFoundError``, ``PermissionError``).
        ValueError: If ``path`` is not a transcript, a rollout or a state directory, a line is longer than 1 GiB, or the
            compressed file is damaged.
        OverflowError: If ``n`` is negative.
    """

def may_exceed_64_bits(json: bytes) -> bool:
    """Returns whether JSON may contain an integer of more than 64 bits. ``False`` is certain, ``True`` is not."""

def convert(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    agent_id: str = "",
    partial: bool = False,
) -> ConversionSummary:
    """Convert a Codex rollout to mngr's common transcript (ATIF v1.7, one record per line).

    Creates or replaces ``output`` atomically, once the transcript is complete. Releases the GIL; Ctrl-C works.

    Args:
        source: The rollout, ``.jsonl`` or ``.jsonl.zst`` (detected by content).
        output: The path of the transcript.
        agent_id: The agent's id, from which the header's id is derived.
        partial: Whether the rollout may still grow. If so, the last step is held back until its token counts are known.

    Returns:
        The counts that the command ``mngr-codex convert`` prints.

    Raises:
        OSError: If ``source`` cannot be read or ``output`` cannot be written (``FileNotFoundError``,
            ``PermissionError``, ``IsADirectoryError``, or ``OSError`` with another ``errno``, such as ``ENOSPC``).
        ValueError: If ``source`` is not a rollout, a line is longer than 1 GiB, the compressed file is damaged, or
            ``output`` is ``source``. The message has the path and, if known, the byte offset.
    """

@final
class FollowSummary:
    """The bytes that a pass added to an agent's transcripts. Compares equal if both counts are equal."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def raw_bytes(self) -> int:
        """Bytes added to the raw transcript; 0 if the rollouts had no new lines."""
    @property
    def common_bytes(self) -> int:
        """Bytes added to the common transcript; can be 0 if the raw transcript grew but a step is held back."""

def follow(state_dir: str | PathLike[str], *, final: bool = False) -> FollowSummary:
    """Update an agent's transcripts and its marker from its rollouts.

    Makes one pass, like ``mngr-codex watch --once``. This is safe while a watcher runs, and a later pass completes one
    that was interrupted::

        added = follow(os.environ["MNGR_AGENT_STATE_DIR"])
        if added.common_bytes:
            print("new records")

    Releases the GIL. Ctrl-C works between two steps, each of which copies 8 MiB or one line. A file that has been
    replaced is compared line by line in a single step.

    Args:
        state_dir: The agent's state directory. Missing transcripts are created in it.
        final: Whether the rollouts are complete, as when the agent is destroyed. If so, no step is held back.

    Returns:
        The number of bytes added.

    Raises:
        OSError: If ``state_dir`` is missing or not a directory (``FileNotFoundError``, ``NotADirectoryError``), or a
            file cannot be read or written (``PermissionError``, or ``OSError`` with another ``errno``, such as
            ``ENOSPC``). A rollout that cannot be opened raises nothing: it is logged and left for the next pass.
        TimeoutError: If another process follows this agent, or holds its lifecycle lock, for ten seconds.
    """

@final
class MarkerState:
    """Whether an agent is running, with the evidence. Compares equal if all attributes are equal."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def state(self) -> Literal["RUNNING", "WAITING", "UNKNOWN"]:
        """``RUNNING`` while a turn of the root or of a subagent is open and Codex asks nothing, else ``WAITING``.

        ``UNKNOWN`` if no hook has run for this state directory and it was never reset.
        """
    @property
    def waiting_reason(self) -> Literal["PERMISSIONS", "QUESTION", "END_OF_TURN"] | None:
        """Why the agent waits: an approval, another question, or no turn is open; None if it is running or unknown."""
    @property
    def is_marker_there(self) -> bool:
        """Whether ``active`` exists. It does while a turn is open and Codex waits for no approval."""
    @property
    def is_permission_awaited(self) -> bool:
        """Whether Codex is waiting for an approval."""
    @property
    def session_id(self) -> str | None:
        """The id of the root's session; None before the first hook."""
    @property
    def root(self) -> MarkerTurn | None:
        """The root's latest turn; None if none is known."""
    @property
    def subagents(self) -> tuple[MarkerTurn, ...]:
        """The turns of the subagents in flight."""

@final
class MarkerTurn:
    """The latest turn of the root or of a subagent. Compares equal if all attributes are equal."""

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
        """``open``: running. ``stopped``: ended, unless another hook blocks the end. ``over``: ended."""
    @property
    def since(self) -> str | None:
        """The start of the phase, in UTC with milliseconds: ``2026-11-22T07:11:33.397Z``."""
    @property
    def evidence(self) -> str | None:
        """Why the turn is in this phase, as an English phrase."""
    @property
    def transcript_path(self) -> str | None:
        """The path of the thread's rollout, from the hooks; None if no hook has named it."""
    @property
    def is_transcript_there(self) -> bool:
        """Whether the rollout exists, compressed or not. True if this cannot be determined."""

def marker(state_dir: str | PathLike[str]) -> MarkerState:
    """Read whether an agent is running, like ``mngr-codex marker show``.

    Takes no lock and writes nothing. The state includes the rollouts' evidence only up to the last pass; call
    :func:`follow` first to update it::

        if marker(state_dir).state == "WAITING":
            print("Codex is waiting for you")

    Args:
        state_dir: The agent's state directory.

    Returns:
        The values that ``marker show --json`` prints, as attributes of the same names.

    Raises:
        OSError: If ``state_dir`` is missing or not a directory (``FileNotFoundError``, ``NotADirectoryError``), or its
            files cannot be read (``PermissionError``).
    """

@final
class Screen:
    """What Codex's terminal shows. Not part of the public API. Compares equal if all attributes are equal."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def view(self) -> Literal["shell", "loading", "login", "side", "dialog", "draft", "empty"]:
        """The kind of view. A message can be typed if it is ``empty``.

        ``shell``: Codex has exited or was not started yet. ``loading``: it is starting. ``login``: its login screen.
        ``side``: a conversation that ``/side`` or ``/btw`` opened. ``dialog``: a dialog that takes all input.
        ``draft``: there is text in the composer. ``empty``: the composer is empty.
        """
    @property
    def dialog(
        self,
    ) -> Literal["hooks", "approval", "question", "plan", "trust", "model", "update", "menu"] | None:
        """The dialog if the view is ``dialog``, otherwise None."""
    @property
    def showing(self) -> str | None:
        """What takes all input, as a phrase that follows "Codex is showing": a dialog, the login, a side conversation.

        ``its hook review``, ``an approval request``, ``its login screen``, ``a side conversation``, ``a menu`` …;
        None if nothing does.
        """
    @property
    def waiting_reason(self) -> Literal["LOGIN", "PERMISSIONS", "QUESTION", "DIALOG", "END_OF_TURN"]:
        """Why an agent with this screen waits if it is not in a turn."""
    @property
    def row(self) -> str | None:
        """The first row of the composer, or the selected choice of a dialog, with its ``›`` and without styles."""
    @property
    def text(self) -> str:
        """The complete text without styles."""
    @property
    def is_started(self) -> bool:
        """Whether Codex shows its composer or a dialog, and no longer says that it is loading."""
    @property
    def has_session_line(self) -> bool:
        """Whether the line with the model is below the composer. Codex shows it when it opens the session (0.163)."""
    @property
    def last_output(self) -> list[str]:
        """The last lines that Codex printed before it exited, at most 12, without the prompt of the shell."""

def read_screen(command: str, pane: str) -> Screen:
    """Reads what Codex's terminal shows. Not part of the public API.

    Args:
        command: The name of the process in the terminal's foreground. The name of a shell means that Codex has exited,
            so pass another one if a script runs Codex.
        pane: The content with styles, as from ``tmux capture-pane -e -p``.
    """

@final
class StartWatch:
    """Recognizes when a Codex that was just started has opened its session. Not part of the public API.

    Add what its terminal shows again and again, at least twice a second, until the result is known::

        watch = StartWatch()
        while (result := watch.add(screen(), time.monotonic() - begun, was_launched=is_launched())) is None:
            time.sleep(0.5)
    """

    def __new__(cls) -> StartWatch: ...
    def add(self, screen: Screen, seconds: float, was_launched: bool) -> Literal["started", "exited"] | None:
        """Adds what the terminal shows, and returns what became of the start; None if that is not known yet.

        ``started``: Codex has opened its session, or shows a dialog. ``exited``: it has exited.

        Args:
            screen: What the terminal shows.
            seconds: The time since the start.
            was_launched: Whether Codex has run since the start, so that a shell in the terminal means that it has
                exited.

        Raises:
            ValueError: If ``seconds`` is negative or not finite.
        """

def clean_message(message: str) -> str:
    """Returns a message without control characters other than tabs and line breaks. Not part of the public API.

    Raises:
        UnicodeEncodeError: If the message contains unpaired surrogates.
    """

def typed_message(message: str) -> str:
    """Returns a message as it is typed, so that Codex neither runs nor completes it. Not part of the public API.

    Control characters are removed. A message that begins with ``!`` gets an invisible character before it, and one
    whose last word Codex would complete (``@READ``, ``$skill``, ``/comp``) a space after it.

    Raises:
        UnicodeEncodeError: If the message contains unpaired surrogates.
    """

def is_slash_command(text: str) -> bool:
    """Returns whether Codex may run a message as a command: its first word is ``/`` and a name."""
