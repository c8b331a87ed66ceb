"""The fields that ``mngr list`` shows for Codex agents.

All fields and the agent's state come from one command on its host, see :mod:`mngr_codex.plugin.probe`. The agents of an
older version of the program have no status file. On this machine, some of their fields come from other files.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imbue.mngr.hosts.common import get_agent_state_dir_path
from imbue.mngr.primitives import AgentLifecycleState

from mngr_codex.plugin import last_known, paths
from mngr_codex.plugin.agent import CodexAgent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imbue.mngr.interfaces.agent import AgentInterface
    from imbue.mngr.interfaces.data_types import HostDetails
    from imbue.mngr.interfaces.host import OnlineHostInterface
    from imbue.mngr.primitives import DiscoveredAgent

    from mngr_codex.plugin.probe import Probe

    Generators = dict[str, Callable[[Any, Any], Any]]

_FIELDS = (
    "session_id",
    "model",
    "turn_since",
    "since",
    "idle_since",
    "context_tokens",
    "tokens",
    "last_compaction",
    "last_error",
)
"""The members of the status that are fields."""
_RECORDED_STATES = {
    AgentLifecycleState.RUNNING: ("RUNNING",),
    AgentLifecycleState.WAITING: ("WAITING", "UNKNOWN"),
}
"""The states of a running Codex, and their names in the status."""
_MODEL = re.compile(r"^model\s*=.*$", re.MULTILINE)


def session_id(state_dir: Path) -> str | None:
    """Returns the id of the agent's session, as ``codex resume`` takes it; None if it is unknown."""
    from mngr_codex.plugin.status_file import valid_session_id

    return valid_session_id((_read(state_dir / paths.ROOT_SESSION) or "").strip())


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


_WITHOUT_STATUS: dict[str, Callable[[Path], str | None]] = {
    "session_id": session_id,
    "model": model,
    "turn_since": turn_since,
}
"""How to read fields from other files than the status."""


def field_generators() -> Generators:
    """Returns the generators of the fields under ``plugin.codex`` in ``mngr list --format json``.

    The first that mngr calls for an agent reads, and the others use what it has read.
    """
    return {"waiting_reason": _waiting_reason, **{name: _generator(name) for name in _FIELDS}}


def offline_field_generators() -> Generators:
    """Returns the generators for agents whose host cannot be reached: they return the last known values."""
    return {name: _last_known(name) for name in last_known.FIELDS}


def _last_known(name: str) -> Callable[[DiscoveredAgent, HostDetails], Any]:
    return lambda agent, _: last_known.read(agent, name)


def _waiting_reason(agent: AgentInterface[Any], _: OnlineHostInterface) -> str | None:
    return agent.waiting_reason() if isinstance(agent, CodexAgent) else None


def _generator(name: str) -> Callable[[Any, Any], Any]:
    def generate(agent: AgentInterface[Any], host: OnlineHostInterface) -> Any:
        if not isinstance(agent, CodexAgent):
            return None
        read = agent.probe_for(name)
        value = _shown(name, read)
        from_files = _WITHOUT_STATUS.get(name)
        if value is not None or from_files is None or not host.is_local:
            return value
        if name == "turn_since" and (read.status is not None or not _is_alive(read)):
            return None
        return from_files(get_agent_state_dir_path(host.host_dir, agent.id))

    return generate


def _shown(name: str, read: Probe) -> Any:
    """Returns a member of the status, unless it is about a Codex that has ended without recording it."""
    status = read.status
    if status is None:
        return None
    if name == "since" and status.state not in _RECORDED_STATES.get(read.lifecycle.state, ("ENDED",)):
        return None
    if name == "turn_since" and not _is_alive(read):
        return None
    return getattr(status, name)


def _is_alive(read: Probe) -> bool:
    return read.lifecycle.state in _RECORDED_STATES


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
