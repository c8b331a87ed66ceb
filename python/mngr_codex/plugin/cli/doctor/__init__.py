"""``mngr codex doctor``: checks the setup that Codex agents need, and suggests fixes. It changes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from imbue.mngr.api.providers import get_provider_instance
from imbue.mngr.cli.common_opts import setup_command_context
from imbue.mngr.cli.output_helpers import write_human_line
from imbue.mngr.config.data_types import CommonCliOptions
from imbue.mngr.errors import MngrError, UserInputError
from imbue.mngr.hosts.common import get_agents_root_dir
from imbue.mngr.hosts.offline_host import validate_and_create_discovered_agent
from imbue.mngr.interfaces.host import OnlineHostInterface
from imbue.mngr.primitives import LOCAL_PROVIDER_NAME, HostName, OutputFormat

from mngr_codex.plugin import paths
from mngr_codex.plugin.agent import CodexAgent
from mngr_codex.plugin.cli.doctor import agent as agent_checks
from mngr_codex.plugin.cli.doctor import (
    clock,
    codex,
    disk,
    elsewhere,
    installation,
    processes,
    report,
    servers,
    settings,
    system,
)
from mngr_codex.plugin.cli.doctor.finding import Finding, guarded
from mngr_codex.plugin.home import hooks_json
from mngr_codex.plugin.host import facts as host_facts
from mngr_codex.plugin.host.program import own_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import click
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.agent import AgentInterface

    from mngr_codex.plugin.host.facts import HostFacts

# Most of the time is spent waiting for Codex to list an agent's hooks.
_AGENTS_AT_ONCE = 4


class DoctorOptions(CommonCliOptions):
    """The options of ``mngr codex doctor``."""

    names: tuple[str, ...]
    is_json: bool


class _Agents(NamedTuple):
    """The Codex agents of this machine."""

    readable: list[CodexAgent]
    damaged: list[Finding]
    """A finding for each agent, of any type, that mngr cannot read."""


def run(ctx: click.Context) -> int:
    """Runs all checks, prints the findings, and returns the exit status: 1 if there is a problem."""
    # The first `-v` is for the report. mngr would print its debug log.
    verbosity = ctx.params["verbose"]
    ctx.params["verbose"] = max(verbosity - 1, 0)
    mngr_ctx, output, options = setup_command_context(ctx, "codex-doctor", DoctorOptions)
    findings = examine(mngr_ctx, options.names)
    if options.is_json or output.output_format is not OutputFormat.HUMAN:
        print(report.json_text(findings, is_lines=output.output_format is OutputFormat.JSONL))
    else:
        for line in report.human_lines(findings, is_verbose=verbosity > 0):
            write_human_line("{}", line)
    return int(any(finding.level == "problem" for finding in findings))


def examine(mngr_ctx: MngrContext, names: Sequence[str]) -> list[Finding]:
    """Checks this machine, the other hosts with Codex agents, and these agents.

    Args:
        mngr_ctx: mngr's context.
        names: The agents to check, by their names with or without the host; all if empty.

    Raises:
        UserInputError: A name does not belong to a Codex agent.
    """
    host = get_provider_instance(LOCAL_PROVIDER_NAME, mngr_ctx).get_host(HostName("localhost"))
    assert isinstance(host, OnlineHostInterface), "the local host is always online"
    found = _agents(host)
    agents = [agent for agent in found.readable if not names or str(agent.name) in names]
    agents.sort(key=lambda agent: str(agent.name))
    unknown = set(names) - {str(agent.name) for agent in agents}
    others = elsewhere.find(mngr_ctx) if unknown or not names else []
    if names:
        others = [selected for other in others if (selected := _selected(other, unknown)) is not None]
        unknown -= {each for other in others for each in other.answers_to()}
    unread = [f"{other.name} could not be asked" for other in others if other.problem and other.is_in_use]
    unread += [f"the files of {damaged.agent} cannot be read" for damaged in found.damaged]
    if unknown and not unread:
        raise UserInputError(
            f"cannot find a Codex agent {' or '.join(sorted(unknown))}\nhint: `mngr list` shows all agents"
        )
    running = processes.running(host)
    codex_servers = servers.running(running)
    facts_for = _facts_reader(host)
    findings = [
        Finding("agent", f"not found, but {' and '.join(unread)}", f"fix that, or check the name {name}", name)
        for name in sorted(unknown)
    ]
    findings += _machine(mngr_ctx, host, found.readable, codex_servers, facts_for)
    findings += found.damaged
    with _scratch() as scratch, ThreadPoolExecutor(_AGENTS_AT_ONCE) as executor:
        machine = agent_checks.Machine(
            host=host,
            processes=running,
            servers=codex_servers,
            facts_for=facts_for,
            scratch=scratch,
        )
        for checked in executor.map(lambda agent: agent_checks.check(machine, agent), agents):
            findings += checked
    return [*findings, *elsewhere.check(others)]


def _selected(other: elsewhere.OtherHost, names: set[str]) -> elsewhere.OtherHost | None:
    """Returns a host with those of its agents that have one of the names; None if it has none of them."""
    agents = [agent for agent in other.agents if names & other.names_of(agent)]
    if agents or other.problem is not None:
        return dataclasses.replace(other, agents=agents)
    return None


def _facts_reader(host: OnlineHostInterface) -> codex.ReadFacts:
    """Returns a function that reads the facts about this machine, once for each command."""

    @cache
    def facts_for(command: str) -> HostFacts | None:
        try:
            return host_facts.read(host, command)
        except MngrError:
            return None

    return facts_for


@contextlib.contextmanager
def _scratch() -> Iterator[Path | None]:
    """Creates a temporary folder, unless the disk is full, which another check reports."""
    with contextlib.ExitStack() as stack:
        folder = None
        with contextlib.suppress(OSError):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        yield folder


def _machine(
    mngr_ctx: MngrContext,
    host: OnlineHostInterface,
    agents: Sequence[CodexAgent],
    codex_servers: Sequence[servers.Server],
    facts_for: codex.ReadFacts,
) -> Iterator[Finding]:
    types, invalid = settings.by_type(mngr_ctx.config)
    yield from guarded("settings", lambda: chain(invalid, settings.unused(mngr_ctx.config)), passed="valid")
    yield from guarded("codex", lambda: codex.check(types, facts_for))
    yield from guarded("login", lambda: codex.login(host, types, facts_for))
    yield from guarded("program", lambda: [installation.program(host)])
    yield from guarded("other plugins", lambda: [installation.other_plugins(mngr_ctx.pm)])
    yield from guarded("usage plugin", lambda: installation.usage_reader(mngr_ctx.pm), passed="not enabled")
    yield from guarded("trusted folders", lambda: [settings.trusted_folders(mngr_ctx.profile_dir)])
    yield from guarded("installation", installation.editable, passed="not used from a folder that must stay")
    yield from guarded("programs", system.programs)
    folders = (host.host_dir, Path.home() / ".codex", Path(os.environ.get("TMPDIR") or "/tmp"))
    yield from guarded("disk", lambda: disk.check(folders))
    yield from guarded("clock", lambda: [clock.check(_written_files(agents))])
    yield from guarded("inotify", system.inotify)
    yield from guarded("server", lambda: _user_servers(host, codex_servers), passed="none affects your own hooks")


def _agents(host: OnlineHostInterface) -> _Agents:
    """Reads the agents of this machine one by one, because mngr reads none if one is damaged."""
    found = _Agents([], [])
    for data in sorted(get_agents_root_dir(host.host_dir).glob("*/data.json")):
        try:
            agent = _agent(host, json.loads(data.read_bytes()))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            remedy = f"fix it, or move {data.parent} away; until then mngr lists no local agents"
            found.damaged.append(Finding("data.json", f"cannot read {data}: {reason}", remedy, data.parent.name))
            continue
        if isinstance(agent, CodexAgent):
            found.readable.append(agent)
    return found


def _agent(host: OnlineHostInterface, data: dict[str, Any]) -> AgentInterface[Any]:
    reference = validate_and_create_discovered_agent(data, host.id, LOCAL_PROVIDER_NAME)
    if reference is None:
        raise ValueError("it has no valid id and name")
    (agent,) = host.load_agents_from_refs([reference])
    return agent


def _written_files(agents: Sequence[CodexAgent]) -> Iterator[Path]:
    """Yields files whose times show when this machine was in use."""
    if (program := own_program()) is not None:
        yield program
    for agent in agents:
        state_dir = agent._get_agent_dir()
        yield state_dir / "data.json"
        yield state_dir / paths.LAUNCHER
        with contextlib.suppress(OSError):
            yield Path((state_dir / paths.ROLLOUT).read_text(errors="replace").strip())


def _user_servers(host: OnlineHostInterface, codex_servers: Sequence[servers.Server]) -> Iterator[Finding]:
    home = Path.home() / ".codex"
    hooks, _ = hooks_json.read_hooks(host, str(home / "hooks.json"))
    return servers.of_user(codex_servers, codex_home=home, hook_commands=hooks_json.commands(hooks))
