"""Stops agents that are about to be destroyed, and preserves their transcripts and sessions."""

from __future__ import annotations

import glob
import shlex
from typing import TYPE_CHECKING, Any

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
from imbue.mngr.interfaces.host import OnlineHostInterface
from imbue.mngr.primitives import AgentTypeName
from loguru import logger

from mngr_codex.plugin import paths
from mngr_codex.plugin.agent_type import AGENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import HostInterface
    from imbue.mngr.primitives import AgentId, DiscoveredAgent

_LOCK_SECONDS = 5
"""How long the last pass waits for the pass of another process."""
_PASS_SECONDS = 60.0


def preserved_items() -> list[PreservedItem]:
    """Returns the items to preserve: transcripts, Codex's sessions, and the files that name the agent's session."""
    folders = (paths.SESSIONS, paths.ARCHIVED_SESSIONS)
    files = (paths.ROOT_SESSION, paths.ROLLOUT, paths.ROLLOUTS)
    return [
        *build_transcript_preserved_items(AGENT_TYPE),
        *(PreservedItem(rel_path=folder, kind=FileType.DIRECTORY) for folder in folders),
        *(PreservedItem(rel_path=file, kind=FileType.FILE) for file in files),
    ]


def finish(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    """Stops Codex, and brings the agent's files up to date. Never fails.

    Plugins copy these files before mngr stops the agent. What Codex writes when it stops would be missing.

    Args:
        agent: An agent that is about to be destroyed.
        host: Its host.
    """
    state = agent._get_agent_dir()
    words = [str(state / paths.PROGRAM), "watch", "--once", "--final", "--state-dir", str(state)]
    command = shlex.join(words)
    try:
        _stop(agent, host)
        result = host.execute_idempotent_command(
            f"[ ! -x {shlex.quote(words[0])} ] || MNGR_CONVERT_LOCK_TIMEOUT={_LOCK_SECONDS} {command}",
            timeout_seconds=_PASS_SECONDS,
        )
    except (MngrError, OSError) as error:
        logger.warning("cannot bring the files of agent {} up to date before it is destroyed: {}", agent.name, error)
        return
    if not result.success:
        reason = (result.stderr or result.stdout).strip()
        logger.warning("cannot bring the files of agent {} up to date before it is destroyed: {}", agent.name, reason)


def finish_on_host(host: HostInterface, agent_class: type[Any]) -> None:
    """Stops all agents of a class on a host that is about to be destroyed. Does nothing if it is not running."""
    if not isinstance(host, OnlineHostInterface):
        return
    try:
        agents = host.get_agents()
    except (MngrError, OSError) as error:
        logger.warning("cannot stop the Codex agents of host {} before it is destroyed: {}", host.id, error)
        return
    for agent in agents:
        if isinstance(agent, agent_class):
            agent.finish(host)


def _stop(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    try:
        host.stop_agents([agent.id])
    except (CleanupFailedGroup, MngrError) as error:
        logger.debug("cannot stop the agent before its files are copied: {}", error)


def preserve(agent: BaseAgent[Any], host: OnlineHostInterface, *, is_stopped: bool) -> None:
    """Preserves the transcripts and sessions of an agent that is about to be destroyed.

    Args:
        agent: The agent.
        host: Its host.
        is_stopped: Whether Codex has already been stopped.
    """
    if not agent.agent_config.preserve_on_destroy:
        return
    # Codex is stopped first, because its last lines and the records held back until then belong to the transcript.
    # mngr then makes the last pass.
    if not is_stopped:
        _stop(agent, host)
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
