"""Checks that Codex is installed on an agent's host in the configured version, and installs it with consent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imbue.mngr.errors import AgentInstallationError, CommandTimeoutError
from loguru import logger

from mngr_codex.plugin import prompt
from mngr_codex.plugin.command_setting import program_of
from mngr_codex.plugin.host import facts as host_facts
from mngr_codex.plugin.host.connection import LostCommandError, run_with_input
from mngr_codex.plugin.host.installer import NPM_PACKAGE, PYPI_PACKAGE, install_command, reason_of

if TYPE_CHECKING:
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.host.facts import HostFacts

_INSTALL_SECONDS = 300.0


def ensure_installed(
    host: OnlineHostInterface, mngr_ctx: MngrContext, facts: HostFacts, *, command: str, version: str | None = None
) -> HostFacts:
    """Checks that Codex is installed on a host in the configured version, and installs it if it is missing.

    It is installed like other agents' programs: on this machine with ``--yes`` or after a question, on other hosts if
    mngr's settings allow it. A host that has no program for that gets it from here.

    Args:
        host: The agent's host.
        mngr_ctx: mngr's context.
        facts: The facts about the host.
        command: The ``command`` setting, as a shell would run it.
        version: The version that the settings require, if any.

    Returns:
        The facts about the host with Codex.

    Raises:
        AgentInstallationError: Codex is missing and must not be installed, or another version is installed.
        HostConnectionError: The connection to the host cannot be restored.
    """
    from imbue.mngr.agents.installation import is_pinned_version_present

    program = program_of(command)
    if not facts.is_codex_found and program == "codex":
        _check_consent(host, mngr_ctx, version)
        _install(host, facts, version)
        facts = host_facts.read(host, command)
        if not facts.is_codex_found:
            raise AgentInstallationError(
                "cannot find Codex: it was installed, but neither on PATH nor in ~/.local/bin or npm's global prefix\n"
                "hint: set `command` of the agent type to its path"
            )
    if not facts.is_codex_found:
        raise AgentInstallationError(f"cannot find {program} on the host\nhint: check `command` of the agent type")
    if version and facts.version and not is_pinned_version_present(facts.version, version):
        raise AgentInstallationError(
            f"cannot use Codex {facts.version}: the agent type requires version {version}\n"
            f"hint: run `npm install -g {NPM_PACKAGE}@{version}`, or change `version` of the agent type"
        )
    return facts


def _check_consent(host: OnlineHostInterface, mngr_ctx: MngrContext, version: str | None) -> None:
    """Asks whether Codex may be installed, by the rules of mngr's own ``ensure_cli_installed``.

    Raises:
        AgentInstallationError: It must not.
    """
    if not host.is_local:
        if not mngr_ctx.config.is_remote_agent_installation_allowed:
            raise AgentInstallationError(
                "cannot create the agent: Codex is not installed on its host, and mngr may not install it\n"
                "hint: set is_remote_agent_installation_allowed = true in mngr's settings, or install Codex there"
            )
    elif not mngr_ctx.is_auto_approve and not (
        mngr_ctx.is_interactive and prompt.confirm("Codex is not installed. Install it now?")
    ):
        raise AgentInstallationError(
            "cannot create the agent: Codex is not installed\n"
            f"hint: run `npm install -g {NPM_PACKAGE}@{version or 'latest'}`, or use --yes to let mngr install it"
        )


def _install(host: OnlineHostInterface, facts: HostFacts, version: str | None) -> None:
    """Installs Codex.

    Raises:
        AgentInstallationError: That failed. The message has the last line of the installer's output.
    """
    if facts.installer is None and not host.is_local:
        from mngr_codex.plugin.host import codex_package

        codex_package.send(host, facts, version)
        return
    logger.warning(
        "Codex is not installed on the host. It will be installed with {}.",
        f"npm ({NPM_PACKAGE}@{version or 'latest'}; into ~/.local if its global folder is not writable)"
        if facts.installer == "npm"
        else f"{facts.installer or 'npm, uv or pip'} ({PYPI_PACKAGE} from PyPI) into ~/.local",
    )
    try:
        # Two installers at once can damage the installation.
        ran = run_with_input(host, install_command(version), b"", timeout_seconds=_INSTALL_SECONDS, is_repeatable=False)
    except CommandTimeoutError:
        reason = f"{facts.installer} has not ended after {_INSTALL_SECONDS:.0f} s"
    except LostCommandError as error:
        raise AgentInstallationError(
            f"{error}; Codex may still be being installed\nhint: create the agent again in a few minutes"
        ) from error
    else:
        if ran.status == 0:
            return
        reason = reason_of((ran.stderr + b"\n" + ran.stdout).decode(errors="replace"))
    raise AgentInstallationError(
        f"cannot install Codex on the host: {reason}\nhint: install Codex there yourself, on PATH or in ~/.local/bin"
    )
