"""Names hosts in texts, and the commands that their hints give."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import HostInterface, OnlineHostInterface

_SSH_PORT = 22


def address_of(host: HostInterface) -> str:
    """Returns the name of a host with its provider, because hosts of several providers can have the same name."""
    return f"{host.get_name()}.{host.get_provider_name()}"


def update_hint(host: HostInterface, agent: str, agent_type: str) -> str:
    """Returns what writes an agent's files again with the present settings, as the beginning of a hint.

    Args:
        host: The agent's host.
        agent: The agent's name.
        agent_type: The agent's type.
    """
    if host.is_local:
        return f"run `mngr create {agent} {agent_type} --reuse --update`"
    # With mngr 0.3.0, `create --reuse --update` fails for an agent with a repository on another host.
    place = address_of(host)
    return f"run `mngr clone {agent}@{place} {agent}-2@{place} --type {agent_type}`, which keeps its session"


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
