"""Checks one agent."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import SendMessageError
from imbue.mngr.primitives import AgentLifecycleState

from mngr_codex.plugin import listing, paths, status_file
from mngr_codex.plugin.cli.doctor import codex, end, hooks, sandbox, servers
from mngr_codex.plugin.cli.doctor.finding import Finding, guarded
from mngr_codex.plugin.home.account_models import SETTING
from mngr_codex.plugin.home.login import LoginPlace, login_hint
from mngr_codex.plugin.host.facts import command_of
from mngr_codex.plugin.host.place import update_hint
from mngr_codex.plugin.messages.screen import read_screen
from mngr_codex.plugin.messages.startup import restart_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.agent import CodexAgent
    from mngr_codex.plugin.cli.doctor.processes import Process
    from mngr_codex.plugin.cli.doctor.servers import Server

_SECONDS = 30.0

NO_DIALOG = "no dialog"
NO_ERROR = "no error"
VALID_STATUS = "valid"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is the same for all agents."""

    host: OnlineHostInterface
    processes: tuple[Process, ...]
    servers: tuple[Server, ...]
    facts_for: codex.ReadFacts
    """Returns the facts about this machine for a ``command`` setting."""
    scratch: Path | None
    """An empty folder for temporary files, in which every thread has its own; None if the disk is full."""


def check(machine: Machine, agent: CodexAgent) -> list[Finding]:
    """Checks an agent: its files, whether its Codex runs, and whether mngr can see what that does."""
    name = str(agent.name)
    recreate = update_hint(machine.host, name, str(agent.agent_type))
    lifecycle = None
    # mngr has read it before.
    found = [Finding("data.json", "valid", None, name)]

    def state() -> Iterable[Finding]:
        nonlocal lifecycle
        lifecycle = agent.get_lifecycle_state()
        return [state_finding(agent, lifecycle, name)]

    found += guarded("work dir", lambda: _work_dir(agent, name), passed=str(agent.work_dir), agent=name)
    if foreign := _foreign(agent._get_agent_dir(), recreate, name):
        return [*found, foreign]
    found += guarded("files", lambda: _files(agent, recreate, name), agent=name)
    found += guarded("state", state, agent=name)
    is_running = lifecycle in (AgentLifecycleState.RUNNING, AgentLifecycleState.WAITING)

    def needs_login() -> bool:
        # The agent has the user's config.toml of the time when it was created.
        return codex.new_agents_need_login(machine.host, agent.agent_config)

    if is_running:
        found += guarded("terminal", lambda: terminal(agent, recreate, name, needs_login), passed=NO_DIALOG, agent=name)
        found += guarded("watcher", lambda: _watcher(machine, agent, name), agent=name)
    found += guarded("marker", lambda: _marker(machine, agent, recreate, name, is_running=is_running), agent=name)
    if is_running and (agent._get_agent_dir() / paths.PROGRAM).exists():
        found += guarded("status", lambda: _status(agent, recreate, name), passed=VALID_STATUS, agent=name)
    found += guarded("last turn", lambda: _last_turn(agent, recreate, name), passed=NO_ERROR, agent=name)
    found += guarded(
        "server",
        lambda: servers.of_agent(
            machine.servers,
            codex_home=agent._get_agent_dir() / paths.CODEX_HOME,
            state_dir=agent._get_agent_dir(),
            agent=name,
        ),
        passed="none uses the agent's home",
        agent=name,
    )
    facts = machine.facts_for(str(agent.agent_config.command))
    command = facts.command if facts and facts.is_codex_found and machine.scratch else None
    scratch = machine.scratch / str(threading.get_ident()) if machine.scratch else None
    found += guarded(
        "hooks",
        lambda: hooks.check(machine.host, agent, recreate=recreate, command=command, scratch=scratch),
        agent=name,
    )
    if command is not None:
        found += guarded(
            "sandbox", lambda: sandbox.check(machine.host, agent, command), passed=sandbox.NOT_USED, agent=name
        )
    return found


def _foreign(state_dir: Path, recreate: str, name: str) -> Finding | None:
    """Returns the problem with an agent that has no files of this plugin, so that no other check applies to it."""
    if any((state_dir / path).exists() for path in (paths.LAUNCHER, paths.PROGRAM)):
        return None
    said = "it has no files of mngr-codex: another plugin has created it, such as imbue-mngr-codex"
    return Finding("files", said, f"{recreate}, which keeps its session", name)


