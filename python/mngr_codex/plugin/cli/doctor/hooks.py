"""Checks the hooks of an agent, by which mngr knows whether it is busy."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin import paths
from mngr_codex.plugin.cli.doctor.finding import Finding
from mngr_codex.plugin.home import hook_trust, hooks_json
from mngr_codex.plugin.home.app_server import query_codex
from mngr_codex.plugin.home.config_toml import read_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.agent import CodexAgent
    from mngr_codex.plugin.home.app_server import CodexReport, Hook


def check(
    host: OnlineHostInterface, agent: CodexAgent, *, recreate: str, command: str | None, scratch: Path | None
) -> Iterator[Finding]:
    """Checks that the plugin's hooks are in place, and that Codex runs them without a review.

    Args:
        host: The agent's host, which must be this machine.
        agent: The agent.
        recreate: The command that writes the agent's files again.
        command: The ``command`` setting, with the path of Codex if that is not on PATH; None if there is no Codex.
        scratch: A folder for a copy of the agent's home, which Codex is asked about; None if there is none. A folder
            that was used before saves Codex half of its time.
    """
    name = str(agent.name)
    state_dir = agent._get_agent_dir()
    home = state_dir / paths.CODEX_HOME
    file = home / "hooks.json"
    if not file.exists():
        yield Finding("hooks", f"{file} does not exist", recreate, name)
        return
    own_commands = hooks_json.own_commands(state_dir / paths.PROGRAM)
    missing = _missing_events(host, file, own_commands)
    if missing:
        said = f"mngr's hooks for {', '.join(missing)} are not in {file}, so mngr can't see what the agent does"
        yield Finding("hooks", said, recreate, name)
        return
    settings = read_config(host, str(home / "config.toml"))
    if _table(settings, "features").get("hooks") is False:
        yield Finding("hooks", f"{home / 'config.toml'} disables all hooks", recreate, name)
    elif command is None or scratch is None:
        yield Finding("hooks", "they are in place; Codex was not asked about them", None, name)
    else:
        report = _query(host, agent, command, home, scratch)
        trusted = _table(_table(settings, "hooks"), "state")
        yield _judge(report, trusted, own_commands=own_commands, home=home, name=name, recreate=recreate)


def _missing_events(host: OnlineHostInterface, file: Path, own_commands: tuple[str, ...]) -> list[str]:
    """Returns the events for which the plugin has written a hook that is no longer there."""
    listed, problem = hooks_json.read_hooks(host, str(file))
    if problem is not None:
        raise ValueError(problem.partition(": ")[2])
    return [
        event
        for event, command in zip(hooks_json.HOOKS, own_commands, strict=True)
        if command not in hooks_json.commands({event: listed.get(event)})
    ]


def _query(host: OnlineHostInterface, agent: CodexAgent, command: str, home: Path, scratch: Path) -> CodexReport:
    """Asks Codex for its hooks in a copy of the agent's home, because Codex writes to any home that it gets."""
    # The name of the home is how the plugin's own hooks are recognized.
    copy = scratch / home.name
    copy.mkdir(parents=True, exist_ok=True)
    for name in ("hooks.json", "config.toml"):
        (copy / name).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(home / name, copy / name)
    return query_codex(host, command=command, codex_home=copy, work_dir=agent.work_dir)


def _judge(
    report: CodexReport,
    trusted: dict[str, Any],
    *,
    own_commands: tuple[str, ...],
    home: Path,
    name: str,
    recreate: str,
) -> Finding:
    decided = hook_trust.decide(report, own_commands=own_commands, codex_home=home)
    if decided.problem is not None:
        newer = "use a newer Codex: this one does not support `codex app-server`"
        remedy = f"fix the problems that Codex reports about {home}" if report.diagnostics else newer
        return Finding("hooks", decided.problem, remedy, name)
    hooks = [(hook, _state_of(hook, trusted, home)) for hook in report.hooks or () if not hook.is_managed]
    unknown = [hook for hook, state in hooks if state.get("trusted_hash") != hook.current_hash]
    if unknown:
        said = f"Codex will ask for a review of new or edited hooks: {_listed(unknown)}"
        return Finding("hooks", said, f"review them with `mngr connect {name}`, or {recreate}", name)
    disabled = [hook for hook, state in hooks if state.get("enabled") is False]
    own = [hook for hook in disabled if hook.command in own_commands]
    if own:
        said = f"these hooks of mngr are disabled, so mngr can't see what the agent does: {_listed(own)}"
        return Finding("hooks", said, recreate, name)
    return Finding("hooks", f"{len(hooks) - len(disabled)} trusted, {len(disabled)} disabled", None, name)


def _listed(hooks: list[Hook]) -> str:
    return ", ".join(f"{hook.event} ({hook.command or 'no command'})" for hook in hooks)


def _state_of(hook: Hook, trusted: dict[str, Any], home: Path) -> dict[str, Any]:
    """Returns the entry of a hook in ``hooks.state``, where those of the copied home have the path of the real one."""
    keys = [hook.key]
    if hook.source == "user":
        place = hook.key.removeprefix(str(Path(hook.source_path).parent))
        keys = [f"{home}{place}", f"{home.resolve()}{place}"]
    return next((trusted[key] for key in keys if isinstance(trusted.get(key), dict)), {})


def _table(settings: Any, key: str) -> dict[str, Any]:
    value = settings.get(key) if isinstance(settings, dict) else None
    return value if isinstance(value, dict) else {}
