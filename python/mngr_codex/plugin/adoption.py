"""Lets a new agent resume an existing session: of another agent, of a destroyed agent, or of the user."""

from __future__ import annotations

import glob
import re
import shlex
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
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
from imbue.mngr.config.agent_config_registry import resolve_agent_type
from imbue.mngr.errors import UserInputError
from imbue.mngr.interfaces.host import OnlineHostInterface
from loguru import logger

from mngr_codex.plugin import paths, rollout_file
from mngr_codex.plugin.carry.plan import Carrying
from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.home import model_provider

if TYPE_CHECKING:
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.agent import HasSessionAdoptionMixin
    from imbue.mngr.interfaces.host import CreateAgentOptions, HostLocation
    from imbue.mngr.plugins.hookspecs import OnBeforeCreateArgs

    from mngr_codex.plugin.host.facts import HostFacts

_ADOPT_SECONDS = 600.0
"""Reading a gigabyte takes about a second."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Session:
    """A Codex session on this machine."""

    id: str
    folder: Path
    """The ``sessions`` or ``archived_sessions`` folder that contains it."""
    files: tuple[Path, ...]
    """Its rollouts, preceded by the rollouts of the sessions that it was forked from. The current one is last."""


def check(args: OnBeforeCreateArgs, mngr_ctx: MngrContext, agent_class: type[HasSessionAdoptionMixin]) -> list[Session]:
    """Checks that the sessions to adopt exist, before anything of the agent is created.

    Args:
        args: The options that the agent is created with.
        mngr_ctx: mngr's context.
        agent_class: The class of the agents that can adopt these sessions.

    Returns:
        The sessions; none if the agent is of another class.

    Raises:
        UserInputError: A session does not exist, is ambiguous, or cannot be resumed.
    """
    sessions: list[Session] = []
    run_adopt_session_preflight(
        args.agent_options.agent_type,
        args.agent_options.adopt_session,
        mngr_ctx,
        agent_class,
        lambda name: sessions.append(find(name, mngr_ctx)),
    )
    return sessions


def check_model_provider(session: Session, args: OnBeforeCreateArgs, mngr_ctx: MngrContext, facts: HostFacts) -> None:
    """Checks that the agent's settings define the model provider of the session that it resumes; Codex exits otherwise.

    Nothing is checked on a host that does not exist yet, or if arguments for Codex can define the provider.

    Args:
        session: The session.
        args: The options that the agent is created with.
        mngr_ctx: mngr's context.
        facts: What is known about the host.

    Raises:
        ConfigParseError: A setting is invalid.
        UserInputError: The provider is not defined.
    """
    options = args.agent_options
    config = resolve_agent_type(options.agent_type, mngr_ctx.config).agent_config
    if not (isinstance(config, CodexAgentConfig) and isinstance(args.target_host, OnlineHostInterface)):
        return
    config = config.validated(str(options.agent_type))
    arguments = " ".join([str(config.command), *config.cli_args, *options.agent_args])
    if re.search(r"(^|\s)(-p|--profile)\b|model_provider", arguments):
        return
    provider = rollout_file.model_provider(session.files[-1])
    providers = config.config_overrides.get("model_providers")
    if provider is None or (isinstance(providers, dict) and provider in providers):
        return
    if model_provider.is_unknown(
        args.target_host, provider, command=str(config.command), uses_user_config=config.use_user_config
    ):
        carrying = Carrying.of(args.target_host, config)
        copied = carrying.config_for(facts.owned).get("model_providers") if carrying else None
        if isinstance(copied, dict) and provider in copied:
            return
        place = f"[agent_types.{options.agent_type}.config_overrides.model_providers.{provider}] in mngr's settings"
        if config.use_user_config:
            place += f", or [model_providers.{provider}] in ~/.codex/config.toml"
        raise UserInputError(
            f"cannot adopt session {session.id}: it used the model provider {provider}, which is not configured, so "
            f"Codex cannot resume it\nhint: add {place}"
        )


def adopt(state_dir: Path, host: OnlineHostInterface, options: CreateAgentOptions, mngr_ctx: MngrContext) -> None:
    """Copies the sessions that the options name to an agent, and makes Codex resume the last of them.

    What the sessions have used so far is not the agent's own usage.

    Args:
        state_dir: The agent's state directory.
        host: The agent's host.
        options: The options that the agent is created with.
        mngr_ctx: mngr's context.

    Raises:
        UserInputError: A session does not exist, is ambiguous, or cannot be resumed.
    """
    rollouts: dict[str, Path] = {}

    def copy_explicit(name: str) -> str:
        session = find(name, mngr_ctx)
        for file in session.files:
            target = state_dir / paths.SESSIONS / file.relative_to(session.folder)
            host.write_file(target, file.read_bytes(), mode="0600")
            rollouts[session.id] = _uncompressed_path(target)
        return session.id

    def copy_clone(source: HostLocation) -> str | None:
        if not transfer_cloned_agent_session_store(host, state_dir, source, Path(paths.SESSIONS)):
            logger.warning("the cloned agent has no session yet, so the clone starts a new one")
            return None
        try:
            session = source.host.read_text_file(source.path / paths.ROOT_SESSION).strip()
            current = Path(source.host.read_text_file(source.path / paths.ROLLOUT).strip())
            rollouts[session] = state_dir / paths.SESSIONS / current.relative_to(source.path / paths.SESSIONS)
        except (FileNotFoundError, ValueError):
            logger.warning("cannot determine the session of the cloned agent, so the clone starts a new one")
            return None
        return session

    def resume(session: str) -> None:
        # The watcher finds the rollout by these files, so that the transcript contains the session from its beginning.
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
    _separate_usage(state_dir, host)


def _separate_usage(state_dir: Path, host: OnlineHostInterface) -> None:
    """Counts what the copied sessions have used so far as the usage of the agents that they come from."""
    program = state_dir / paths.PROGRAM
    command = (
        f"! test -x {shlex.quote(str(program))} || {shlex.join([str(program), 'adopt', '--state-dir', str(state_dir)])}"
    )
    result = host.execute_idempotent_command(command, timeout_seconds=_ADOPT_SECONDS)
    if not result.success:
        logger.warning("mngr usage counts the earlier tokens of the sessions again: {}", result.stderr.strip())


def find(name: str, mngr_ctx: MngrContext) -> Session:
    """Finds a session on this machine.

    If there are copies of a session, and each is the beginning of the longest one, that one is returned.

    Args:
        name: Its id, or the path of a rollout.
        mngr_ctx: mngr's context.

    Raises:
        UserInputError: The session does not exist, is ambiguous, or cannot be resumed.
    """
    try:
        return _find(name, mngr_ctx)
    except OSError as error:
        problem = f"cannot read {error.filename}: {error.strerror}" if error.filename else str(error)
        raise UserInputError(f"cannot adopt {name}: {problem}") from None


def _find(name: str, mngr_ctx: MngrContext) -> Session:
    path = _existing_file(name)
    if path is not None:
        session = _session_id(path)
        if session is None:
            raise UserInputError(f"cannot adopt {name}: its file name contains no session id, so it is not a rollout")
        folder = next(
            (parent for parent in path.parents if parent.name in ("sessions", "archived_sessions")), path.parent
        )
        _check_resumable(path)
        return Session(session, folder, (*_history(path, folder), path))
    if not _ID.fullmatch(name):
        raise UserInputError(
            f"cannot adopt {name!r}: it is not a session id\n"
            "hint: use the id that `codex resume` takes, or the path of a rollout-….jsonl"
        )
    copies = [(folder, files) for folder in _folders(mngr_ctx) if (files := _rollouts(folder, name))]
    found = {files[-1]: (folder, files) for folder, files in _longest(copies)}
    current = require_unique_match(
        list(found),
        not_found_message=f"cannot find session {name} on this machine: in its agents, in preserved agents, or in "
        "~/.codex\nhint: a session of an agent on another host, which `mngr list --format json` shows as its "
        "session_id, is continued by `mngr clone NAME@HOST NEW --type codex`",
        ambiguous_message=f"cannot adopt session {name}: it was continued in different ways; use one of these paths:",
    )
    folder, files = found[current]
    _check_resumable(current)
    return Session(name, folder, (*(file for file in _history(current, folder) if file not in files), *files))


def _longest(copies: list[tuple[Path, list[Path]]]) -> list[tuple[Path, list[Path]]]:
    """Returns the copies of a session without those that another one begins with.

    An agent's sessions are preserved when it is destroyed, and an adopted session is a copy. So there are usually
    several copies of a session that was adopted.

    Args:
        copies: The folder and the rollouts of each copy.
    """
    kept: list[tuple[Path, list[Path]]] = []
    for copy in copies:
        if not any(_is_beginning_of(copy[1], other) for _, other in kept):
            kept = [(folder, files) for folder, files in kept if not _is_beginning_of(files, copy[1])] + [copy]
    return kept


def _is_beginning_of(files: list[Path], others: list[Path]) -> bool:
    """Returns whether each rollout is the beginning of the other copy's rollout of the same name."""
    by_name = {_uncompressed_path(other).name: other for other in others}
    pairs = [(file, by_name.get(_uncompressed_path(file).name)) for file in files]
    return all(other is not None and rollout_file.is_beginning_of(file, other) for file, other in pairs)


