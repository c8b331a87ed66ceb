"""``mngr transcript``: the native program handles Codex agents, mngr's own command everything else.

The program starts in a few milliseconds, follows growing transcripts, and prints json, jsonl and atif byte for byte
like mngr. For an agent on another host it runs there, and only its output comes over the connection. mngr handles
anything uncertain, including all errors.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mngr_codex.plugin import paths
from mngr_codex.plugin.cli import local_agents, remote_agents
from mngr_codex.plugin.cli.local_agents import LocalAgent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
    from imbue.mngr.cli.transcript import TranscriptCliOptions
    from imbue.mngr.config.data_types import MngrConfig, MngrContext
    from imbue.mngr.errors import MngrError
    from imbue.mngr.primitives import AgentAddress

    from mngr_codex.plugin.cli.remote_agents import FoundAgent

COMMAND = "transcript"

_HANDLED = frozenset({"target", "role", "tail", "head", "full", "output_format", "headless", "setting"})
"""The parameters of mngr's command (0.3.0) that are translated into options of the program."""
_MNGR_ONLY = {
    "preserved": "--preserved",
    "preserved_only": "--preserved-only",
    "output": "--output",
    "quiet": "--quiet",
    "verbose": "--verbose",
    "log_file": "--log-file",
    "log_commands": "--log-commands",
    "safe": "--safe",
    "plugin": "--plugin",
    "disable_plugin": "--disable-plugin",
}
"""The parameters that only mngr handles, with their options."""
_OWN_OPTIONS = {"follow": ("--follow", "-f"), "utc": ("--utc",), "no_pager": ("--no-pager",)}

_FORMATS = ("human", "json", "jsonl", "atif")
_ROLES = ("user", "agent", "system", "tool")
# The largest number that the program accepts.
_MAXIMUM_COUNT = 2**64 - 1
_PARENT_LABEL = "mngr_claude_subagent_proxy_parent_id"
"""The label of agents whose transcripts mngr embeds in their parent's (0.3.0, ``api/trajectory.py``)."""
_MAXIMUM_FIRST_LINE = 1 << 20
"""Bytes of a first line that are read. A longer line is not a legacy record, or the program reports it."""
_LATE_HOOKS = ("on_after_command", "on_error", "on_shutdown")
"""The hooks that mngr calls after a command."""


class NotHandled(Exception):
    """The program does not handle this call. The message is the reason, for users of options that mngr lacks."""


class _NoLocalAgent(NotHandled):
    """No agent on this machine has the name or id."""


class _NotFoundByMngr(NotHandled):
    """mngr has searched for the agent, and its own command would do the same again."""

    def __init__(self, error: MngrError) -> None:
        super().__init__(error.format_message())
        self.error = error


class _LogIsOutdated(Exception):
    """The agent is not where mngr's discovery log lists it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to run the program."""

    arguments: tuple[str, ...]
    """The program's arguments before the state directory."""
    agent: LocalAgent | FoundAgent
    parameters: Mapping[str, Any]
    """The command's parameters, with the defaults from the settings."""
    pager: str | None
    """The pager in mngr's settings."""
    mngr_ctx: MngrContext
    """Keeps the connections that the agent was found with."""

    @property
    def is_followed(self) -> bool:
        """Whether new records are shown until Ctrl-C."""
        return bool(self.parameters["follow"])

    @property
    def form(self) -> str:
        """The format of the output."""
        return str(self.parameters["output_format"]).lower()

    @property
    def is_document(self) -> bool:
        """Whether the program may still decline after reading the transcript."""
        return self.form == "atif"

    @property
    def is_paged(self) -> bool:
        """Whether a pager may be used."""
        is_headless = self.parameters["headless"] or self.mngr_ctx.config.headless
        return not (self.is_followed or self.parameters["no_pager"] or is_headless)


def command() -> click.Command | None:
    """Returns the command that replaces mngr's; None if mngr's command is not the expected one."""
    try:
        from imbue.mngr.cli.transcript import TranscriptCliOptions, transcript
    except ImportError:
        return None
    if not _is_expected(transcript, TranscriptCliOptions):
        return None
    replacement = copy.copy(transcript)
    replacement.params = [*transcript.params, *_own_options()]
    replacement.callback = _callback(transcript)
    _add_to_help()
    return replacement


