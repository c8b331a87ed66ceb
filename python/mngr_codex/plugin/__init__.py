"""The mngr plugin: hook implementations and nothing else.

mngr loads this with every command, so what a hook needs is imported when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imbue.mngr import hookimpl

from mngr_codex.plugin.agent_type import AGENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    import click
    from imbue.mngr.config.data_types import AgentTypeConfig, MngrContext
    from imbue.mngr.interfaces.agent import AgentInterface
    from imbue.mngr.interfaces.host import HostInterface
    from imbue.mngr.plugins.hookspecs import OnBeforeCreateArgs


# Last, because mngr takes the last of several types of one name, and of several fields.
@hookimpl(trylast=True)
def register_agent_type() -> tuple[str, type[AgentInterface[Any]], type[AgentTypeConfig]]:
    """Make ``codex`` an agent type."""
    from mngr_codex.plugin.agent import CodexAgent
    from mngr_codex.plugin.config import CodexAgentConfig

    return (AGENT_TYPE, CodexAgent, CodexAgentConfig)


@hookimpl(trylast=True)
def agent_field_generators() -> tuple[str, dict[str, Callable[[Any, Any], Any]]]:
    """Add ``plugin.codex`` to what mngr lists of an agent."""
    from mngr_codex.plugin.listing import field_generators

    return (AGENT_TYPE, field_generators())


@hookimpl(trylast=True)
def offline_agent_field_generators() -> tuple[str, dict[str, Callable[[Any, Any], Any]]]:
    """Keep what is known of agents whose host cannot be reached."""
    from mngr_codex.plugin.listing import offline_field_generators

    return (AGENT_TYPE, offline_field_generators())


# First, because mngr takes the last of several commands of one name: a plugin that brings a `transcript` of its own
# for all agents is to have it.
@hookimpl(tryfirst=True)
def register_cli_commands() -> list[click.Command]:
    """Add ``mngr codex``, and answer ``mngr transcript`` for codex agents of this machine."""
    from mngr_codex.plugin.cli import transcript
    from mngr_codex.plugin.cli.codex import codex

    replacement = transcript.command()
    return [codex] if replacement is None else [codex, replacement]


@hookimpl
def on_before_create(args: OnBeforeCreateArgs, mngr_ctx: MngrContext) -> OnBeforeCreateArgs | None:
    """Tell of other plugins, and refuse what cannot be made: no codex, no session to adopt."""
    from mngr_codex.plugin import conflicts

    if str(args.agent_options.agent_type) == AGENT_TYPE:
        from loguru import logger

        for warning in (conflicts.warning(mngr_ctx.pm), conflicts.settings_warning(mngr_ctx.config)):
            if warning:
                logger.warning("{}", warning)
    if args.agent_options.adopt_session:
        from mngr_codex.plugin import adoption
        from mngr_codex.plugin.agent import CodexAgent

        adoption.check(args, mngr_ctx, CodexAgent)
    from mngr_codex.plugin import provisioning

    provisioning.check_installation(args, mngr_ctx)
    return None


@hookimpl
def on_before_host_destroy(host: HostInterface, mngr_ctx: MngrContext) -> None:
    """Keep transcripts and sessions of agents that are destroyed with their host."""
    from mngr_codex.plugin import preservation

    preservation.preserve_on_host(host, mngr_ctx)
