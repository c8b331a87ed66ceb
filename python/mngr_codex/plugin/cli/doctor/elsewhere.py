"""Checks the agents on other hosts, and what they need there: two commands per host read everything.

The first one looks for Codex as `mngr create` does. The checks of this machine that read files or processes here do not
apply there; the second command has its own.
"""

from __future__ import annotations

import shlex
import threading
import time
import tomllib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imbue.mngr.api.providers import get_all_provider_instances_and_skipped
from imbue.mngr.errors import MngrError
from imbue.mngr.hosts.host import Host
from imbue.mngr.primitives import LOCAL_PROVIDER_NAME, AgentLifecycleState
from loguru import logger

from mngr_codex.plugin import paths, status_file
from mngr_codex.plugin.agent import CodexAgent
from mngr_codex.plugin.cli.doctor import agent as agent_checks
from mngr_codex.plugin.cli.doctor import codex, disk, sandbox, system
from mngr_codex.plugin.cli.doctor.finding import Finding, guarded
from mngr_codex.plugin.home.login import LoginPlace, needs_login
from mngr_codex.plugin.home.sandbox import SECONDS as SANDBOX_SECONDS
from mngr_codex.plugin.home.sandbox import is_disabled
from mngr_codex.plugin.host import facts as host_facts
from mngr_codex.plugin.host.connection import run_with_input
from mngr_codex.plugin.host.error_text import one_line
from mngr_codex.plugin.host.place import HostPlace, update_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.primitives import HostId
    from imbue.mngr.providers.base_provider import BaseProviderInstance

    from mngr_codex.plugin.host.facts import HostFacts

HOST_SECONDS = 15.0
"""How long listing the agents of a host may take. Hosts that do not answer delay the others no longer than this."""
PROVIDER_SECONDS = 2 * HOST_SECONDS
"""How long listing the hosts of a provider and their agents may take."""
_SCRIPT_SECONDS = 60.0
_THREADS = "imbue.concurrency_group"
"""The part of mngr that runs threads, and logs their errors."""
_HOSTS_AT_ONCE = 16
# A connection takes a while to answer, and the clock is read before that.
_CLOCK_TOLERANCE_SECONDS = 120

_HOST_SCRIPT = """\
h={host_dir}
tab=$(printf '\\t')
put() {{ k=$1; shift; printf '%s\\n' "$*" | sed "s/^/$k$tab/"; }}
put time "$(date +%s)"
for t in git rsync; do command -v $t >/dev/null 2>&1 || put lacks $t; done
if v=$(tmux -V 2>/dev/null); then put tmux "$v"; else put lacks tmux; fi
for d in "$h" "$HOME" "${{TMPDIR:-/tmp}}"; do
    put space "$d$tab$(df -Pk "$d" 2>/dev/null | tail -n 1) "
    put files "$d$tab$(df -Pi "$d" 2>/dev/null | tail -n 1) "
done
r=$(ps -e -ww -o args= 2>/dev/null || ps -o args= 2>/dev/null || ps 2>/dev/null)
"""
_AGENT_SCRIPT = """\
s={state_dir}; p="$s"/{program}; a={id}
report() {{ k=$1; shift; put "$a.$k" "$@"; }}
[ -e {work_dir} ] || report work_dir missing
[ -w "$s" ] && [ -x "$s" ] || report state_dir "not writable"
[ -e "$s"/{launcher} ] || [ -e "$p" ] || report foreign yes
[ -e "$s"/{launcher} ] || report launcher missing
if v=$("$p" --version 2>&1); then report version "$v"; else report broken "${{v:-cannot run $p}}"; fi
case $r in *"$p watch"*) report watcher running;; esac
report marker "$("$p" marker show --json --state-dir "$s" 2>/dev/null)"
report status "$(cat "$s"/{status} 2>/dev/null)"
report config "$(cat "$s"/{home}/config.toml 2>/dev/null)"
[ -s "$s"/{home}/auth.json ] && report login yes
report data "$(cat "$s"/data.json 2>/dev/null)"
"""
_TRY_SANDBOX = """\
report sandbox "$({script})"
"""


