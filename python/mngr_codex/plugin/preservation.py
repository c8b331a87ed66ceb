"""Preserves the transcripts and sessions of destroyed agents."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING

from imbue.mngr.api.preservation import (
    PreservedItem,
    build_transcript_preserved_items,
    get_preserved_agents_root_dir,
    preserve_agent_state,
    preserve_host_agents_on_destroy,
)
from imbue.mngr.config.agent_config_registry import resolve_agent_type
from imbue.mngr.errors import MngrError
from imbue.mngr.interfaces.cleanup_failures import CleanupFailedGroup
from imbue.mngr.interfaces.data_types import FileType
from imbue.mngr.primitives import AgentTypeName
from loguru import logger

from mngr_codex.plugin import paths
from mngr_codex.plugin.agent_type import AGENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import HostInterface, OnlineHostInterface
    from imbue.mngr.primitives import AgentId, DiscoveredAgent

    from mngr_codex.plugin.config import CodexAgentConfig


def preserved_items() -> list[PreservedItem]:
    """Returns the items to preserve: transcripts, Codex's sessions, and the files that name the agent's session."""
    folders = (paths.SESSIONS, paths.ARCHIVED_SESSIONS)
    files = (paths.ROOT_SESSION, paths.ROLLOUT, paths.ROLLOUTS)
    return [
        *build_transcript_preserved_items(AGENT_TYPE),
        *(PreservedItem(rel_path=folder, kind=FileType.DIRECTORY) for folder in folders),
        *(PreservedItem(rel_path=file, kind=FileType.FILE) for file in files),
    ]


def preserve(agent: BaseAgent[CodexAgentConfig], host: OnlineHostInterface) -> None:
    """Preserves the transcripts and sessions of an agent that is about to be destroyed."""
    if not agent.agent_config.preserve_on_destroy:
        return
    # Codex is stopped first, because its last lines and the records held back until then belong to the transcript.
    try:
        host.stop_agents([agent.id])
    except (CleanupFailedGroup, MngrError) as error:
        logger.debug("cannot stop the agent before preserving its state: {}", error)
    preserve_agent_state(preserved_items(), agent, host)
    _make_private(agent.mngr_ctx, agent.id)


def _make_private(mngr_ctx: MngrContext, agent_id: AgentId) -> None:
    """Makes the preserved files private. mngr creates them readable for other users, while Codex's own are private."""
    preserved = get_preserved_agents_root_dir(mngr_ctx.config.default_host_dir.expanduser())
    for folder in preserved.glob(f"*--{glob.escape(str(agent_id))}*"):
        folder.chmod(0o700)


def preserve_on_host(host: HostInterface, mngr_ctx: MngrContext) -> None:
    """Preserves the transcripts and sessions of all Codex agents on a host that is about to be destroyed.

    Args:
        host: The host. It need not be running if mngr can read its files.
        mngr_ctx: mngr's context.
    """
    types = {AgentTypeName(AGENT_TYPE)}
    types |= {name for name, config in mngr_ctx.config.agent_types.items() if config.parent_type == AGENT_TYPE}
    seen: list[AgentId] = []
    for agent_type in sorted(types):

        def items(agent: DiscoveredAgent, agent_type: AgentTypeName = agent_type) -> Sequence[PreservedItem] | None:
            seen.append(agent.agent_id)
            config = resolve_agent_type(agent_type, mngr_ctx.config).agent_config
            return preserved_items() if getattr(config, "preserve_on_destroy", True) else None

        preserve_host_agents_on_destroy(host, mngr_ctx, agent_type, items)
    for agent_id in seen:
        _make_private(mngr_ctx, agent_id)
