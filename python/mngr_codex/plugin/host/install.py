"""Codex itself on an agent's host: there, installed on consent, of the version that was asked for, and new enough."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from loguru import logger

from mngr_codex.plugin.command_setting import program_of
from mngr_codex.plugin.host import updates

if TYPE_CHECKING:
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import OnlineHostInterface

NPM_PACKAGE = "@openai/codex"
PYPI_PACKAGE = "openai-codex-cli-bin"
"""The native program as a wheel. It brings no command of its own."""

OLDEST = "0.130.0"
"""The first codex seen to report the hashes of hooks, by which they can be trusted one by one. 0.128 does not."""


def install_command(version: str | None = None) -> str:
    """Give the command that installs codex for a host's user: with npm, else from PyPI into ``~/.local``.

    Needs no rights but the user's: npm falls back to ``~/.local`` where its own folder is not to be written.

    Args:
        version: The version to install; the newest if it is None.
    """
    npm = shlex.quote(f"{NPM_PACKAGE}@{version or 'latest'}")
    pypi = shlex.quote(PYPI_PACKAGE + (f"=={version}" if version else ""))
    script = f"""\
if command -v npm >/dev/null; then
    npm install -g {npm} || npm install -g --prefix "$HOME/.local" {npm}
    exit
fi
folder=$HOME/.local/share/mngr-codex/codex
if command -v uv >/dev/null; then
    uv pip install --quiet --upgrade --no-deps --target "$folder" {pypi} || exit 1
else
    for python in python3 python; do
        if "$python" -m pip --version >/dev/null 2>&1; then found=$python; break; fi
    done
    if [ -z "${{found-}}" ]; then
        echo 'There is neither npm nor pip nor uv to install codex with. Install one of them, or codex by hand.' >&2
        exit 1
    fi
    "$found" -m pip install --quiet --upgrade --no-deps --target "$folder" {pypi} || exit 1
fi
mkdir -p "$HOME/.local/bin"
ln -sf "$folder/codex_cli_bin/bin/codex" "$HOME/.local/bin/codex"
"""
    return f"bash -c {shlex.quote(script)}"


def ensure_installed(
    host: OnlineHostInterface, mngr_ctx: MngrContext, *, command: str, version: str | None = None
) -> str | None:
    """See to it that codex is on a host, in the version that the settings ask for.

    A codex that is missing is installed as mngr does it: on ``--yes`` or after a question on this machine, and
    elsewhere if mngr's settings allow it.

    Args:
        host: The agent's host.
        mngr_ctx: mngr's context.
        command: The agent's codex, as a shell would run it.
        version: The version that the settings ask for, if any.

    Returns:
        The version that is there, or None if it does not say.

    Raises:
        AgentInstallationError: Codex is not there and not to be installed, or there in another version; with the way
            out.
    """
    from imbue.mngr.agents.installation import ensure_cli_installed, is_binary_present, is_pinned_version_present
    from imbue.mngr.errors import AgentInstallationError

    program = program_of(command)
    if program == "codex" and not is_binary_present(host, program):
        # mngr would show the whole script that installs it.
        if host.is_local and not (mngr_ctx.is_auto_approve or mngr_ctx.is_interactive):
            raise AgentInstallationError(
                f"Codex is not installed. Install it with `npm install -g {NPM_PACKAGE}@{version or 'latest'}`, or let "
                "mngr do it: with --yes."
            )
        logger.warning(
            "Codex is not on the host. To be installed: {}@{} by npm, globally where npm may, or {} from PyPI into "
            "~/.local where there is no npm.",
            NPM_PACKAGE,
            version or "latest",
            PYPI_PACKAGE,
        )
        ensure_cli_installed(host, mngr_ctx, program, install_command(version))
    if not is_binary_present(host, program):
        raise AgentInstallationError(
            "Codex was installed, but into a folder that is not on PATH (~/.local/bin, or npm's own: `npm prefix -g`). "
            "Add it to PATH, or set `command` of the agent type to the whole path."
            if program == "codex"
            else f"{program}, which `command` of the agent type names, is not on the host."
        )
    installed = updates.installed_version(host, command)
    if version and installed and not is_pinned_version_present(installed, version):
        raise AgentInstallationError(
            f"Codex {installed} is installed, but the agent type asks for version {version}. Change `version` there, "
            f"or install that one: npm install -g {NPM_PACKAGE}@{version}"
        )
    return installed


def too_old_notice(version: str | None) -> str | None:
    """Tell what does not work with a codex that is too old, and what does; None if it is new enough or does not say.

    Args:
        version: The version of codex.
    """
    if not version or not updates.is_newer(OLDEST, version):
        return None
    return (
        f"Codex {version} is older than {OLDEST} and cannot have its hooks trusted one by one. The agent starts, can "
        "be attached to and sent messages, but without hooks mngr shows it as WAITING while it works, keeps no "
        "transcript, and begins anew when it is restarted. `codex update` puts that right."
    )
