"""Names a host so that mngr's commands find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import HostInterface


def address_of(host: HostInterface) -> str:
    """Returns the name of a host with its provider, because hosts of several providers can have the same name."""
    return f"{host.get_name()}.{host.get_provider_name()}"
