"""Opens channels for commands on mngr's own ssh connection to a host.

mngr's functions wait for the reply to the request before they send an input, and return the output as lines when the
command ends. Here the input follows the request at once, which saves one round trip, and the caller reads and writes
bytes while the command runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from imbue.mngr.errors import HostAuthenticationError, HostConnectionError
from imbue.mngr.hosts.outer_host import (
    SSH_CHANNEL_OPEN_TIMEOUT_SECONDS,
    OuterHost,
    _send_exec_request_without_waiting,
    is_ssh_auth_timeout,
    retry_on_transient_ssh_error,
)
from paramiko import ChannelException, SSHException
from paramiko.common import cMSG_CHANNEL_REQUEST
from paramiko.message import Message

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import OnlineHostInterface
    from paramiko import Channel, Transport

# The terminal passes on what is printed unchanged and echoes nothing: no ICANON, ECHO and OPOST (RFC 4254, 8).
_TERMINAL_MODES = bytes([opcode_byte for opcode in (51, 53, 70) for opcode_byte in (opcode, 0, 0, 0, 0)]) + b"\0"


# What paramiko reports as a failed authentication if the line breaks during it.
_BROKEN_MEANWHILE = "transport shut down or saw EOF"

# How long the host may take to answer on a connection that works.
_ANSWER_SECONDS = 5.0


class Terminal(NamedTuple):
    """The terminal that a command is to have."""

    kind: str
    """The value of ``TERM``."""
    columns: int
    rows: int


def open_command(host: OnlineHostInterface, script: str, *, terminal: Terminal | None = None) -> Channel:
    """Starts a script of ``sh`` on a host and returns its channel. The login shell of the host's user does not matter.

    If mngr's connection is broken, it is made again before the script is sent. The script itself is sent once: if the
    connection breaks later, it may have run or not. The caller closes the channel.

    Args:
        host: The host, which is not this machine.
        script: The script.
        terminal: The terminal that the script runs in; None for pipes. A server can refuse it; the script then has
            pipes.

    Raises:
        HostConnectionError: There is no connection to the host.
    """
    assert isinstance(host, OuterHost) and not host.is_local, "only another host has an ssh connection"
    command = shell_command(script)
    with (
        host._notify_on_connection_error(),
        host._translate_ssh_errors(
            timed_out="Opening an ssh channel timed out",
            closed="Connection was closed while opening an ssh channel",
            failed="Could not open an ssh channel due to connection error",
        ),
    ):
        channel = _open_channel(host)
        if terminal is not None:
            _request_terminal(channel, terminal)
        _send_exec_request_without_waiting(channel, command)
    return channel


def shell_command(script: str) -> str:
    """Returns a command that runs a script of ``sh``, for the login shell that an ssh server passes it to.

    It means the same to all shells: in quotes, fish replaces two backslashes by one, csh ends the command at a newline,
    and tcsh inserts earlier commands at an exclamation mark. So ``sh`` gets these characters as octal numbers.

    Args:
        script: The script. Its ``$0`` is undefined.
    """
    for character in "\\\n'!":
        script = script.replace(character, f"\\0{ord(character):03o}")
    return f"""sh -c 'eval "$(printf %b "$0")"' '{script}'"""


def await_exit_status(channel: Channel, seconds: float) -> int:
    """Returns the exit status of a command whose output has ended; -1 if its channel was closed without one.

    Args:
        channel: The command's channel.
        seconds: How long to wait.

    Raises:
        TimeoutError: The status does not come: the command still runs, or the line is broken.
    """
    if not channel.status_event.wait(seconds):
        raise TimeoutError("the command's exit status did not come")
    return channel.recv_exit_status()


def is_refused(error: HostConnectionError) -> bool:
    """Returns whether a host refused the key. mngr reports a line that breaks meanwhile in the same way."""
    is_broken = is_ssh_auth_timeout(error) or _BROKEN_MEANWHILE in str(error)
    return isinstance(error, HostAuthenticationError) and not is_broken


def is_answered(transport: Transport) -> bool:
    """Returns whether the host still answers on a connection, which can be broken although nothing has reported it."""
    try:
        transport.open_session(timeout=_ANSWER_SECONDS).close()
    except ChannelException:
        # It has refused another channel.
        return True
    except (SSHException, EOFError, OSError):
        return False
    return True


@retry_on_transient_ssh_error
def _open_channel(host: OuterHost) -> Channel:
    host._ensure_connected()
    host._reverify_lock_if_channel_died()
    transport = host._get_paramiko_transport()
    with host._disconnect_on_transient_ssh_error("opening a channel"):
        channel = transport.open_session(timeout=SSH_CHANNEL_OPEN_TIMEOUT_SECONDS)
    if channel is None:
        raise HostConnectionError("Failed to open session channel from transport")
    return channel


def _request_terminal(channel: Channel, terminal: Terminal) -> None:
    """Sends the request of ``Channel.get_pty``, with modes and without waiting for the reply."""
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("pty-req")
    message.add_boolean(False)
    message.add_string(terminal.kind)
    for number in (terminal.columns, terminal.rows, 0, 0):
        message.add_int(number)
    message.add_string(_TERMINAL_MODES)
    # Private in paramiko; mngr requires an exact version of it, because mngr uses it as well.
    transport: Any = channel.transport
    transport._send_user_message(message)