@dataclass
class OtherHost:
    """Another host, and its Codex agents."""

    name: str
    """Its name with its provider."""
    host: Host | None = None
    """None if it is not running."""
    agents: list[CodexAgent] = field(default_factory=list)
    problem: str | None = None
    """Why it cannot be checked."""
    facts: dict[str, HostFacts] = field(default_factory=dict)
    """The facts about the host for each ``command`` setting of its agents."""
    is_in_use: bool = True
    """False for a provider that mngr cannot use. Other plugins bring providers that nobody has set up."""

    def names_of(self, agent: CodexAgent) -> set[str]:
        """Returns the names by which a user can call an agent of the host."""
        host_name = self.name.partition(".")[0]
        return {str(agent.name), f"{agent.name}@{host_name}", f"{agent.name}@{self.name}"}

    def answers_to(self) -> set[str]:
        """Returns the names of all its agents."""
        return {name for agent in self.agents for name in self.names_of(agent)}


def find(mngr_ctx: MngrContext) -> list[OtherHost]:
    """Returns the other hosts of all providers, with their Codex agents.

    A host that does not answer in time has a problem, and does not delay this further.
    """
    try:
        providers, skipped = get_all_provider_instances_and_skipped(mngr_ctx)
    except MngrError as error:
        return [OtherHost("other hosts", problem=_first_line(error))]
    found = [
        OtherHost(str(each.provider_name), problem=each.error_message, is_in_use=False)
        for each in skipped
        if not each.is_empty
    ]
    others = [provider for provider in providers if provider.name != LOCAL_PROVIDER_NAME]
    if not others:
        return found
    # mngr logs the errors of its threads, and the doctor reports why a host cannot be asked.
    logger.disable(_THREADS)
    try:
        with ThreadPoolExecutor(_HOSTS_AT_ONCE) as executor:
            for hosts in executor.map(lambda provider: _hosts(provider, mngr_ctx), others):
                found += hosts
    finally:
        logger.enable(_THREADS)
    return sorted(found, key=lambda host: host.name)


def _hosts(provider: BaseProviderInstance, mngr_ctx: MngrContext) -> list[OtherHost]:
    late = f"it has not listed its hosts within {PROVIDER_SECONDS:.0f} s"
    try:
        return _in_time(lambda: _read_hosts(provider, mngr_ctx), PROVIDER_SECONDS, late)
    # Providers pass on the exceptions of their own libraries.
    except Exception as error:
        return [OtherHost(str(provider.name), problem=_first_line(error))]


