"""Checks that Codex is installed on an agent's host in the configured version, and installs it with consent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imbue.mngr.agents.installation import is_pinned_version_present
from imbue.mngr.errors import AgentInstallationError, CommandTimeoutError
from loguru import logger

from mngr_codex.plugin import prompt
from mngr_codex.plugin.command_setting import program_of
from mngr_codex.plugin.host import codex_package
from mngr_codex.plugin.host import facts as host_facts
from mngr_codex.plugin.host.connection import LostCommandError, run_with_input
from mngr_codex.plugin.host.facts import Installation
from mngr_codex.plugin.host.installer import NPM_PACKAGE, PYPI_PACKAGE, install_command, reasons_of
from mngr_codex.plugin.host.place import HostPlace

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
    mngr's settings allow it. A host that has no program which can do that gets it from here. A Codex that was sent
    from here is replaced in the same way if the settings require another version.

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
    program = program_of(command)
    place = HostPlace.of(host)
    if not facts.is_codex_found and program == "codex":
        _check_consent(host, mngr_ctx, f"Codex is not installed{place.there}", version)
        _install(host, facts, version)
        facts = host_facts.read(host, command)
        if not facts.is_codex_found:
            raise AgentInstallationError(
                f"cannot find Codex{place.there}: it was installed, but neither on PATH nor in ~/.local/bin or npm's "
                "global prefix\nhint: set `command` of the agent type to its path"
            )
    if not facts.is_codex_found:
        raise AgentInstallationError(f"cannot find {program}{place.there}\nhint: check `command` of the agent type")
    if is_other_version(facts, version) and facts.installation is Installation.SENT and not host.is_local:
        problem = f"Codex {facts.version} was sent to {place}, and the agent type requires {version}"
        _check_consent(host, mngr_ctx, problem, version)
        codex_package.send(host, facts, version)
        facts = host_facts.read(host, command)
    if is_other_version(facts, version):
        raise AgentInstallationError(
            f"cannot use Codex {facts.version}{place.there}: the agent type requires version {version}\n"
            f"hint: {version_hint(place, facts, command, str(version))}, or change `version` of the agent type"
        )
    return facts


def is_other_version(facts: HostFacts, version: str | None) -> bool:
    """Returns whether a host's Codex has another version than the one that the settings require, if any."""
    return bool(version and facts.version and not is_pinned_version_present(facts.version, version))


def version_hint(place: HostPlace, facts: HostFacts, command: str, version: str) -> str:
    """Returns how to get a version of Codex on a host, as the beginning of a hint.

    Args:
        place: The host.
        facts: The facts about it.
        command: The ``command`` setting, as a shell would run it.
        version: The version.
    """
    program = program_of(command)
    if program != "codex":
        return f"install Codex {version} as {program}{place.there}"
    if facts.installation is not None:
        return f"{place.run('rm ~/.local/bin/codex')} and create the agent again, so that mngr installs {version}"
    return place.run(f"npm install -g {NPM_PACKAGE}@{version}")


def _check_consent(host: OnlineHostInterface, mngr_ctx: MngrContext, problem: str, version: str | None) -> None:
    """Asks whether Codex may be installed, by the rules of mngr's own ``ensure_cli_installed``.

    Raises:
        AgentInstallationError: It must not.
    """
    if not host.is_local:
        if not mngr_ctx.config.is_remote_agent_installation_allowed:
            raise AgentInstallationError(
                f"cannot create the agent: {problem}, and mngr may not install it\n"
                "hint: set is_remote_agent_installation_allowed = true in mngr's settings, or install Codex "
                f"{version or ''}{' ' if version else ''}there"
            )
    elif not mngr_ctx.is_auto_approve and not (
        mngr_ctx.is_interactive and prompt.confirm("Codex is not installed. Install it now?")
    ):
        raise AgentInstallationError(
            "cannot create the agent: Codex is not installed\n"
            f"hint: run `npm install -g {NPM_PACKAGE}@{version or 'latest'}`, or use --yes to let mngr install it"
        )


def _install(host: OnlineHostInterface, facts: HostFacts, version: str | None) -> None:
    """Installs Codex with a program of the host, or sends it to another host from here if none can install it.

    Raises:
        AgentInstallationError: That failed. The message has the reason of each program.
    """
    there = HostPlace.of(host).there
    if facts.installer is None and not host.is_local:
        logger.warning("Codex is not installed{}, which has none of npm, uv and pip.", there)
        codex_package.send(host, facts, version)
        return
    logger.warning(
        "Codex is not installed{}. It will be installed with {}.",
        there,
        f"npm ({NPM_PACKAGE}@{version or 'latest'}; into ~/.local if its global folder is not writable)"
        if facts.installer == "npm"
        else f"{facts.installer or 'npm, uv or pip'} ({PYPI_PACKAGE} from PyPI) into ~/.local",
    )
    yourself = f"install it yourself{there}, on PATH or in ~/.local/bin"
    try:
        # Two installers at once can damage the installation.
        ran = run_with_input(host, install_command(version), b"", timeout_seconds=_INSTALL_SECONDS, is_repeatable=False)
    except CommandTimeoutError:
        # The command may still run, so nothing else is tried.
        reason = f"this has not ended after {_INSTALL_SECONDS:.0f} s"
        raise AgentInstallationError(f"cannot install Codex{there}: {reason}\nhint: {yourself}") from None
    except LostCommandError as error:
        raise AgentInstallationError(
            f"{error}; Codex may still be being installed\nhint: create the agent again in a few minutes"
        ) from error
    if ran.status == 0:
        return
    problem = f"cannot install Codex{there}: {reasons_of(ran.stderr.decode(errors='replace'))}"
    if host.is_local:
        raise AgentInstallationError(f"{problem}\nhint: {yourself}")
    logger.warning("{}", problem)
    try:
        codex_package.send(host, facts, version)
    except AgentInstallationError as error:
        raise AgentInstallationError(f"{problem}\n{error}") from error