def _is_expected(mngr_command: object, options: type[TranscriptCliOptions]) -> bool:
    if not isinstance(mngr_command, click.Command) or mngr_command.callback is None or mngr_command.name != COMMAND:
        return False
    names = {param.name for param in mngr_command.params if param.expose_value}
    words = {word for param in mngr_command.params for word in (*param.opts, *param.secondary_opts)}
    is_free = not words & {word for own in _OWN_OPTIONS.values() for word in own}
    return is_free and names == set(options.model_fields) == _HANDLED | set(_MNGR_ONLY)


def _own_options() -> list[click.Parameter]:
    from click_option_group import GroupedOption, OptionGroup

    group = OptionGroup("Codex agents")
    helps = {
        "follow": "Show new records as they are added, until Ctrl-C (with --format human or jsonl)",
        "utc": "Show times in UTC instead of the local time zone, as mngr does for other agents",
        "no_pager": "Don't use a pager",
    }
    return [GroupedOption(_OWN_OPTIONS[name], group=group, is_flag=True, help=text) for name, text in helps.items()]


def _add_to_help() -> None:
    from imbue.mngr.cli.help_formatter import get_help_metadata

    known = get_help_metadata(COMMAND)
    own = f"mngr {COMMAND} TARGET [--follow] [--utc] [--no-pager] [--role ROLE] [--tail N] [--full]"
    own += " [--format human|jsonl]"
    if known is None or own in known.synopsis:
        return
    section = (
        "Codex agents",
        "mngr-codex shows their transcripts: quickly, in color and through a pager on a terminal, and with --follow\n"
        "as they grow. --format json, jsonl and atif print the same as for other agents. On another host it runs\n"
        "there, so that only the selected records come over the connection.",
    )
    known.model_copy(
        update={
            "synopsis": f"{known.synopsis}\n{own}",
            "additional_sections": (*known.additional_sections, section),
        }
    ).register()


def _callback(mngr_command: click.Command) -> Any:
    mngr_callback = mngr_command.callback
    assert mngr_callback is not None

    # mngr finds the option groups of a command through the function that its callback wraps.
    @functools.wraps(mngr_callback)
    def show(**parameters: Any) -> Any:
        ctx = click.get_current_context()
        try:
            try:
                with _planned(ctx) as plan:
                    return _run_program(ctx, plan)
            except _LogIsOutdated:
                with _planned(ctx, trusts_log=False) as plan:
                    return _run_program(ctx, plan)
        except NotHandled as reason:
            if isinstance(reason, _NotFoundByMngr):
                _begin_as_mngr(ctx)
                raise reason.error from None
            if parameters["follow"]:
                raise click.UsageError(str(reason)) from None
        return ctx.invoke(mngr_callback, **parameters)

    return show


def _begin_as_mngr(ctx: click.Context) -> None:
    """Does what mngr's command does before it searches for the agent (0.3.0): it sets up its log, and tells plugins."""
    from imbue.mngr.cli import transcript as mngrs

    mngrs.setup_command_context(  # type: ignore[attr-defined]  # it is imported there
        ctx=ctx,
        command_name=COMMAND,
        command_class=mngrs.TranscriptCliOptions,
        is_format_template_supported=False,
        extra_builtin_format_names=frozenset({"atif"}),
    )


# -- whether the program handles the call


@contextlib.contextmanager
def _planned(ctx: click.Context, *, trusts_log: bool = True) -> Iterator[Plan]:
    """Yields how to run the program. What mngr logs until the program has run is not shown.

    Args:
        ctx: The context of the command.
        trusts_log: Whether an agent on another host can be where mngr's discovery log lists it.

    Raises:
        NotHandled: mngr handles the call, because the program does not, or because something in mngr is unexpected.
    """
    from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
    from loguru import logger

    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        # mngr is used as a library: the process is the caller's, and the program would bypass the caller's streams.
        raise NotHandled("--follow only works with mngr as a command")
    with contextlib.ExitStack() as stack:
        # mngr repeats its log messages if it handles the call, following its own logging settings.
        logger.disable("imbue")
        stack.callback(logger.enable, "imbue")
        try:
            group = ConcurrencyGroup(name=f"mngr-{COMMAND}")
            group.__enter__()
            # The group would wrap an exception that it is given.
            stack.callback(group.__exit__, None, None, None)
            plan = _plan(ctx, group, trusts_log=trusts_log)
        except NotHandled:
            raise
        except Exception as error:
            raise NotHandled(f"mngr-codex does not support this version of mngr: {error!r}") from error
        yield plan


