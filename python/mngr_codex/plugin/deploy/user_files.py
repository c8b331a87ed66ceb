"""The user's Codex setup for a deployment: the files that ``use_user_config`` gives to agents."""

from __future__ import annotations

import fnmatch
import json
import os
import stat
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from mngr_codex.plugin.deploy.guard import guarded
from mngr_codex.plugin.home import config_toml, hooks_json
from mngr_codex.plugin.home.user_files import LINKED, LINKED_ENTRIES, PROFILES, RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DESTINATION = Path("~/.codex")
"""The Codex home of the user on the deployed machine."""

_MCP_TOKENS = ".credentials.json"
_MAXIMUM_FILES = 5000
"""The number of files below one entry, above which the entry is left out: it may be a link to a large folder."""
_SKIPPED_FOLDERS = frozenset({".git", "__pycache__", "node_modules"})


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

    for path in (codex_home / "config.toml", *_visible(codex_home, PROFILES)):
        if is_file(path):
            add(path, _settings_file)
    add(codex_home / "hooks.json", _hooks_file)
    for name in LINKED:
        add(codex_home / name, _tree)
    for folder in (*LINKED_ENTRIES, RULES):
        for entry in _visible(codex_home / folder, "*"):
            add(entry, _tree)
    if found.get(DESTINATION / _MCP_TOKENS) and _are_renewed(codex_home / _MCP_TOKENS):
        logger.warning(
            "the tokens of your MCP servers are deployed ({}). Codex renews them, and many servers then reject the "
            "previous ones, so this machine or the deployed one can lose its access",
            codex_home / _MCP_TOKENS,
        )
    return found


def is_file(path: Path) -> bool:
    """Returns whether a path leads to a file. If that cannot be determined, logs a warning that it is left out."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        _warn(path, error.strerror or str(error))
        return False


def is_readable(path: Path) -> bool:
    """Returns whether a file can be read. If it cannot, logs a warning that it is left out."""
    try:
        with path.open("rb"):
            return True
    except OSError as error:
        _warn(path, error.strerror or str(error))
        return False


def _warn(path: Path, reason: str) -> None:
    logger.warning("{} is not deployed: {}", path, reason)


def _are_renewed(path: Path) -> bool:
    """Returns whether the tokens of MCP servers include a refresh token."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    servers = content.values() if isinstance(content, dict) else ()
    return any(isinstance(server, dict) and server.get("refresh_token") for server in servers)


def _warn_of_folder(error: OSError) -> None:
    """Logs a warning about a folder that cannot be listed, unless there is none."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        _warn(Path(error.filename), error.strerror or str(error))


def _visible(folder: Path, pattern: str) -> list[Path]:
    """Returns the entries of a folder that match a pattern and are not hidden; none if it cannot be listed."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        _warn_of_folder(error)
        return []
    return [folder / name for name in names if fnmatch.fnmatchcase(name, pattern) and not name.startswith(".")]


def _tree(entry: Path, codex_home: Path) -> dict[Path, Path | str]:
    """Returns a file, or all files below a folder."""
    if is_file(entry):
        paths = [entry]
    else:
        paths = list(_files_below(entry))
        if len(paths) > _MAXIMUM_FILES:
            _warn(entry, f"it contains more than {_MAXIMUM_FILES:,} files")
            return {}
    return {DESTINATION / path.relative_to(codex_home): path for path in paths if is_readable(path)}


def _files_below(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder, without those of Git, and stops when there are too many.

    Each folder is visited once, even if links lead to it several times.
    """
    visited: set[str] = set()
    count = 0
    for parent, folders, names in os.walk(folder, onerror=_warn_of_folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            path = Path(parent, name)
            if is_file(path):
                yield path
                count += 1
                if count > _MAXIMUM_FILES:
                    return


def _settings_file(path: Path, codex_home: Path) -> dict[Path, Path | str]:
    """Returns ``config.toml`` or a profile as it is deployed, with the files that it names."""
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        _warn(path, f"cannot read it: {error}")
        return {}
    kept = {name: value for name, value in config.items() if name not in config_toml.OF_THIS_MACHINE}
    named: list[str] = []
    deployed = _with_relative_paths(kept, codex_home, named)
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


def _with_relative_paths(value: Any, codex_home: Path, named: list[str], key: str = "") -> Any:
    """Returns settings whose paths into the Codex home are relative to it, and adds those paths to ``named``."""
    if isinstance(value, dict):
        return {name: _with_relative_paths(part, codex_home, named, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_relative_paths(part, codex_home, named, key) for part in value]
    if not (key in config_toml.PATH_SETTINGS and isinstance(value, str) and value):
        return value
    # Unlike `Path.expanduser`, this does not fail if there is no such user.
    path = Path(os.path.normpath(codex_home / os.path.expanduser(value)))
    if not path.is_relative_to(codex_home):
        logger.warning("{} = {!r} names a file outside {}, which is not deployed", key, value, codex_home)
        return value
    named.append(str(path.relative_to(codex_home)))
    return named[-1]


def _hooks_file(path: Path, _codex_home: Path) -> dict[Path, Path | str]:
    """Returns ``hooks.json`` without the hooks of this machine's program: agents get their own."""
    if not is_file(path):
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        hooks = content.get("hooks") if isinstance(content, dict) else None
        if not isinstance(hooks, dict):
            raise ValueError("it contains no table of hooks")
    except (OSError, ValueError, RecursionError) as error:
        _warn(path, f"cannot read it: {error}")
        return {}
    kept = hooks_json.build_hooks(None, hooks)
    if not any(kept["hooks"].values()):
        return {}
    return {DESTINATION / path.name: json.dumps(kept, indent=2) + "\n"}
