"""``mngr codex doctor``: whether all is there that codex agents need, and what to do where it is not."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbue.mngr.agents.installation import is_binary_present
from imbue.mngr.api.providers import get_provider_instance
from imbue.mngr.cli.common_opts import setup_command_context
from imbue.mngr.cli.output_helpers import write_human_line
from imbue.mngr.config.agent_config_registry import resolve_agent_type
from imbue.mngr.config.data_types import CommonCliOptions
from imbue.mngr.errors import ConfigParseError, SendMessageError, UserInputError
from imbue.mngr.hosts.common import get_agents_root_dir
from imbue.mngr.interfaces.host import OnlineHostInterface
from imbue.mngr.primitives import LOCAL_PROVIDER_NAME, AgentLifecycleState, AgentTypeName, HostName, OutputFormat

from mngr_codex.plugin import conflicts, listing, paths
from mngr_codex.plugin.agent import CodexAgent
from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.command_setting import program_of
from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.home import build, hook_trust
from mngr_codex.plugin.host import updates
from mngr_codex.plugin.host.program import own_program, works
from mngr_codex.plugin.messages import send

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click
    from imbue.mngr.config.data_types import MngrContext

_LIMITS = Path("/proc/sys/fs/inotify")
_FEWEST_INSTANCES = 128
_FEWEST_WATCHES = 8192
_SECONDS = 30.0


class DoctorOptions(CommonCliOptions):
    """What ``mngr codex doctor`` was called with."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    said: str
    remedy: str | None = None
    """What to do, if something is wrong."""
    agent: str | None = None
    """The agent that it is about; None for the machine."""

    @property
    def is_wrong(self) -> bool:
        """Whether there is something to do."""
        return self.remedy is not None


def run(ctx: click.Context) -> int:
    """Look, print what was found, and give the exit status: 1 if something is wrong."""
    mngr_ctx, output, options = setup_command_context(ctx, "codex-doctor", DoctorOptions)
    findings = list(examine(mngr_ctx, options.names))
    if output.output_format is OutputFormat.HUMAN:
        for finding in findings:
            about = f"{finding.agent}: " if finding.agent else ""
            write_human_line("{} {}{}: {}", "✗" if finding.is_wrong else "✓", about, finding.what, finding.said)
            if finding.remedy is not None:
                write_human_line("    {}", finding.remedy)
    else:
        told = [{**asdict(finding), "is_wrong": finding.is_wrong} for finding in findings]
        is_lines = output.output_format is OutputFormat.JSONL
        print("\n".join(json.dumps(each) for each in told) if is_lines else json.dumps(told, indent=2))
    return int(any(finding.is_wrong for finding in findings))


def examine(mngr_ctx: MngrContext, names: tuple[str, ...]) -> Iterator[Finding]:
    """Look at this machine and at its codex agents.

    Args:
        mngr_ctx: mngr's context.
        names: The agents to look at; all if there are none.

    Raises:
        UserInputError: No codex agent of this machine has one of the names.
    """
    host = get_provider_instance(LOCAL_PROVIDER_NAME, mngr_ctx).get_host(HostName("localhost"))
    assert isinstance(host, OnlineHostInterface), "mngr's own machine is always there"
    damaged = list(_damaged(host))
    # mngr reads all of them or none.
    there = [] if damaged else [agent for agent in host.get_agents() if isinstance(agent, CodexAgent)]
    agents = [agent for agent in there if not names or str(agent.name) in names]
    unknown = set(names) - {str(agent.name) for agent in agents}
    if unknown and not damaged:
        raise UserInputError(f"This machine has no codex agent {', '.join(sorted(unknown))}")
    config = resolve_agent_type(AgentTypeName(AGENT_TYPE), mngr_ctx.config).agent_config
    assert isinstance(config, CodexAgentConfig), "the type is ours"
    wrong = _wrong_settings(mngr_ctx)
    for problem in wrong.values():
        yield Finding(
            "settings", problem, "mngr config edit, or mngr config set; until then no agent of it can be made"
        )
    config = CodexAgentConfig() if AGENT_TYPE in wrong else config
    yield from _machine(host, config)
    warning = conflicts.warning(mngr_ctx.pm)
    yield Finding("other plugins", "none claims the agent type" if warning is None else "there are", warning)
    yield from damaged
    for agent in agents:
        command = str(agent.agent_config.command)
        is_codex_there = is_binary_present(host, program_of(command))
        if not is_codex_there and command != str(config.command):
            yield replace(_without_version(host, command, str(agent.agent_type)), agent=str(agent.name))
        yield from _agent(host, agent, is_codex_there=is_codex_there)