def _plan(ctx: click.Context, group: ConcurrencyGroup, *, trusts_log: bool) -> Plan:
    """Plans how to run the program.

    Raises:
        NotHandled: mngr handles the call.
    """
    from imbue.mngr.errors import MngrError

    # Checks without settings are first, since they rule out most calls.
    _check_options(ctx.params)
    address = _agent_address(ctx.params["target"])
    try:
        mngr_ctx = _context(ctx, group)
        parameters = _parameters(ctx, mngr_ctx)
        _check_options(parameters)
        is_document = str(parameters["output_format"]).lower() == "atif"
        # A document can contain other agents.
        trusts_log = trusts_log and not is_document
        agent = _agent(address, mngr_ctx, accepts_unlisted=bool(ctx.params["follow"]), trusts_log=trusts_log)
    except (MngrError, click.ClickException) as error:
        raise NotHandled(error.format_message()) from error
    config = mngr_ctx.config
    if config.pre_command_scripts.get(COMMAND):
        raise NotHandled("--follow cannot be combined with pre_command_scripts for mngr transcript")
    if isinstance(agent, LocalAgent):
        if _program() is None:
            raise NotHandled(
                "cannot find the mngr-codex program\nhint: reinstall mngr-codex as described in its README"
            )
        if not parameters["follow"]:
            _check_transcript(agent)
    form = str(parameters["output_format"]).lower()
    if is_document and any(_parent(other) == agent.data["id"] for other in agent.others):
        raise NotHandled("")
    arguments = (
        COMMAND,
        f"--format={form}",
        *([] if form == "human" else ["--as-mngr"]),
        *(f"--role={role}" for role in parameters["role"]),
        *(f"--{end}={min(parameters[end], _MAXIMUM_COUNT)}" for end in ("head", "tail") if parameters[end] is not None),
        *(["--full"] if parameters["full"] else []),
        *(["--utc"] if parameters["utc"] else []),
        *(["--follow"] if parameters["follow"] else []),
    )
    return Plan(arguments=arguments, agent=agent, parameters=parameters, pager=config.pager, mngr_ctx=mngr_ctx)


def _program() -> Path | None:
    from mngr_codex.plugin.host.program import own_program

    program = own_program()
    return program if program is not None and os.access(program, os.X_OK) else None


def _parent(data: Mapping[str, Any]) -> object:
    labels = data.get("labels")
    return labels.get(_PARENT_LABEL) if isinstance(labels, dict) else None


def _check_options(parameters: Mapping[str, Any]) -> None:
    """Checks that the program supports these parameters.

    Raises:
        NotHandled: It does not.
    """
    form = str(parameters["output_format"]).lower()
    for name, word in _MNGR_ONLY.items():
        # `--no-log-commands` was given explicitly as well.
        if parameters[name] not in (None, False, 0, "", ()) or (name == "log_commands" and parameters[name] is False):
            raise NotHandled(f"--follow cannot be combined with {word}")
    if form not in _FORMATS or (parameters["follow"] and form not in ("human", "jsonl")):
        raise NotHandled("--follow only works with --format human or jsonl")
    if parameters["head"] is not None and (parameters["tail"] is not None or parameters["follow"]):
        raise NotHandled("--follow cannot be combined with --head")
    if any(parameters[end] is not None and parameters[end] < 1 for end in ("head", "tail")):
        raise NotHandled("--head and --tail need a number of at least 1")
    if form == "atif" and (parameters["role"] or parameters["head"] is not None or parameters["tail"] is not None):
        raise NotHandled("")
    if not set(parameters["role"]) <= set(_ROLES):
        raise NotHandled(f"the roles are {', '.join(_ROLES)}")


