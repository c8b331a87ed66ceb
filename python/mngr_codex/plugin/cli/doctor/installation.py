"""Checks the installation of mngr-codex and of other plugins in mngr's Python environment."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mngr_codex.plugin import conflicts
from mngr_codex.plugin.cli.doctor.finding import Finding
from mngr_codex.plugin.host.program import DISTRIBUTION, check_program, own_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pluggy
    from imbue.mngr.interfaces.host import OnlineHostInterface

# Without --python, uv uses the system's Python, and for an old one it chooses an old mngr.
_PYTHON = ".".join(platform.python_version_tuple()[:2])
_REINSTALL = f"`uv tool install --force --python {_PYTHON} imbue-mngr` reinstalls it without plugins"


def program(host: OnlineHostInterface) -> Finding:
    """Checks that the native program that is copied to agents runs."""
    path = own_program()
    broken = check_program(host, path) if path else "not found where it was installed"
    if broken is not None:
        return Finding("program", broken, "reinstall mngr-codex as described in its README")
    versions = f"mngr-codex {_version(DISTRIBUTION)}, mngr {_version('imbue-mngr')}, Python {platform.python_version()}"
    return Finding("program", f"{path} ({versions})")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def other_plugins(pm: pluggy.PluginManager) -> Finding:
    """Checks that no other plugin provides the agent type."""
    warning = conflicts.warning(pm)
    return Finding("other plugins", "none" if warning is None else "conflict", warning)


def usage_reader(pm: pluggy.PluginManager) -> Iterator[Finding]:
    """Finds the usage plugin of ``imbue-mngr-codex``, which agents of mngr-codex do not need."""
    warning = conflicts.usage_reader_warning(pm)
    if warning is not None:
        said, _, hint = warning.partition("\n")
        yield Finding("usage plugin", said, hint, is_warning=True)


def editable(distributions: Iterable[importlib.metadata.Distribution] | None = None) -> Iterator[Finding]:
    """Checks the packages that are installed from a folder which must stay where it is.

    mngr loads all enabled plugins before it runs any command, so the doctor can report a missing folder only if it is
    that of a disabled plugin, or if the package is found elsewhere.

    Args:
        distributions: The installed packages; those of this environment by default.
    """
    for distribution in distributions or importlib.metadata.distributions():
        folder = _editable_folder(distribution)
        if folder is None:
            continue
        name = distribution.metadata["Name"]
        if not folder.is_dir():
            yield Finding(
                "installation",
                f"{name} was installed from {folder} with `--path` or `-e`, and that folder is gone",
                f"move it back, or run `mngr plugin remove {name}`. If mngr no longer starts, {_REINSTALL}",
            )
        elif name == DISTRIBUTION:
            yield Finding(
                "installation",
                f"{name} is used from {folder}: if that folder is moved or removed, every mngr command fails",
                "keep it there, or install a copy with `mngr plugin add --git URL`. If mngr no longer starts, "
                f"{_REINSTALL}",
                is_warning=True,
            )


def _editable_folder(distribution: importlib.metadata.Distribution) -> Path | None:
    """Returns the folder that a package is used from, which its ``direct_url.json`` (PEP 610) names."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "null")
        if not origin["dir_info"]["editable"]:
            return None
        return Path(unquote(urlsplit(origin["url"]).path))
    except (OSError, ValueError, TypeError, KeyError):
        return None
