"""The mngr plugin: hook implementations and nothing else.

mngr loads this module for every command, so hooks import other modules only when they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imbue.mngr import hookimpl

from mngr_codex.plugin.agent_type import AGENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import click
    from imbue.mngr.config.data_types import AgentTypeConfig, MngrContext
    from imbue.mngr.interfaces.agent import AgentInterface
    from imbue.mngr.interfaces.help_topic import TopicHelpPage
    from imbue.mngr.interfaces.host import HostInterface, OnlineHostInterface
    from imbue.mngr.plugins.hookspecs import OnBeforeCreateArgs
    from imbue.mngr_usage.data_types import UsageEvent, UsageSnapshot


# Called last, because mngr uses the last registration if several plugins provide the same type or field.
@hookimpl(trylast=True)
def register_agent_type() -> tuple[str, type[AgentInterface[Any]], type[AgentTypeConfig]]:
    """Registers the agent type ``codex``."""
    from mngr_codex.plugin.agent import CodexAgent
    from mngr_codex.plugin.config import CodexAgentConfig

    return (AGENT_TYPE, CodexAgent, CodexAgentConfig)


@hookimpl(trylast=True)
def agent_field_generators() -> tuple[str, dict[str, Callable[[Any, Any], Any]]]:
    """Adds the fields under ``plugin.codex`` to mngr's agent listings."""
    from mngr_codex.plugin.listing import field_generators

    return (AGENT_TYPE, field_generators())


@hookimpl(trylast=True)
def offline_agent_field_generators() -> tuple[str, dict[str, Callable[[Any, Any], Any]]]:
    """Adds the last known fields of agents whose host cannot be reached."""
    from mngr_codex.plugin.listing import offline_field_generators

    return (AGENT_TYPE, offline_field_generators())


# Called first, because mngr uses the last of several commands with the same name. A plugin that provides its own
# `transcript` command for all agents takes precedence.
@hookimpl(tryfirst=True)
def register_cli_commands() -> list[click.Command]:
    """Adds ``mngr codex``, and replaces ``mngr transcript`` for local Codex agents."""
    from mngr_codex.plugin.cli import transcript
    from mngr_codex.plugin.cli.codex import codex

    replacement = transcript.command()
    return [codex] if replacement is None else [codex, replacement]


@hookimpl
def register_help_topics() -> list[TopicHelpPage]:
    """Adds pages to ``mngr help``."""
    from mngr_codex.plugin.help_topics import topics

    return topics()


@hookimpl
def on_before_create(args: OnBeforeCreateArgs, mngr_ctx: MngrContext) -> OnBeforeCreateArgs | None:
    """Warns about conflicting plugins, and checks Codex, its login and the sessions to adopt."""
    from mngr_codex.plugin import conflicts, provisioning

    if str(args.agent_options.agent_type) == AGENT_TYPE:
        from loguru import logger

        for warning in (conflicts.warning(mngr_ctx.pm), conflicts.settings_warning(mngr_ctx.config)):
            if warning:
                logger.warning("{}", warning)
    if not args.agent_options.adopt_session:
        provisioning.check_host(args, mngr_ctx)
        return None
    from mngr_codex.plugin import adoption
    from mngr_codex.plugin.agent import CodexAgent

    sessions = adoption.check(args, mngr_ctx, CodexAgent)
    facts = provisioning.check_host(args, mngr_ctx)
    if facts is not None and sessions:
        adoption.check_model_provider(sessions[-1], args, mngr_ctx, facts)
    return None


# Called first, because other plugins copy the agent's files in this hook, for example imbue-mngr-usage its usage.
@hookimpl(tryfirst=True)
def on_before_agent_destroy(agent: AgentInterface[Any], host: OnlineHostInterface) -> None:
    """Stops Codex, and preserves the agent's transcripts and sessions. mngr keeps the agent after an error."""
    from mngr_codex.plugin.agent import CodexAgent

    if isinstance(agent, CodexAgent):
        agent.secure(host)


@hookimpl(tryfirst=True)
def on_before_host_destroy(host: HostInterface, mngr_ctx: MngrContext) -> None:
    """Preserves the transcripts and sessions on a host. mngr keeps the host after an error."""
    from mngr_codex.plugin import preservation
    from mngr_codex.plugin.agent import CodexAgent

    preservation.secure_host(host, mngr_ctx, CodexAgent)


@hookimpl
def on_host_destroyed(host: HostInterface, mngr_ctx: MngrContext) -> None:
    """Forgets which agents had files on the host only."""
    from mngr_codex.plugin import unfetched

    unfetched.clear(mngr_ctx, host.id)


@hookimpl
def get_files_for_deploy(
    mngr_ctx: MngrContext, include_user_settings: bool, include_project_settings: bool, repo_root: Path
) -> dict[Path, Path | str]:
    """Deploys the user's Codex setup and login to machines that run scheduled mngr commands."""
    from mngr_codex.plugin import deploy

    return deploy.files(
        mngr_ctx, repo_root, has_user_files=include_user_settings, has_project_files=include_project_settings
    )


@hookimpl
def modify_env_vars_for_deploy(mngr_ctx: MngrContext, env_vars: dict[str, str]) -> None:
    """Deploys the variables that Codex needs there."""
    from mngr_codex.plugin import deploy

    deploy.add_variables(mngr_ctx, env_vars)


# imbue-mngr-usage, which provides `mngr usage`, defines this hook. It is not called without that package.
@hookimpl(optionalhook=True)
def aggregate_usage_source(
    source_name: str, agents_events: dict[str, list[UsageEvent]], since_seconds: int, now: int
) -> UsageSnapshot | None:
    """Adds up the usage of Codex agents for ``mngr usage``, and declines the events of other agent types.

    Each event has the totals of its session so far, so the latest event of each session counts.
    """
    if source_name != AGENT_TYPE:
        return None
    from imbue.mngr_usage.api import aggregate_session_cumulative

    return aggregate_session_cumulative(source_name, agents_events, since_seconds=since_seconds, now=now)
