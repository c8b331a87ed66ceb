"""Names a host so that mngr's commands find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import HostInterface


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
