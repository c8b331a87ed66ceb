"""The commands of ``mngr codex`` that the native program has, for agents and hosts other than this machine."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
from imbue.mngr.api.address_parsers import parse_agent_address, parse_host_address
from imbue.mngr.api.discovery_events import resolve_provider_names_for_identifiers
from imbue.mngr.api.providers import list_provider_names_to_load
from imbue.mngr.config.loader import load_config
from imbue.mngr.errors import (
    AgentNameNotFoundError,
    AgentNotFoundError,
    HostNameNotFoundError,
    MngrError,
    NoMatchingHostsError,
    UserInputError,
)
from imbue.mngr.hosts.host import Host
from imbue.mngr.main import get_or_create_plugin_manager
from loguru import logger

from mngr_codex.plugin import paths
from mngr_codex.plugin.cli import remote_agents, remote_run
from mngr_codex.plugin.cli.remote_agents import FoundAgent
from mngr_codex.plugin.host.place import address_of
from mngr_codex.plugin.host.streaming import Declined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imbue.mngr.config.data_types import MngrContext

_TRANSCRIPT_VALUES = ("--role", "--head", "--tail", "--format", "--color")
"""The options of ``transcript`` with a value that make sense for an agent."""
_TRANSCRIPT_SESSIONS = ("--cwd", "--codex-home", "--agents")
"""The options of ``transcript`` about sessions of this machine."""


_NOT_FOUND = (AgentNameNotFoundError, AgentNotFoundError, HostNameNotFoundError, NoMatchingHostsError)
"""mngr's errors if there is no such agent or host."""


class NoSuchAgent(click.ClickException):
    """mngr finds no agent."""


def may_be_agent(target: str) -> bool:
    """Returns whether a target of ``transcript`` can be the name of an agent, with or without its host."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*(@[A-Za-z0-9_.-]+)?", target) is not None and not (
        target == "latest" or target.endswith((".jsonl", ".zst")) or Path(target).exists()
    )


def transcript_target(arguments: Sequence[str]) -> str | None:
    """Returns the agent of another host that the arguments of ``transcript`` may name; None if they do not."""
    found = _target_index(arguments)
    return None if found is None else arguments[found]


def _target_index(arguments: Sequence[str]) -> int | None:
    words = enumerate(arguments)
    targets = []
    for index, word in words:
        if word.startswith(_TRANSCRIPT_SESSIONS) or word == "--":
            return None
        if word in _TRANSCRIPT_VALUES:
            next(words, None)
        elif not word.startswith("-"):
            targets.append(index)
    return targets[0] if len(targets) == 1 and may_be_agent(arguments[targets[0]]) else None


def has_other_hosts(ctx: click.Context) -> bool:
    """Returns whether mngr can have agents on other hosts than this machine."""
    with _context(ctx) as mngr_ctx:
        return [str(name) for name in list_provider_names_to_load(mngr_ctx)] != ["local"]


def run(ctx: click.Context, command: str, agent: str, arguments: Callable[[Path], Sequence[str]]) -> int:
    """Runs a command of an agent's program on its host, and returns its exit status.

    Args:
        ctx: The context of the command.
        command: The command.
        agent: The agent's name or id, with or without its host.
        arguments: Returns the arguments of the command with the agent's state directory.

    Raises:
        click.ClickException: There is no such agent, its host cannot be reached, or the program cannot be run.
    """

    def start(found: FoundAgent) -> int:
        words = [command, *arguments(found.state_dir)]
        is_followed = command == "status" and bool({"-f", "--follow"} & set(words))
        is_watched = command == "watch" and "--once" not in words
        return remote_run.run_program(
            found, words, is_endless=is_followed or is_watched, ends_with_input=command == "watch"
        )

    return _run(ctx, agent, start)


def show_transcript(ctx: click.Context, agent: str, arguments: Sequence[str], *, is_known: bool = False) -> int:
    """Shows the transcript of an agent on another host.

    Args:
        ctx: The context of the command.
        agent: The agent's name or id, with or without its host.
        arguments: The arguments of ``transcript``, among them the agent.
        is_known: Whether only an agent that mngr's discovery log lists is meant.

    Raises:
        NoSuchAgent: There is no such agent.
        click.ClickException: Its host cannot be reached, or the program cannot be run.
    """
    target = _target_index(arguments)
    words = [word for index, word in enumerate(arguments) if index != target]
    given = " ".join(words)
    is_human = re.search(r"--format[= ](?!human)", given) is None
    is_followed = bool({"-f", "--follow"} & set(words))

    def start(found: FoundAgent) -> int:
        return remote_run.show_transcript(
            found,
            ["transcript", *(word for word in words if word != "--no-pager")],
            is_human=is_human,
            is_followed=is_followed,
            is_paged=not (is_followed or "--no-pager" in words),
            is_local_time="--utc" not in words,
            is_as_mngr=False,
        )

    return _run(ctx, agent, start, is_known=is_known)


def show_status(ctx: click.Context, host: str, arguments: Sequence[str]) -> int:
    """Lists the sessions of another host, with the newest program of its agents.

    Args:
        ctx: The context of the command.
        host: The host.
        arguments: The arguments of ``status``.

    Raises:
        click.ClickException: There is no such host, or it has no program.
    """
    with _context(ctx) as mngr_ctx:
        try:
            found = _host(host, mngr_ctx)
        except MngrError as error:
            raise click.ClickException(f"cannot list the sessions of host {host}: {error}") from None
        agents = shlex.quote(str(found.host_dir / "agents"))
        newest = f"ls -t {agents}/*/{paths.PROGRAM} 2>/dev/null | head -n 1"
        state_dir = f'"$(dirname "$(dirname "$({newest})")")"'
        agent = FoundAgent(found, address_of(found), Path(state_dir), {}, is_expression=True)
        try:
            is_followed = bool({"-f", "--follow"} & set(arguments))
            return remote_run.run_program(agent, ["status", *arguments], is_endless=is_followed)
        except Declined as declined:
            hint = "\nhint: the first Codex agent that mngr creates on the host brings it"
            raise _without_program(agent, declined, hint) from None


def _host(address: str, mngr_ctx: MngrContext) -> Host:
    host = remote_agents.find_host(parse_host_address(address), mngr_ctx)
    if not isinstance(host, Host):
        raise UserInputError("it is not running")
    if host.is_local:
        raise UserInputError("it is this machine\nhint: run `mngr codex status`")
    return host


@contextlib.contextmanager
def _context(ctx: click.Context) -> Iterator[MngrContext]:
    """Yields mngr's context. What mngr logs is not shown."""
    group = ConcurrencyGroup(name="mngr-codex")
    group.__enter__()
    logger.disable("imbue")
    try:
        yield load_config(ctx.obj or get_or_create_plugin_manager(), group)
    except MngrError as error:
        raise click.ClickException(error.format_message()) from None
    finally:
        logger.enable("imbue")
        # The group would wrap an exception that it is given.
        group.__exit__(None, None, None)


