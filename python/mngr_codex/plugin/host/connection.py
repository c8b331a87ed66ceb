"""Runs commands that read an input on an agent's host, over a line that can break.

On another host a command takes one channel of mngr's ssh connection: the request, the input and its end are sent
without waiting for a reply. If the line breaks, the command may have run or not, so only one that can run again with
the same input is repeated. That continues for a limited time, because an ssh server that restarts and a network that is
gone for half a minute come back. A command that is slow on a line that works is not repeated.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from imbue.mngr.errors import CommandTimeoutError, HostAuthenticationError, HostConnectionError, MngrError
from imbue.mngr.hosts.outer_host import (
    OuterHost,
    _send_stdin_until_sent_or_exited,
    is_dead_ssh_connection_error,
)
from loguru import logger
from paramiko import SSHException

from mngr_codex.plugin.host.channel import await_exit_status, is_answered, is_refused, open_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imbue.mngr.interfaces.host import OnlineHostInterface
    from paramiko import Channel

LINE_SECONDS = 90.0
"""How long a host may be away, before a command was sent and after each time that the line broke."""
_BACKOFFS_SECONDS = (0.0, 1.0, 2.0, 4.0)
_MARGIN_SECONDS = 5.0
# How long a command on this machine may take to end after Ctrl-C.
_FAREWELL_SECONDS = 5.0
_CHUNK_BYTES = 64 * 1024
# How long a command can wait that has filled the window of the channel with errors, which are read between two chunks.
_ERRORS_SECONDS = 1.0
# What paramiko reports if the channel has closed without an exit status: a signal has ended the command, or the line or
# the channel broke.
_NO_STATUS = -1


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    status: int
    """Its exit status; negative if a signal has ended it."""
    stdout: bytes
    stderr: bytes


class LostCommandError(HostConnectionError):
    """The line to a host broke after a command was sent, so it is not known whether it ran or how it ended."""


class _BrokenLineError(Exception):
    """The line broke while a command ran."""


def run_with_input(
    host: OnlineHostInterface,
    command: str | Sequence[str],
    content: bytes,
    *,
    timeout_seconds: float,
    is_repeatable: bool = True,
    line_seconds: float = LINE_SECONDS,
) -> Completed:
    """Runs a command with an input on a host.

    Args:
        host: The host.
        command: The words of a command, or a script of ``sh``.
        content: What the command reads from standard input.
        timeout_seconds: How long the command may take.
        is_repeatable: Whether a second run with the same input is harmless, even while the first still runs.
        line_seconds: How long a repeatable command is tried again while the host is away: before it was sent, and after
            each time that the line broke. After it was sent, all runs together take at most this time and its own.

    Raises:
        CommandTimeoutError: The command has not ended in time.
        LostCommandError: The line broke after the command was sent. A repeatable command was tried again in vain.
        HostConnectionError: There is no connection to the host, and the command was not sent.
        MngrError: The command cannot be run at all.
    """
    script = command if isinstance(command, str) else shlex.join(command)
    if host.is_local:
        return _run_here(script, content, timeout_seconds)
    if not isinstance(host, OuterHost):
        raise MngrError(f"cannot run a command on host {host.id}: mngr does not reach it over ssh")
    return _run_over_ssh(host, script, content, timeout_seconds, line_seconds if is_repeatable else 0.0, is_repeatable)


def _run_here(script: str, content: bytes, seconds: float) -> Completed:
    """Runs a script on this machine, in mngr's environment as mngr runs its own commands."""
    try:
        command = subprocess.Popen(
            ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise MngrError(f"cannot run sh on this machine: {error.strerror or error}") from error
    with command:
        try:
            stdout, stderr = command.communicate(content, timeout=seconds)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                # Ctrl-C reached the command too, which may have to remove what it has typed.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    command.wait(_FAREWELL_SECONDS)
            command.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise _timeout(script, seconds) from None
            raise
    return Completed(command.returncode, stdout, stderr)


def _run_over_ssh(
    host: OuterHost, script: str, content: bytes, seconds: float, line_seconds: float, is_repeatable: bool
) -> Completed:
    """Runs a script in a channel of its own, and again for a limited time while the line is broken."""
    # When the last try begins, and when the last one ends, which is known once the command was sent.
    limit, end = time.monotonic() + line_seconds, None
    tries = 0
    is_channel_lost = False
    while True:
        is_sent = False
        try:
            with open_command(cast("OnlineHostInterface", host), script) as channel:
                is_sent = True
                now = time.monotonic()
                end = end or now + seconds + line_seconds
                ran = _exchange(
                    channel, script, content, min(seconds + _MARGIN_SECONDS, max(end - now, _MARGIN_SECONDS))
                )
            if ran.status != _NO_STATUS or is_channel_lost or not is_repeatable:
                return ran
            # Nothing shows whether a signal has ended the command or its channel broke, so it runs once more.
            is_channel_lost = True
            continue
        except HostAuthenticationError as error:
            if end is not None and is_refused(error):
                raise _lost(host, error) from error
            if is_refused(error) or time.monotonic() >= limit or line_seconds == 0.0:
                raise
            problem: Exception = error
        # Closing the channel of a line that has just broken raises paramiko's own errors.
        except (HostConnectionError, _BrokenLineError, CommandTimeoutError, EOFError, SSHException) as error:
            if isinstance(error, CommandTimeoutError) and is_answered(channel.get_transport()):
                raise
            host._disconnect_for_retry()
            if is_sent:
                limit = min(time.monotonic() + line_seconds, end or limit)
            if line_seconds == 0.0 or time.monotonic() >= limit:
                if end is not None:
                    raise _lost(host, error) from error
                raise
            problem = error
        pause = _BACKOFFS_SECONDS[min(tries, len(_BACKOFFS_SECONDS) - 1)]
        tries += 1
        logger.debug("the line to host {} is broken ({}); trying again in {:.0f} s", host.id, problem, pause)
        time.sleep(min(pause, max(limit - time.monotonic(), 0.0)))


def _exchange(channel: Channel, script: str, content: bytes, seconds: float) -> Completed:
    """Sends the input of a command that was started in a channel, and reads its output until it has ended.

    Raises:
        CommandTimeoutError: It has not ended in time.
        _BrokenLineError: The line broke.
    """
    end = time.monotonic() + seconds
    transport = channel.get_transport()
    stdout, stderr = bytearray(), bytearray()
    try:
        channel.settimeout(seconds)
        _send_stdin_until_sent_or_exited(channel, content)
        channel.shutdown_write()
        while True:
            channel.settimeout(min(max(end - time.monotonic(), 0.01), _ERRORS_SECONDS))
            try:
                chunk = channel.recv(_CHUNK_BYTES)
            except TimeoutError:
                if time.monotonic() >= end:
                    raise
                chunk = None
            while channel.recv_stderr_ready():
                stderr += channel.recv_stderr(_CHUNK_BYTES)
            if chunk is None:
                continue
            if not chunk:
                break
            stdout += chunk
        while more := channel.recv_stderr(_CHUNK_BYTES):
            stderr += more
        status = await_exit_status(channel, max(end - time.monotonic(), _MARGIN_SECONDS))
    except TimeoutError:
        raise _timeout(script, seconds) from None
    except (EOFError, SSHException) as error:
        raise _BrokenLineError(str(error) or type(error).__name__) from error
    except OSError as error:
        if is_dead_ssh_connection_error(error) or channel.closed:
            raise _BrokenLineError(str(error)) from error
        raise
    if status == _NO_STATUS and not transport.is_active():
        raise _BrokenLineError("the connection was closed while the command ran")
    return Completed(status, bytes(stdout), bytes(stderr))


def _timeout(script: str, seconds: float) -> CommandTimeoutError:
    # The arguments of a command can be long.
    return CommandTimeoutError(f"a command did not end within {seconds:.0f} s: {script[:80]}")


def _lost(host: OuterHost, error: Exception) -> LostCommandError:
    return LostCommandError(f"the connection to host {host.get_name()} was lost while a command ran: {error}")
