"""Checks mngr's settings of the agent type ``codex`` and of the types derived from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imbue.mngr.config.agent_config_registry import resolve_agent_type
from imbue.mngr.errors import MngrError, UserInputError
from imbue.mngr.primitives import AgentTypeName

from mngr_codex.plugin import conflicts
from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.cli.doctor.finding import Finding
from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.home.trusted_folders import TrustedFolders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imbue.mngr.config.data_types import MngrConfig


def by_type(config: MngrConfig) -> tuple[dict[str, CodexAgentConfig], list[Finding]]:
    """Returns the valid settings of each agent type that runs Codex, and the problems with the others.

    Args:
        config: mngr's settings.
    """
    types = {AGENT_TYPE: CodexAgentConfig()}
    invalid = []
    for agent_type in dict.fromkeys([AGENT_TYPE, *sorted(map(str, config.agent_types))]):
        try:
            settings = resolve_agent_type(AgentTypeName(agent_type), config).agent_config
            if isinstance(settings, CodexAgentConfig):
                types[agent_type] = settings.validated(agent_type)
        except MngrError as error:
            remedy = (
                "fix it with `mngr config edit --scope user`, or with `--scope project` or `--scope local` if it is "
                "set there; until then no agent of this type is created"
            )
            invalid.append(Finding("settings", str(error).partition("\n")[0], remedy))
    return types, invalid


def unused(config: MngrConfig) -> Iterator[Finding]:
    """Finds settings that are ignored.

    Args:
        config: mngr's settings.
    """
    warning = conflicts.settings_warning(config)
    if warning is not None:
        said, _, hint = warning.partition("\n")
        yield Finding("settings", said, hint, is_warning=True)


def trusted_folders(profile_dir: Path) -> Finding:
    """Checks that the folders which the user has trusted can be read.

    Args:
        profile_dir: mngr's profile directory.
    """
    try:
        folders = list(TrustedFolders(profile_dir))
    except UserInputError as error:
        said, _, hint = str(error).partition("\n")
        return Finding("trusted folders", said, hint)
    return Finding("trusted folders", str(len(folders)))