def _work_dir(agent: CodexAgent, name: str) -> Iterator[Finding]:
    work_dir = agent.work_dir
    if work_dir.is_dir():
        return
    restore = "restore it"
    repository = _recorded_repository(agent)
    if branch := agent.get_checked_out_branch_name():
        # Without -f, git refuses a path that is still registered.
        git = ("git", "-C", repository) if repository else ("git",)
        words = (*git, "worktree", "add", "-f", str(work_dir), branch)
        restore = f"run `{shlex.join(words)}`{'' if repository else ' in its repository'}"
    yield Finding(
        "work dir",
        f"{work_dir} does not exist; Codex can't run its hooks without it, and mngr does not start the agent",
        f"{restore}, then `mngr start {name} --restart`; or `mngr destroy {name}`, which keeps the transcript",
        name,
    )


def _recorded_repository(agent: CodexAgent) -> str | None:
    """Returns the repository of the agent's worktree; None if it is not known, or no longer there."""
    with contextlib.suppress(OSError):
        repository = (agent._get_agent_dir() / paths.REPOSITORY).read_text(errors="replace").removesuffix("\n")
        if Path(repository, ".git").exists():
            return repository
    return None


def _files(agent: CodexAgent, recreate: str, name: str) -> Iterator[Finding]:
    state_dir = agent._get_agent_dir()
    if not os.access(state_dir, os.W_OK | os.X_OK):
        remedy = "make it writable; otherwise mngr can't see whether the agent is busy"
        yield Finding("state dir", f"{state_dir} is not writable", remedy, name)
    else:
        yield Finding("state dir", str(state_dir), None, name)
    launcher = state_dir / paths.LAUNCHER
    if not launcher.exists():
        yield Finding("launcher", f"{launcher} does not exist, so Codex cannot be started", recreate, name)
        return
    yield Finding("launcher", str(launcher), None, name)
    session = listing.session_id(state_dir)
    rollouts = list((state_dir / paths.SESSIONS).rglob(f"rollout-*{session}.jsonl")) if session else []
    if rollouts and not any(rollout.stat().st_size for rollout in rollouts):
        remedy = f"to let Codex start a new session, remove {rollouts[0]} and run `mngr start {name} --restart`"
        yield Finding("session", f"the rollout of {session} is empty, so Codex cannot resume it", remedy, name)
    else:
        yield Finding("session", session or "none yet", None, name)


def state_finding(agent: CodexAgent, lifecycle: AgentLifecycleState, name: str) -> Finding:
    """Returns whether an agent, on any host, is in a state that it should not be in."""
    # A stopped agent was stopped on purpose.
    if lifecycle in (AgentLifecycleState.RUNNING, AgentLifecycleState.WAITING, AgentLifecycleState.STOPPED):
        return Finding("state", lifecycle.value, None, name)
    ended = end.why_it_ended(agent)
    remedies = {"quit": None, "signal": f"run `mngr start {name} --restart`", "unknown": restart_hint(name)}
    return Finding("state", f"{lifecycle.value}: {ended.reason}", remedies[ended.cause], name)


def terminal(agent: CodexAgent, recreate: str, name: str, needs_login: Callable[[], bool]) -> Iterator[Finding]:
    """Yields the dialog that blocks Codex's input, if any.

    Args:
        agent: The agent, on any host.
        recreate: What writes the agent's files again.
        name: The agent's name.
        needs_login: Returns whether Codex would need a login with the present settings.
    """
    try:
        screen = read_screen(agent, agent._send_target_arg(agent.tmux_target))
    except SendMessageError as error:
        yield Finding("terminal", str(error), f"run `mngr start {name} --restart`", name)
        return
    if screen.showing is not None:
        remedy = f"answer it with `mngr connect {name}`"
        if screen.view == "login":
            hint = login_hint(LoginPlace.of(agent.host, command_of(agent)), name)
            remedy = hint if needs_login() else f"{recreate}: your current settings need no login"
        # Approvals, questions and menus are part of the work.
        is_warning = screen.view != "login" and screen.dialog != "hooks"
        yield Finding("terminal", f"Codex is showing {screen.showing}", remedy, name, is_warning)


