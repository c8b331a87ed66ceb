"""The ``config.toml`` of an agent, and which of the user's own settings it contains."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.home.files import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

Table = dict[str, Any]

DEFAULTS: Mapping[str, Any] = {"sandbox_mode": "workspace-write"}
"""Settings of an agent's Codex that anything else overrides."""

PINS: Mapping[str, Any] = {
    # A keyring entry is named after the Codex home, so an agent would not find the user's.
    "cli_auth_credentials_store": "file",
    # The update prompt would swallow the keys of the first message.
    "check_for_update_on_startup": False,
    "features": {
        "hooks": True,
        # Seen on 0.163 to 0.171: the TUI starts a server that runs the turns, outlives the TUI, updates itself and
        # copies Codex (300 MB) into the home.
        "daemon_auto_start": False,
    },
    "notice": {
        "hide_full_access_warning": True,
        "hide_world_writable_warning": True,
        "hide_rate_limit_model_nudge": True,
    },
    "tui": {
        # Otherwise Codex asks which directory to resume in if a session was started in a different one.
        "resume_cwd": "current",
        # Otherwise Codex writes this setting itself, into the file that the plugin manages.
        "screen_reader_detection_done": True,
    },
}
"""Settings that an agent's Codex needs. They override the user's own."""

_WITHOUT_HOOKS = "without hooks mngr cannot show whether the agent is busy"
_REFUSED = {
    ("cli_auth_credentials_store",): ("file", "agents share the login through a symlink to the file auth.json"),
    ("check_for_update_on_startup",): (False, "Codex's update prompt would swallow the first message"),
    ("features", "hooks"): (True, _WITHOUT_HOOKS),
    ("features", "codex_hooks"): (True, _WITHOUT_HOOKS),
    ("features", "daemon_auto_start"): (False, "turns would run in a server that outlives the agent"),
    ("hooks", "state"): (None, "hooks are trusted by their hashes; use trust_repo_hooks to run a repository's hooks"),
}
"""Settings that ``config_overrides`` must not change, each with the only value allowed and the reason."""

OF_THIS_MACHINE = ("projects", "sqlite_home", "log_dir")
"""The user's settings that only apply to their own Codex: trust is asked for per agent, and an agent keeps its data in
its own home."""

_NOT_CARRIED_OVER = (*OF_THIS_MACHINE, "hooks")
"""The user's settings that agents do not get in ``config.toml``. The hooks go to the agent's ``hooks.json``."""

PATH_SETTINGS = frozenset(
    {
        "model_instructions_file",
        "experimental_instructions_file",
        "experimental_compact_prompt_file",
        "model_catalog_json",
        "config_file",
        "ca-certificate",
        "client-certificate",
        "client-private-key",
    }
)
"""Settings whose values are paths relative to the directory of ``config.toml``."""


def build_config(
    *,
    user_config: Mapping[str, Any],
    settings: Mapping[str, Any],
    overrides: Mapping[str, Any],
    instructions: Iterable[str] = (),
    trusted_paths: Iterable[str] = (),
    model_upgrades: Mapping[str, str] | None = None,
    hook_state: Mapping[str, Any] | None = None,
) -> Table:
    """Builds the content of an agent's ``config.toml``.

    Later layers override earlier ones, table by table: defaults, user, pins, settings, overrides. The instructions are
    added to those of the user or of the overrides.

    Args:
        user_config: The user's settings that are carried over.
        settings: The agent's settings by the names that Codex gives them.
        overrides: The agent's ``config_overrides``; a null value removes the key.
        instructions: Texts that are appended to ``developer_instructions``.
        trusted_paths: The names of the agent's work directory.
        model_upgrades: The replacement that Codex offers for each outdated model. They are recorded as already offered,
            so that Codex does not ask on startup ("Meet GPT-6 Sol").
        hook_state: The trusted and disabled hooks by their keys.
    """
    config = merge(merge(DEFAULTS, user_config), PINS)
    config = merge(config, {"notice": {"model_migrations": dict(model_upgrades or {})}})
    config = merge(config, {"projects": {path: {"trust_level": "trusted"} for path in sorted(trusted_paths)}})
    config = merge(config, settings)
    config = merge(config, overrides)
    config = merge(config, _with_instructions(config, tuple(instructions)))
    return merge(config, {"hooks": {"state": dict(hook_state or {})}}) if hook_state else config


