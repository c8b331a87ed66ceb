"""The mngr plugin: hook implementations and nothing else.

mngr loads this with every command, so what a hook needs is imported when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imbue.mngr import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import click
    from imbue.mngr.config.data_types import AgentTypeConfig, MngrContext
    from imbue.mngr.interfaces.agent import AgentInterface
    from imbue.mngr.interfaces.host import HostInterface
    from imbue.mngr.plugins.hookspecs import OnBeforeCreateArgs

AGENT_TYPE = "codex"


@hookimpl
def register_agent_type() -> tuple[str, type[AgentInterface[Any]], type[AgentTypeConfig]]:
    """Make ``codex`` an agent type."""
    from mngr_codex.plugin.agent import CodexAgent
    from mngr_codex.plugin.config import CodexAgentConfig

    return (AGENT_TYPE, CodexAgent, CodexAgentConfig)


@hookimpl
def agent_field_generators() -> tuple[str, dict[str, Callable[[Any, Any], Any]]]:
    """Add ``plugin.codex`` to what mngr lists of an agent."""
    from mngr_codex.plugin.state import field_generators

    return (AGENT_TYPE, field_generators())