def _watcher(machine: Machine, agent: CodexAgent, name: str) -> Iterator[Finding]:
    watch = f"{agent._get_agent_dir() / paths.PROGRAM} watch"
    watchers = [str(process.pid) for process in machine.processes if watch in process.command]
    if watchers:
        yield Finding("watcher", f"process {', '.join(watchers)}", None, name)
    else:
        remedy = f"run `mngr stop {name} && mngr start {name}`"
        yield Finding("watcher", "not running, so the transcript is not being updated", remedy, name)


def _marker(machine: Machine, agent: CodexAgent, recreate: str, name: str, *, is_running: bool) -> Iterator[Finding]:
    state_dir = agent._get_agent_dir()
    program = state_dir / paths.PROGRAM
    shown = machine.host.execute_idempotent_command(
        f"{shlex.quote(str(program))} marker show --json --state-dir {shlex.quote(str(state_dir))}",
        timeout_seconds=_SECONDS,
    )
    # Its status is 1 if no hook has run yet.
    marker = parsed_object(shown.stdout)
    if marker is None:
        yield Finding("program", shown.stderr.strip() or f"cannot run {program}", recreate, name)
        return
    yield Finding("program", str(program), None, name)
    is_stale = marker.get("state") == AgentLifecycleState.RUNNING.value and not is_running
    said = describe_marker(marker)
    remedy = None
    if is_stale:
        # A Codex that mngr stops, or that fails, leaves none: the watcher closes its turn.
        said += "; Codex ended together with its watcher, as in a crash or restart of the machine"
        reset = shlex.join([str(program), "marker", "reset", "--state-dir", str(state_dir)])
        remedy = f"run `mngr start {name} --restart`, or only reset the marker: `{reset}`"
    yield Finding("marker", said, remedy, name)


def parsed_object(text: str) -> dict[str, Any] | None:
    """Returns a JSON object; None if the text is not one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def describe_marker(marker: dict[str, Any]) -> str:
    """Returns the state that the program reports, on one line."""
    if marker.get("state") == "UNKNOWN":
        return "no hook has run yet"
    parts = [str(marker.get("state"))]
    for turn in [marker.get("root"), *(marker.get("subagents") or [])]:
        if turn:
            thread = f"subagent {turn['agent_id']}" if turn.get("agent_id") else "root"
            parts.append(f"{thread}: {turn.get('phase')} since {turn.get('since')} ({turn.get('evidence')})")
    return "; ".join(parts)


def _status(agent: CodexAgent, recreate: str, name: str) -> Iterator[Finding]:
    """Yields a running agent's lack of a status, without which `mngr list` shows less of it."""
    state_dir = agent._get_agent_dir()
    file = state_dir / paths.STATUS
    if status_file.read(state_dir) is not None:
        return
    if file.exists():
        said, remedy = f"{file} is damaged, or of another version of mngr-codex", f"run `mngr start {name} --restart`"
        remedy += f"; if that does not help, {recreate}"
    else:
        said, remedy = f"{file} does not exist: the agent's program is older than this mngr-codex", recreate
    yield Finding("status", f"{said}; `mngr list` shows less of the agent", remedy, name, is_warning=True)


def _last_turn(agent: CodexAgent, recreate: str, name: str) -> Iterator[Finding]:
    state_dir = agent._get_agent_dir()
    status = status_file.read(state_dir)
    if status is None:
        error = end.last_error(state_dir)
    elif status.last_error is None:
        error = None
    else:
        error = f"The turn ended with an error: {status.last_error['message']}"
    if error is None:
        return
    again = f"send the message again with `mngr message {name}`"
    remedy = f"fix that, then {again}"
    if end.is_about_missing_model(error):
        choose = f"choose another model with `mngr message {name} -m /model` and `mngr connect {name}`"
        # Codex has a list of an account's models only with such a login.
        fall_back = f", or set {SETTING} = true," if "ChatGPT account" in error else ","
        change = f"change `model` in mngr's settings, or unset it{fall_back} and {recreate}"
        remedy = f"{choose}, then {again}; for good, {change}"
    yield Finding("last turn", error, remedy, name, is_warning=True)
