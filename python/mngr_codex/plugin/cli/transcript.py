"""``mngr transcript``: codex agents of this machine are answered by the native program, all else by mngr's own command.

The program starts in a few milliseconds, shows transcripts as they grow, and prints json, jsonl and atif byte for byte
as mngr does. What is not plainly its business is mngr's: whatever is an error, too.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mngr_codex.plugin import paths
from mngr_codex.plugin.cli import local_agents

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
    from imbue.mngr.cli.transcript import TranscriptCliOptions
    from imbue.mngr.config.data_types import MngrConfig, MngrContext

    from mngr_codex.plugin.cli.local_agents import LocalAgent

COMMAND = "transcript"

_HANDLED = frozenset({"target", "role", "tail", "head", "full", "output_format", "headless", "setting"})
"""The parameters of mngr's command (0.3.0) that the program is given, in its own words."""
_MNGRS_IF_SET = {
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
"""Those that only mngr knows what to do with."""
_OURS = {"follow": ("--follow", "-f"), "no_pager": ("--no-pager",)}

_FORMATS = ("human", "json", "jsonl", "atif")
_ROLES = ("user", "agent", "system", "tool")
# The largest number that the program takes; no transcript has as many records.
_MOST = 2**64 - 1
_LEFT_TO_MNGR = 75
"""The program's status where it cannot make the document as mngr makes it."""
_PARENT_LABEL = "mngr_claude_subagent_proxy_parent_id"
"""What mngr knows the agents by whose transcripts it embeds in another's (0.3.0, ``api/trajectory.py``)."""
_LONGEST_FIRST_LINE = 1 << 20
"""Bytes. A longer one is none of the records that are no longer read, or one that the program tells of."""
_WATCHING_HOOKS = ("on_after_command", "on_error", "on_shutdown")
"""Those that mngr calls when a command has ended."""


class LeftToMngr(Exception):
    """The program does not show this transcript. The text is for who wants what only the program can do."""


@dataclass(frozen=True)
class Plan:
    """How the program is run."""

    program: Path
    arguments: tuple[str, ...]
    parameters: Mapping[str, Any]
    """The command's parameters, with the defaults that the settings have."""
    pager: str | None
    is_document: bool
    """Whether the program may leave it to mngr yet, when it has seen the transcript."""


def command() -> click.Command | None:
    """Make the command that takes the place of mngr's, or None where mngr's is not the one that this knows."""
    try:
        from imbue.mngr.cli.transcript import TranscriptCliOptions, transcript
    except ImportError:
        return None
    if not _is_known(transcript, TranscriptCliOptions):
        return None
    replacement = copy.copy(transcript)
    replacement.params = [*transcript.params, *_own_options()]
    replacement.callback = _callback(transcript)
    _add_to_help()
    return replacement


def _is_known(mngrs: object, options: type[TranscriptCliOptions]) -> bool:
    if not isinstance(mngrs, click.Command) or mngrs.callback is None or mngrs.name != COMMAND:
        return False
    names = {param.name for param in mngrs.params if param.expose_value}
    words = {word for param in mngrs.params for word in (*param.opts, *param.secondary_opts)}
    is_free = not words & {word for own in _OURS.values() for word in own}
    return is_free and names == set(options.model_fields) == _HANDLED | set(_MNGRS_IF_SET)


def _own_options() -> list[click.Parameter]:
    from click_option_group import GroupedOption, OptionGroup

    group = OptionGroup("Codex agents of this machine")
    helps = {
        "follow": "Go on with new records as they come, until Ctrl-C (with --format human and jsonl)",
        "no_pager": "Write for people straight to the terminal, and not through a pager",
    }
    return [GroupedOption(_OURS[name], group=group, is_flag=True, help=text) for name, text in helps.items()]


def _add_to_help() -> None:
    from imbue.mngr.cli.help_formatter import get_help_metadata

    known = get_help_metadata(COMMAND)
    own = f"mngr {COMMAND} TARGET --follow [--role ROLE] [--tail N] [--full] [--format human|jsonl] [--no-pager]"
    if known is None or own in known.synopsis:
        return
    section = (
        "Codex agents of this machine",
        "Their transcripts are shown by mngr-codex: at once, with colours and through a pager where standard output\n"
        "is a terminal, and with --follow as they grow. --format json, jsonl and atif give what they give for others.",
    )
    known.model_copy(
        update={
            "synopsis": f"{known.synopsis}\n{own}",
            "additional_sections": (*known.additional_sections, section),
        }
    ).register()


def _callback(mngrs: click.Command) -> Any:
    mngrs_own = mngrs.callback
    assert mngrs_own is not None

    # mngr finds the groups of a command's options by what its callback wraps.
    @functools.wraps(mngrs_own)
    def show(**parameters: Any) -> Any:
        ctx = click.get_current_context()
        try:
            return _hand_over(ctx, _plan_if_any(ctx))
        except LeftToMngr as reason:
            if parameters["follow"]:
                raise click.UsageError(str(reason)) from None
        return ctx.invoke(mngrs_own, **parameters)

    return show


# -- whether it is ours


def _plan_if_any(ctx: click.Context) -> Plan:
    """Find out how the program is to be run, whatever this mngr is like.

    Raises:
        LeftToMngr: It is not.
    """
    from loguru import logger

    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        # Somebody has called mngr as a library: the process is theirs, and the program would not write where they read.
        raise LeftToMngr("--follow goes with mngr as a command only.")
    # mngr says the same when it comes to its turn, and then as its settings of logging have it.
    logger.disable("imbue")
    try:
        return _plan(ctx)
    except LeftToMngr:
        raise
    except Exception as error:
        raise LeftToMngr(f"mngr-codex does not get along with this mngr: {error!r}") from error
    finally:
        logger.enable("imbue")


def _plan(ctx: click.Context) -> Plan:
    """Find out how the program is to be run.

    Raises:
        LeftToMngr: It is not.
    """
    from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
    from imbue.mngr.errors import MngrError

    from mngr_codex.plugin.host.program import own_program

    # What needs no settings comes first: it is most of what is not ours.
    _check_options(ctx.params)
    target = _plain_target(ctx.params["target"])
    program = own_program()
    if program is None or not os.access(program, os.X_OK):
        raise LeftToMngr("The program mngr-codex is gone. Install mngr-codex anew, as its README says.")
    with contextlib.ExitStack() as stack:
        group = ConcurrencyGroup(name=f"mngr-{COMMAND}")
        group.__enter__()
        # Told of an exception it would wrap it in one of its own.
        stack.callback(group.__exit__, None, None, None)
        try:
            mngr_ctx = _context(ctx, group)
            parameters = _parameters(ctx, mngr_ctx)
            _check_options(parameters)
            agent, others = _agent(target, mngr_ctx, is_new_to_mngr=bool(ctx.params["follow"]))
        except (MngrError, click.ClickException) as error:
            raise LeftToMngr(error.format_message()) from error
    config = mngr_ctx.config
    if config.pre_command_scripts.get(COMMAND):
        raise LeftToMngr("--follow does not go with pre_command_scripts for mngr transcript.")
    is_followed = bool(parameters["follow"])
    form = str(parameters["output_format"]).lower()
    if not is_followed:
        _check_transcript(agent)
    if form == "atif" and any(other.labels.get(_PARENT_LABEL) == agent.id for other in others):
        raise LeftToMngr("")
    is_unpaged = parameters["no_pager"] or parameters["headless"] or config.headless
    return Plan(
        program=program,
        arguments=(
            COMMAND,
            f"--format={form}",
            *([] if form == "human" else ["--as-mngr"]),
            *(f"--role={role}" for role in parameters["role"]),
            *(f"--{end}={min(parameters[end], _MOST)}" for end in ("head", "tail") if parameters[end] is not None),
            *(["--full"] if parameters["full"] else []),
            *(["--follow"] if is_followed else []),
            *(["--no-pager"] if is_unpaged else []),
            "--",
            str(agent.state_dir.absolute()),
        ),
        parameters=parameters,
        pager=config.pager,
        is_document=form == "atif",
    )


def _check_options(parameters: Mapping[str, Any]) -> None:
    """Look whether the program can do what these parameters ask for.

    Raises:
        LeftToMngr: It cannot.
    """
    form = str(parameters["output_format"]).lower()
    for name, word in _MNGRS_IF_SET.items():
        # `--no-log-commands` is something that was said, too.
        if parameters[name] not in (None, False, 0, "", ()) or (name == "log_commands" and parameters[name] is False):
            raise LeftToMngr(f"--follow does not go with {word}.")
    if form not in _FORMATS or (parameters["follow"] and form not in ("human", "jsonl")):
        raise LeftToMngr("--follow goes with --format human and jsonl.")
    if parameters["head"] is not None and (parameters["tail"] is not None or parameters["follow"]):
        raise LeftToMngr("--follow does not go with --head.")
    if any(parameters[end] is not None and parameters[end] < 1 for end in ("head", "tail")):
        raise LeftToMngr("--head and --tail take a number from 1.")
    if form == "atif" and (parameters["role"] or parameters["head"] is not None or parameters["tail"] is not None):
        raise LeftToMngr("")
    if not set(parameters["role"]) <= set(_ROLES):
        raise LeftToMngr(f"The roles are {', '.join(_ROLES)}.")


def _plain_target(target: object) -> object:
    """Give the name or the id that the user has said, where that is all that was said.

    Raises:
        LeftToMngr: A host was named.
    """
    from imbue.mngr.primitives import AgentAddress

    if not isinstance(target, AgentAddress) or target.host is not None:
        raise LeftToMngr(_only_here("name it without its host"))
    return target.agent


def _context(ctx: click.Context, group: ConcurrencyGroup) -> MngrContext:
    """Load the settings, those of the command line with them.

    Raises:
        MngrError: They are wrong.
    """
    from imbue.mngr.cli.common_opts import apply_settings_to_config
    from imbue.mngr.config.loader import load_config

    mngr_ctx = load_config(ctx.obj, group)
    config = apply_settings_to_config(mngr_ctx.config, ctx.params["setting"], mngr_ctx.config.disabled_plugins)
    return mngr_ctx.model_copy(update={"config": config})


def _parameters(ctx: click.Context, mngr_ctx: MngrContext) -> dict[str, Any]:
    """Give the parameters with the settings' defaults, as mngr makes them (0.3.0, ``setup_command_context``).

    Raises:
        MngrError: The settings are wrong.
        LeftToMngr: They are none that the program could be given.
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
    mngrs = set(TranscriptCliOptions.model_fields)
    for name in merged.keys() - mngrs - _OURS.keys():
        # Another plugin's option.
        is_said = ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if is_said or merged[name] != ctx.params.get(name):
            raise LeftToMngr(f"--follow does not go with --{name.replace('_', '-')}.")
    try:
        options = TranscriptCliOptions(**{name: merged[name] for name in mngrs})
    except ValidationError as error:
        raise LeftToMngr(f"The settings of mngr transcript are wrong: {error}") from error
    return {**merged, **{name: getattr(options, name) for name in mngrs}}


def _agent(target: object, mngr_ctx: MngrContext, *, is_new_to_mngr: bool) -> tuple[LocalAgent, tuple[LocalAgent, ...]]:
    """Find the codex agent that is meant, and give the other agents of this machine with it.

    Args:
        target: Its name or its id.
        mngr_ctx: mngr's context.
        is_new_to_mngr: Whether it may be one of which mngr's log of what was found does not tell.

    Raises:
        LeftToMngr: There is none, or it could be another one that is meant.
    """
    from imbue.mngr.config.agent_config_registry import resolve_agent_type
    from imbue.mngr.primitives import AgentId, AgentTypeName

    from mngr_codex.plugin.agent import CodexAgent

    agents = tuple(local_agents.read(_host_dir(mngr_ctx.config)))
    is_id = isinstance(target, AgentId)
    found = [each for each in agents if (each.id if is_id else each.name) == target]
    if len(found) != 1 or found[0].data.get("id") != found[0].id:
        raise LeftToMngr(_only_here(f"this machine has {'several' if len(found) > 1 else 'no'} {target}"))
    agent = found[0]
    agent_type = agent.type
    if agent_type is None or not issubclass(
        resolve_agent_type(AgentTypeName(agent_type), mngr_ctx.config).agent_class, CodexAgent
    ):
        raise LeftToMngr(_only_here(f"{target} is of type {agent_type}"))
    if not _is_only_here(str(target), mngr_ctx, is_new_to_mngr=is_new_to_mngr):
        raise LeftToMngr(_only_here(f"{target} may be one of another host, too"))
    return agent, tuple(each for each in agents if each is not agent)


def _host_dir(config: MngrConfig) -> Path:
    """Give where mngr keeps the agents of this machine.

    Raises:
        LeftToMngr: There is more than one such place, or none.
    """
    for name, provider in config.providers.items():
        is_plain = str(name) == "local" and provider.is_enabled is not False
        if str(provider.backend) == "local" and not (is_plain and getattr(provider, "host_dir", None) is None):
            raise LeftToMngr(_only_here(f"the settings have a provider {name} of their own for it"))
    return config.default_host_dir.expanduser()


def _is_only_here(identifier: str, mngr_ctx: MngrContext, *, is_new_to_mngr: bool) -> bool:
    """Tell whether mngr, too, would look for an agent on this machine and nowhere else.

    Args:
        identifier: Its name or id.
        mngr_ctx: mngr's context.
        is_new_to_mngr: What counts where mngr's log of what was found does not tell of it.
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
    return is_new_to_mngr if resolved is None else resolved == ("local",)


def _is_logged_as_local(identifier: str, log: Path) -> bool:
    """Tell whether a log that can be 50 MB long has an agent on this machine, and on no other host at any time.

    mngr would read every line of it as JSON. What this does not see at a glance is left to mngr.
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
    """Look whether there is a transcript, and one only, in a form that is read.

    Raises:
        LeftToMngr: There is not, which mngr has words for.
    """
    from imbue.mngr.agents.common_transcript_records import LEGACY_RECORD_TYPE_NAMES

    own = agent.state_dir / paths.COMMON_TRANSCRIPT
    files = list(own.glob("events.jsonl*"))
    if not files or list((agent.state_dir / "events").rglob("common_transcript")) != [own]:
        raise LeftToMngr("")
    try:
        if any(_first_type(file) in LEGACY_RECORD_TYPE_NAMES for file in files):
            raise LeftToMngr("")
    except OSError as error:
        raise LeftToMngr("") from error


def _first_type(file: Path) -> str | None:
    with file.open("rb") as lines:
        first = lines.readline(_LONGEST_FIRST_LINE)
    try:
        kind = json.loads(first)["type"]
    except (ValueError, KeyError, TypeError):
        return None
    return kind if isinstance(kind, str) else None


def _only_here(why: str) -> str:
    return f"--follow goes with codex agents of this machine only: {why}. `mngr list` shows which there are."


# -- running it


def _hand_over(ctx: click.Context, plan: Plan) -> None:
    """Let the program answer.

    Raises:
        LeftToMngr: It says that mngr is to do it.
    """
    hooks = ctx.obj.hook
    is_watched = any(getattr(hooks, name).get_hookimpls() for name in _WATCHING_HOOKS)
    if plan.is_document and (is_watched or hooks.on_before_command.get_hookimpls()):
        # mngr would tell them of the command a second time.
        raise LeftToMngr("")
    if ctx.parent is not None:
        # By these mngr calls the hooks when the command has ended.
        ctx.parent.meta["hook_command_name"] = COMMAND
        ctx.parent.meta["hook_command_params"] = dict(plan.parameters)
    hooks.on_before_command(command_name=COMMAND, command_params=dict(plan.parameters))
    if plan.pager is not None:
        os.environ["PAGER"] = plan.pager
    command = [str(plan.program), *plan.arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    if not (is_watched or plan.is_document):
        try:
            os.execv(plan.program, command)
        except OSError as error:
            raise LeftToMngr(f"{plan.program} does not run: {error}") from error
    import subprocess

    status = subprocess.run(command, check=False).returncode
    if status == _LEFT_TO_MNGR and plan.is_document:
        raise LeftToMngr("")
    # mngr takes every exit for an error, even one with 0.
    if status != 0:
        ctx.exit(status if status > 0 else 128 - status)
