"""Checks that Codex is installed on an agent's host in the configured version, and installs it with consent."""

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
"""The `codex` binary as a wheel. The wheel installs no command, so a symlink is created."""


def install_command(version: str | None = None) -> str:
    """Returns the command that installs Codex for a host's user: with npm, otherwise from PyPI into ``~/.local``.

    Needs only the user's permissions: if npm's global folder is not writable, it installs into ``~/.local``.

    Args:
        version: The version to install; None for the newest.
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
        echo 'cannot install Codex: none of npm, uv and pip was found' >&2
        echo 'hint: install one of them, or install Codex yourself' >&2
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
    """Checks that Codex is installed on a host in the configured version, and installs it if it is missing.

    It is installed like other agents' programs: on this machine with ``--yes`` or after a question, on other hosts if
    mngr's settings allow it.

    Args:
        host: The agent's host.
        mngr_ctx: mngr's context.
        command: The ``command`` setting, as a shell would run it.
        version: The version that the settings require, if any.

    Returns:
        The installed version; None if Codex does not report one.

    Raises:
        AgentInstallationError: Codex is missing and must not be installed, or another version is installed.
    """
    from imbue.mngr.agents.installation import ensure_cli_installed, is_binary_present, is_pinned_version_present
    from imbue.mngr.errors import AgentInstallationError

    program = program_of(command)
    if program == "codex" and not is_binary_present(host, program):
        # mngr's own error would contain the complete installation script.
        if host.is_local and not (mngr_ctx.is_auto_approve or mngr_ctx.is_interactive):
            raise AgentInstallationError(
                "cannot create the agent: Codex is not installed\n"
                f"hint: run `npm install -g {NPM_PACKAGE}@{version or 'latest'}`, or use --yes to let mngr install it"
            )
        logger.warning(
            "Codex is not installed on the host. It will be installed with npm ({}@{}; globally if permitted), or "
            "from PyPI ({}) into ~/.local if there is no npm.",
            NPM_PACKAGE,
            version or "latest",
            PYPI_PACKAGE,
        )
        ensure_cli_installed(host, mngr_ctx, program, install_command(version))
    if not is_binary_present(host, program):
        raise AgentInstallationError(
            "cannot find Codex: it was installed into a directory that is not on PATH (~/.local/bin, or npm's own, see "
            "`npm prefix -g`)\nhint: add that directory to PATH, or set `command` of the agent type to the full path"
            if program == "codex"
            else f"cannot find {program} on the host\nhint: check `command` of the agent type"
        )
    installed = updates.installed_version(host, command)
    if version and installed and not is_pinned_version_present(installed, version):
        raise AgentInstallationError(
            f"cannot use Codex {installed}: the agent type requires version {version}\n"
            f"hint: run `npm install -g {NPM_PACKAGE}@{version}`, or change `version` of the agent type"
        )
    return installed
