"""Checks before an agent is created, and everything that is installed on its host before Codex starts there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import MngrError, UserInputError
from imbue.mngr.hosts.common import get_agent_state_dir_path
from loguru import logger

from mngr_codex.plugin import instructions, launch, paths
from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.carry.plan import Carrying
from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.home import build, config_toml, hook_trust, work_dir_trust
from mngr_codex.plugin.home.trusted_folders import TrustedFolders
from mngr_codex.plugin.host import facts as host_facts
from mngr_codex.plugin.host import files, install, transcript_scripts, updates
from mngr_codex.plugin.host.files import HostFile
from mngr_codex.plugin.host.program import program_for
from mngr_codex.plugin.messages import first

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import CreateAgentOptions, OnlineHostInterface
    from imbue.mngr.plugins.hookspecs import OnBeforeCreateArgs

    from mngr_codex.plugin.host.facts import HostFacts


# Results of the checks are passed on to provisioning in the options' plugin_data under these keys.
_CONSENT = "mngr_codex_consent"
_FACTS = "mngr_codex_facts"


@dataclass(frozen=True, kw_only=True)
class ProvisioningRequest:
    """An agent to provision, and the results of the checks before its creation."""

    state_dir: Path
    """The agent's state directory, which exists already."""
    work_dir: Path
    """The agent's work directory."""
    config: CodexAgentConfig
    """The agent's settings, validated."""
    consent: work_dir_trust.Consent
    """What the user has consented to."""
    facts: HostFacts | None
    """The facts about the host, if Codex was checked there before the agent was created."""
    arguments: tuple[str, ...] = ()
    """The arguments of the agent's Codex."""
    may_have_other_login: bool = False
    """Whether its Codex may need no login, because of its arguments or its environment."""
    agent_name: str = "NAME"
    """The agent's name, for notices."""
    agent_type: str = AGENT_TYPE
    """The agent's type, for notices."""
    repository: Path | None = None
    """The repository on this machine that the work directory is a worktree of; None if it is not one."""

    @classmethod
    def from_options(
        cls,
        options: CreateAgentOptions,
        *,
        state_dir: Path,
        work_dir: Path,
        config: CodexAgentConfig,
        repository: Path | None = None,
    ) -> ProvisioningRequest:
        """Creates a request with the results of the checks that :func:`check` has added to the options."""
        return cls(
            state_dir=state_dir,
            work_dir=work_dir,
            config=config,
            consent=options.plugin_data.get(_CONSENT) or work_dir_trust.Consent(),
            facts=options.plugin_data.get(_FACTS),
            arguments=(*config.cli_args, *options.agent_args),
            may_have_other_login=first.may_have_other_login(options, config),
            agent_name=str(options.name or "NAME"),
            agent_type=str(options.agent_type),
            repository=repository,
        )


def config_of(options: CreateAgentOptions, config: CodexAgentConfig) -> CodexAgentConfig:
    """Returns an agent's settings with the command of its options, if they have one.

    Args:
        options: The options that the agent is created with.
        config: The settings of its type.

    Raises:
        ConfigParseError: A setting is invalid.
    """
    config = config.validated(str(options.agent_type))
    return config if options.command is None else config.model_copy(update={"command": options.command})


def check_host(args: OnBeforeCreateArgs, mngr_ctx: MngrContext) -> HostFacts | None:
    """Checks that Codex is installed on an existing host, and logged in if the agent gets a first message.

    Runs before anything of the agent is created. A host that does not exist yet cannot be checked.

    Args:
        args: The options that the agent is created with.
        mngr_ctx: mngr's context.

    Returns:
        What is known about the host, if it exists.

    Raises:
        ConfigParseError: A setting is invalid, or the user's ``config.toml`` cannot be read.
        AgentInstallationError: As for :func:`reconcile_version`.
        MngrError: Codex would ask for a login instead of taking the first message, or no program can run there.
    """
    from imbue.mngr.config.agent_config_registry import resolve_agent_type
    from imbue.mngr.interfaces.host import OnlineHostInterface

    host, options = args.target_host, args.agent_options
    config = resolve_agent_type(options.agent_type, mngr_ctx.config).agent_config
    if not (isinstance(config, CodexAgentConfig) and isinstance(host, OnlineHostInterface)):
        return None
    config = config_of(options, config)
    facts = reconcile_version(config, host, mngr_ctx)
    if not facts.runs_programs:
        raise MngrError(
            f"cannot create the agent: programs in {host.host_dir} on its host cannot be run (mounted with noexec?)\n"
            "hint: set host_dir of the host's provider in mngr's settings to a folder in which they can"
        )
    options.plugin_data[_FACTS] = facts
    if refusal := first.login_refusal(host, facts, options, config, codex_settings(config)):
        # To a UserInputError mngr adds a hint on the syntax of its commands.
        raise MngrError(refusal + first.stopped_hint(options))
    return facts


