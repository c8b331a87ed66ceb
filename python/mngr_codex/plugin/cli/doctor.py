"""``mngr codex doctor``: checks the setup that Codex agents need, and suggests fixes."""

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
from mngr_codex.plugin.home import hook_trust
from mngr_codex.plugin.home.app_server import query_codex
from mngr_codex.plugin.home.config_toml import merge, read_config
from mngr_codex.plugin.home.hooks_json import own_commands
from mngr_codex.plugin.home.login import needs_login
from mngr_codex.plugin.host import updates
from mngr_codex.plugin.host.program import check_program, own_program
from mngr_codex.plugin.messages.composer import login_hint
from mngr_codex.plugin.messages.screen import LOGIN, read_screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click
    from imbue.mngr.config.data_types import MngrContext

_LIMITS = Path("/proc/sys/fs/inotify")
_MINIMUM_INSTANCES = 128
_MINIMUM_WATCHES = 8192
_SECONDS = 30.0


class DoctorOptions(CommonCliOptions):
    """The options of ``mngr codex doctor``."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """The result of one check. The fields are the keys of the JSON output."""

    what: str
    """What was checked."""
    said: str
    """The result."""
    remedy: str | None = None
    """What to do if there is a problem."""
    agent: str | None = None
    """The agent that was checked; None for this machine."""

    @property
    def is_wrong(self) -> bool:
        """Whether there is a problem."""
        return self.remedy is not None


def run(ctx: click.Context) -> int:
    """Runs all checks, prints the findings, and returns the exit status: 1 if there is a problem."""
    mngr_ctx, output, options = setup_command_context(ctx, "codex-doctor", DoctorOptions)
    findings = list(examine(mngr_ctx, options.names))
    if output.output_format is OutputFormat.HUMAN:
        for finding in findings:
            about = f"{finding.agent}: " if finding.agent else ""
            write_human_line("{} {}{}: {}", "✗" if finding.is_wrong else "✓", about, finding.what, finding.said)
            if finding.remedy is not None:
                hint = finding.remedy if "hint:" in finding.remedy else f"hint: {finding.remedy}"
                for line in hint.splitlines():
                    write_human_line("    {}", line)
    else:
        rows = [{**asdict(finding), "is_wrong": finding.is_wrong} for finding in findings]
        is_lines = output.output_format is OutputFormat.JSONL
        print("\n".join(json.dumps(row) for row in rows) if is_lines else json.dumps(rows, indent=2))
    return int(any(finding.is_wrong for finding in findings))


def examine(mngr_ctx: MngrContext, names: tuple[str, ...]) -> Iterator[Finding]:
    """Checks this machine and its Codex agents.

    Args:
        mngr_ctx: mngr's context.
        names: The agents to check; all if empty.

    Raises:
        UserInputError: A name does not belong to a local Codex agent.
    """
    host = get_provider_instance(LOCAL_PROVIDER_NAME, mngr_ctx).get_host(HostName("localhost"))
    assert isinstance(host, OnlineHostInterface), "the local host is always online"
    damaged = list(_damaged(host))
    # mngr cannot list any agent if one is damaged.
    found = [] if damaged else [agent for agent in host.get_agents() if isinstance(agent, CodexAgent)]
    agents = [agent for agent in found if not names or str(agent.name) in names]
    unknown = set(names) - {str(agent.name) for agent in agents}
    if unknown and not damaged:
        raise UserInputError(
            f"cannot find a Codex agent {' or '.join(sorted(unknown))} on this machine\n"
            "hint: `mngr list` shows all agents"
        )
    config = resolve_agent_type(AgentTypeName(AGENT_TYPE), mngr_ctx.config).agent_config
    assert isinstance(config, CodexAgentConfig), "the plugin provides the type"
    invalid = _invalid_settings(mngr_ctx)
    for problem in invalid.values():
        yield Finding(
            "settings",
            problem,
            "fix it with `mngr config edit` or `mngr config set`; until then agents of this type can't be created",
        )
    config = CodexAgentConfig() if AGENT_TYPE in invalid else config
    yield from _machine(host, config)
    warning = conflicts.warning(mngr_ctx.pm)
    yield Finding("other plugins", "none" if warning is None else "conflict", warning)
    yield from damaged
    for agent in agents:
        command = str(agent.agent_config.command)
        is_codex_installed = is_binary_present(host, program_of(command))
        if not is_codex_installed and command != str(config.command):
            yield replace(_without_version(host, command, str(agent.agent_type)), agent=str(agent.name))
        yield from _agent(host, agent, is_codex_installed=is_codex_installed)


def _invalid_settings(mngr_ctx: MngrContext) -> dict[str, str]:
    """Returns the problems with the settings of codex and of agent types derived from it, by agent type."""
    invalid = {}
    for agent_type in sorted({AGENT_TYPE, *map(str, mngr_ctx.config.agent_types)}):
        config = resolve_agent_type(AgentTypeName(agent_type), mngr_ctx.config).agent_config
        try:
            if isinstance(config, CodexAgentConfig):
                config.validated(agent_type)
        except ConfigParseError as error:
            invalid[agent_type] = str(error).partition("\n")[0]
    return invalid


def _damaged(host: OnlineHostInterface) -> Iterator[Finding]:
    for data in sorted(get_agents_root_dir(host.host_dir).glob("*/data.json")):
        try:
            is_valid = isinstance(json.loads(data.read_bytes()), dict)
        except (OSError, ValueError, RecursionError):
            is_valid = False
        if not is_valid:
            remedy = f"fix it, or move {data.parent} away; until then mngr lists no local agents"
            yield Finding("data.json", f"cannot read {data}", remedy, data.parent.name)


def _machine(host: OnlineHostInterface, config: CodexAgentConfig) -> Iterator[Finding]:
    command = str(config.command)
    version = updates.installed_version(host, command)
    if version is None:
        yield _without_version(host, command, AGENT_TYPE)
    elif config.version and config.version != version:
        yield Finding(
            "codex",
            f"{version} is installed, but the settings require {config.version}",
            "install that version, or change `version`",
        )
    else:
        yield Finding("codex", version)
    yield _login(host, config)
    program = own_program()
    broken = check_program(host, program) if program else "not found where it was installed"
    yield Finding(
        "program", broken or str(program), "reinstall mngr-codex as described in its README" if broken else None
    )
    yield from _inotify()


def _without_version(host: OnlineHostInterface, command: str, agent_type: str) -> Finding:
    """Returns the problem with an agent type whose Codex reports no version."""
    program = program_of(command)
    change = f"change `command` under [agent_types.{agent_type}] of mngr's settings"
    if not program:
        return Finding("codex", f"`{command}` is not a command", change)
    if is_binary_present(host, program):
        return Finding("codex", f"`{command} --version` printed no version", f"check its output, or {change}")
    is_default = program == "codex"
    return Finding("codex", f"{program} is not on PATH", "run `npm install -g @openai/codex`" if is_default else change)


def _login(host: OnlineHostInterface, config: CodexAgentConfig) -> Finding:
    own = Path.home() / ".codex"
    try:
        settings = read_config(host, str(own / "config.toml")) if config.use_user_config else {}
    except ConfigParseError as error:
        return Finding("login", "cannot determine whether one is needed", str(error).replace("\nhint: ", "; "))
    settings = merge(settings, config.config_overrides)
    if (own / "auth.json").is_file():
        return Finding("login", f"{own / 'auth.json'} exists")
    if not needs_login(settings):
        return Finding("login", "not required by the model provider")
    return Finding("login", f"{own / 'auth.json'} does not exist", "run `codex login`")


def _inotify() -> Iterator[Finding]:
    for name, minimum in (("max_user_instances", _MINIMUM_INSTANCES), ("max_user_watches", _MINIMUM_WATCHES)):
        try:
            limit = int((_LIMITS / name).read_text())
        except (OSError, ValueError):
            continue
        remedy = f"run `sudo sysctl fs.inotify.{name}={minimum}`; until then files are polled four times a second"
        yield Finding(f"inotify {name}", str(limit), remedy if limit < minimum else None)


def _agent(host: OnlineHostInterface, agent: CodexAgent, *, is_codex_installed: bool) -> Iterator[Finding]:
    name = str(agent.name)
    state_dir = agent._get_agent_dir()
    lifecycle = agent.get_lifecycle_state()
    is_running = lifecycle in (AgentLifecycleState.RUNNING, AgentLifecycleState.WAITING)
    # A stopped agent was stopped on purpose.
    is_intended = is_running or lifecycle is AgentLifecycleState.STOPPED
    recreate = f"run `mngr create {name} {agent.agent_type} --reuse --update`"
    if not os.access(state_dir, os.W_OK | os.X_OK):
        remedy = "make it writable; otherwise mngr can't see whether the agent is busy"
        yield Finding("state dir", f"{state_dir} is not writable", remedy, name)
    launcher = state_dir / paths.LAUNCHER
    if not launcher.exists():
        yield Finding("launcher", f"{launcher} does not exist, so Codex cannot be started", recreate, name)
    elif (finding := _session(state_dir, name)) is not None:
        yield finding
    yield Finding("state", lifecycle.value, None if is_intended else f"run `mngr start {name} --restart`", name)
    if is_running and (finding := _terminal(agent, name)) is not None:
        yield finding
    program = state_dir / paths.PROGRAM
    shown = host.execute_idempotent_command(
        f"{shlex.quote(str(program))} marker show --json --state-dir {shlex.quote(str(state_dir))}",
        timeout_seconds=_SECONDS,
    )
    if not shown.success:
        yield Finding("program", shown.stderr.strip() or f"cannot run {program}", recreate, name)
    else:
        marker = json.loads(shown.stdout)
        is_stale = marker.get("state") == AgentLifecycleState.RUNNING.value and not is_running
        remedy = f"Codex isn't running, so reset the marker: run `{program} marker reset --state-dir {state_dir}`"
        yield Finding("marker", _describe(marker), remedy if is_stale else None, name)
    if not (state_dir / paths.CODEX_HOME / "hooks.json").exists():
        yield Finding("hooks", f"{state_dir / paths.CODEX_HOME / 'hooks.json'} does not exist", recreate, name)
    elif is_codex_installed:
        yield _hooks(host, agent, name)
    if is_running:
        yield _watcher(host, program, name)


def _session(state_dir: Path, name: str) -> Finding | None:
    """Returns the problem with the session that Codex would resume, if there is one."""
    session = listing.session_id(state_dir)
    sessions = state_dir / paths.CODEX_HOME / "sessions"
    rollouts = list(sessions.rglob(f"rollout-*{session}.jsonl")) if session else []
    if not rollouts or any(rollout.stat().st_size for rollout in rollouts):
        return None
    remedy = f"to let Codex start a new session, remove {rollouts[0]} and run `mngr start {name} --restart`"
    return Finding("session", f"the rollout of {session} is empty, so Codex cannot resume it", remedy, name)


def _terminal(agent: CodexAgent, name: str) -> Finding | None:
    """Returns the dialog that blocks Codex's input, if any."""
    try:
        dialog = read_screen(agent, agent._send_target_arg(agent.tmux_target)).dialog
    except SendMessageError as error:
        return Finding("terminal", str(error), f"run `mngr start {name} --restart`", name)
    if dialog is None:
        return None
    remedy = login_hint(name) if dialog == LOGIN else f"answer it with `mngr connect {name}`"
    return Finding("terminal", f"Codex is showing {dialog}", remedy, name)


