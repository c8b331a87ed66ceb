"""Reads the user's Codex files on this machine, for deployments and for agents on other hosts.

Links are followed, because their targets do not exist elsewhere.
"""

from __future__ import annotations

import fnmatch
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.home import hooks_json
from mngr_codex.plugin.home.config_toml import PATH_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAXIMUM_FILES = 5000
"""The number of files below one entry, above which the entry is skipped: it may be a link to a large folder."""
_SKIPPED_FOLDERS = frozenset({".git", "__pycache__", "node_modules"})


def user_codex_home(environment: Mapping[str, str]) -> Path:
    """Returns the user's own Codex home on this machine.

    In the shell of an agent ``CODEX_HOME`` names the agent's home, which is not the user's.

    Args:
        environment: The environment of mngr.
    """
    named = environment.get("CODEX_HOME")
    state_dir = environment.get("MNGR_AGENT_STATE_DIR")
    if named and not (state_dir and Path(named).is_relative_to(state_dir)):
        return Path(named).absolute()
    return Path.home() / ".codex"


@dataclass(frozen=True)
class FileReader:
    """Finds files, and reports the skipped ones."""

    warn: Callable[[Path, str], None]
    """Called with each skipped path and the reason."""

    def is_file(self, path: Path) -> bool:
        """Returns whether a path leads to a file. If that cannot be determined, reports it."""
        try:
            return stat.S_ISREG(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return False
        except OSError as error:
            self._warn_of(path, error)
            return False

    def is_readable(self, path: Path) -> bool:
        """Returns whether a file can be read. If it cannot, reports it."""
        try:
            with path.open("rb"):
                return True
        except OSError as error:
            self._warn_of(path, error)
            return False

    def visible(self, folder: Path, pattern: str) -> list[Path]:
        """Returns the entries of a folder that match a pattern and are not hidden; none if it cannot be listed."""
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            self._warn_of_folder(error)
            return []
        return [folder / name for name in names if fnmatch.fnmatchcase(name, pattern) and not name.startswith(".")]

    def tree(self, entry: Path) -> list[Path]:
        """Returns a file, or the files below a folder without those of Git; none if there are too many."""
        if self.is_file(entry):
            paths = [entry]
        else:
            paths = list(self._files_below(entry))
            if len(paths) > MAXIMUM_FILES:
                self.warn(entry, f"it contains more than {MAXIMUM_FILES:,} files")
                return []
        return [path for path in paths if self.is_readable(path)]

    def hooks(self, path: Path) -> dict[str, Any] | None:
        """Returns the content of ``hooks.json`` without the hooks of this machine's program: agents get their own.

        None if there are no others.
        """
        if not self.is_file(path):
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            hooks = content.get("hooks") if isinstance(content, dict) else None
            if not isinstance(hooks, dict):
                raise ValueError("it contains no table of hooks")
        except (OSError, ValueError, RecursionError) as error:
            self.warn(path, f"cannot read it: {error}")
            return None
        kept = hooks_json.build_hooks(None, hooks)
        return kept if any(kept["hooks"].values()) else None

    def _files_below(self, folder: Path) -> Iterator[Path]:
        """Yields the files below a folder, and stops when there are too many.

        Each folder is visited once, even if links lead to it several times.
        """
        visited: set[str] = set()
        count = 0
        for parent, folders, names in os.walk(folder, onerror=self._warn_of_folder, followlinks=True):
            real = os.path.realpath(parent)
            if real in visited:
                folders.clear()
                continue
            visited.add(real)
            folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
            for name in sorted(names):
                path = Path(parent, name)
                if self.is_file(path):
                    yield path
                    count += 1
                    if count > MAXIMUM_FILES:
                        return

    def _warn_of(self, path: Path, error: OSError) -> None:
        self.warn(path, error.strerror or str(error))

    def _warn_of_folder(self, error: OSError) -> None:
        """Reports a folder that cannot be listed, unless there is none."""
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            self._warn_of(Path(error.filename), error)


def with_paths(value: Any, locate: Callable[[str, str], str | None], key: str = "") -> Any:
    """Returns settings whose paths are replaced.

    Args:
        value: The settings, or a part of them.
        locate: Called with the name and the value of each setting that is a path. Returns the new value, or None if
            the setting is to be removed.
        key: The name of the setting that the value is of.
    """
    if isinstance(value, dict):
        parts = {name: with_paths(part, locate, name) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not None}
    if isinstance(value, list):
        return [part for part in (with_paths(each, locate, key) for each in value) if part is not None]
    return locate(key, value) if key in PATH_SETTINGS and isinstance(value, str) and value else value


def path_in_home(codex_home: Path, value: str) -> Path | None:
    """Returns the path that a setting names, relative to the Codex home; None if it is outside.

    Args:
        codex_home: The Codex home, which relative paths refer to.
        value: The setting's value.
    """
    # Unlike `Path.expanduser`, this does not fail if there is no such user.
    path = Path(os.path.normpath(codex_home / os.path.expanduser(value)))
    return path.relative_to(codex_home) if path.is_relative_to(codex_home) else None
