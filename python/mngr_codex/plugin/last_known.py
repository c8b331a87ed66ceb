"""Keeps an agent's last known fields where mngr finds them while the agent's host cannot be reached.

Some providers of hosts (Modal) keep a copy of each agent's ``data.json`` outside the host, and mngr lists the agents of
an unreachable host from these copies. mngr updates a copy when it writes ``data.json``. The plugin writes the fields
there after each message, and not for each listing: mngr does not lock the file, so a listing in the background could
undo a change of somebody else, such as another name of the agent.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import MngrError
from imbue.mngr.interfaces.provider_instance import ProviderInstanceInterface
from loguru import logger

from mngr_codex.plugin.agent_type import AGENT_TYPE

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.primitives import DiscoveredAgent

FIELDS = ("session_id", "model", "context_tokens", "tokens", "last_error")
"""The fields that stay true while an agent cannot be reached."""


def store(agent: BaseAgent[Any]) -> None:
    """Stores the fields of an agent, if they have changed and its provider keeps a copy. Never fails.

    Args:
        agent: An agent whose host is online.
    """
    from mngr_codex.plugin import status_file

    provider = getattr(agent.host, "provider_instance", None)
    persist = getattr(type(provider), "persist_agent_data", None)
    if persist in {None, ProviderInstanceInterface.persist_agent_data}:
        return
    try:
        status = status_file.read_on_host(agent.host, agent._get_agent_dir())
        if status is None:
            return
        stored = agent.get_plugin_data(AGENT_TYPE)
        known = {name: value for name, value in dataclasses.asdict(status).items() if name in FIELDS}
        changed = {**stored, **known}
        if changed != stored:
            agent.set_plugin_data(AGENT_TYPE, changed)
    except (OSError, MngrError) as error:
        logger.debug("cannot store what is known of agent {}: {}", agent.name, error)


def read(agent: DiscoveredAgent, field: str) -> Any:
    """Returns the last known value of a field; None if no value is known.

    Args:
        agent: An agent whose host cannot be reached.
        field: One of :data:`FIELDS`.
    """
    plugins = agent.certified_data.get("plugin")
    fields = plugins.get(AGENT_TYPE) if isinstance(plugins, dict) else None
    return fields.get(field) if isinstance(fields, dict) else None