def _agent_address(target: object) -> AgentAddress:
    """Returns the address of the agent.

    Raises:
        NotHandled: The target is a host.
    """
    from imbue.mngr.primitives import AgentAddress

    if not isinstance(target, AgentAddress):
        raise NotHandled(_codex_only("the target is a host"))
    return target


def _context(ctx: click.Context, group: ConcurrencyGroup) -> MngrContext:
    """Loads the settings, including those on the command line.

    Raises:
        MngrError: They are invalid.
    """
    from imbue.mngr.cli.common_opts import apply_settings_to_config
    from imbue.mngr.config.loader import load_config

    mngr_ctx = load_config(ctx.obj, group)
    config = apply_settings_to_config(mngr_ctx.config, ctx.params["setting"], mngr_ctx.config.disabled_plugins)
    return mngr_ctx.model_copy(update={"config": config})


def _parameters(ctx: click.Context, mngr_ctx: MngrContext) -> dict[str, Any]:
    """Returns the parameters with the defaults from the settings, like mngr (0.3.0, ``setup_command_context``).

    Raises:
        MngrError: The settings are invalid.
        NotHandled: The program does not support the parameters.
    """
    from imbue.mngr.cli.common_opts import (
        apply_config_defaults,
        restore_cli_list_values,
        save_cli_list_values_for_restoration,
    )
    from imbue.mngr.cli.transcript import TranscriptCliOptions
    from imbue.mngr.config.loader import resolve_strict_from_env
    from pydantic import ValidationError

    merged = apply_config_defaults(ctx, mngr_ctx.config, COMMAND, strict=resolve_strict_from_env())
    merged = restore_cli_list_values(merged, save_cli_list_values_for_restoration(ctx))
    mngr_ctx.pm.hook.override_command_options(command_name=COMMAND, command_class=TranscriptCliOptions, params=merged)
    known = set(TranscriptCliOptions.model_fields)
    for name in merged.keys() - known - _OWN_OPTIONS.keys():
        # Another plugin's option.
        is_given = ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if is_given or merged[name] != ctx.params.get(name):
            raise NotHandled(f"--follow cannot be combined with --{name.replace('_', '-')}")
    try:
        options = TranscriptCliOptions(**{name: merged[name] for name in known})
    except ValidationError as error:
        raise NotHandled(f"invalid settings for mngr transcript: {error}") from error
    return {**merged, **{name: getattr(options, name) for name in known}}


def _agent(
    address: AgentAddress, mngr_ctx: MngrContext, *, accepts_unlisted: bool, trusts_log: bool
) -> LocalAgent | FoundAgent:
    """Returns the Codex agent with an address: from mngr's files if it must be on this machine, or as mngr finds it.

    Args:
        address: The address.
        mngr_ctx: mngr's context.
        accepts_unlisted: Whether an agent on this machine may be missing in mngr's discovery log.
        trusts_log: Whether an agent on another host can be where the log lists it.

    Raises:
        MngrError: mngr does not find the agent's host.
        NotHandled: mngr does not find the agent, or it is not an agent of this plugin.
    """
    from imbue.mngr.api.discovery_events import get_discovery_events_path
    from imbue.mngr.api.providers import list_provider_names_to_load

    if address.host is None:
        try:
            return _local_agent(address.agent, mngr_ctx, accepts_unlisted=accepts_unlisted)
        except _NoLocalAgent:
            if [str(name) for name in list_provider_names_to_load(mngr_ctx)] == ["local"]:
                raise
        except NotHandled:
            trusts_log = False
        log = get_discovery_events_path(mngr_ctx.config)
        if remote_agents.is_logged_as_other_type(str(address.agent), log, mngr_ctx):
            raise NotHandled(_codex_only(f"{address} is of another type"))
    if trusts_log and (logged := remote_agents.logged(address, mngr_ctx)) is not None:
        return logged
    try:
        found = remote_agents.find(address, mngr_ctx)
    except remote_agents.SearchError as error:
        raise _NotFoundByMngr(error.error) from error
    except remote_agents.NotFound as error:
        raise NotHandled(_codex_only(str(error))) from error
    if found.host.is_local:
        return LocalAgent(found.state_dir, dict(found.data), found.others)
    return found