def _describe(marker: dict[str, Any]) -> str:
    """Returns the state that the program reports, on one line."""
    parts = [str(marker.get("state"))]
    for turn in [marker.get("root"), *(marker.get("subagents") or [])]:
        if turn:
            thread = f"subagent {turn['agent_id']}" if turn.get("agent_id") else "root"
            parts.append(f"{thread}: {turn.get('phase')} since {turn.get('since')} ({turn.get('evidence')})")
    return "; ".join(parts)


def _hooks(host: OnlineHostInterface, agent: CodexAgent, name: str) -> Finding:
    state_dir = agent._get_agent_dir()
    home = state_dir / paths.CODEX_HOME
    report = query_codex(host, command=str(agent.agent_config.command), codex_home=home, work_dir=agent.work_dir)
    trust = hook_trust.decide(report, own_commands=own_commands(state_dir / paths.PROGRAM), codex_home=home)
    if trust.problem is not None:
        newer = "use a newer Codex: this one does not support `codex app-server`"
        remedy = f"fix the problems that Codex reports about {home}" if report.diagnostics else newer
        return Finding("hooks", trust.problem, remedy, name)
    trusted = read_config(host, str(home / "config.toml")).get("hooks", {}).get("state", {})
    unknown = [
        hook
        for hook in report.hooks or ()
        if not hook.is_managed and trusted.get(hook.key, {}).get("trusted_hash") != hook.current_hash
    ]
    if unknown:
        return Finding(
            "hooks",
            f"Codex will ask for a review of: {', '.join(str(hook) for hook in unknown)}",
            f"answer it with `mngr connect {name}`, or recreate the agent",
            name,
        )
    disabled = sum(1 for entry in trusted.values() if entry.get("enabled") is False)
    return Finding("hooks", f"{len(trusted) - disabled} trusted, {disabled} disabled", None, name)


def _watcher(host: OnlineHostInterface, program: Path, name: str) -> Finding:
    listed = host.execute_idempotent_command("ps -e -o pid=,args=", timeout_seconds=_SECONDS).stdout
    watchers = [line.split()[0] for line in listed.splitlines() if f"{program} watch" in line]
    if watchers:
        return Finding("watcher", f"process {', '.join(watchers)}", None, name)
    return Finding(
        "watcher",
        "not running, so the transcript is not being updated",
        f"run `mngr stop {name} && mngr start {name}`",
        name,
    )
