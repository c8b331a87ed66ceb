"""Files and variables for machines on which mngr runs scheduled commands, such as those of ``mngr schedule``.

mngr calls these functions for every deployment, whatever its agents are. They never fail and ask nothing: what cannot
be read is left out, with a warning.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from mngr_codex.plugin.deploy import login, settings, user_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from imbue.mngr.config.data_types import MngrContext

Files = dict[Path, "Path | str"]


def files(mngr_ctx: MngrContext, repo_root: Path, *, has_user_files: bool, has_project_files: bool) -> Files:
    """Returns the files for a deployment: the user's setup and login, and the repository's local Codex settings.

    Args:
        mngr_ctx: mngr's context.
        repo_root: The repository that is deployed.
        has_user_files: Whether files of the user's home are deployed.
        has_project_files: Whether files that are not in the repository's history are deployed.

    Returns:
        Files or their contents, by their destination. It begins with ``~/`` or is relative to the repository. Empty if
        the user has no Codex home, or if the deployment is known to need none.
    """
    return _guarded(lambda: _files(mngr_ctx, repo_root, has_user_files, has_project_files), {})


def add_variables(mngr_ctx: MngrContext, variables: dict[str, str]) -> None:
    """Adds variables that a deployed Codex needs to a deployment's environment.

    They are an access token, if there is no other login, and those that the settings of the model provider name.

    Args:
        mngr_ctx: mngr's context.
        variables: The variables that are deployed. Those that it contains already are not changed.
    """
    none: dict[str, str] = {}
    for name, value in _guarded(lambda: _variables(mngr_ctx), none).items():
        variables.setdefault(name, value)


def _files(mngr_ctx: MngrContext, repo_root: Path, has_user_files: bool, has_project_files: bool) -> Files:
    codex_home = settings.user_codex_home(os.environ)
    if not codex_home.is_dir():
        return {}
    types = settings.deployed_types(mngr_ctx)
    if not types.configs:
        return {}
    found: Files = {}
    if has_user_files:
        if any(config.use_user_config for config in types.configs):
            found |= user_files.collect(codex_home)
        found |= login.login_file(codex_home, types, os.environ)
    if has_project_files and (repo_root / ".codex").resolve() != codex_home.resolve():
        found |= _project_files(repo_root)
    return found


def _project_files(repo_root: Path) -> Files:
    """Returns the local settings of a repository, which Git usually ignores."""
    paths = sorted(path for path in (repo_root / ".codex").rglob("*.local.*") if path.is_file())
    return {path.relative_to(repo_root): path for path in paths if user_files.is_readable(path)}


def _variables(mngr_ctx: MngrContext) -> dict[str, str]:
    codex_home = settings.user_codex_home(os.environ)
    if not codex_home.is_dir():
        return {}
    return login.variables(codex_home, settings.deployed_types(mngr_ctx), os.environ)


def _guarded[Result](function: Callable[[], Result], default: Result) -> Result:
    """Calls a function; after an error logs a warning and returns the default, so that other plugins can deploy."""
    try:
        return function()
    except Exception as error:
        logger.warning("the Codex setup is not deployed: {}: {}", type(error).__name__, error)
        return default
