"""The user's Codex setup on this machine for an agent on another host: settings, instructions, skills and the like.

Only the parts that the host's user lacks are read. Possible secrets are skipped unless the agent's settings want them.
"""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.carry.possible_secrets import has_secret_text, is_secret_file, without_secrets
from mngr_codex.plugin.carry.user_files import FileReader, path_in_home, with_paths
from mngr_codex.plugin.home import config_toml
from mngr_codex.plugin.home.user_files import LINKED_ENTRIES, PROFILES, RULES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mngr_codex.plugin.home.login import LoginPlace

WITH_SECRETS = "with_secrets"
"""The value of ``carry_settings`` that also copies possible secrets."""
MAXIMUM_BYTES = 4 * 1024 * 1024
"""The size of all files together, above which entries are skipped."""

_MAYBE_SECRET = "it may be secret"
_CONFIG, _HOOKS = "config.toml", "hooks.json"
_INSTRUCTIONS = ("AGENTS.override.md", "AGENTS.md")
_ENVIRONMENT = ".env"


@dataclass(frozen=True, kw_only=True)
class CarriedFile:
    """A file of the setup."""

    content: bytes
    is_executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What an agent on another host gets of the setup on this machine."""

    has_settings: bool = False
    """Whether the settings, the profiles and the hooks are those of this machine."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The content of ``config.toml``. Paths refer to the folder with the files."""
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The content of each profile by its file's name."""
    hooks: Mapping[str, Any] = field(default_factory=dict)
    """The ``hooks`` table of ``hooks.json``."""
    files: Mapping[PurePath, CarriedFile] = field(default_factory=dict)
    """The other files, by their paths in the Codex home."""
    skipped: tuple[str, ...] = ()
    """The skipped files and settings, with the reasons."""

    @property
    def names(self) -> list[str]:
        """The entries of the Codex home that it contains."""
        settings = [_CONFIG] if self.config else []
        hooks = [_HOOKS] if self.hooks else []
        return sorted({*settings, *hooks, *self.profiles, *(path.parts[0] for path in self.files)})


def read(codex_home: Path, owned: Collection[str], *, with_secrets: bool = False) -> Setup:
    """Reads the parts of the setup that the user of a host lacks.

    ``config.toml``, the profiles and ``hooks.json`` belong together: if the host has any of them, it keeps its own.
    The same is true of ``AGENTS.md`` and ``AGENTS.override.md``. Everything else is compared by name.

    Args:
        codex_home: The user's Codex home on this machine.
        owned: The entries of the user's Codex home on the host, such as ``AGENTS.md`` and ``skills/build``.
        with_secrets: Whether possible secrets are read too.
    """
    return _Reading(codex_home, owned, with_secrets=with_secrets).setup()


def has_own_settings(owned: Collection[str]) -> bool:
    """Returns whether the user of a host has settings, profiles or hooks there."""
    return bool({_CONFIG, _HOOKS} & set(owned)) or any(fnmatch.fnmatchcase(name, PROFILES) for name in owned)