def _run(ctx: click.Context, agent: str, start: Callable[[FoundAgent], int], *, is_known: bool = False) -> int:
    """Runs a program on the host where mngr's discovery log lists an agent, or where mngr finds it."""
    address = parse_agent_address(agent)
    with _context(ctx) as mngr_ctx:
        if is_known and not resolve_provider_names_for_identifiers(mngr_ctx, [str(address.agent)]):
            raise NoSuchAgent(f"mngr's discovery log lists no agent {agent}")
        logged = remote_agents.logged(address, mngr_ctx)
        if logged is not None:
            try:
                return start(logged)
            except Declined as declined:
                if not logged.is_outdated(declined.status):
                    raise _without_program(logged, declined) from None
        try:
            found = remote_agents.find(address, mngr_ctx)
        except remote_agents.SearchError as error:
            if isinstance(error.error, _NOT_FOUND):
                raise NoSuchAgent(f"{error}\nhint: `mngr list` shows all agents") from None
            raise error.error from None
        except remote_agents.NotFound as error:
            raise click.ClickException(f"{error}\nhint: `mngr list` shows all agents") from None
        if found.host.is_local:
            raise click.ClickException(f"{agent} is on this machine\nhint: leave out the host")
        try:
            return start(found)
        except Declined as declined:
            raise _without_program(found, declined) from None


def _without_program(agent: FoundAgent, declined: Declined, hint: str = "") -> click.ClickException:
    if declined.status == remote_agents.DECLINED:
        return click.ClickException(f"there is no program mngr-codex on the host {agent.host_name}{hint}")
    reason = str(declined).partition("\n")[0] or f"it exits with status {declined.status}"
    return click.ClickException(f"cannot run the program mngr-codex on the host {agent.host_name}: {reason}")
