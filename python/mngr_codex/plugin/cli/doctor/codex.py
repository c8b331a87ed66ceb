"""Checks Codex and its login for each agent type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.errors import ConfigParseError

from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.cli.doctor.finding import Finding
from mngr_codex.plugin.command_setting import program_of
from mngr_codex.plugin.home.config_toml import merge, read_config
from mngr_codex.plugin.home.login import LoginPlace, needs_login
from mngr_codex.plugin.host.facts import HostFacts
from mngr_codex.plugin.host.install import is_other_version, version_hint
from mngr_codex.plugin.host.installer import NPM_PACKAGE
from mngr_codex.plugin.host.place import HostPlace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.config import CodexAgentConfig


NO_LOGIN_NEEDED = "not required by the model provider"

ReadFacts = Callable[[str], HostFacts | None]
"""Returns the facts about this machine for a ``command`` setting; None if they cannot be found out."""


def check(types: Mapping[str, CodexAgentConfig], facts_for: ReadFacts) -> Iterator[Finding]:
    """Checks that the Codex of each agent type is installed on this machine in the version that its settings require.

    Args:
        types: The settings of each agent type.
        facts_for: Returns the facts about this machine for a command.
    """
    seen: set[str] = set()
    for agent_type, config in types.items():
        command = str(config.command)
        is_new = command not in seen
        seen.add(command)
        # The names in messages are those of the settings, so the agent type itself needs none.
        about = "" if agent_type == AGENT_TYPE else f"[agent_types.{agent_type}] "
        facts = facts_for(command)
        said, remedy = judge(facts, config, agent_type, HostPlace())
        # Types with the same command have the same Codex.
        if is_new or (config.version and facts and facts.version):
            yield Finding("codex", f"{about}{said}", remedy)


def judge(
    facts: HostFacts | None, config: CodexAgentConfig, agent_type: str, place: HostPlace
) -> tuple[str, str | None]:
    """Returns what the doctor reports about the Codex of an agent type on a host, and the remedy if something is wrong.

    Args:
        facts: The facts about the host for the type's command; None if they cannot be found out.
        config: The settings of the agent type.
        agent_type: The agent type.
        place: The host.
    """
    command = str(config.command)
    program = program_of(command)
    change = f"change `command` under [agent_types.{agent_type}] of mngr's settings"
    if not program:
        return f"`{command}` is not a command", change
    if facts is None:
        return f"`{command} --version` does not end{place.there}", f"find out why, or {change}"
    if not facts.is_codex_found:
        if program != "codex":
            return f"{program} is not on PATH{place.there}", change
        missing = f"codex is neither on PATH nor in ~/.local/bin or npm's folder{place.there}"
        return missing, place.run(f"npm install -g {NPM_PACKAGE}")
    if facts.version is None:
        return f"`{facts.command} --version` printed no version{place.there}", f"check its output, or {change}"
    if is_other_version(facts, config.version):
        hint = version_hint(place, facts, command, str(config.version))
        return (
            f"{facts.version} is installed{place.there}, but the settings require {config.version}",
            f"{hint}, or change `version` under [agent_types.{agent_type}] of mngr's settings",
        )
    return f"{facts.version}{place.there}", None


def login(host: OnlineHostInterface, types: Mapping[str, CodexAgentConfig], facts_for: ReadFacts) -> Iterator[Finding]:
    """Checks that there is a login if the model provider of an agent type needs one.

    Args:
        host: This machine.
        types: The settings of each agent type.
        facts_for: Returns the facts about this machine for a command.
    """
    found = dict.fromkeys(_login(host, config, facts_for(str(config.command))) for config in types.values())
    # The types that need no login do not matter if another one lacks it.
    yield from [finding for finding in found if finding.remedy is not None] or found


def new_agents_need_login(host: OnlineHostInterface, config: CodexAgentConfig) -> bool:
    """Returns whether the model provider of agents that are created or updated now requires a login.

    Args:
        host: This machine.
        config: The settings of their type.

    Raises:
        ConfigParseError: The user's ``config.toml`` cannot be read.
    """
    user = read_config(host, str(Path.home() / ".codex" / "config.toml")) if config.use_user_config else {}
    # The settings of an existing agent may be invalid by now.
    overrides = config.config_overrides if isinstance(config.config_overrides, dict) else {}
    return needs_login(merge(user, overrides))


def _login(host: OnlineHostInterface, config: CodexAgentConfig, facts: HostFacts | None) -> Finding:
    file = Path.home() / ".codex" / "auth.json"
    try:
        is_needed = new_agents_need_login(host, config)
    except ConfigParseError as error:
        return Finding("login", "cannot determine whether one is needed", str(error).replace("\nhint: ", "; "))
    if facts is not None and facts.is_logged_in:
        return Finding("login", f"{file} exists")
    if facts is not None and facts.has_token:
        return Finding("login", "a variable of the environment has it")
    if not is_needed:
        return Finding("login", NO_LOGIN_NEEDED)
    return Finding(
        "login",
        f"{file} does not exist or is empty",
        LoginPlace(command=facts.command if facts else str(config.command)).action,
    )