def check(
    source_host: OnlineHostInterface,
    source_path: Path,
    options: CreateAgentOptions,
    config: CodexAgentConfig,
    mngr_ctx: MngrContext,
) -> None:
    """Checks the settings and obtains consent, before anything of an agent is created.

    Args:
        source_host: The host with the directory that the agent's work directory is created from.
        source_path: That directory.
        options: The options that the agent is created with. The user's consent is added to them.
        config: The agent's settings.
        mngr_ctx: mngr's context.

    Raises:
        ConfigParseError: A setting is invalid.
        MngrError: The first message is a command.
        UserInputError: The output style does not exist, or the user has not consented to Codex working in the
            directory, or the file with an earlier consent is damaged.
    """
    config = config_of(options, config)
    if options.initial_message and (
        refusal := first.command_refusal(
            str(options.name or "NAME"), options.initial_message, is_update=options.is_update
        )
    ):
        raise MngrError(refusal + first.stopped_hint(options))
    config_toml.check_overrides(config.config_overrides)
    if not options.is_update:
        instructions.style(source_host, config, source_path)
    policy = work_dir_trust.ConsentPolicy(
        is_interactive=mngr_ctx.is_interactive,
        is_auto_approved=mngr_ctx.is_auto_approve,
        is_dialog_dismissed=config.is_dialog_dismissed,
        trusts_repository_hooks=config.trust_repo_hooks,
        agent_type=str(options.agent_type),
    )
    consent = work_dir_trust.obtain(
        source_host,
        policy,
        command=str(config.command),
        folder=source_path,
        trusted_folders=TrustedFolders(mngr_ctx.profile_dir) if source_host.is_local else None,
        updated=_updated_agent(source_host, options),
    )
    if consent.refusal is not None:
        raise UserInputError(consent.refusal + first.stopped_hint(options))
    options.plugin_data[_CONSENT] = consent


def _updated_agent(host: OnlineHostInterface, options: CreateAgentOptions) -> work_dir_trust.UpdatedAgent | None:
    if not (options.is_update and options.agent_id and options.target_path):
        return None
    return work_dir_trust.UpdatedAgent(
        codex_home=get_agent_state_dir_path(host.host_dir, options.agent_id) / paths.CODEX_HOME,
        work_dir=options.target_path,
    )


def provision(host: OnlineHostInterface, request: ProvisioningRequest, mngr_ctx: MngrContext) -> None:
    """Installs an agent's files on the host: the native program, Codex's home, the launcher and the scripts.

    Args:
        host: The agent's host.
        request: The agent.
        mngr_ctx: mngr's context.
    """
    facts = request.facts or reconcile_version(request.config, host, mngr_ctx)
    home = _build_home(host, request, facts)
    arguments = (hook_trust.BYPASS,) if home.needs_bypass else ()
    launcher = launch.launcher_script(
        request.state_dir, str(request.config.command), arguments, codex_path=facts.codex_path
    )
    written = [*home.files, HostFile(request.state_dir / paths.LAUNCHER, launcher.encode(), 0o755)]
    if request.repository is not None:
        written.append(HostFile(request.state_dir / paths.REPOSITORY, f"{request.repository}\n".encode(), 0o644))
    if home.program is not None:
        written += _transcript_files(request)
    files.write_files(host, written)


