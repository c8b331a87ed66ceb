"""Which hosts have files of destroyed agents that are not on this machine yet, noted in mngr's profile.

A host can become unreadable before they are fetched, and nothing else then shows that they would be lost with it. Each
agent has a file of its own, so simultaneous mngr commands need no lock.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from imbue.mngr.errors import MngrError
from imbue.mngr.utils.file_utils import atomic_write
from loguru import logger

from mngr_codex.plugin.agent_type import AGENT_TYPE, PLUGIN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imbue.mngr.api.preservation import PreservedAgentIdentity
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.primitives import HostId


class DestroyedAgent(NamedTuple):
    """An agent whose files are only on its host."""

    name: str
    type: str


def _folder(mngr_ctx: MngrContext, host_id: HostId) -> Path:
    return mngr_ctx.profile_dir / PLUGIN / "unfetched" / str(host_id)


def add(mngr_ctx: MngrContext, host_id: HostId, identity: PreservedAgentIdentity) -> None:
    """Notes that the files of an agent are only on its host.

    Raises:
        MngrError: The note cannot be written.
    """
    folder = _folder(mngr_ctx, host_id)
    agent = DestroyedAgent(str(identity.agent_name), str(identity.agent_type))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / f"{identity.agent_id}.json", json.dumps(agent._asdict()) + "\n")
    except OSError as error:
        raise MngrError(f"cannot note in {folder} which files are only on the host: {error.strerror}") from error


def remove(mngr_ctx: MngrContext, host_id: HostId, agent_ids: Iterable[str]) -> None:
    """Removes the notes about agents, as far as there are any. One that cannot be removed is a warning."""
    for agent_id in agent_ids:
        note = _folder(mngr_ctx, host_id) / f"{agent_id}.json"
        try:
            note.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("cannot remove {}: {}", note, error.strerror)


def clear(mngr_ctx: MngrContext, host_id: HostId) -> None:
    """Removes the notes about a host that does not exist any more."""
    remove(mngr_ctx, host_id, agents(mngr_ctx, host_id))
    with suppress(OSError):
        _folder(mngr_ctx, host_id).rmdir()


def agents(mngr_ctx: MngrContext, host_id: HostId) -> dict[str, DestroyedAgent]:
    """Returns the noted agents of a host by their ids. A note that cannot be read counts.

    Raises:
        MngrError: The notes cannot be listed.
    """
    folder = _folder(mngr_ctx, host_id)
    try:
        return {path.stem: _read(path) for path in sorted(folder.iterdir()) if path.suffix == ".json"}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MngrError(f"cannot list {folder}: {error.strerror}") from error


def _read(path: Path) -> DestroyedAgent:
    try:
        note = json.loads(path.read_bytes())
        return DestroyedAgent(str(note["name"]), str(note["type"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return DestroyedAgent(path.stem, AGENT_TYPE)
