"""Codex agents of any host, found as mngr finds them, and the scripts that run the program on their hosts."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin import paths
from mngr_codex.plugin.agent_type import has_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.errors import MngrError
    from imbue.mngr.interfaces.host import HostInterface, OnlineHostInterface
    from imbue.mngr.primitives import AgentAddress, DiscoveredHost, HostAddress

_SEARCHED_LINES = 4
"""How many lines of mngr's discovery log about an agent are parsed."""


_IS_OTHER_AGENT = 76
"""The exit status of a script if the agent is not the one that mngr's discovery log lists."""


class NotFound(Exception):
    """There is no such agent, or it cannot be asked. The message is the reason, with a hint if there is one."""


class SearchError(Exception):
    """mngr's search for an agent failed."""

    def __init__(self, error: MngrError) -> None:
        """Keeps mngr's error, which mngr's own commands would have."""
        super().__init__(error.format_message())
        self.error = error


@dataclass(frozen=True)
class FoundAgent:
    """An agent on a host that can be reached."""

    host: OnlineHostInterface
    host_name: str
    """The name of the host with its provider, as in addresses of agents."""
    state_dir: Path
    data: Mapping[str, Any]
    """The content of its ``data.json``."""
    others: tuple[Mapping[str, Any], ...] = ()
    """The ``data.json`` of the other agents on the host."""
    is_expression: bool = False
    """Whether the state directory is an expression of ``sh`` for the directory of any agent on the host."""
    checks: str = ""
    """The beginning of each script, if the agent is only known from mngr's discovery log: it exits with 76 unless the
    agent is there, and is this plugin's."""

    def is_outdated(self, status: int) -> bool:
        """Returns whether a script ended with this exit status because the agent is not where the log lists it."""
        return bool(self.checks) and status == _IS_OTHER_AGENT


def find(address: AgentAddress, mngr_ctx: MngrContext) -> FoundAgent:
    """Finds a Codex agent by mngr's rules, which connect only to the hosts where it may be.

    Raises:
        SearchError: mngr does not find it, or finds several.
        MngrError: mngr does not find its host.
        NotFound: It is not an agent of this plugin, or its host is not running.
    """
    from imbue.mngr.api.find import find_one_agent_and_agents_by_host
    from imbue.mngr.api.providers import get_provider_instance
    from imbue.mngr.errors import MngrError
    from imbue.mngr.hosts.common import get_agent_state_dir_path
    from imbue.mngr.interfaces.host import OnlineHostInterface

    try:
        host_ref, agent_ref, agents_by_host = find_one_agent_and_agents_by_host(address, mngr_ctx)
    except MngrError as error:
        raise SearchError(error) from error
    if not is_codex(agent_ref.agent_type, mngr_ctx):
        raise NotFound(f"{address} is of type {agent_ref.agent_type}")
    host = get_provider_instance(host_ref.provider_name, mngr_ctx).get_host(host_ref.host_id)
    host_name = f"{host_ref.host_name}.{host_ref.provider_name}"
    if not isinstance(host, OnlineHostInterface):
        raise NotFound(f"the host {host_name} of {address} is not running")
    others = (each.certified_data for each in agents_by_host[host_ref] if each.agent_id != agent_ref.agent_id)
    state_dir = get_agent_state_dir_path(host.host_dir, agent_ref.agent_id)
    return FoundAgent(host, host_name, state_dir, agent_ref.certified_data, tuple(others))


def logged(address: AgentAddress, mngr_ctx: MngrContext) -> FoundAgent | None:
    """Returns the agent of another host that mngr's discovery log lists, if it lists exactly one with the address.

    mngr would connect to all hosts of the provider, and find nothing if one of them is down. Here nothing is connected
    yet, and :attr:`FoundAgent.checks` looks at the agent when its program is run.
    """
    from imbue.mngr.api import discovery_events
    from imbue.mngr.api.providers import get_provider_instance, list_provider_names_to_load
    from imbue.mngr.hosts.common import get_agent_state_dir_path
    from imbue.mngr.hosts.host import Host

    log = discovery_events.get_discovery_events_path(mngr_ctx.config)
    if not log.exists():
        return None
    maps = discovery_events._replay_discovery_events_into_maps(log)
    discovery_events._drop_destroyed_instances(maps)
    by_id, by_name = discovery_events._build_instance_lookup_maps(maps)
    instances = by_id.get(str(address.agent)) or by_name.get(str(address.agent)) or ()
    known = [(instance, maps.provider_by_agent_instance.get(instance)) for instance in instances]
    wanted = address.host.provider if address.host else None
    known = [(instance, name) for instance, name in known if wanted is None or str(wanted) == name]
    if len(known) != 1:
        return None
    ((instance, name),) = known
    providers = {str(each): each for each in list_provider_names_to_load(mngr_ctx)}
    if name not in providers or name == "local":
        return None
    provider = get_provider_instance(providers[name], mngr_ctx)
    host = provider.get_host(instance.host_id)
    # What is offline is read from a volume, which mngr does.
    if not isinstance(host, Host) or host.is_local or provider.supports_volumes:
        return None
    if address.host is not None and not address.host.matches_host(host.id, host.host_name, provider.name):
        return None
    state_dir = get_agent_state_dir_path(host.host_dir, instance.agent_id)
    agent_name = maps.name_by_agent_instance[instance]
    types = [kind for kind in ("codex", *map(str, mngr_ctx.config.agent_types)) if is_codex(kind, mngr_ctx)]
    patterns = " ".join(f"-e {shlex.quote(_member('type', kind))}" for kind in dict.fromkeys(types))
    checks = (
        f"d={shlex.quote(str(state_dir / 'data.json'))}\n"
        f'grep -Fqs {patterns} "$d" && grep -Fqs {shlex.quote(_member("name", agent_name))} "$d"'
        f" || exit {_IS_OTHER_AGENT}\n"
    )
    data = {"id": str(instance.agent_id), "name": agent_name}
    return FoundAgent(host, f"{host.host_name}.{name}", state_dir, data, checks=checks)