def _existing_file(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        # The name cannot be a path, or refers to an unknown user.
        return None


def _session_id(rollout: Path) -> str | None:
    found = _ID.search(rollout.name)
    return found[0] if found else None


def _check_resumable(rollout: Path) -> None:
    """Checks that a rollout begins as Codex requires; it would exit on any other.

    Raises:
        UserInputError: The first line is not a session's header.
        OSError: The file cannot be read, or the compressed file is damaged.
    """
    if rollout_file.header(rollout) is None:
        raise UserInputError(f"cannot adopt {rollout}: it does not begin with session_meta, so Codex cannot resume it")


def _folders(mngr_ctx: MngrContext) -> list[Path]:
    local_host_dir = mngr_ctx.config.default_host_dir.expanduser()
    of_agents = [
        folder
        for relative in (paths.SESSIONS, paths.ARCHIVED_SESSIONS)
        for folder in iter_agent_session_paths(local_host_dir, Path(relative))
    ]
    own = [folder for name in ("sessions", "archived_sessions") if (folder := Path.home() / ".codex" / name).is_dir()]
    return dedupe_by_resolved_path([*of_agents, *own])


def _rollouts(folder: Path, session: str) -> list[Path]:
    """Returns the rollouts of a session, oldest first."""
    pattern = f"rollout-*{glob.escape(session)}*.jsonl"
    return sorted([*folder.rglob(pattern), *folder.rglob(f"{pattern}.zst")], key=lambda file: file.name)


def _history(rollout: Path, folder: Path) -> list[Path]:
    """Returns the rollouts that a forked session continues, oldest first.

    Raises:
        UserInputError: A rollout names an invalid session, or the rollouts continue each other in a cycle.
    """
    bases: dict[Path, list[Path]] = {}
    pending = [rollout]
    while pending:
        file = pending.pop()
        if file not in bases:
            bases[file] = _bases(file, folder)
            pending += bases[file]
    try:
        return [file for file in TopologicalSorter(bases).static_order() if file != rollout]
    except CycleError as error:
        cycle = " -> ".join(file.name for file in error.args[1])
        raise UserInputError(f"cannot adopt {rollout}: its history refers to itself ({cycle})") from None


def _bases(rollout: Path, folder: Path) -> list[Path]:
    """Returns the rollouts of the session that a rollout directly continues; empty if it continues none."""
    try:
        base = rollout_file.header(rollout)["history_base"]["thread_id"]
    except (KeyError, TypeError):
        return []
    if not (isinstance(base, str) and _ID.fullmatch(base)):
        raise UserInputError(f"cannot adopt {rollout}: its history_base {base!r} is not a session id")
    files = _rollouts(folder, base)
    if base == _session_id(rollout):
        # After going back in a conversation, Codex writes another rollout of the same session, which continues the
        # earlier ones. A rollout that would continue itself is reported as a cycle.
        return [file for file in files if file.name < rollout.name] or [rollout]
    return files


def _uncompressed_path(rollout: Path) -> Path:
    """Returns the path by which Codex refers to a rollout; it compresses rollouts only while they are unused."""
    return rollout.with_suffix("") if rollout.suffix == ".zst" else rollout
