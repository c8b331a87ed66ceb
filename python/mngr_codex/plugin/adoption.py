"""A new agent goes on with a session that is there: another agent's, a preserved one's, or one of the user's own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.api.preservation import (
    adopt_sessions,
    dedupe_by_resolved_path,
    iter_agent_session_paths,
    require_unique_match,
    run_adopt_session_preflight,
    transfer_cloned_agent_session_store,
)
from imbue.mngr.errors import UserInputError
from loguru import logger

from mngr_codex.plugin import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.agent import HasSessionAdoptionMixin
    from imbue.mngr.interfaces.host import CreateAgentOptions, HostLocation, OnlineHostInterface
    from imbue.mngr.plugins.hookspecs import OnBeforeCreateArgs

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Session:
    """A session of codex's, as its files lie on this machine."""

    id: str
    folder: Path
    """The folder of all sessions that it lies in."""
    files: tuple[Path, ...]
    """Its rollouts, the current one last, behind those that it was forked from."""


def check(args: OnBeforeCreateArgs, mngr_ctx: MngrContext, agent_class: type[HasSessionAdoptionMixin]) -> None:
    """Checks that the sessions to adopt exist, before anything of the agent is created.

    Args:
        args: The options the agent is created with.
        mngr_ctx: mngr's context.
        agent_class: The class of the agents that can adopt these sessions.

    Raises:
        UserInputError: There is no such session, or more than one.
    """
    run_adopt_session_preflight(
        args.agent_options.agent_type,
        args.agent_options.adopt_session,
        mngr_ctx,
        agent_class,
        lambda session: find(session, mngr_ctx),
    )


def adopt(state_dir: Path, host: OnlineHostInterface, options: CreateAgentOptions, mngr_ctx: MngrContext) -> None:
    """Copy the sessions that the options name to the agent, and let codex resume the last of them."""
    rollouts: dict[str, Path] = {}

    def copy_explicit(named: str) -> str:
        session = find(named, mngr_ctx)
        for file in session.files:
            target = state_dir / paths.SESSIONS / file.relative_to(session.folder)
            host.write_file(target, file.read_bytes(), mode="0600")
            rollouts[session.id] = _plain(target)
        return session.id

    def copy_clone(source: HostLocation) -> str | None:
        if not transfer_cloned_agent_session_store(host, state_dir, source, Path(paths.SESSIONS)):
            logger.warning("The agent that is cloned has no session yet, so the clone starts with a new one")
            return None
        try:
            session = source.host.read_text_file(source.path / paths.ROOT_SESSION).strip()
            current = Path(source.host.read_text_file(source.path / paths.ROLLOUT).strip())
            rollouts[session] = state_dir / paths.SESSIONS / current.relative_to(source.path / paths.SESSIONS)
        except (FileNotFoundError, ValueError):
            logger.warning("The session of the agent that is cloned is not known, so the clone starts with a new one")
            return None
        return session

    def resume(session: str) -> None:
        # The watcher reads the rollout by these, so the transcript has the session from its beginning.
        path = f"{rollouts[session]}\n"
        for name, text in ((paths.ROOT_SESSION, session), (paths.ROLLOUT, path), (paths.ROLLOUTS, path)):
            host.write_file(state_dir / name, text.encode())

    adopt_sessions(
        options.adopt_session,
        options.source_agent_state_location,
        copy_explicit=copy_explicit,
        copy_clone=copy_clone,
        resume=resume,
    )


def find(named: str, mngr_ctx: MngrContext) -> Session:
    """Find a session on this machine.

    Args:
        named: Its id, or the path of one of its rollouts.
        mngr_ctx: mngr's context.

    Raises:
        UserInputError: There is no such session, or more than one.
    """
    path = _file(named)
    if path is not None:
        ids = _ID.findall(path.name)
        if not ids:
            raise UserInputError(f"{named} is no rollout of codex's: its name has no session id in it")
        folder = next(
            (parent for parent in path.parents if parent.name in ("sessions", "archived_sessions")), path.parent
        )
        _check_begun(path)
        return Session(ids[0], folder, (*_bases(path, folder), path))
    if not _ID.fullmatch(named):
        raise UserInputError(
            f"{named!r} is no session: give its id, as in `codex resume`, or the path of its rollout-….jsonl"
        )
    found = {files[-1]: (folder, files) for folder in _folders(mngr_ctx) if (files := _rollouts(folder, named))}
    current = require_unique_match(
        list(found),
        not_found_message=f"No agent has a session {named}, no preserved one, and neither has ~/.codex",
        ambiguous_message=f"There is more than one session {named}. Give the path of the one that is meant:",
    )
    folder, files = found[current]
    _check_begun(current)
    return Session(named, folder, (*_bases(current, folder), *files))


def _file(named: str) -> Path | None:
    try:
        path = Path(named).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        # A name that no file can have, or of a user that is not there.
        return None


def _check_begun(rollout: Path) -> None:
    """Refuse a rollout that codex could not go on with: it would end at its start.

    Raises:
        UserInputError: Its first line is not that of a session.
    """
    if rollout.suffix == ".zst":
        return
    with rollout.open(encoding="utf-8", errors="replace") as lines:
        first = lines.readline()
    try:
        kind = json.loads(first)["type"]
    except (ValueError, KeyError, TypeError):
        kind = None
    if kind != "session_meta":
        raise UserInputError(
            f"{rollout} is no session that codex could go on with: it does not begin with session_meta"
        )


def _folders(mngr_ctx: MngrContext) -> list[Path]:
    local_host_dir = mngr_ctx.config.default_host_dir.expanduser()
    kept = [
        folder
        for relative in (paths.SESSIONS, paths.ARCHIVED_SESSIONS)
        for folder in iter_agent_session_paths(local_host_dir, Path(relative))
    ]
    own = [folder for name in ("sessions", "archived_sessions") if (folder := Path.home() / ".codex" / name).is_dir()]
    return dedupe_by_resolved_path([*kept, *own])


def _rollouts(folder: Path, session: str) -> list[Path]:
    """The rollouts of a session, in the order in which they were begun."""
    found = [*folder.rglob(f"rollout-*{session}*.jsonl"), *folder.rglob(f"rollout-*{session}*.jsonl.zst")]
    return sorted(found, key=lambda file: file.name)


def _bases(rollout: Path, folder: Path) -> Iterator[Path]:
    """The rollouts that hold what a forked session's own does not: its history up to the fork."""
    if rollout.suffix == ".zst":
        return
    with rollout.open(encoding="utf-8", errors="replace") as lines:
        first = lines.readline()
    try:
        base = json.loads(first)["payload"]["history_base"]["thread_id"]
    except (ValueError, KeyError, TypeError):
        return
    for file in _rollouts(folder, base):
        yield from _bases(file, folder)
        yield file


def _plain(rollout: Path) -> Path:
    """The path by which codex names a rollout, which is compressed only while nobody uses it."""
    return rollout.with_suffix("") if rollout.suffix == ".zst" else rollout