def _member(name: str, value: str) -> str:
    """Returns a member as mngr writes it into ``data.json``."""
    return f"{json.dumps(name)}: {json.dumps(value)}"


def find_host(address: HostAddress, mngr_ctx: MngrContext) -> HostInterface:
    """Returns the host that an address names. It need not be running, and no host is asked for its agents.

    Raises:
        MngrError: There is no such host, which has a hint, or several, or its provider cannot be asked.
    """
    from imbue.mngr.api.find import filter_one_host
    from imbue.mngr.api.providers import get_all_provider_instances, get_provider_instance
    from imbue.mngr.errors import HostNameNotFoundError, MngrError, NoMatchingHostsError

    providers = None if address.provider is None else (str(address.provider),)
    known: list[DiscoveredHost] = []
    errors: list[MngrError] = []
    for provider in get_all_provider_instances(mngr_ctx, providers):
        try:
            known += provider.discover_hosts(cg=mngr_ctx.concurrency_group, include_destroyed=False)
        except MngrError as error:
            errors.append(error)
    try:
        found = filter_one_host(address, known)
    except (HostNameNotFoundError, NoMatchingHostsError):
        if errors:
            # It may be a host of that provider.
            raise errors[0] from None
        raise MngrError(f"there is no host {address}\nhint: {_hosts_hint(address, known, mngr_ctx)}") from None
    return get_provider_instance(found.provider_name, mngr_ctx).get_host(found.host_id)


def _hosts_hint(address: HostAddress, known: Sequence[DiscoveredHost], mngr_ctx: MngrContext) -> str:
    """Returns which host the user can have meant, whose agent has the name, or else the names of all."""
    from imbue.mngr.api.address_parsers import parse_agent_address
    from imbue.mngr.primitives import LOCAL_PROVIDER_NAME

    from mngr_codex.plugin import unfetched

    names = {host.host_id: f"{host.host_name}.{host.provider_name}" for host in known}
    name = str(address.host)
    places = {
        names[host_id]
        for host_id in names
        if any(agent.name == name for agent in unfetched.agents(mngr_ctx, host_id).values())
    }
    if found := logged(parse_agent_address(name), mngr_ctx):
        places.add(found.host_name)
    if places:
        return f"{name} is an agent; give its host: {' or '.join(sorted(places))}"
    others = sorted(names[host.host_id] for host in known if host.provider_name != LOCAL_PROVIDER_NAME)
    return f"the hosts are {', '.join(others)}" if others else "mngr has no other hosts"


def is_codex(agent_type: str | None, mngr_ctx: MngrContext) -> bool:
    """Returns whether agents of a type are this plugin's."""
    from mngr_codex.plugin.agent import CodexAgent

    return has_class(agent_type, CodexAgent, mngr_ctx)


def is_logged_as_other_type(identifier: str, log: Path, mngr_ctx: MngrContext) -> bool:
    """Returns whether mngr's discovery log lists an agent, and only as one that is not this plugin's.

    Then mngr's own command handles it, without a connection to its host by the plugin first.

    Args:
        identifier: The agent's name or id.
        log: The discovery log, which can be 50 MB long.
        mngr_ctx: mngr's context.
    """
    needle = f'"{identifier}"'.encode()
    try:
        with log.open("rb") as lines:
            latest = deque((line for line in lines if needle in line), maxlen=_SEARCHED_LINES)
    except OSError:
        return False
    types = {kind for line in latest for kind in _types_in(line, identifier)}
    return bool(types) and not any(is_codex(kind, mngr_ctx) for kind in types)