def _wrong_settings(mngr_ctx: MngrContext) -> dict[str, str]:
    """What is wrong with the settings of an agent type that is codex's or made from it, by the type."""
    wrong = {}
    for agent_type in sorted({AGENT_TYPE, *map(str, mngr_ctx.config.agent_types)}):
        config = resolve_agent_type(AgentTypeName(agent_type), mngr_ctx.config).agent_config
        try:
            if isinstance(config, CodexAgentConfig):
                config.validated(agent_type)
        except ConfigParseError as error:
            wrong[agent_type] = str(error)
    return wrong


def _damaged(host: OnlineHostInterface) -> Iterator[Finding]:
    for data in sorted(get_agents_root_dir(host.host_dir).glob("*/data.json")):
        try:
            is_whole = isinstance(json.loads(data.read_bytes()), dict)
        except (OSError, ValueError):
            is_whole = False
        if not is_whole:
            remedy = f"mend it, or move {data.parent} away; until then mngr shows no agent of this machine"
            yield Finding("data.json", f"{data} cannot be read", remedy, data.parent.name)


def _machine(host: OnlineHostInterface, config: CodexAgentConfig) -> Iterator[Finding]:
    command = str(config.command)
    version = updates.installed_version(host, command)
    if version is None:
        yield _without_version(host, command, AGENT_TYPE)
    elif config.version and config.version != version:
        yield Finding(
            "codex", f"{version}, where the settings ask for {config.version}", "install that, or change `version`"
        )
    else:
        yield Finding("codex", version)
    yield _login(host, config)
    program = own_program()
    problem = works(host, program) if program else "it is not where it was installed"
    yield Finding(
        "program", problem or str(program), "install mngr-codex anew, as its README says" if problem else None
    )
    yield from _inotify()


def _without_version(host: OnlineHostInterface, command: str, agent_type: str) -> Finding:
    """What is wrong with the codex of an agent type that does not say its version."""
    program = program_of(command)
    change = f"change `command` under [agent_types.{agent_type}] of mngr's settings"
    if not program:
        return Finding("codex", f"`{command}` is no command", change)
    if is_binary_present(host, program):
        return Finding("codex", f"`{command} --version` tells none", f"look what it says instead, or {change}")
    is_default = program == "codex"
    return Finding("codex", f"{program} is not on PATH", "npm install -g @openai/codex" if is_default else change)


def _login(host: OnlineHostInterface, config: CodexAgentConfig) -> Finding:
    own = Path.home() / ".codex"
    try:
        settings = build.read_config(host, str(own / "config.toml")) if config.use_user_config else {}
    except ConfigParseError as error:
        return Finding("login", "it is not known whether one is needed", str(error))
    settings = build.merge(settings, config.config_overrides)
    if (own / "auth.json").is_file():
        return Finding("login", f"{own / 'auth.json'} is there")
    if not build.needs_login(settings):
        return Finding("login", "the model provider needs none")
    return Finding("login", f"there is no {own / 'auth.json'}", "codex login")


def _inotify() -> Iterator[Finding]:
    for name, fewest in (("max_user_instances", _FEWEST_INSTANCES), ("max_user_watches", _FEWEST_WATCHES)):
        try:
            limit = int((_LIMITS / name).read_text())
        except (OSError, ValueError):
            continue
        remedy = f"sudo sysctl fs.inotify.{name}={fewest} (until then files are looked at four times a second)"
        yield Finding(f"inotify {name}", str(limit), remedy if limit < fewest else None)


