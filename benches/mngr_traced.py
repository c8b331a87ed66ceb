"""Runs one mngr command, and records the ssh channels that it opens.

    MNGR_CODEX_TRACED=FILE python benches/mngr_traced.py message NAME -m TEXT

Writes JSON to FILE: for each channel whether this plugin or mngr has opened it, when, for how long it was open, and
what it ran; and the number of connections.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paramiko
from paramiko.common import MSG_CHANNEL_CLOSE

FILE_VARIABLE = "MNGR_CODEX_TRACED"

_started = time.perf_counter()
_lock = threading.Lock()


@dataclass
class Channel:
    """A channel of an ssh connection."""

    is_own: bool
    """Whether this plugin has opened it."""
    opened: float
    """Seconds after the start."""
    seconds: float | None = None
    """How long it was used, with the round trip that opened it; `None` if it was used until the end."""
    command: str = ""


_channels: dict[paramiko.Channel, Channel] = {}
_connections = 0


def _is_own() -> bool:
    """Whether this plugin called mngr, rather than mngr itself."""
    frame = sys._getframe(2)
    while frame is not None:
        if "/mngr_codex/" in frame.f_code.co_filename:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _trace() -> None:
    """Wraps paramiko's functions, which all of mngr's ssh traffic uses but for git's and rsync's."""
    transport: Any = paramiko.Transport
    channels: Any = paramiko.Channel
    client: Any = paramiko.SSHClient
    open_channel, exec_command, connect = transport.open_channel, channels.exec_command, client.connect
    # mngr leaves channels open whose command has ended. The host closes its side.
    handlers = transport._channel_handler_table
    closed = handlers[MSG_CHANNEL_CLOSE]

    def traced_open(self: Any, *arguments: Any, **named: Any) -> paramiko.Channel:
        channel = Channel(_is_own(), time.perf_counter() - _started)
        opened: paramiko.Channel = open_channel(self, *arguments, **named)
        with _lock:
            _channels[opened] = channel
        return opened

    def traced_close(self: paramiko.Channel, message: Any) -> None:
        channel = _channels.get(self)
        if channel is not None and channel.seconds is None:
            channel.seconds = time.perf_counter() - _started - channel.opened
        closed(self, message)

    def traced_exec(self: paramiko.Channel, command: str | bytes) -> None:
        if channel := _channels.get(self):
            channel.command = command if isinstance(command, str) else command.decode(errors="replace")
        exec_command(self, command)

    def traced_connect(self: Any, *arguments: Any, **named: Any) -> None:
        global _connections
        _connections += 1
        connect(self, *arguments, **named)

    transport.open_channel, client.connect = traced_open, traced_connect
    channels.exec_command = traced_exec
    handlers[MSG_CHANNEL_CLOSE] = traced_close


def _write() -> None:
    channels = [asdict(channel) for channel in _channels.values()]
    found = {"channels": channels, "connections": _connections, "seconds": time.perf_counter() - _started}
    Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    _trace()
    from imbue.mngr import main

    try:
        main.cli(prog_name="mngr")
    finally:
        _write()
