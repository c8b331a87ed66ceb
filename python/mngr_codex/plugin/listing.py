"""The fields that ``mngr list`` shows for Codex agents, from small reads in their state directories.

The fields are generated for every agent of a listing, so no process is started and only a few lines are parsed. The
exception is the waiting reason: it needs the state, which mngr then does not read again, and for an agent that waits
one command. On a remote host each read is a network round trip, so there it is the only field.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imbue.mngr.hosts.common import get_agent_state_dir_path

from mngr_codex.plugin import paths
from mngr_codex.plugin.agent import CodexAgent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imbue.mngr.interfaces.agent import AgentInterface
    from imbue.mngr.interfaces.data_types import HostDetails
    from imbue.mngr.interfaces.host import OnlineHostInterface
    from imbue.mngr.primitives import DiscoveredAgent

    Generators = dict[str, Callable[[Any, Any], Any]]

_ID = re.compile(r"[A-Za-z0-9-]+")
_MODEL = re.compile(r"^model\s*=.*$", re.MULTILINE)


def session_id(state_dir: Path) -> str | None:
    """Returns the id of the agent's session, as ``codex resume`` takes it; None if it is unknown."""
    written = (_read(state_dir / paths.ROOT_SESSION) or "").strip()
    return written if _ID.fullmatch(written) else None


def model(state_dir: Path) -> str | None:
    """Returns the model in the agent's ``config.toml``, to which Codex also writes the user's choice."""
    settings = _read(state_dir / paths.CODEX_HOME / "config.toml") or ""
    # Top-level settings precede all tables.
    found = _MODEL.search(f"\n{settings}".partition("\n[")[0])
    try:
        written = tomllib.loads(found[0])["model"] if found else None
    except tomllib.TOMLDecodeError:
        return None
    return written if isinstance(written, str) else None


def turn_since(state_dir: Path) -> str | None:
    """Returns when the running turn of the root began, as ISO 8601; None if no turn is running."""
    turn = _read(state_dir / paths.ROOT_ACTIVE)
    if turn is None:
        return None
    try:
        # A UUID of version 7 starts with its creation time in milliseconds.
        milliseconds = int(json.loads(turn)["turn_id"].replace("-", "")[:12], 16)
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def field_generators() -> Generators:
    """Returns the generators of the fields under ``plugin.codex`` in ``mngr list --format json``."""
    return {
        "waiting_reason": lambda agent, _: agent.waiting_reason() if isinstance(agent, CodexAgent) else None,
        "session_id": _for_codex_agents(_if_local(session_id)),
        "model": _for_codex_agents(_if_local(model)),
        "turn_since": _for_codex_agents(_if_local(turn_since)),
    }


def offline_field_generators() -> Generators:
    """Returns the generators for agents whose host cannot be reached: they return the last known values."""

    def last_known(field: str) -> Callable[[DiscoveredAgent, HostDetails], Any]:
        return lambda agent, _: agent.certified_data.get("plugin", {}).get("codex", {}).get(field)

    return {field: last_known(field) for field in ("session_id", "model")}


def _for_codex_agents(read: Callable[[OnlineHostInterface, Path], str | None]) -> Callable[[Any, Any], Any]:
    def generate(agent: AgentInterface[Any], host: OnlineHostInterface) -> str | None:
        if not isinstance(agent, CodexAgent):
            return None
        return read(host, get_agent_state_dir_path(host.host_dir, agent.id))

    return generate


def _if_local(read: Callable[[Path], str | None]) -> Callable[[OnlineHostInterface, Path], str | None]:
    return lambda host, state_dir: read(state_dir) if host.is_local else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