def _in_time[T](action: Callable[[], T], seconds: float, late: str) -> T:
    """Returns the result of a function, or raises its exception.

    Raises:
        MngrError: It has not ended in time, with this message. It continues, but this process can end.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(action())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(seconds)
    except TimeoutError:
        if result.done():
            raise
        raise MngrError(late) from None


def _read_hosts(provider: BaseProviderInstance, mngr_ctx: MngrContext) -> list[OtherHost]:
    read = provider.discover_hosts_and_agents_within_timeouts(
        cg=mngr_ctx.concurrency_group,
        host_discovery_timeout_seconds=HOST_SECONDS,
        agent_discovery_timeout_seconds=HOST_SECONDS,
    )
    hosts: dict[HostId, OtherHost] = {}
    for host_id in read.unknown_host_ids:
        hosts[host_id] = _silent(provider, host_id)
    for reference in read.hosts:
        host = provider.get_host(reference.host_id)
        known = OtherHost(f"{reference.host_name}.{provider.name}", host if isinstance(host, Host) else None)
        references = [agent for agent in read.agents if agent.host_id == reference.host_id]
        if known.host is not None and references:
            try:
                loaded = known.host.load_agents_from_refs(references)
                known.agents = sorted(
                    (agent for agent in loaded if isinstance(agent, CodexAgent)), key=lambda agent: str(agent.name)
                )
            except MngrError as error:
                known.problem = f"its agents cannot be read: {_first_line(error)}"
        hosts[reference.host_id] = known
    return list(hosts.values())


def _silent(provider: BaseProviderInstance, host_id: HostId) -> OtherHost:
    """Returns a host that did not list its agents. It has its id as a name if even its provider cannot tell."""
    problem = f"it did not list its agents within {HOST_SECONDS:.0f} s"
    try:
        host = provider.get_host(host_id)
        return OtherHost(
            f"{host.get_name()}.{provider.name}", host if isinstance(host, Host) else None, problem=problem
        )
    except Exception:
        return OtherHost(f"{host_id}.{provider.name}", problem=problem)


def check(others: Sequence[OtherHost]) -> Iterator[Finding]:
    """Checks other hosts, several at a time."""
    with ThreadPoolExecutor(_HOSTS_AT_ONCE) as executor:
        for findings in executor.map(_check_host, others):
            yield from findings


def _check_host(other: OtherHost) -> list[Finding]:
    if other.problem is not None and other.host is not None:
        return [_connection(other, other.host, other.problem)]
    if other.problem is not None:
        remedy = "check its connection and its settings; `mngr list` shows the error of its provider"
        return [Finding("connection", other.problem, remedy, host=other.name, is_warning=not other.is_in_use)]
    host = other.host
    # A host without agents of this plugin needs nothing, and one that is stopped is stopped on purpose.
    if host is None or not other.agents:
        return []
    before = time.time()
    try:
        answers = _read(other, host)
    except MngrError as error:
        return [Finding("connection", _first_line(error), "run `mngr codex doctor` again", host=other.name)]
    after = time.time()
    found = list(_host_findings(other, host, answers, before, after))
    for agent in other.agents:
        found += _agent_findings(other, host, agent, answers)
    return found


def _connection(other: OtherHost, host: Host, problem: str) -> Finding:
    """Returns why a host cannot be asked: the error of a connection to it, if that is the reason."""

    def connect() -> None:
        run_with_input(host, "true", b"", timeout_seconds=HOST_SECONDS, line_seconds=0.0)

    try:
        _in_time(connect, HOST_SECONDS, f"it does not answer within {HOST_SECONDS:.0f} s")
    except Exception as error:
        remedy = "check that it is running, and its address and key in mngr's settings"
        return Finding("connection", f"cannot connect to it: {one_line(error)}", remedy, host=other.name)
    return Finding("connection", problem, "run `mngr codex doctor` again", host=other.name)


def _read(other: OtherHost, host: Host) -> dict[str, str]:
    """Reads the facts about a host, runs the script there, and returns the script's answers by their names.

    Raises:
        MngrError: The host cannot be reached, or does not answer in time.
    """
    for command in {str(agent.agent_config.command) for agent in other.agents}:
        other.facts[command] = host_facts.read(host, command, line_seconds=0.0)
    script = _HOST_SCRIPT.format(host_dir=shlex.quote(str(host.host_dir)))
    seconds = _SCRIPT_SECONDS
    for agent in other.agents:
        state_dir = agent._get_agent_dir()
        script += _AGENT_SCRIPT.format(
            state_dir=shlex.quote(str(state_dir)),
            id=shlex.quote(str(agent.id)),
            program=paths.PROGRAM,
            launcher=paths.LAUNCHER,
            status=paths.STATUS,
            home=paths.CODEX_HOME,
            work_dir=shlex.quote(str(agent.work_dir)),
        )
        facts = other.facts[str(agent.agent_config.command)]
        if facts.is_codex_found:
            script += _TRY_SANDBOX.format(script=sandbox.script(facts.command, state_dir / paths.CODEX_HOME))
            seconds += SANDBOX_SECONDS
    ran = run_with_input(host, script, b"", timeout_seconds=seconds, line_seconds=0.0)
    answers: dict[str, list[str]] = {}
    for line in ran.stdout.decode(errors="replace").splitlines():
        name, tab, value = line.partition("\t")
        if tab:
            answers.setdefault(name, []).append(value)
    return {name: "\n".join(values) for name, values in answers.items()}


def _host_findings(
    other: OtherHost, host: Host, answers: Mapping[str, str], before: float, after: float
) -> Iterator[Finding]:
    name = other.name
    yield Finding("connection", "it answers", host=name)
    if "tmux" in answers:
        yield system.tmux(answers["tmux"], host=name)
    lacks = answers.get("lacks", "").split()
    for tool in ("tmux", "git", "rsync"):
        if tool in lacks:
            yield Finding(tool, "not on PATH there; agents need it", f"install {tool} on that host", host=name)
        elif tool != "tmux":
            yield Finding(tool, "installed", host=name)
    yield from guarded("disk", lambda: _disks(name, answers), host=name)
    yield from guarded("clock", lambda: [_clock(name, answers, before, after)], host=name)


def _disks(name: str, answers: Mapping[str, str]) -> Iterator[Finding]:
    """Yields how much space is left, once for each disk."""
    files = {line.partition("\t")[0]: line.partition("\t")[2].split() for line in answers.get("files", "").splitlines()}
    seen: set[str] = set()
    for line in answers.get("space", "").splitlines():
        folder, _, rest = line.partition("\t")
        columns = rest.split()
        # Device, 1024-blocks, used, available, capacity, and the mount point.
        if len(columns) < 6 or columns[0] + columns[5] in seen or not columns[3].isdecimal():
            continue
        seen.add(columns[0] + columns[5])
        counts = files.get(folder, [])
        free_files = (
            int(counts[3]) if len(counts) > 3 and counts[3].isdecimal() and counts[1] not in ("0", "-") else None
        )
        yield disk.judge(folder, int(columns[3]) * 1024, free_files, host=name)


def _clock(name: str, answers: Mapping[str, str], before: float, after: float) -> Finding:
    there = int(answers["time"])
    ahead = there - after if there > after else there - before if there < before - 1 else 0.0
    if abs(ahead) <= _CLOCK_TOLERANCE_SECONDS:
        return Finding("clock", "agrees with this machine's", host=name)
    return Finding(
        "clock",
        f"it is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's",
        "set the clock of the wrong one; until then times of agents are wrong in `mngr list`",
        host=name,
        is_warning=True,
    )


def _agent_findings(other: OtherHost, host: Host, agent: CodexAgent, answers: Mapping[str, str]) -> Iterable[Finding]:
    prefix = f"{agent.id}."
    own = {key.removeprefix(prefix): value for key, value in answers.items() if key.startswith(prefix)}
    name = str(agent.name)
    again = update_hint(host, name, str(agent.agent_type))
    restart = f"run `mngr start {name} --restart`"
    lifecycle: AgentLifecycleState | None = None

    def finding(what: str, said: str, remedy: str | None = None, *, is_warning: bool = False) -> Finding:
        return Finding(what, said, remedy, name, is_warning, other.name)

    def state() -> Iterable[Finding]:
        nonlocal lifecycle
        lifecycle = agent.get_lifecycle_state()
        return [agent_checks.state_finding(agent, lifecycle, name)]

    if "work_dir" in own:
        yield finding(
            "work dir",
            f"{agent.work_dir} does not exist on the host; Codex can't run its hooks without it",
            f"restore it, then {restart}; or `mngr destroy {name}`, which keeps the transcript",
        )
    else:
        yield finding("work dir", str(agent.work_dir))
    if "foreign" in own:
        said = "it has no files of mngr-codex: another plugin has created it, such as imbue-mngr-codex"
        yield finding("files", said, again)
        return
    if "state_dir" in own:
        remedy = "make it writable; otherwise mngr can't see whether the agent is busy"
        yield finding("state dir", f"{agent._get_agent_dir()} is not writable there", remedy)
    else:
        yield finding("state dir", str(agent._get_agent_dir()))
    if "launcher" in own:
        yield finding("launcher", "the script that starts Codex does not exist there", again)
    else:
        yield finding("launcher", str(agent._get_agent_dir() / paths.LAUNCHER))
    for each in guarded("state", state, agent=name):
        yield _at(each, other.name)
    is_running = lifecycle in (AgentLifecycleState.RUNNING, AgentLifecycleState.WAITING)
    if is_running:
        machine_free = guarded(
            "terminal",
            lambda: agent_checks.terminal(agent, again, name, lambda: needs_login(_config(own))),
            passed=agent_checks.NO_DIALOG,
            agent=name,
        )
        for each in machine_free:
            yield _at(each, other.name)
    has_program = "version" in own
    if has_program:
        yield finding("program", f"{own['version']}, on the host")
    else:
        yield finding(
            "program",
            f"it does not run on the host: {own.get('broken', '').partition(chr(10))[0]}",
            f"set program_wheels for the agent type if the host is of another platform, then {again}",
        )
    if is_running and has_program:
        if "watcher" in own:
            yield finding("watcher", "running")
        else:
            remedy = f"run `mngr stop {name} && mngr start {name}`"
            yield finding("watcher", "not running, so the transcript is not being updated", remedy)
    if has_program and (marker := agent_checks.parsed_object(own.get("marker", ""))) is not None:
        yield finding("marker", *_marker(marker, restart, is_running=is_running))
    status = status_file.parse(own.get("status", ""))
    if is_running and has_program and status is None:
        yield finding(
            "status", "the agent has no valid status file; `mngr list` shows less of it", again, is_warning=True
        )
    elif is_running and has_program:
        yield finding("status", agent_checks.VALID_STATUS)
    if status is not None and status.last_error is not None:
        error = f"The turn ended with an error: {status.last_error['message']}"
        remedy = f"fix that, then send the message again with `mngr message {name}`"
        yield finding("last turn", error, remedy, is_warning=True)
    elif status is not None:
        yield finding("last turn", agent_checks.NO_ERROR)
    yield from _codex(own, other, host, agent)


def _codex(own: Mapping[str, str], other: OtherHost, host: Host, agent: CodexAgent) -> Iterator[Finding]:
    name = str(agent.name)
    config = agent.agent_config
    command = str(config.command)
    facts = other.facts[command]
    said, remedy = codex.judge(facts, config, str(agent.agent_type), HostPlace.of(host))
    yield Finding("codex", said, remedy, name, host=other.name)
    if not facts.is_codex_found:
        return
    own_config = _config(own)
    if not is_disabled(own_config, command, [own.get("data", "")]):
        yield sandbox.judge(own.get("sandbox", ""), HostPlace.of(host), name, other.name)
    else:
        yield Finding("sandbox", sandbox.NOT_USED, None, name, host=other.name)
    place = LoginPlace.of(host, facts.command)
    if not needs_login(own_config):
        yield Finding("login", codex.NO_LOGIN_NEEDED, None, name, host=other.name)
    elif "login" in own or facts.has_token:
        yield Finding("login", f"there is one{place.there}", None, name, host=other.name)
    else:
        said = f"there is none{place.there}, and the model provider needs one"
        yield Finding("login", said, place.action, name, host=other.name)


def _config(own: Mapping[str, str]) -> dict[str, Any]:
    """Returns the content of an agent's ``config.toml``; empty if it is damaged, as Codex reports in the terminal."""
    try:
        return tomllib.loads(own.get("config", ""))
    except tomllib.TOMLDecodeError:
        return {}


def _marker(marker: dict[str, Any], restart: str, *, is_running: bool) -> tuple[str, str | None]:
    said = agent_checks.describe_marker(marker)
    if marker.get("state") != AgentLifecycleState.RUNNING.value or is_running:
        return said, None
    return f"{said}; Codex ended together with its watcher, as in a crash or restart of the host", restart


def _at(finding: Finding, host: str) -> Finding:
    return Finding(finding.what, finding.said, finding.remedy, finding.agent, finding.is_warning, host)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