def copied_setup_texts(setup: Setup | None, place: LoginPlace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the reports about a setup, and the warnings about its skipped parts.

    Args:
        setup: The setup, or None if none is copied.
        place: The host.
    """
    if setup is None:
        return (), ()
    names = ", ".join(setup.names)
    reports = (f"your Codex setup was copied for this agent{place.there}: {names}",) if names else ()
    if not setup.skipped:
        return reports, ()
    lines = "\n".join(f"  {each}" for each in setup.skipped)
    hint = "set carry_settings = false, or give the agent what it needs by config_overrides or by `--upload-file`"
    if any(_MAYBE_SECRET in each for each in setup.skipped):
        hint += f'; carry_settings = "{WITH_SECRETS}" copies secrets too'
    return reports, (f"of your Codex setup, this was not copied{place.there}:\n{lines}\nhint: {hint}",)


class _Reading:
    def __init__(self, codex_home: Path, owned: Collection[str], *, with_secrets: bool) -> None:
        self._home, self._owned, self._with_secrets = codex_home, owned, with_secrets
        self._reader = FileReader(lambda path, reason: self._skip(path, reason))
        self._files: dict[PurePath, CarriedFile] = {}
        self._size = 0
        self._skipped: list[str] = []

    def setup(self) -> Setup:
        has_settings = not has_own_settings(self._owned)
        config: dict[str, Any] = {}
        profiles: dict[str, dict[str, Any]] = {}
        hooks: dict[str, Any] = {}
        if has_settings:
            config = self._settings(self._home / _CONFIG) or {}
            found = {path.name: self._settings(path) for path in self._reader.visible(self._home, PROFILES)}
            profiles = {name: profile for name, profile in found.items() if profile is not None}
            hooks = self._hooks(self._home / _HOOKS)
        if not set(_INSTRUCTIONS) & set(self._owned):
            for name in _INSTRUCTIONS:
                self._add(self._home / name)
        for folder in (RULES, *LINKED_ENTRIES):
            for entry in self._reader.visible(self._home / folder, "*"):
                self._add_unless_owned(entry)
        self._add_unless_owned(self._home / "themes")
        if self._with_secrets:
            self._add_unless_owned(self._home / _ENVIRONMENT)
        return Setup(
            has_settings=has_settings,
            config=config,
            profiles=profiles,
            hooks=hooks,
            files=self._files,
            skipped=tuple(self._skipped),
        )

    def _skip(self, what: Path | str, reason: str) -> None:
        self._skipped.append(f"{what}: {reason}")

    def _add_unless_owned(self, entry: Path) -> None:
        if entry.relative_to(self._home).as_posix() not in self._owned:
            self._add(entry)

    def _add(self, entry: Path) -> None:
        """Adds a file or a folder: all of it, or nothing if it is too large. Files that may be secret are skipped."""
        files: dict[PurePath, CarriedFile] = {}
        size = 0
        for path in self._reader.tree(entry):
            name = path.relative_to(self._home)
            if not self._with_secrets and (is_secret_file(name) or is_secret_file(path.resolve())):
                self._skip(path, _MAYBE_SECRET)
                continue
            try:
                with path.open("rb") as file:
                    content = file.read(MAXIMUM_BYTES + 1)
                    is_executable = bool(path.stat().st_mode & 0o100)
            except OSError as error:
                self._skip(path, error.strerror or str(error))
                continue
            if not self._with_secrets and path.suffix == ".toml" and self._has_secrets(path, content):
                continue
            size += len(content)
            if self._size + size > MAXIMUM_BYTES:
                self._skip(entry, f"all files together may have {MAXIMUM_BYTES // 1024**2} MiB")
                return
            files[name] = CarriedFile(content=content, is_executable=is_executable)
        self._size += size
        self._files |= files

    def _settings(self, path: Path) -> dict[str, Any] | None:
        """Returns ``config.toml`` or a profile, and adds the files that it names; None if it cannot be read."""
        if not self._reader.is_file(path):
            return None
        try:
            config = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            self._skip(path, f"cannot read it: {error}")
            return None
        kept = {name: value for name, value in config.items() if name not in config_toml.OF_THIS_MACHINE}
        if not self._with_secrets:
            kept, removed = without_secrets(kept)
            for name in removed:
                self._skip(f"{name} in {path}", _MAYBE_SECRET)
        named = with_paths(kept, lambda key, value: self._locate(path, key, value))
        return _with_optional_servers(named)

    def _has_secrets(self, path: Path, content: bytes) -> bool:
        """Returns whether a file of settings, such as an agent role, has possible secrets, and reports them."""
        try:
            _, removed = without_secrets(tomllib.loads(content.decode("utf-8-sig")))
        except (ValueError, RecursionError):
            # Codex cannot read it either.
            removed = []
        for name in removed:
            self._skip(f"{path} with {name}", _MAYBE_SECRET)
        return bool(removed)

    def _hooks(self, path: Path) -> dict[str, Any]:
        hooks: dict[str, Any] = (self._reader.hooks(path) or {}).get("hooks", {})
        if self._with_secrets or not has_secret_text(hooks):
            return hooks
        self._skip(path, _MAYBE_SECRET)
        return {}

    def _locate(self, settings: Path, key: str, value: str) -> str | None:
        """Returns the path of a file that a setting names, relative to the Codex home, and adds the file."""
        inside = path_in_home(self._home, value)
        if inside is None or not self._reader.is_file(self._home / inside):
            where = "is no file" if inside else f"is not in {self._home}"
            self._skip(f"{key} in {settings}", f"{value} {where}")
            return None
        self._add(self._home / inside)
        return str(inside) if inside in self._files else None


def _with_optional_servers(config: dict[str, Any]) -> dict[str, Any]:
    """Returns settings in which no MCP server that is a program is required: the host may lack the program.

    Codex would exit without a required server.
    """
    servers = config.get("mcp_servers")
    if not isinstance(servers, dict):
        return config
    optional = {
        name: {key: value for key, value in server.items() if key != "required"}
        if isinstance(server, dict) and "command" in server
        else server
        for name, server in servers.items()
    }
    return {**config, "mcp_servers": optional}
