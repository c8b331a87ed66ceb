"""The processes of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import OnlineHostInterface

_SECONDS = 30.0


@dataclass(frozen=True)
class Process:
    """A running process."""

    pid: int
    command: str
    """Its arguments, separated by spaces."""

    def environment(self) -> dict[str, str]:
        """Returns the variables that it was started with; none if the system does not show them, as on macOS."""
        try:
            content = Path(f"/proc/{self.pid}/environ").read_bytes()
        except OSError:
            return {}
        pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in content.split(b"\0"))
        return {name: value for name, _, value in pairs if name}


def running(host: OnlineHostInterface) -> tuple[Process, ...]:
    """Returns all processes of the host, which must be this machine."""
    # Without -ww, a variable COLUMNS in the environment limits the length of the lines.
    listed = host.execute_idempotent_command("ps -e -ww -o pid=,args=", timeout_seconds=_SECONDS).stdout
    found = []
    for line in listed.splitlines():
        pid, _, command = line.strip().partition(" ")
        if pid.isdecimal():
            found.append(Process(int(pid), command.strip()))
    return tuple(found)
