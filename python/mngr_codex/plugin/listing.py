"""What mngr's listing tells of a codex agent, by small reads in its state dir.

These run for each agent of a listing, so they start no process and parse no more than a few lines. On a host that is
not this machine each read is a call over the network: there only what the agent waits for is looked up.
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
from mngr_codex.plugin.markers import waiting_reason

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
    """Give the id of the session that the agent's codex is in, which ``codex resume`` takes."""
    written = (_read(state_dir / paths.ROOT_SESSION) or "").strip()
    return written if _ID.fullmatch(written) else None


def model(state_dir: Path) -> str | None:
    """Give the model that the agent's ``config.toml`` names, where codex puts down what the user chooses."""
    settings = _read(state_dir / paths.CODEX_HOME / "config.toml") or ""
    # What belongs to no table stands in front of all tables.
    found = _MODEL.search(f"\n{settings}".partition("\n[")[0])
    try:
        written = tomllib.loads(found[0])["model"] if found else None
    except tomllib.TOMLDecodeError:
        return None
    return written if isinstance(written, str) else None


def turn_since(state_dir: Path) -> str | None:
    """Give when the root's turn began that goes on, as ISO 8601, or None if there is none."""
    turn = _read(state_dir / paths.ROOT_ACTIVE)
    if turn is None:
        return None
    try:
        # A UUID of version 7 begins with its time in milliseconds.
        milliseconds = int(json.loads(turn)["turn_id"].replace("-", "")[:12], 16)
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def field_generators() -> Generators:
    """Give what makes the fields under ``plugin.codex`` in ``mngr list --format json``."""
    return {
        "waiting_reason": _of_codex(waiting_reason),
        "session_id": _of_codex(_here(session_id)),
        "model": _of_codex(_here(model)),
        "turn_since": _of_codex(_here(turn_since)),
    }


def offline_field_generators() -> Generators:
    """Give what makes these fields for an agent whose host cannot be reached: what was known of it last."""

    def known(field: str) -> Callable[[DiscoveredAgent, HostDetails], Any]:
        return lambda agent, _: agent.certified_data.get("plugin", {}).get("codex", {}).get(field)

    return {field: known(field) for field in ("session_id", "model")}


def _of_codex(look: Callable[[OnlineHostInterface, Path], str | None]) -> Callable[[Any, Any], Any]:
    def generate(agent: AgentInterface[Any], host: OnlineHostInterface) -> str | None:
        if not isinstance(agent, CodexAgent):
            return None
        return look(host, get_agent_state_dir_path(host.host_dir, agent.id))

    return generate


def _here(look: Callable[[Path], str | None]) -> Callable[[OnlineHostInterface, Path], str | None]:
    return lambda host, state_dir: look(state_dir) if host.is_local else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
