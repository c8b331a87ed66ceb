"""The names under which mngr knows the agent type and the plugin, and the class of a type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imbue.mngr.config.data_types import MngrContext

AGENT_TYPE = "codex"
PLUGIN = "mngr_codex"
"""The name of the entry point in ``pyproject.toml``, and of the package."""


def has_class(agent_type: str | None, agent_class: type[Any], mngr_ctx: MngrContext) -> bool:
    """Returns whether agents of a type are of a class. Agents of a type that mngr does not know are not."""
    from imbue.mngr.config.agent_config_registry import resolve_agent_type
    from imbue.mngr.errors import MngrError
    from imbue.mngr.primitives import AgentTypeName

    if agent_type is None:
        return False
    try:
        return issubclass(resolve_agent_type(AgentTypeName(agent_type), mngr_ctx.config).agent_class, agent_class)
    except MngrError:
        return False