def _build_home(host: OnlineHostInterface, request: ProvisioningRequest, facts: HostFacts) -> build.CodexHome:
    """Builds the agent's ``CODEX_HOME``, with the native program."""
    config = request.config
    program = program_for(host, config.program_wheels, platform=facts.platform)
    if program.content is None:
        logger.warning("{}", program.problem)
    removed = [paths.STARTED]
    if config.emit_common_transcript:
        # The program then adds everything that the common transcript lacks.
        removed.append(paths.RAW_ONLY)
    home = build.build(
        host,
        build.CodexHomeRequest(
            agent_name=request.agent_name,
            agent_type=request.agent_type,
            codex_home=request.state_dir / paths.CODEX_HOME,
            work_dir=request.work_dir,
            program=None if program.content is None else request.state_dir / paths.PROGRAM,
            program_content=program.content,
            removed=tuple(request.state_dir / path for path in removed),
            # On this machine the doctor tries it, because it takes 0.1 s.
            tries_sandbox=not host.is_local,
            arguments=request.arguments,
            settings=codex_settings(config),
            instructions=_instructions(host, request),
            overrides=config.config_overrides,
            carries_user_config=config.use_user_config,
            trusts_repository_hooks=config.trust_repo_hooks,
            consented_hashes=request.consent.consented_hashes,
            allows_bypass=request.consent.allows_bypass,
            falls_back_to_default_model=config.fall_back_to_account_default_model,
            carrying=Carrying.of(host, config),
            may_have_other_login=request.may_have_other_login,
        ),
        facts,
    )
    for report in home.reports:
        logger.info("{}", report)
    for notice in home.notices:
        logger.warning("{}", notice)
    return home


def _instructions(host: OnlineHostInterface, request: ProvisioningRequest) -> tuple[str, ...]:
    try:
        style = instructions.style(host, request.config, request.work_dir)
    except UserInputError as error:
        # After an error mngr would remove the worktree, even that of an existing agent which is updated.
        logger.warning("{}", error)
        style = []
    return (*instructions.blocks(request.config), *style)


def _transcript_files(request: ProvisioningRequest) -> Iterator[files.HostFile]:
    """Yields the scripts that mngr runs for transcripts, and the flag file that disables the common one."""
    scripts = transcript_scripts.raw_transcript_script()
    if request.config.emit_common_transcript:
        scripts |= transcript_scripts.common_transcript_script()
    else:
        yield HostFile(request.state_dir / paths.RAW_ONLY, b"", 0o644)
    for name, text in scripts.items():
        yield HostFile(request.state_dir / "commands" / name, text.encode(), 0o755)


def reconcile_version(config: CodexAgentConfig, host: OnlineHostInterface, mngr_ctx: MngrContext) -> HostFacts:
    """Checks that Codex is installed on a host as the settings require, and reports newer versions.

    Args:
        config: The settings.
        host: The host.
        mngr_ctx: mngr's context.

    Returns:
        The facts about the host.

    Raises:
        AgentInstallationError: Codex is missing and cannot or must not be installed, or another version is installed.
        MngrError: The host cannot be examined.
    """
    command = str(config.command)
    facts = host_facts.read(host, command)
    if config.check_installation:
        facts = install.ensure_installed(host, mngr_ctx, facts, command=command, version=config.version)
    notice = updates.check(
        host,
        facts,
        policy=config.update_policy,
        pinned=config.version,
        is_interactive=mngr_ctx.is_interactive,
        is_auto_approved=mngr_ctx.is_auto_approve,
    )
    if notice:
        logger.warning("{}", notice)
    return facts


def codex_settings(config: CodexAgentConfig) -> dict[str, Any]:
    """Returns an agent's settings by the names that they have in Codex's ``config.toml``."""
    settings = {
        "model": config.model,
        "model_reasoning_effort": config.model_reasoning_effort,
        "sandbox_mode": config.sandbox_mode,
        "approval_policy": "never" if config.auto_allow_permissions else None,
        # Seen on 0.163 and 0.171, in default and in plan mode.
        "tools": {"experimental_request_user_input": {"enabled": False}} if config.auto_disable_questions else None,
    }
    return {name: value for name, value in settings.items() if value is not None}