def _local_agent(target: object, mngr_ctx: MngrContext, *, accepts_unlisted: bool) -> LocalAgent:
    """Returns the Codex agent of this machine with a name or an id.

    Raises:
        NotHandled: The agent does not exist, or the target could refer to another agent.
    """
    from imbue.mngr.primitives import AgentId

    agents = tuple(local_agents.read(_host_dir(mngr_ctx.config)))
    is_id = isinstance(target, AgentId)
    found = [each for each in agents if (each.id if is_id else each.name) == target]
    if not found:
        raise _NoLocalAgent(_codex_only(f"no agent on this machine has the name or id {target}"))
    if len(found) != 1 or found[0].data.get("id") != found[0].id:
        raise NotHandled(_codex_only(f"several agents have the name or id {target}"))
    agent = found[0]
    if not remote_agents.is_codex(agent.type, mngr_ctx):
        raise NotHandled(_codex_only(f"{target} is of type {agent.type}"))
    if not _is_local_only(str(target), mngr_ctx, accepts_unlisted=accepts_unlisted):
        raise NotHandled(_codex_only(f"{target} may also be on another host"))
    return dataclasses.replace(agent, others=tuple(each.data for each in agents if each is not agent))


def _host_dir(config: MngrConfig) -> Path:
    """Returns mngr's directory of local agents.

    Raises:
        NotHandled: The settings define another local provider.
    """
    for name, provider in config.providers.items():
        is_plain = str(name) == "local" and provider.is_enabled is not False
        if str(provider.backend) == "local" and not (is_plain and getattr(provider, "host_dir", None) is None):
            raise NotHandled(_codex_only(f"the settings define a local provider {name}"))
    return config.default_host_dir.expanduser()


def _is_local_only(identifier: str, mngr_ctx: MngrContext, *, accepts_unlisted: bool) -> bool:
    """Returns whether mngr would search for an agent only on this machine.

    Args:
        identifier: The agent's name or id.
        mngr_ctx: mngr's context.
        accepts_unlisted: The result if the agent is missing in mngr's discovery log.
    """
    from imbue.mngr.api.discovery_events import get_discovery_events_path, resolve_provider_names_for_identifiers
    from imbue.mngr.api.providers import list_provider_names_to_load

    providers = [str(name) for name in list_provider_names_to_load(mngr_ctx)]
    if "local" not in providers:
        return False
    if len(providers) == 1:
        return True
    if _is_logged_as_local(identifier, get_discovery_events_path(mngr_ctx.config)):
        return True
    resolved = resolve_provider_names_for_identifiers(mngr_ctx, [identifier])
    return accepts_unlisted if resolved is None else resolved == ("local",)


def _is_logged_as_local(identifier: str, log: Path) -> bool:
    """Returns whether mngr's discovery log lists an agent on this machine and never on another host.

    The log can be 50 MB long, and mngr would parse every line as JSON. Unclear lines count as another host.
    """
    needle = f'"{identifier}"'.encode()
    is_local = False
    try:
        with log.open("rb") as lines:
            for line in lines:
                if needle in line:
                    local = line.count(b'"provider_name":"local"')
                    if line.count(b'"provider_name":') != local:
                        return False
                    is_local = is_local or local > 0
    except OSError:
        return False
    return is_local


def _check_transcript(agent: LocalAgent) -> None:
    """Checks that there is exactly one transcript, in the current format.

    Raises:
        NotHandled: There is not; mngr reports the error.
    """
    from imbue.mngr.agents.common_transcript_records import LEGACY_RECORD_TYPE_NAMES

    own = agent.state_dir / paths.COMMON_TRANSCRIPT
    files = list(own.glob("events.jsonl*"))
    events = agent.state_dir / "events"
    # mngr ignores logs too, one of which has the name of a transcript.
    found = (path for path in events.rglob("common_transcript") if not path.is_relative_to(events / "logs"))
    if not files or list(found) != [own]:
        raise NotHandled("")
    try:
        if any(_first_type(file) in LEGACY_RECORD_TYPE_NAMES for file in files):
            raise NotHandled("")
    except OSError as error:
        raise NotHandled("") from error