def _types_in(line: bytes, identifier: str) -> Iterator[str]:
    """Yields the types that an event of the discovery log gives to agents with a name or id."""
    try:
        event = json.loads(line)
        agents = event.get("agents") or [event["agent"]]
        for agent in agents:
            if identifier in (agent["agent_name"], agent["agent_id"]):
                kind = (agent.get("certified_data") or {}).get("type")
                if isinstance(kind, str):
                    yield kind
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


# -- scripts

DECLINED = 75
"""The exit status of a script if the program is not on the host or does not answer as mngr would."""
NOT_RUN = frozenset({2, 126, 127, DECLINED, _IS_OTHER_AGENT})
"""The exit statuses if the program could not be run, does not know an option, or does not answer as mngr would."""

_IS_ONE_TRANSCRIPT = """\
[ "$(cd "$s" && find events -path events/logs -prune -o -name common_transcript -print)" = {transcript} ] || exit 75
set -- "$s"/{transcript}/events.jsonl*
[ -e "$1" ] || exit 75
for f; do
    head -c 4096 "$f" | head -n 1 | grep -Eq '"type": ?"(user_message|assistant_message|tool_result)"' && exit 75
done
"""
"""Like mngr, checks that there is one transcript, and that it is not in the format before ATIF."""


def program_script(
    agent: FoundAgent,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    is_one_transcript: bool = False,
    ends_with_input: bool = False,
) -> str:
    """Returns the script of ``sh`` that runs the agent's program on its host.

    Args:
        agent: The agent.
        arguments: The program's arguments.
        environment: Variables to set.
        is_one_transcript: Whether to exit with :data:`DECLINED` unless there is one transcript in the current format.
        ends_with_input: Whether the program is ended when its standard input ends, for one that does not notice that
            nobody reads its output.
    """
    from mngr_codex.plugin.host.program import RUN_AS

    checks = _IS_ONE_TRANSCRIPT.format(transcript=shlex.quote(str(paths.COMMON_TRANSCRIPT)))
    command = f'"$p" {shlex.join(arguments)}'
    run = f"exec {command}\n"
    if ends_with_input:
        run = (
            f"exec 3<&0\n{command} </dev/null & c=$!\n"
            # The reader has none of the channel's other ends, which would keep the channel open.
            "(cat <&3 >/dev/null 2>&1; kill $c 2>/dev/null) >/dev/null 2>&1 & r=$!\n"
            "wait $c; e=$?\nkill $r 2>/dev/null\nexit $e\n"
        )
    program = f'p="$s"/{shlex.quote(str(paths.PROGRAM))}\n[ -x "$p" ] || exit {DECLINED}\n'
    variables = (f"export {name}={shlex.quote(value)}\n" for name, value in (RUN_AS | dict(environment or {})).items())
    parts = (
        agent.checks,
        f"s={agent.state_dir if agent.is_expression else shlex.quote(str(agent.state_dir))}; {program}",
        checks if is_one_transcript else "",
        *variables,
        run,
    )
    return "".join(parts)


def time_zone_script() -> str:
    """Returns the lines of a script that set ``TZ`` to the time zone of this machine.

    The zone is set by its name if the host knows it, otherwise by its present rule, which needs no files there.
    """
    name, rule = _time_zone()
    lines = f"TZ={shlex.quote(rule)}\n"
    if name is not None:
        lines += f"[ -e /usr/share/zoneinfo/{name} ] && TZ={name}\n"
    return lines + "export TZ\n"


_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_UTC_RULE = "UTC0"


def _time_zone() -> tuple[str | None, str]:
    """Returns the name and the rule of the time zone in which the program shows times on this machine."""
    # Loading this takes a while, and every mngr command loads this module.
    import zoneinfo

    value = os.environ.get("TZ")
    if value is None:
        file = Path("/etc/localtime")
    else:
        value = value.removeprefix(":")
        if not value:
            return None, _UTC_RULE
        known = (Path(folder, value) for folder in zoneinfo.TZPATH)
        file = Path(value) if value.startswith("/") else next((path for path in known if path.is_file()), Path())
        if not file.is_file():
            # A rule has a number. A name that is not known means UTC.
            return None, value if re.search(r"\d", value) and not value.startswith("/") else _UTC_RULE
    try:
        content = file.read_bytes()
    except OSError:
        return None, _UTC_RULE
    # The rule is the last line of a file since version 2 of the format (RFC 8536).
    rule = (
        content.rsplit(b"\n", 2)[-2].decode(errors="replace") if content[:4] == b"TZif" and content[4:5] >= b"2" else ""
    )
    name = str(file.resolve()).partition("/zoneinfo/")[2].removeprefix("posix/")
    return (name if _ZONE_NAME.fullmatch(name) else None), rule or _UTC_RULE
