"""The folders that the user has trusted when asked, remembered in mngr's profile.

Each folder has a file of its own, whose name is a hash of the folder's path. So simultaneous mngr commands need no
lock, and a damaged file affects one folder only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.errors import UserInputError

from mngr_codex.plugin.agent_type import PLUGIN

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class TrustedFolder:
    """A folder on this machine in which Codex may work. The fields are the keys of its file and of the JSON output."""

    folder: str
    """Its path without symlinks: a repository's main work tree, or a folder outside repositories."""
    since: str
    """When the user has trusted it, in ISO 8601."""


class TrustedFolders:
    """The remembered folders of a profile."""

    def __init__(self, profile_dir: Path) -> None:
        """Creates the object; nothing is read or written.

        Args:
            profile_dir: mngr's profile directory.
        """
        self._directory = profile_dir / PLUGIN / "trusted_folders"

    def is_trusted(self, folder: str) -> bool:
        """Returns whether the user has trusted a folder.

        Args:
            folder: Its path without symlinks.

        Raises:
            UserInputError: The file of the folder cannot be read or is damaged.
        """
        return self._read(self._path(folder), hint=f"run `mngr codex trust revoke {shlex.quote(folder)}`") is not None

    def add(self, folder: str) -> None:
        """Remembers a folder.

        Args:
            folder: Its path without symlinks.

        Raises:
            OSError: The file cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"folder": folder, "since": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n"
        handle, temporary = tempfile.mkstemp(dir=self._directory)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(content)
            Path(temporary).replace(self._path(folder))
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise

    def remove(self, folder: str) -> bool:
        """Forgets a folder, even if its file is damaged. Returns whether it was remembered.

        Raises:
            OSError: The file cannot be removed.
        """
        try:
            self._path(folder).unlink()
        except FileNotFoundError:
            return False
        return True

    def clear(self) -> int:
        """Forgets all folders, and returns how many they were.

        Raises:
            OSError: A file cannot be removed.
        """
        files = self._files()
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def __iter__(self) -> Iterator[TrustedFolder]:
        """Yields the folders in the order of their paths.

        Raises:
            UserInputError: A file cannot be read or is damaged.
        """
        found = (self._read(file, hint="remove it, or run `mngr codex trust revoke --all`") for file in self._files())
        yield from sorted((folder for folder in found if folder is not None), key=lambda found: found.folder)

    def _files(self) -> list[Path]:
        return list(self._directory.glob("*.json"))

    def _path(self, folder: str) -> Path:
        return self._directory / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()}.json"

    def _read(self, file: Path, hint: str) -> TrustedFolder | None:
        """Returns the content of a file; None if it does not exist."""
        try:
            content = json.loads(file.read_bytes())
            found = TrustedFolder(folder=content["folder"], since=content["since"])
            datetime.fromisoformat(found.since)
            problem = None if self._path(found.folder) == file else "it is damaged"
        except FileNotFoundError:
            return None
        except OSError as error:
            problem = f"{error.strerror}"
        except (ValueError, KeyError, TypeError, RecursionError):
            problem = "it is damaged"
        if problem is None:
            return found
        raise UserInputError(
            f"cannot read {file}, the record of a trusted folder: {problem}\n"
            f"hint: {hint}; you will be asked about the folder again"
        )