def _agent(host: OnlineHostInterface, agent: CodexAgent, *, is_codex_there: bool) -> Iterator[Finding]:
    name = str(agent.name)
    state_dir = agent._get_agent_dir()
    lifecycle = agent.get_lifecycle_state()
    is_up = lifecycle in (AgentLifecycleState.RUNNING, AgentLifecycleState.WAITING)
    # Who stopped it wanted that.
    is_meant = is_up or lifecycle is AgentLifecycleState.STOPPED
    anew = f"mngr create {name} {agent.agent_type} --reuse --update"
    if not os.access(state_dir, os.W_OK | os.X_OK):
        remedy = "make it writable: what the agent does is not seen"
        yield Finding("state dir", f"{state_dir} cannot be written", remedy, name)
    launcher = state_dir / paths.LAUNCHER
    if not launcher.exists():
        yield Finding("launcher", f"{launcher} is gone, so codex cannot be started", anew, name)
    elif (finding := _session(state_dir, name)) is not None:
        yield finding
    yield Finding("state", lifecycle.value, None if is_meant else f"mngr start {name} --restart", name)
    if is_up and (finding := _terminal(agent, name)) is not None:
        yield finding
    program = state_dir / paths.PROGRAM
    shown = host.execute_idempotent_command(
        f"{shlex.quote(str(program))} marker show --json --state-dir {shlex.quote(str(state_dir))}",
        timeout_seconds=_SECONDS,
    )
    if not shown.success:
        yield Finding("program", shown.stderr.strip() or f"{program} does not run", anew, name)
    else:
        marker = json.loads(shown.stdout)
        is_stale = marker.get("state") == AgentLifecycleState.RUNNING.value and not is_up
        remedy = f"no codex runs that could be at work: {program} marker reset --state-dir {state_dir}"
        yield Finding("marker", _told(marker), remedy if is_stale else None, name)
    if not (state_dir / paths.CODEX_HOME / "hooks.json").exists():
        yield Finding("hooks", f"{state_dir / paths.CODEX_HOME / 'hooks.json'} is gone", anew, name)
    elif is_codex_there:
        yield _hooks(host, agent, name)
    if is_up:
        yield _watcher(host, program, name)


def _session(state_dir: Path, name: str) -> Finding | None:
    """What is wrong with the session that codex would go on with, if anything."""
    session = listing.session_id(state_dir)
    sessions = state_dir / paths.CODEX_HOME / "sessions"
    rollouts = list(sessions.rglob(f"rollout-*{session}.jsonl")) if session else []
    if not rollouts or any(rollout.stat().st_size for rollout in rollouts):
        return None
    remedy = f"remove {rollouts[0]}, and codex begins a new session: mngr start {name} --restart"
    return Finding("session", f"the rollout of {session} is empty, and codex does not go on with it", remedy, name)


def _terminal(agent: CodexAgent, name: str) -> Finding | None:
    """What codex shows that takes all input, if anything."""
    try:
        dialog = send.look(agent, agent._send_target_arg(agent.tmux_target)).dialog
    except SendMessageError as error:
        return Finding("terminal", str(error), f"mngr start {name} --restart", name)
    if dialog is None:
        return None
    is_login = dialog == send.LOGIN
    return Finding("terminal", f"codex shows {dialog}", send.log_in(name) if is_login else f"mngr connect {name}", name)


def _told(marker: dict[str, Any]) -> str:
    """What the program says of the marker, in a line."""
    parts = [str(marker.get("state"))]
    for turn in [marker.get("root"), *(marker.get("subagents") or [])]:
        if turn:
            whose = f"subagent {turn['agent_id']}" if turn.get("agent_id") else "root"
            parts.append(f"{whose} {turn.get('phase')} since {turn.get('since')}, because {turn.get('evidence')}")
    return "; ".join(parts)


def _hooks(host: OnlineHostInterface, agent: CodexAgent, name: str) -> Finding:
    state_dir = agent._get_agent_dir()
    home = state_dir / paths.CODEX_HOME
    report = hook_trust.ask_codex(
        host, command=str(agent.agent_config.command), codex_home=home, work_dir=agent.work_dir
    )
    trust = hook_trust.decide(report, own_commands=build.own_commands(state_dir / paths.PROGRAM), codex_home=home)
    if trust.problem is not None:
        newer = "use a newer codex, or one that answers `codex app-server`"
        remedy = f"put right what codex says of {home}" if report.complaints else newer
        return Finding("hooks", trust.problem, remedy, name)
    known = build.read_config(host, str(home / "config.toml")).get("hooks", {}).get("state", {})
    untold = [
        hook
        for hook in report.hooks or ()
        if not hook.is_managed and known.get(hook.key, {}).get("trusted_hash") != hook.current_hash
    ]
    if untold:
        return Finding(
            "hooks",
            f"codex will ask for a review of these: {', '.join(str(hook) for hook in untold)}",
            f"answer it in `mngr connect {name}`, or make the agent anew",
            name,
        )
    off = sum(1 for entry in known.values() if entry.get("enabled") is False)
    return Finding("hooks", f"{len(known) - off} trusted, {off} switched off", None, name)


def _watcher(host: OnlineHostInterface, program: Path, name: str) -> Finding:
    listed = host.execute_idempotent_command("ps -e -o pid=,args=", timeout_seconds=_SECONDS).stdout
    watchers = [line.split()[0] for line in listed.splitlines() if f"{program} watch" in line]
    if watchers:
        return Finding("watcher", f"process {', '.join(watchers)}", None, name)
    return Finding(
        "watcher", "none runs, so the transcript stands still", f"mngr stop {name} && mngr start {name}", name
    )
