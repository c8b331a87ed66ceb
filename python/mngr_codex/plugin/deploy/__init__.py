"""Files and variables for machines on which mngr runs scheduled commands, such as those of ``mngr schedule``.

mngr calls these functions for every deployment, whatever its agents are. They never fail and ask nothing: what cannot
be read is left out, with a warning.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mngr_codex.plugin.carry.user_files import user_codex_home
from mngr_codex.plugin.deploy import login, settings, user_files
from mngr_codex.plugin.deploy.guard import guarded

if TYPE_CHECKING:
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
        the deployment is known to create no Codex agent.
    """
    nothing: Files = {}
    return guarded("the Codex setup", lambda: _files(mngr_ctx, repo_root, has_user_files, has_project_files), nothing)


def add_variables(mngr_ctx: MngrContext, variables: dict[str, str]) -> None:
    """Adds variables that a deployed Codex needs to a deployment's environment.

    They are an access token, if there is no other login, and those that the settings of the model provider name.

    Args:
        mngr_ctx: mngr's context.
        variables: The variables that are deployed. Those that it contains already are not changed.
    """
    none: dict[str, str] = {}
    for name, value in guarded("Codex's environment", lambda: _variables(mngr_ctx), none).items():
        variables.setdefault(name, value)


def _files(mngr_ctx: MngrContext, repo_root: Path, has_user_files: bool, has_project_files: bool) -> Files:
    codex_home = user_codex_home(os.environ)
    types = settings.deployed_types(mngr_ctx)
    if not types.configs:
        return {}
    found: Files = {}
    nothing: Files = {}
    if has_user_files:
        if any(config.use_user_config for config in types.configs):
            found |= user_files.collect(codex_home)
        found |= guarded("the login of Codex", lambda: login.login_file(codex_home, types, os.environ), nothing)
    if has_project_files:
        found |= guarded(str(repo_root / ".codex"), lambda: _project_files(repo_root, codex_home), nothing)
    return found


def _project_files(repo_root: Path, codex_home: Path) -> Files:
    """Returns the local settings of a repository, which Git usually ignores."""
    folder = repo_root / ".codex"
    if os.path.realpath(folder) == os.path.realpath(codex_home):
        return {}
    paths = sorted(path for path in folder.rglob("*.local.*") if user_files.is_file(path))
    return {path.relative_to(repo_root): path for path in paths if user_files.is_readable(path)}


def _variables(mngr_ctx: MngrContext) -> dict[str, str]:
    codex_home = user_codex_home(os.environ)
    return login.variables(codex_home, settings.deployed_types(mngr_ctx), os.environ)
