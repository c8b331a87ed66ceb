"""The ``hooks.json`` of an agent: the plugin's hooks and the user's."""

from __future__ import annotations

import json
import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.home.files import read_text
from mngr_codex.plugin.host.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

HOOKS = {
    "SessionStart": "session-start",
    "SessionEnd": "session-end",
    "UserPromptSubmit": "user-prompt-submit",
    "PreModelRequest": "pre-model-request",
    "PreToolUse": "pre-tool-use",
    "PermissionRequest": "permission-request",
    "PostToolUse": "post-tool-use",
    "PreCompact": "pre-compact",
    "PostCompact": "post-compact",
    "SubagentStart": "subagent-start",
    "SubagentStop": "subagent-stop",
    "Stop": "stop",
    "Interrupt": "interrupt",
}
"""The events that the native program handles: Codex's name for each, and the program's. Codex ignores an event that it
does not know."""

TIMEOUT_SECONDS = 60
"""How long Codex lets a hook of the plugin run. A hook takes milliseconds; Codex's own limit is ten minutes."""

_NAMES = frozenset(HOOKS.values())

# Codex warns the user if a hook of these events asks for more (seen on 0.163).
_MAXIMUM_TIMEOUT_SECONDS = {"SessionEnd": 3, "Interrupt": 3}


def own_commands(program: Path) -> tuple[str, ...]:
    """Returns the commands of the plugin's own hooks.

    Args:
        program: The path of the native program on the agent's host.
    """
    return tuple(f"{shlex.quote(str(program))} hook {event}" for event in HOOKS.values())


def build_hooks(program: Path | None, *user_hooks: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the content of an agent's ``hooks.json``: the plugin's own hooks, then the user's.

    Args:
        program: The path of the native program on the agent's host. If it is None, only the user's hooks are included.
        user_hooks: The ``hooks`` tables of the user's ``hooks.json`` and ``config.toml``.
    """
    groups: dict[str, list[Any]] = {}
    if program is not None:
        for event, command in zip(HOOKS, own_commands(program), strict=True):
            timeout = _MAXIMUM_TIMEOUT_SECONDS.get(event, TIMEOUT_SECONDS)
            groups[event] = [{"hooks": [{"type": "command", "command": command, "timeout": timeout}]}]
    for event, listed in ((event, listed) for hooks in user_hooks for event, listed in hooks.items()):
        if isinstance(listed, list):
            groups[event] = groups.get(event, []) + _without_program(listed)
    return {"hooks": groups}


def commands(hooks: Mapping[str, Any]) -> list[str]:
    """Returns the commands of all hooks in a ``hooks`` table. Parts that Codex cannot read are skipped."""
    readable, _ = checked_hooks(hooks)
    return [
        each["command"]
        for groups in readable.values()
        for group in groups
        for each in group["hooks"]
        if isinstance(each.get("command"), str)
    ]


def _without_program(groups: list[Any]) -> list[Any]:
    """Returns groups of the user's hooks without the hooks of ``mngr-codex hooks install``: the agent has its own."""

    def is_of_program(hook: Any) -> bool:
        command = hook.get("command") if isinstance(hook, dict) else None
        try:
            words = shlex.split(command) if isinstance(command, str) else []
        except ValueError:
            return False
        words = words[1:] if words[:1] == ["exec"] else words
        return len(words) > 2 and PurePosixPath(words[0]).name == PROGRAM and words[1] == "hook" and words[2] in _NAMES

    kept = []
    for group in groups:
        hooks = group.get("hooks") if isinstance(group, dict) else None
        if not isinstance(hooks, list) or not any(map(is_of_program, hooks)):
            kept.append(group)
        elif others := [hook for hook in hooks if not is_of_program(hook)]:
            kept.append({**group, "hooks": others})
    return kept


def checked_hooks(hooks: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Separates the groups of hooks that Codex can read from the others; one unreadable group disables them all.

    Args:
        hooks: One of the user's ``hooks`` tables.

    Returns:
        The readable groups by event, and the events that have unreadable ones.
    """

    def is_readable(group: Any) -> bool:
        if not isinstance(group, dict) or not isinstance(group.get("matcher"), str | None):
            return False
        commands = group.get("hooks")
        return isinstance(commands, list) and all(
            isinstance(each, dict) and isinstance(each.get("type"), str) for each in commands
        )

    kept: dict[str, Any] = {}
    skipped = []
    for event, groups in hooks.items():
        if event == "state":
            continue
        listed = groups if isinstance(groups, list) else [groups]
        kept[event] = [group for group in listed if is_readable(group)]
        if len(kept[event]) < len(listed):
            skipped.append(event)
    return kept, skipped


def read_hooks(host: OnlineHostInterface, path: str) -> tuple[dict[str, Any], str | None]:
    """Reads the user's ``hooks.json``.

    Returns:
        Its ``hooks`` table, and a notice for the user if the file cannot be read.
    """
    return parse_hooks(path, lambda: read_text(host, path))


def parse_hooks(path: str, read: Callable[[], str | None]) -> tuple[dict[str, Any], str | None]:
    """Parses the user's ``hooks.json``.

    Args:
        path: Its path.
        read: Returns its text, or None if it does not exist. Can fail.

    Returns:
        As for :func:`read_hooks`.
    """
    try:
        content = json.loads(read() or "{}")
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"your hooks are not used: cannot read {path}: {error}"
    hooks = content.get("hooks") if isinstance(content, dict) else None
    return hooks if isinstance(hooks, dict) else {}, None
