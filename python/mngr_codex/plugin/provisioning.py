"""What is put on an agent's host before codex starts there."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from imbue.mngr.agents.common_transcript import provision_scripts_to_commands_dir
from imbue.mngr.errors import UserInputError
from loguru import logger

from mngr_codex.plugin import launch, paths
from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.home import build, work_dir_trust
from mngr_codex.plugin.host import install, transcript_scripts, updates
from mngr_codex.plugin.host.program import program_for

if TYPE_CHECKING:
    from pathlib import Path

    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import CreateAgentOptions, OnlineHostInterface
    from imbue.mngr.plugins.hookspecs import OnBeforeCreateArgs


# What is found out before an agent is made goes to its making in the options' plugin_data, by these names.
_CONSENT = "mngr_codex_consent"
_INSTALLED = "mngr_codex_installed"


def check_installation(args: OnBeforeCreateArgs, mngr_ctx: MngrContext) -> None:
    """See to it that codex is on a host that is there already, before anything of an agent is made on it.

    Args:
        args: What the agent is to be created with.
        mngr_ctx: mngr's context.

    Raises:
        ConfigParseError: A setting is wrong.
        AgentInstallationError: As for :func:`reconcile_version`.
    """
    from imbue.mngr.config.agent_config_registry import resolve_agent_type
    from imbue.mngr.interfaces.host import OnlineHostInterface

    config = resolve_agent_type(args.agent_options.agent_type, mngr_ctx.config).agent_config
    if isinstance(config, CodexAgentConfig) and isinstance(args.target_host, OnlineHostInterface):
        reconcile_version(config.validated(str(args.agent_options.agent_type)), args.target_host, mngr_ctx)
        args.agent_options.plugin_data[_INSTALLED] = True


def check(
    source_host: OnlineHostInterface,
    source_path: Path,
    options: CreateAgentOptions,
    config: CodexAgentConfig,
    mngr_ctx: MngrContext,
) -> None:
    """Find out whether an agent may be made, before anything of it is.

    Args:
        source_host: Where the folder is that the agent's work dir is made from.
        source_path: That folder.
        options: What the agent is to be created with. What was agreed to goes with them to :func:`provision`.
        config: The settings.
        mngr_ctx: mngr's context.

    Raises:
        ConfigParseError: A setting is wrong.
        UserInputError: Nobody has agreed that codex may work in the folder.
    """
    config = config.validated(str(options.agent_type))
    build.check_overrides(config.config_overrides)
    attendance = work_dir_trust.Attendance(
        is_interactive=mngr_ctx.is_interactive,
        is_auto_approved=mngr_ctx.is_auto_approve,
        is_dialog_dismissed=config.is_dialog_dismissed,
        trusts_repository_hooks=config.trust_repo_hooks,
    )
    consent = work_dir_trust.obtain(source_host, attendance, command=str(config.command), folder=source_path)
    if consent.refusal is not None:
        raise UserInputError(consent.refusal)
    options.plugin_data[_CONSENT] = consent


def provision(
    agent: BaseAgent[CodexAgentConfig], host: OnlineHostInterface, options: CreateAgentOptions, mngr_ctx: MngrContext
) -> None:
    """Put on the host what an agent needs there: the program, codex's home, the launcher and the scripts.

    Args:
        agent: The agent, whose state dir is there already.
        host: Its host.
        options: What it is created with.
        mngr_ctx: mngr's context.
    """
    config = agent.agent_config.validated(str(agent.agent_type))
    state_dir = agent._get_agent_dir()
    if not options.plugin_data.get(_INSTALLED):
        reconcile_version(config, host, mngr_ctx)
    found = program_for(host)
    program = None
    if found.content is not None:
        program = state_dir / paths.PROGRAM
        host.write_file(program, found.content, mode="0755")
    consent: work_dir_trust.Consent = options.plugin_data.get(_CONSENT) or work_dir_trust.Consent()
    home = build.provision(
        host,
        codex_home=state_dir / paths.CODEX_HOME,
        work_dir=agent.work_dir,
        program=program,
        command=str(config.command),
        settings=codex_settings(config),
        overrides=config.config_overrides,
        carries_user_config=config.use_user_config,
        trusts_repository=config.trust_repo_hooks,
        consented_hashes=consent.consented_hashes,
        allows_bypass=consent.allows_bypass,
    )
    for notice in (*([found.problem] if found.problem else []), *home.notices):
        logger.warning("{}", notice)
    command = f"{config.command} {work_dir_trust.BYPASS}" if home.needs_bypass else str(config.command)
    script = launch.launcher_script(state_dir, command)
    host.write_file(state_dir / paths.LAUNCHER, script.encode(), mode="0755")
    if program is None:
        return
    raw_only = state_dir / paths.RAW_ONLY
    if not config.emit_common_transcript:
        host.write_file(raw_only, b"")
    elif host.path_exists(raw_only):
        # The program makes up for what was left out until now.
        host.execute_idempotent_command(f"rm -f {shlex.quote(str(raw_only))}", timeout_seconds=10.0)
    scripts = transcript_scripts.raw()
    if config.emit_common_transcript:
        scripts |= transcript_scripts.common()
    provision_scripts_to_commands_dir(host, state_dir, scripts, mngr_ctx.concurrency_group)


def reconcile_version(config: CodexAgentConfig, host: OnlineHostInterface, mngr_ctx: MngrContext) -> None:
    """See to it that codex is on a host as the settings ask for, and tell of a newer version.

    Args:
        config: The settings.
        host: The host.
        mngr_ctx: mngr's context.

    Raises:
        AgentInstallationError: Codex is not there, and may not be or cannot be installed; or it is of another version.
    """
    command = str(config.command)
    version = None
    if config.check_installation:
        version = install.ensure_installed(host, mngr_ctx, command=command, version=config.version)
    notice = updates.check(
        host,
        command=command,
        policy=config.update_policy,
        pinned=config.version,
        is_interactive=mngr_ctx.is_interactive,
        is_auto_approved=mngr_ctx.is_auto_approve,
        installed=version,
    )
    if notice:
        logger.warning("{}", notice)


def codex_settings(config: CodexAgentConfig) -> dict[str, Any]:
    """What the agent's settings come to in codex's own ``config.toml``."""
    settings = {
        "model": config.model,
        "model_reasoning_effort": config.model_reasoning_effort,
        "sandbox_mode": config.sandbox_mode,
        "approval_policy": "never" if config.auto_allow_permissions else None,
    }
    return {name: value for name, value in settings.items() if value is not None}
