"""Runs a program on an agent's host, and passes its output on to this terminal while it runs.

A connection that breaks is made again. What has been shown is not shown twice: the output of a program that answers the
same again is compared with what was shown, and one that follows a transcript marks the records that it has written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from imbue.mngr.errors import HostConnectionError
from paramiko import SSHException

from mngr_codex.plugin.host.channel import Terminal, await_exit_status, is_refused, open_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imbue.mngr.interfaces.host import OnlineHostInterface
    from paramiko import Channel

_PIECE_BYTES = 1 << 16
# How long messages of a program wait for its output or its end. They are dropped if it declines.
_HELD_SECONDS = 1.0
# How long a program may take to leave its last lines on the terminal after Ctrl-C.
_FAREWELL_SECONDS = 1.0
# How long the exit status of a program may take after the end of its output.
_STATUS_SECONDS = 10.0
# How long a connection may take to notice that it is broken when a channel was closed without an exit status.
_NOTICE_SECONDS = 0.5
_PAUSES_SECONDS = (0.0, 1.0, 3.0, 6.0)
"""The pauses before a connection that has broken is made again. Following repeats the last one."""
_ERASE = b"\r\x1b[J"
"""Removes the lines that a program replaces on a terminal. It leaves the cursor at their start."""
_MARK = b"\x1e"


class Declined(Exception):
    """The program on the host cannot answer, and nothing was shown. The message is its own, if it has printed one."""

    def __init__(self, status: int, message: str) -> None:
        """Keeps the exit status."""
        super().__init__(message)
        self.status = status


class ConnectionBroken(Exception):
    """The connection to the host broke and could not be made again, or the answer was a different one afterwards."""


class Output(Protocol):
    """What shows the output on this machine."""

    def write(self, data: bytes) -> None:
        """Writes all bytes.

        Raises:
            BrokenPipeError: Nobody reads them any more.
        """


class StandardOutput:
    """This process's standard output."""

    def write(self, data: bytes) -> None:
        """Writes all bytes to the descriptor, whose buffer in Python must be empty."""
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


