"""The user's Codex setup for a deployment: the files that ``use_user_config`` gives to agents."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from mngr_codex.plugin.carry.user_files import FileReader, path_in_home, with_paths
from mngr_codex.plugin.deploy.guard import guarded
from mngr_codex.plugin.home import config_toml
from mngr_codex.plugin.home.user_files import LINKED, LINKED_ENTRIES, PROFILES, RULES

if TYPE_CHECKING:
    from collections.abc import Callable

DESTINATION = Path("~/.codex")
"""The Codex home of the user on the deployed machine."""

_MCP_TOKENS = ".credentials.json"


def _warn(path: Path, reason: str) -> None:
    logger.warning("{} is not deployed: {}", path, reason)


_READER = FileReader(_warn)
is_file = _READER.is_file
is_readable = _READER.is_readable


def collect(codex_home: Path) -> dict[Path, Path | str]:
    """Returns the user's files that agents get, without the login.

    Links are followed, because their targets do not exist on the deployed machine.

    Args:
        codex_home: The user's Codex home.

    Returns:
        Files or their contents, by their destination in ``~/.codex``.
    """
    found: dict[Path, Path | str] = {}

    def add(path: Path, read: Callable[[Path, Path], dict[Path, Path | str]]) -> None:
        nothing: dict[Path, Path | str] = {}
        found.update(guarded(str(path), lambda: read(path, codex_home), nothing))

    for path in (codex_home / "config.toml", *_READER.visible(codex_home, PROFILES)):
        if is_file(path):
            add(path, _settings_file)
    add(codex_home / "hooks.json", _hooks_file)
    for name in LINKED:
        add(codex_home / name, _tree)
    for folder in (*LINKED_ENTRIES, RULES):
        for entry in _READER.visible(codex_home / folder, "*"):
            add(entry, _tree)
    if found.get(DESTINATION / _MCP_TOKENS) and _are_renewed(codex_home / _MCP_TOKENS):
        logger.warning(
            "the tokens of your MCP servers are deployed ({}). Codex renews them, and many servers then reject the "
            "previous ones, so this machine or the deployed one can lose its access",
            codex_home / _MCP_TOKENS,
        )
    return found


def _are_renewed(path: Path) -> bool:
    """Returns whether the tokens of MCP servers include a refresh token."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    servers = content.values() if isinstance(content, dict) else ()
    return any(isinstance(server, dict) and server.get("refresh_token") for server in servers)


def _tree(entry: Path, codex_home: Path) -> dict[Path, Path | str]:
    """Returns a file, or all files below a folder."""
    return {DESTINATION / path.relative_to(codex_home): path for path in _READER.tree(entry)}


def _settings_file(path: Path, codex_home: Path) -> dict[Path, Path | str]:
    """Returns ``config.toml`` or a profile as it is deployed, with the files that it names."""
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        _warn(path, f"cannot read it: {error}")
        return {}
    kept = {name: value for name, value in config.items() if name not in config_toml.OF_THIS_MACHINE}
    named: list[Path] = []

    def locate(key: str, value: str) -> str:
        """Returns a path into the Codex home relative to it, and notes the file; another path stays."""
        inside = path_in_home(codex_home, value)
        if inside is None:
            logger.warning("{} = {!r} names a file outside {}, which is not deployed", key, value, codex_home)
            return value
        named.append(inside)
        return str(inside)

    deployed = with_paths(kept, locate)
    found: dict[Path, Path | str] = {}
    for name in named:
        if is_file(codex_home / name):
            found |= _tree(codex_home / name, codex_home)
        else:
            logger.warning("{} names {}, which is not deployed: it is no file", path, codex_home / name)
    # The file itself keeps its mode, a text does not.
    unchanged = deployed == config and is_readable(path)
    found[DESTINATION / path.name] = path if unchanged else config_toml.render(deployed)
    return found


def _hooks_file(path: Path, _codex_home: Path) -> dict[Path, Path | str]:
    """Returns ``hooks.json`` without the hooks of this machine's program."""
    kept = _READER.hooks(path)
    return {} if kept is None else {DESTINATION / path.name: json.dumps(kept, indent=2) + "\n"}
