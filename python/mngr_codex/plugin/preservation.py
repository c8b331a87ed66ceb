"""Stops agents that are about to be destroyed, and preserves their transcripts and sessions."""

from __future__ import annotations

import os
import secrets
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imbue.mngr.api.preservation import (
    PreservationManifest,
    PreservationOutcome,
    PreservedAgentIdentity,
    PreservedItem,
    PreservedItemResult,
    TranscriptFlushOutcome,
    TranscriptFlushResult,
    build_transcript_preserved_items,
    get_local_preserved_agent_dir_for_host,
    preserve_agent_state,
    preserve_host_agents_on_destroy,
    read_preservation_manifest,
    write_preservation_manifest,
)
from imbue.mngr.config.agent_config_registry import resolve_agent_type
from imbue.mngr.errors import HostConnectionError, MngrError
from imbue.mngr.interfaces.cleanup_failures import CleanupFailedGroup
from imbue.mngr.interfaces.data_types import FileType
from imbue.mngr.interfaces.host import HostFileReadInterface, OnlineHostInterface
from imbue.mngr.primitives import AgentTypeName
from loguru import logger

from mngr_codex.plugin import paths, set_aside
from mngr_codex.plugin.agent_type import AGENT_TYPE

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import HostInterface
    from imbue.mngr.primitives import DiscoveredAgent

_LOCK_SECONDS = 5
"""How long the last pass waits for the pass of another process."""
_PASS_SECONDS = 60
_SET_ASIDE_SECONDS = 60.0
_PASS_FAILED = "mngr-codex-pass-failed: "
"""Begins the line with the error of the last pass."""
GIVE_UP = "-S agent_types.codex.preserve_on_destroy=false"
"""The option with which an agent is destroyed although its files cannot be preserved."""


def preserved_items() -> list[PreservedItem]:
    """Returns the items to preserve: transcripts, Codex's sessions, and the files that name the agent's session."""
    folders = (paths.SESSIONS, paths.ARCHIVED_SESSIONS)
    files = (paths.ROOT_SESSION, paths.ROLLOUT, paths.ROLLOUTS)
    return [
        *build_transcript_preserved_items(AGENT_TYPE),
        *(PreservedItem(rel_path=folder, kind=FileType.DIRECTORY) for folder in folders),
        *(PreservedItem(rel_path=file, kind=FileType.FILE) for file in files),
    ]