def _with_instructions(config: Mapping[str, Any], instructions: tuple[str, ...]) -> Table:
    """Returns ``developer_instructions`` with texts appended: Codex adds them to its own instructions (0.138 to 0.171).

    The table is empty if there is nothing to append.
    """
    current = config.get("developer_instructions")
    texts = (*filter(None, [current if isinstance(current, str) else ""]), *instructions)
    return {"developer_instructions": "\n\n".join(texts)} if instructions else {}


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> Table:
    """Returns a table with another merged into it: tables are merged, other values replaced, None removes a key."""
    merged = dict(base)
    for key, value in overlay.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            current = merged.get(key)
            merged[key] = merge(current if isinstance(current, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Checks that overrides do not change settings that an agent needs.

    Raises:
        ConfigParseError: An override is refused. The message names the setting, the reason and the allowed value.
    """
    for path, (allowed, reason) in _REFUSED.items():
        value: Any = overrides
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None and value != allowed:
            from imbue.mngr.errors import ConfigParseError

            message = f"cannot set {'.'.join(path)} in config_overrides of a Codex agent: {reason}"
            if allowed is not None:
                message += f"\nhint: the only value allowed is {json.dumps(allowed)}"
            raise ConfigParseError(message)


def carried_over(user_config: Mapping[str, Any], user_codex_home: str) -> Table:
    """Returns the user's settings that agents get, with relative paths made absolute.

    Args:
        user_config: The content of the user's ``config.toml`` or of a profile.
        user_codex_home: The directory of that file.
    """
    kept = {key: value for key, value in user_config.items() if key not in _NOT_CARRIED_OVER}
    absolute = _with_absolute_paths(kept, user_codex_home)
    return absolute if isinstance(absolute, dict) else {}


def _with_absolute_paths(value: Any, folder: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _with_absolute_paths(part, folder, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_absolute_paths(part, folder, key) for part in value]
    if key in PATH_SETTINGS and isinstance(value, str) and value and not value.startswith(("/", "~")):
        return f"{folder}/{value}"
    return value


def render(config: Mapping[str, Any]) -> str:
    """Returns a table as TOML."""
    import tomlkit

    return tomlkit.dumps(_tables_last(config))


def _tables_last(table: Mapping[str, Any]) -> Table:
    """Moves tables after plain values, since a value after a table's header would belong to that table."""

    def is_table(value: Any) -> bool:
        return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value))

    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return _tables_last(value)
        return [ordered(part) for part in value] if isinstance(value, list) else value

    return {key: ordered(value) for key, value in sorted(table.items(), key=lambda entry: is_table(entry[1]))}


def read_config(host: OnlineHostInterface, path: str) -> Table:
    """Reads a ``config.toml`` of the user.

    Returns:
        Its content; an empty table if the file does not exist.

    Raises:
        ConfigParseError: The file cannot be read or is not valid TOML.
    """
    return parse_config(path, lambda: read_text(host, path))


def parse_config(path: str, read: Callable[[], str | None]) -> Table:
    """Parses a ``config.toml`` of the user.

    Args:
        path: Its path.
        read: Returns its text, or None if it does not exist. Can fail.

    Raises:
        ConfigParseError: As for :func:`read_config`.
    """
    try:
        return tomllib.loads(read() or "")
    except (OSError, ValueError, RecursionError) as error:
        from imbue.mngr.errors import ConfigParseError

        problem = (
            f"cannot parse {path} as TOML: {error}"
            if isinstance(error, tomllib.TOMLDecodeError)
            else f"cannot read {path}: {error}"
        )
        raise ConfigParseError(f"{problem}\nhint: fix it, or set use_user_config = false for the agent type") from None


def refused_setting(complaints: Iterable[str], config_path: Path, config: str) -> str | None:
    """Returns the setting of an agent's ``config.toml`` that Codex rejects, with the reason.

    Args:
        complaints: The errors that Codex reported (``<path>:<line>:<column>: <reason>``, seen on 0.138 to 0.169).
        config_path: The path of the file.
        config: The text of the file.

    Returns:
        The setting without its value, which may be secret, and the reason; None if Codex accepts the file.
    """
    location = re.compile(rf"{re.escape(str(config_path))}:(\d+):\d+: (.+)", re.DOTALL)
    for complaint in complaints:
        if found := location.search(complaint):
            (line,) = config.split("\n")[: int(found[1])][-1:]
            name, equals_sign, _ = line.partition("=")
            setting = f"`{name.strip()}`: " if equals_sign or line.startswith("[") else ""
            return setting + found[2].strip()
    return None
