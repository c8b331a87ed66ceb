"""Decides which hooks of an agent run: each is trusted or disabled by the hash that Codex reports.

Codex opens "Hooks need review" for every hook whose hash is not in ``hooks.state`` of its ``config.toml``. An entry
with the hash lets the hook run, and an entry with the hash and ``enabled = false`` disables it; neither opens the
review (seen on 0.130, 0.138, 0.147, 0.154, 0.163, 0.169 and 0.171).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.home.app_server import text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from mngr_codex.plugin.home.app_server import CodexReport, Hook

BYPASS = "--dangerously-bypass-hook-trust"
"""The flag that makes Codex run all hooks without review."""

_REQUIRED_EVENTS = frozenset({"userPromptSubmit", "stop"})


@dataclass(frozen=True, kw_only=True)
class HookTrust:
    """Which of an agent's hooks run."""

    state: Mapping[str, Mapping[str, str | bool]] = field(default_factory=dict)
    """The content of ``hooks.state`` in the agent's ``config.toml``."""
    trusted: tuple[Hook, ...] = ()
    """The hooks of the repository and of the user that run."""
    disabled: tuple[Hook, ...] = ()
    """The hooks of the repository and of the user that do not run."""
    problem: str | None = None
    """Why the plugin's own hooks could not be trusted by hash. mngr cannot show whether the agent is busy without them,
    unless Codex runs all hooks without review, which needs the user's consent."""

    def notice(self, agent_type: str, update: str) -> str | None:
        """Returns a notice for the user about disabled hooks; None without any.

        Args:
            agent_type: The type of the agent.
            update: What applies changed settings to the agent, as the beginning of a hint.
        """
        if not self.disabled:
            return None
        lines = ["These hooks are disabled for this agent:", *(f"  {hook}" for hook in self.disabled)]
        if any(hook.is_from_repository for hook in self.disabled):
            setting = f"trust_repo_hooks = true under [agent_types.{agent_type}] of mngr's settings"
            lines.append(f"hint: to enable repository hooks, set {setting} and {update}")
        if not all(hook.is_from_repository for hook in self.disabled):
            lines.append("hint: to enable your own hooks, trust them in a Codex outside mngr and recreate the agent")
        return "\n".join(lines)


def decide(
    report: CodexReport,
    *,
    own_commands: Collection[str],
    codex_home: Path | str,
    trusts_repository: bool = False,
    consented_hashes: Collection[str] = (),
    user_hashes: Collection[str] = (),
) -> HookTrust:
    """Decides for each hook whether it runs. A hook that is not trusted is disabled.

    Args:
        report: Codex's list of hooks.
        own_commands: The commands of the plugin's own hooks; empty if the agent has none.
        codex_home: The agent's ``CODEX_HOME`` with its ``hooks.json``.
        trusts_repository: Whether all hooks of the repository run.
        consented_hashes: The hashes of the repository's hooks that the user has consented to.
        user_hashes: The hashes of the hooks that the user has trusted in their own Codex.
    """
    if report.hooks is None:
        return HookTrust(problem=report.problem or "Codex did not list its hooks")
    state: dict[str, Mapping[str, str | bool]] = {}
    trusted: list[Hook] = []
    disabled: list[Hook] = []
    own_events: set[str] = set()
    for hook in report.hooks:
        if hook.is_managed:
            continue
        if is_own(hook, own_commands, codex_home):
            own_events.add(hook.event)
            runs = True
        elif hook.is_from_repository:
            runs = trusts_repository or hook.current_hash in consented_hashes
        else:
            # Hooks in the home's config.toml are from config_overrides, so the user has chosen them for agents.
            runs = hook.current_hash in user_hashes or _is_in(hook, codex_home, "config.toml")
        state[hook.key] = {"trusted_hash": hook.current_hash} | ({} if runs else {"enabled": False})
        if not is_own(hook, own_commands, codex_home):
            (trusted if runs else disabled).append(hook)
    missing = _REQUIRED_EVENTS - own_events if own_commands else frozenset()
    problem = None
    if missing:
        reason = f" ({'; '.join(report.diagnostics)})" if report.diagnostics else ""
        problem = f"Codex did not list mngr's own hooks for {', '.join(sorted(missing))}{reason}"
    return HookTrust(state=state, trusted=tuple(trusted), disabled=tuple(disabled), problem=problem)


def is_own(hook: Hook, own_commands: Collection[str], codex_home: Path | str) -> bool:
    """Returns whether a hook is the plugin's own."""
    return hook.command in own_commands and _is_in(hook, codex_home, "hooks.json")


def _is_in(hook: Hook, codex_home: Path | str, name: str) -> bool:
    path = PurePosixPath(hook.source_path)
    # Only the directory's name is compared, because Codex reports paths without symlinks.
    is_at_home = hook.source == "user" and path.parent.name == PurePosixPath(codex_home).name
    return is_at_home and path.name == name


def trusted_hashes(user_config: Mapping[str, Any]) -> frozenset[str]:
    """Returns the hashes of the hooks that the user has trusted in their own Codex.

    Args:
        user_config: The content of the user's ``config.toml``.
    """
    hooks = user_config.get("hooks")
    state = hooks.get("state") if isinstance(hooks, dict) else None
    entries: Iterable[Any] = state.values() if isinstance(state, dict) else ()
    return frozenset(
        text_of(entry, "trusted_hash")
        for entry in entries
        if text_of(entry, "trusted_hash") and entry.get("enabled") is not False
    )