def _first_type(file: Path) -> str | None:
    with file.open("rb") as lines:
        first = lines.readline(_MAXIMUM_FIRST_LINE)
    try:
        kind = json.loads(first)["type"]
    except (ValueError, KeyError, TypeError):
        return None
    return kind if isinstance(kind, str) else None


def _codex_only(reason: str) -> str:
    return f"--follow only works with Codex agents: {reason}\nhint: `mngr list` shows all agents"


# -- running the program


def _run_program(ctx: click.Context, plan: Plan) -> None:
    """Runs the program in place of mngr's command.

    Raises:
        NotHandled: The program declined, or cannot be run and no other plugin has been notified yet.
        click.ClickException: The program cannot be run, and plugins were notified of the command.
    """
    if plan.pager is not None:
        os.environ["PAGER"] = plan.pager
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(plan.agent, LocalAgent):
        status = _run_here(ctx, plan, plan.agent)
    else:
        status = _run_there(ctx, plan, plan.agent)
    # mngr treats every exit as an error, even with status 0.
    if status != 0:
        ctx.exit(status if status > 0 else 128 - status)


def _notify(ctx: click.Context, plan: Plan) -> None:
    """Notifies other plugins of the command, as mngr does."""
    if ctx.parent is not None:
        # mngr passes these to the hooks after the command.
        ctx.parent.meta["hook_command_name"] = COMMAND
        ctx.parent.meta["hook_command_params"] = dict(plan.parameters)
    ctx.obj.hook.on_before_command(command_name=COMMAND, command_params=dict(plan.parameters))


def _run_here(ctx: click.Context, plan: Plan, agent: LocalAgent) -> int:
    from mngr_codex.plugin.host.program import RUN_AS

    hooks = ctx.obj.hook
    is_observed = any(getattr(hooks, name).get_hookimpls() for name in _LATE_HOOKS)
    is_notified = bool(hooks.on_before_command.get_hookimpls())
    if plan.is_document and (is_observed or is_notified):
        # If the program declined, mngr would notify the other plugins of the command a second time.
        raise NotHandled("")
    program = _program()
    assert program is not None, "it was there when the command was planned"
    _notify(ctx, plan)
    pager = [] if plan.is_paged or plan.is_followed else ["--no-pager"]
    command = [str(program), *plan.arguments, *pager, "--", str(agent.state_dir.absolute())]
    try:
        environment = os.environ | RUN_AS
        if not (is_observed or plan.is_document):
            os.execve(program, command, environment)
        import subprocess

        status = subprocess.run(command, env=environment, check=False).returncode
    except OSError as error:
        problem = f"cannot run {program}: {error.strerror}\nhint: reinstall mngr-codex as described in its README"
        if is_notified:
            # mngr's command would notify the other plugins a second time.
            raise click.ClickException(problem) from None
        raise NotHandled(problem) from error
    if status == remote_agents.DECLINED and plan.is_document:
        raise NotHandled("")
    return status


def _run_there(ctx: click.Context, plan: Plan, agent: FoundAgent) -> int:
    from mngr_codex.plugin.cli.remote_run import show_transcript
    from mngr_codex.plugin.host.streaming import Declined

    try:
        return show_transcript(
            agent,
            plan.arguments,
            is_human=plan.form == "human",
            is_followed=plan.is_followed,
            is_paged=plan.is_paged,
            is_local_time=not plan.parameters["utc"],
            on_accepted=lambda: _notify(ctx, plan),
        )
    except Declined as declined:
        if agent.is_outdated(declined.status):
            raise _LogIsOutdated from None
        if plan.is_followed and declined.status == remote_agents.DECLINED:
            reason = f"the program mngr-codex is not on the host {agent.host_name}"
        else:
            reason = f"the program mngr-codex on the host {agent.host_name} is too old or does not run there"
        name = agent.data.get("name")
        hint = f"`mngr event {name} codex/common_transcript --follow` prints new records as JSON"
        raise NotHandled(f"{reason}\nhint: {hint}") from None