class Pager:
    """A pager on this terminal."""

    # Without this check, a missing pager would lose the output.
    _SCRIPT = 'command -v "${1%% *}" >/dev/null || exec cat; eval "exec $1"'

    def __init__(self, command: str) -> None:
        """Starts the pager. Ctrl-C is for it: it stops a search."""
        own = os.environ.get("LESS")
        environment = os.environ | {"LESS": "FRX" if own is None else f"-R {own}"}
        self._interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._process = subprocess.Popen(
            ["sh", "-c", self._SCRIPT, "sh", command],
            stdin=subprocess.PIPE,
            env=environment,
            # It must not inherit that the signal is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def write(self, data: bytes) -> None:
        """Writes to the pager."""
        assert self._process.stdin is not None, "it was started with a pipe"
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def finish(self) -> None:
        """Waits until the user has quit the pager."""
        assert self._process.stdin is not None, "it was started with a pipe"
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        signal.signal(signal.SIGINT, self._interrupt)


def pager_command(environment: dict[str, str] | None = None) -> str | None:
    """Returns the pager for text on this terminal, as the program chooses it; None if there is to be none.

    Args:
        environment: The environment variables; those of this process by default.
    """
    variables = os.environ if environment is None else environment
    command = variables.get("PAGER", "less")
    is_disabled = command in ("", "cat") or variables.get("TERM") == "dumb"
    return None if is_disabled or not sys.stdout.isatty() else command


def terminal() -> Terminal | None:
    """Returns the terminal that standard output is, with its present size; None if it is not one."""
    if not sys.stdout.isatty():
        return None
    size = shutil.get_terminal_size() if "COLUMNS" not in os.environ else os.get_terminal_size(1)
    return Terminal(os.environ.get("TERM") or "dumb", size.columns or 80, size.lines or 24)


# -- what was shown


class _Shown(Protocol):
    """Decides which bytes of a program's output are to be shown, over several runs of the program."""

    def begin(self) -> None:
        """Notes that the program runs again."""

    def take(self, data: bytes) -> bytes:
        """Returns the bytes that can be shown now.

        Raises:
            ConnectionBroken: The program gives another answer than before.
        """

    def rest(self) -> bytes:
        """Returns the bytes that remain when the program has ended."""


@dataclass
class RepeatedOutput:
    """The output of a program that prints the same if it runs again, possibly with more at its end."""

    _count: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _skipped: int = 0
    _again: hashlib._Hash = field(default_factory=hashlib.sha256)

    def begin(self) -> None:
        """Notes that the program runs again."""
        self._skipped = 0
        self._again = hashlib.sha256()

    def take(self, data: bytes) -> bytes:
        """Returns the bytes that were not shown before."""
        if self._skipped < self._count:
            again, data = data[: self._count - self._skipped], data[self._count - self._skipped :]
            self._skipped += len(again)
            self._again.update(again)
            if self._skipped == self._count and self._again.digest() != self._digest.digest():
                raise ConnectionBroken("the answer has changed while the connection was broken")
        self._digest.update(data)
        self._count += len(data)
        self._skipped += len(data)
        return data

    def rest(self) -> bytes:
        """Returns nothing: all bytes were shown."""
        if self._skipped < self._count:
            raise ConnectionBroken("the answer has changed while the connection was broken")
        return b""


@dataclass
class MarkedOutput:
    """The output of a program that marks the parts that can be shown as a whole (``transcript --marks``)."""

    position: str | None = None
    """The id of the last record that was shown, empty for the start of the transcript; None if that is not known."""
    announced: str | None = None
    """The calls that the program has announced, in its own words; None if it has announced none."""
    _content: list[bytes] = field(default_factory=list)
    """What follows the last mark."""
    _mark: bytes = b""
    """The beginning of a mark."""

    def begin(self) -> None:
        """Drops the part that the last run has not completed."""
        self._content.clear()
        self._mark = b""

    def take(self, data: bytes) -> bytes:
        """Returns the parts that are complete, without their marks."""
        shown: list[bytes] = []
        text, *pieces = (self._mark + data).split(_MARK)
        self._mark = b""
        self._content.append(text)
        for piece in pieces:
            head, newline, text = piece.partition(b"\n")
            if not newline:
                self._mark = _MARK + head
                break
            shown += self._content
            self._content = [text]
            if head.startswith(b"="):
                self.position = head[1:].decode(errors="replace")
            elif head.startswith(b"~"):
                self.announced = head[1:].decode(errors="replace")
        return b"".join(shown)

    def rest(self) -> bytes:
        """Returns the part without a mark with which the program has ended."""
        rest = b"".join(self._content)
        self.begin()
        return rest


class AnyOutput:
    """The output of a program that begins with the present state each time."""

    def begin(self) -> None:
        """Does nothing."""

    def take(self, data: bytes) -> bytes:
        """Returns all bytes."""
        return data

    def rest(self) -> bytes:
        """Returns nothing: all bytes were shown."""
        return b""


# -- running


@dataclass(frozen=True, kw_only=True)
class Run:
    """A program to run on a host."""

    host: OnlineHostInterface
    name: str
    """The host's name, for messages."""
    script: Callable[[], str]
    """Returns the script of ``sh`` that runs the program. It is asked again if the connection has broken."""
    shown: _Shown
    output: Output
    uses_terminal: bool = False
    """Whether the program gets a terminal of its own, with the size of this one."""
    keeps_input: bool = False
    """Whether the program's standard input stays open until its output is no longer read."""
    declining: frozenset[int] = frozenset()
    """The exit statuses with which the program declines, if it has printed nothing on standard output."""
    is_endless: bool = False
    """Whether a connection that breaks is made again for as long as that takes."""
    on_accepted: Callable[[], None] = lambda: None
    """Called once, before anything is shown."""


def stream(run: Run) -> int:
    """Runs a program on a host, passes its output on, and returns its exit status.

    Raises:
        Declined: The program cannot answer.
        ConnectionBroken: The connection broke and could not be made again.
        HostConnectionError: There is no connection at first.
        KeyboardInterrupt: The user has pressed Ctrl-C. The program was ended.
        BrokenPipeError: Nobody reads the output any more. The program was ended.
    """
    messages = _Messages()
    passed = _Passed(run, messages)
    failures = 0
    is_first = True
    with _window_changes() as changes:
        while True:
            before = passed.count
            try:
                status = _attempt(run, passed, messages, changes)
                reason = "it was closed"
            except HostConnectionError as error:
                if is_first or is_refused(error):
                    raise
                status, reason = None, str(error)
            if status is not None:
                if status in run.declining and not passed.is_accepted:
                    raise Declined(status, messages.dropped())
                passed.finish()
                messages.release()
                return status
            is_first = False
            failures = 1 if passed.count > before else failures + 1
            if failures > len(_PAUSES_SECONDS) and not run.is_endless:
                raise ConnectionBroken(f"the connection to {run.name} broke: {reason}")
            if failures == 1:
                passed.interrupt()
                messages.say(f"the connection to {run.name} broke; connecting again")
            time.sleep(_PAUSES_SECONDS[min(failures, len(_PAUSES_SECONDS)) - 1])


class _Messages:
    """What the program prints on standard error. It is held until it is known that the program answers."""

    def __init__(self) -> None:
        self._held: bytes | None = b""
        self._since: float | None = None

    def take(self, data: bytes) -> None:
        if self._held is None:
            self._write(data)
            return
        self._held += data
        self._since = self._since or time.monotonic()

    def seconds_left(self) -> float | None:
        """Returns how long messages are held; None if there are none."""
        return None if self._since is None else max(0.0, self._since + _HELD_SECONDS - time.monotonic())

    def release(self) -> None:
        if self._held:
            self._write(self._held)
        self._held = None
        self._since = None

    def dropped(self) -> str:
        """Returns the messages that are held, which are not shown."""
        held, self._held, self._since = self._held or b"", b"", None
        return held.decode(errors="replace").strip()

    def say(self, text: str) -> None:
        self.release()
        self._write(f"mngr-codex: {text}\n".encode())

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
            os.write(2, data)


class _Passed:
    """Passes standard output on."""

    def __init__(self, run: Run, messages: _Messages) -> None:
        self._run = run
        self._messages = messages
        self.is_accepted = False
        self.count = 0
        """The number of bytes that the program has printed, including those that were shown before."""

    def take(self, data: bytes) -> None:
        self.count += len(data)
        if shown := self._run.shown.take(data):
            self._show(shown)

    def finish(self) -> None:
        self._accept()
        if rest := self._run.shown.rest():
            self._show(rest)

    def interrupt(self) -> None:
        """Removes lines that the program would have replaced."""
        if self.is_accepted and self._run.uses_terminal:
            self._run.output.write(_ERASE)

    def _show(self, data: bytes) -> None:
        self._accept()
        self._run.output.write(data)

    def _accept(self) -> None:
        if not self.is_accepted:
            self.is_accepted = True
            self._run.on_accepted()
            self._messages.release()


def _attempt(run: Run, passed: _Passed, messages: _Messages, changes: int) -> int | None:
    """Runs the program once, and returns its exit status; None if the connection broke.

    Raises:
        HostConnectionError: There is no connection.
    """
    run.shown.begin()
    own = terminal() if run.uses_terminal else None
    channel = open_command(run.host, run.script(), terminal=own)
    with _closing(channel):
        try:
            if own is None and not run.keeps_input:
                # A terminal has no end.
                channel.shutdown_write()
            _pass_on(channel, passed, messages, changes if own else None)
        except KeyboardInterrupt:
            if own is not None:
                with contextlib.suppress(KeyboardInterrupt):
                    _say_farewell(channel, passed)
            raise
        except (EOFError, SSHException):
            return None
        except OSError as error:
            if isinstance(error, BrokenPipeError) or channel.get_transport().is_active():
                raise
            return None
        try:
            status = await_exit_status(channel, _STATUS_SECONDS)
        except TimeoutError:
            return None
        if status >= 0:
            return status
        transport = channel.get_transport()
        end = time.monotonic() + _NOTICE_SECONDS
        while transport.is_active() and time.monotonic() < end:
            time.sleep(0.02)
        if not transport.is_active():
            return None
        messages.say(f"the program on {run.name} was ended by a signal")
        return 128 + signal.SIGTERM


def _pass_on(channel: Channel, passed: _Passed, messages: _Messages, changes: int | None) -> None:
    """Passes on what the program prints until it has ended or the connection is closed."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    if not sys.stdout.isatty():
        # Reports only that the reader has closed the pipe.
        poll.register(1, 0)
    if changes is not None:
        poll.register(changes, select.POLLIN)
    while True:
        # What was received before an end that is noticed here is read first.
        has_ended = channel.closed or channel.eof_received
        is_idle = True
        while channel.recv_ready():
            is_idle = False
            passed.take(channel.recv(_PIECE_BYTES))
        while channel.recv_stderr_ready():
            is_idle = False
            messages.take(channel.recv_stderr(_PIECE_BYTES))
        if not is_idle:
            continue
        if has_ended:
            return
        left = messages.seconds_left()
        for descriptor, event in poll.poll(None if left is None else left * 1000):
            if descriptor == 1 and event & (select.POLLERR | select.POLLHUP):
                raise BrokenPipeError
            if descriptor == changes and (own := terminal()) is not None:
                os.read(changes, 1024)
                channel.resize_pty(own.columns, own.rows)
        if left == 0.0:
            messages.release()


@contextlib.contextmanager
def _closing(channel: Channel) -> Iterator[None]:
    """Closes a channel at the end, also one of a connection that has just broken."""
    try:
        yield
    finally:
        with contextlib.suppress(EOFError, SSHException):
            channel.close()


def _say_farewell(channel: Channel, passed: _Passed) -> None:
    """Has the program end as by Ctrl-C on its terminal, and shows the last lines that it leaves there."""
    channel.settimeout(_FAREWELL_SECONDS)
    with contextlib.suppress(OSError, EOFError, SSHException):
        channel.sendall(b"\x03")
        while data := channel.recv(_PIECE_BYTES):
            passed.take(data)
        passed.finish()


@contextlib.contextmanager
def _window_changes() -> Iterator[int]:
    """Yields a descriptor that becomes readable when the size of the terminal changes."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)

    def note(*_: object) -> None:
        with contextlib.suppress(OSError):
            os.write(writable, b"\0")

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGWINCH, note) if is_main else None
    try:
        yield readable
    finally:
        if is_main:
            signal.signal(signal.SIGWINCH, before)
        os.close(readable)
        os.close(writable)
