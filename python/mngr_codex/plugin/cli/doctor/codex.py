"""Checks Codex and its login for each agent type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.agents.installation import is_binary_present, is_pinned_version_present
from imbue.mngr.errors import ConfigParseError

from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.cli.doctor.finding import Finding
from mngr_codex.plugin.command_setting import program_of
from mngr_codex.plugin.home.config_toml import merge, read_config
from mngr_codex.plugin.home.login import needs_login
from mngr_codex.plugin.host import updates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.config import CodexAgentConfig


def check(host: OnlineHostInterface, types: Mapping[str, CodexAgentConfig]) -> Iterator[Finding]:
    """Checks that the Codex of each agent type is installed in the version that its settings require.

    Args:
        host: This machine.
        types: The settings of each agent type.
    """
    versions: dict[str, str | None] = {}
    for agent_type, config in types.items():
        command = str(config.command)
        is_new = command not in versions
        if is_new:
            versions[command] = updates.installed_version(host, command)
        version = versions[command]
        # The names in messages are those of the settings, so the agent type itself needs none.
        about = "" if agent_type == AGENT_TYPE else f"[agent_types.{agent_type}] "
        if version is None:
            if is_new:
                yield _without_version(host, command, agent_type)
        elif config.version and not is_pinned_version_present(version, config.version):
            yield Finding(
                "codex",
                f"{about}{version} is installed, but the settings require {config.version}",
                f"install that version, or change `version` under [agent_types.{agent_type}] of mngr's settings",
            )
        elif is_new or config.version:
            yield Finding("codex", f"{about}{version}")


def _without_version(host: OnlineHostInterface, command: str, agent_type: str) -> Finding:
    """Returns the problem with an agent type whose Codex reports no version."""
    program = program_of(command)
    change = f"change `command` under [agent_types.{agent_type}] of mngr's settings"
    if not program:
        return Finding("codex", f"`{command}` is not a command", change)
    if is_binary_present(host, program):
        return Finding("codex", f"`{command} --version` printed no version", f"check its output, or {change}")
    is_default = program == "codex"
    return Finding("codex", f"{program} is not on PATH", "run `npm install -g @openai/codex`" if is_default else change)


def login(host: OnlineHostInterface, types: Mapping[str, CodexAgentConfig]) -> Iterator[Finding]:
    """Checks that there is a login if the model provider of an agent type needs one."""
    found = dict.fromkeys(_login(host, config) for config in types.values())
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


def _login(host: OnlineHostInterface, config: CodexAgentConfig) -> Finding:
    own = Path.home() / ".codex"
    try:
        is_needed = new_agents_need_login(host, config)
    except ConfigParseError as error:
        return Finding("login", "cannot determine whether one is needed", str(error).replace("\nhint: ", "; "))
    if (own / "auth.json").is_file():
        return Finding("login", f"{own / 'auth.json'} exists")
    if not is_needed:
        return Finding("login", "not required by the model provider")
    return Finding("login", f"{own / 'auth.json'} does not exist", "run `codex login`")
