"""What mngr's listing tells of a codex agent, by small reads in its state dir."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imbue.mngr.hosts.common import classify_waiting_reason, get_agent_state_dir_path

from mngr_codex.plugin import paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imbue.mngr.interfaces.agent import AgentInterface
    from imbue.mngr.interfaces.host import OnlineHostInterface


def is_blocked(host: OnlineHostInterface, state_dir: Path) -> bool:
    """Whether codex waits for an approval, which only the user can give."""
    return host.path_exists(state_dir / paths.PERMISSIONS_WAITING)


def waiting_reason(host: OnlineHostInterface, state_dir: Path) -> str | None:
    """Why the agent waits: ``PERMISSIONS``, ``END_OF_TURN``, or None if it is at work."""
    is_active = host.path_exists(state_dir / paths.ACTIVE)
    reason = classify_waiting_reason(is_active, is_active and is_blocked(host, state_dir))
    return None if reason is None else reason.value


def session_id(host: OnlineHostInterface, state_dir: Path) -> str | None:
    """The id of the session that the agent's codex is in, which ``codex resume`` takes."""
    try:
        return host.read_text_file(state_dir / paths.ROOT_SESSION).strip() or None
    except FileNotFoundError:
        return None


def field_generators() -> dict[str, Callable[[Any, Any], Any]]:
    """The fields that stand under ``plugin.codex`` in ``mngr list --format json``."""
    return {"waiting_reason": _waiting_reason, "session_id": _session_id}


def _waiting_reason(agent: AgentInterface[Any], host: OnlineHostInterface) -> str | None:
    return waiting_reason(host, get_agent_state_dir_path(host.host_dir, agent.id)) if _is_codex(agent) else None


def _session_id(agent: AgentInterface[Any], host: OnlineHostInterface) -> str | None:
    return session_id(host, get_agent_state_dir_path(host.host_dir, agent.id)) if _is_codex(agent) else None


def _is_codex(agent: AgentInterface[Any]) -> bool:
    from mngr_codex.plugin.agent import CodexAgent

    return isinstance(agent, CodexAgent)
