"""Where something is, for texts that name the host and the command to run there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import OnlineHostInterface

_SSH_PORT = 22


@dataclass(frozen=True, kw_only=True)
class HostPlace:
    """A host, as texts name it."""

    host_name: str | None = None
    """The name of the host; None for this machine."""
    ssh: str | None = None
    """The ssh command that reaches the host, without a command to run there; None if it is unknown."""

    @classmethod
    def of(cls, host: OnlineHostInterface) -> Self:
        """Returns the place of a host."""
        return cls() if host.is_local else cls(host_name=str(host.get_name()), ssh=_ssh_command(host))

    def __str__(self) -> str:
        """Returns the place as a noun."""
        return "this machine" if self.host_name is None else f"host {self.host_name}"

    @property
    def there(self) -> str:
        """The place, after a verb."""
        return "" if self.host_name is None else f" on {self}"

    def run(self, command: str) -> str:
        """Returns what runs a command there, as the beginning of a hint.

        Args:
            command: The command, as a shell would run it.
        """
        if self.ssh is None:
            return f"run `{command}`{self.there}"
        # The shell of this machine must leave the command as it is.
        is_plain = shlex.join(command.split()) == command
        return f"run `{self.ssh} {command if is_plain else shlex.quote(command)}`"


def _ssh_command(host: OnlineHostInterface) -> str | None:
    connection = host.get_ssh_connection_info()
    if connection is None:
        return None
    user, address, port, key = connection
    words = ["ssh", "-t", "-i", str(key)]
    if (known_hosts := host.get_ssh_known_hosts_path()) is not None:
        words += ["-o", f"UserKnownHostsFile={known_hosts}"]
    if port != _SSH_PORT:
        words += ["-p", str(port)]
    return shlex.join([*words, f"{user}@{address}"])