def secure(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    """Stops Codex, brings the agent's files up to date, and preserves them unless the settings say otherwise.

    Files on another host are first set aside there. What cannot be copied to this machine stays on the host.

    Args:
        agent: An agent that is about to be destroyed.
        host: Its host.

    Raises:
        MngrError: The files are preserved neither here nor on the host.
    """
    if not agent.agent_config.preserve_on_destroy:
        _finish(agent, host)
    elif host.is_local:
        _finish(agent, host)
        _preserve_locally(agent, host)
    else:
        _preserve_remote(agent, host)


def _finish(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    """Stops Codex, and brings the agent's files up to date. Never fails.

    Plugins copy these files before mngr stops the agent. What Codex writes when it stops would be missing.
    """
    try:
        _stop(agent, host)
        result = host.execute_idempotent_command(_pass(agent), timeout_seconds=_PASS_SECONDS + _SET_ASIDE_SECONDS)
    except (MngrError, OSError) as error:
        _warn_of_pass(agent, str(error))
        return
    if result.success:
        _reported(agent, result.stdout)
    else:
        _warn_of_pass(agent, (result.stderr or result.stdout).strip())


def _pass(agent: BaseAgent[Any]) -> str:
    """Returns the shell commands for the last pass over the agent's rollouts. They succeed, and print the error."""
    state = agent._get_agent_dir()
    program = shlex.quote(str(state / paths.PROGRAM))
    return f"""\
limit=
! command -v timeout >/dev/null 2>&1 || limit='timeout {_PASS_SECONDS}'
[ ! -x {program} ] || error=$(MNGR_CONVERT_LOCK_TIMEOUT={_LOCK_SECONDS} \
    $limit {program} watch --once --final --state-dir {shlex.quote(str(state))} 2>&1 >/dev/null) ||
    printf '%s%s\\n' '{_PASS_FAILED}' "$(printf %s "${{error:-it takes too long}}" | tr '\\n' ' ')"
"""


def _reported(agent: BaseAgent[Any], output: str) -> tuple[TranscriptFlushResult, ...]:
    """Returns what the last pass has reported, and warns if it has failed."""
    errors = [line.removeprefix(_PASS_FAILED) for line in output.splitlines() if line.startswith(_PASS_FAILED)]
    if not errors:
        outcome = TranscriptFlushOutcome.SUCCEEDED
        return (TranscriptFlushResult(script_name=paths.PROGRAM, outcome=outcome),)
    _warn_of_pass(agent, errors[-1].strip())
    outcome = TranscriptFlushOutcome.ERROR
    return (TranscriptFlushResult(script_name=paths.PROGRAM, outcome=outcome, error=errors[-1][-1000:]),)


def _warn_of_pass(agent: BaseAgent[Any], reason: str) -> None:
    logger.warning("cannot bring the files of agent {} up to date before it is destroyed: {}", agent.name, reason)


def _stop(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    try:
        host.stop_agents([agent.id])
    except HostConnectionError:
        raise
    except (CleanupFailedGroup, MngrError) as error:
        logger.debug("cannot stop the agent before its files are copied: {}", error)


def _identity(agent: BaseAgent[Any], host: OnlineHostInterface) -> PreservedAgentIdentity:
    return PreservedAgentIdentity(
        host_id=host.id,
        host_name=host.get_name(),
        provider_name=host.get_provider_name(),
        agent_id=agent.id,
        agent_name=agent.name,
        agent_type=agent.agent_type,
        labels=agent.get_labels(),
    )


def _preserve_remote(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    items = preserved_items()
    name = f"{agent.name}@{host.get_name()}"
    token = f"{time.time_ns():020}-{secrets.token_hex(3)}"

    def set_aside_there() -> tuple[list[set_aside.SetAside], str]:
        _stop(agent, host)
        return set_aside.set_aside(
            host,
            agent._get_agent_dir(),
            _identity(agent, host),
            items,
            token=token,
            first=_pass(agent),
            seconds=_PASS_SECONDS + _SET_ASIDE_SECONDS,
        )

    try:
        found, output = set_aside.retried(
            set_aside_there, host, f"cannot set the transcripts and sessions of agent {name} aside"
        )
    except set_aside.CannotSetAsideError as error:
        logger.debug("cannot set the files of agent {} aside on its host: {}", name, error)
        _copy_from_state(agent, host, error)
        return
    except (MngrError, OSError) as error:
        raise MngrError(
            f"cannot preserve the transcripts and sessions of agent {name}: {error}\n"
            f"hint: destroy the agent when its host can be reached, or give them up with `{GIVE_UP}`"
        ) from error
    finished = _reported(agent, output)
    try:
        set_aside.bring_here(host, agent.mngr_ctx, found, items, finished=finished)
    except (MngrError, OSError) as error:
        folders = ", ".join(str(each.folder) for each in found)
        logger.warning(
            "cannot copy the transcripts and sessions of agent {} to this machine: {}\n"
            "They are kept on the host, in {}\nhint: run `mngr codex recover {}`",
            name,
            error,
            folders,
            host.get_name(),
        )


def _copy_from_state(agent: BaseAgent[Any], host: OnlineHostInterface, reason: MngrError) -> None:
    """Copies an agent's files whose host cannot set them aside, for example because its disk is full.

    Raises:
        MngrError: They were not copied completely.
    """
    preserve_agent_state(preserved_items(), agent, host)
    archive = _archive(agent, host)
    if archive.exists():
        set_aside.make_private(archive)
    manifest = read_preservation_manifest(archive)
    if manifest is None or any(item.outcome is PreservationOutcome.ERROR for item in manifest.items):
        raise MngrError(
            f"cannot preserve the transcripts and sessions of agent {agent.name}@{host.get_name()}, "
            f"neither on this machine nor on its host: {reason}\n"
            f"hint: free disk space, or give them up with `{GIVE_UP}`"
        )


def _archive(agent: BaseAgent[Any], host: OnlineHostInterface) -> Path:
    return get_local_preserved_agent_dir_for_host(agent.mngr_ctx, agent.name, agent.id, host.id)


def _preserve_locally(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    """Copies an agent's files on this machine. Files that cannot be copied are moved, which needs no space.

    Raises:
        MngrError: A file could be neither copied nor moved. It is still in the state directory.
    """
    items = preserved_items()
    preserve_agent_state(items, agent, host)
    archive = _archive(agent, host)
    state = agent._get_agent_dir()
    moved: list[PreservedItemResult] = []
    try:
        for item in items:
            differing = [file for file in _files(state / item.rel_path) if not _has_copy(file, state, archive)]
            for file in differing:
                copy = archive / file.relative_to(state)
                copy.parent.mkdir(parents=True, exist_ok=True)
                file.replace(copy)
            if differing:
                outcome = PreservationOutcome.COPIED
                moved.append(PreservedItemResult(rel_path=item.rel_path, kind=item.kind, outcome=outcome))
        if moved:
            identity = _identity(agent, host)
            write_preservation_manifest(archive, PreservationManifest(identity=identity, items=tuple(moved)))
        if archive.exists():
            archive.chmod(0o700)
    except OSError as error:
        raise MngrError(
            f"cannot preserve the transcripts and sessions of agent {agent.name}: {error}\n"
            f"hint: free disk space, or give them up with `{GIVE_UP}`"
        ) from error


def _files(path: Path) -> list[Path]:
    """Returns the regular files in a folder, or the path itself if it is one."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    found = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    return [file for file in found if not file.is_symlink()]


def _has_copy(file: Path, state: Path, archive: Path) -> bool:
    try:
        return (archive / file.relative_to(state)).stat().st_size == file.stat().st_size
    except FileNotFoundError:
        return False


def secure_host(host: HostInterface, mngr_ctx: MngrContext, agent_class: type[Any]) -> None:
    """Preserves the transcripts and sessions of all Codex agents on a host that is about to be destroyed with its disk.

    Args:
        host: The host. It need not be running if mngr can read its files.
        mngr_ctx: mngr's context.
        agent_class: The class of the agents.

    Raises:
        MngrError: Files of an agent could not be copied to this machine.
    """
    if isinstance(host, OnlineHostInterface):
        try:
            agents = host.get_agents()
        except (MngrError, OSError) as error:
            logger.debug("cannot reach host {} before it is destroyed: {}", host.id, error)
            host = host.to_offline_host()
        else:
            for agent in agents:
                if isinstance(agent, agent_class):
                    agent.secure(host)
    if not isinstance(host, OnlineHostInterface):
        _preserve_from_volume(host, mngr_ctx)
    if isinstance(host, HostFileReadInterface) and not host.is_local:
        _bring_rest_here(host, mngr_ctx)


def _preserve_from_volume(host: HostInterface, mngr_ctx: MngrContext) -> None:
    """Copies the files of the agents of a host that is not running.

    Raises:
        MngrError: The files of an agent that mngr knows of could not be copied.
    """
    try:
        agents = [agent for agent in host.discover_agents() if _is_preserved(agent, mngr_ctx)]
    except (MngrError, OSError, NotImplementedError) as error:
        logger.warning("cannot look for Codex agents on host {} before it is destroyed: {}", host.id, error)
        return
    if not agents:
        return

    def copy() -> None:
        if not isinstance(host, HostFileReadInterface):
            raise set_aside.CannotSetAsideError("the host is not running")
        for agent_type in sorted({agent.agent_type for agent in agents if agent.agent_type is not None}):
            preserve_host_agents_on_destroy(
                host, mngr_ctx, agent_type, lambda agent: preserved_items() if agent in agents else None
            )
        for agent in agents:
            archive = get_local_preserved_agent_dir_for_host(mngr_ctx, agent.agent_name, agent.agent_id, host.id)
            manifest = read_preservation_manifest(archive)
            errors = [item.error for item in manifest.items if item.error] if manifest else []
            if errors:
                raise MngrError(errors[0])
            if archive.exists():
                set_aside.make_private(archive)

    names = ", ".join(str(agent.agent_name) for agent in agents)
    what = f"cannot preserve the transcripts and sessions of the Codex agents on host {host.get_name()} ({names})"
    try:
        set_aside.retried(copy, host, what)
    except (MngrError, OSError) as error:
        raise MngrError(f"{what}: {error}\nhint: start the host, or give them up with `{GIVE_UP}`") from error


def _is_preserved(agent: DiscoveredAgent, mngr_ctx: MngrContext) -> bool:
    if agent.agent_type is None:
        return False
    types = {AgentTypeName(AGENT_TYPE)}
    types |= {name for name, config in mngr_ctx.config.agent_types.items() if config.parent_type == AGENT_TYPE}
    if agent.agent_type not in types:
        return False
    return bool(
        getattr(resolve_agent_type(agent.agent_type, mngr_ctx.config).agent_config, "preserve_on_destroy", True)
    )


def _bring_rest_here(host: HostInterface, mngr_ctx: MngrContext) -> None:
    """Copies what earlier destroys have set aside on a host.

    Raises:
        MngrError: It could not be copied.
    """
    name = host.get_name()
    what = f"cannot copy the transcripts and sessions that are kept on host {name}"
    try:
        found = set_aside.retried(lambda: set_aside.find(host), host, what)
        set_aside.bring_here(host, mngr_ctx, found, preserved_items())
    except (MngrError, OSError) as error:
        raise MngrError(f"{what}: {error}\nhint: run `mngr codex recover {name}`") from error
