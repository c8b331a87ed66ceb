"""Which settings of Codex agents apply to a deployment."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.config import CodexAgentConfig

if TYPE_CHECKING:
    from imbue.mngr.config.data_types import MngrConfig, MngrContext


@dataclass(frozen=True, kw_only=True)
class DeployedTypes:
    """The agent types that a deployment may create."""

    configs: tuple[CodexAgentConfig, ...]
    """The settings of the Codex types; empty if the deployment is known to create agents of another type."""
    is_known: bool
    """Whether the deployment is known to create Codex agents."""


def deployed_types(mngr_ctx: MngrContext) -> DeployedTypes:
    """Returns the agent types that a deployment may create.

    mngr does not pass the deployed command to plugins. That of ``mngr schedule add`` is an option of the running
    command; if it names a type, no other is created.

    Args:
        mngr_ctx: mngr's context.
    """
    name = scheduled_type(click.get_current_context(silent=True))
    if name is not None:
        config, is_resolved = _config_of(name, mngr_ctx.config)
        if is_resolved:
            return DeployedTypes(configs=() if config is None else (config,), is_known=True)
    names = {AGENT_TYPE, *map(str, mngr_ctx.config.agent_types)}
    configs = [_config_of(each, mngr_ctx.config)[0] for each in sorted(names)]
    return DeployedTypes(configs=tuple(each for each in configs if each is not None), is_known=False)


def scheduled_type(context: click.Context | None) -> str | None:
    """Returns the agent type that the arguments of ``mngr schedule add`` name.

    Args:
        context: The context of the running command.

    Returns:
        The name as the user has written it. None for other commands, and if the type comes from settings or templates.
    """
    if context is None or context.parent is None:
        return None
    if (context.parent.command.name, context.command.name) != ("schedule", "add"):
        return None
    if str(context.params.get("command") or "create").lower() != "create":
        return None
    from imbue.mngr.cli.create import create

    try:
        words = shlex.split(context.params.get("args") or "")
        parsed = create.make_context("create", words, resilient_parsing=True).params
    except (ValueError, click.ClickException):
        return None
    return parsed.get("type") or parsed.get("positional_agent_type")


def _config_of(name: str, config: MngrConfig) -> tuple[CodexAgentConfig | None, bool]:
    """Returns the settings of a Codex type, or None; and whether mngr knows the type."""
    from imbue.mngr.config.agent_config_registry import resolve_agent_type
    from imbue.mngr.errors import MngrError
    from imbue.mngr.primitives import AgentTypeName

    try:
        resolved: Any = resolve_agent_type(AgentTypeName(name), config).agent_config
    except (MngrError, ValueError):
        return None, False
    return resolved if isinstance(resolved, CodexAgentConfig) else None, True
