"""Stops agents that are about to be destroyed, and preserves their transcripts and sessions."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from functools import partial
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
    flush_agent_transcript,
    get_local_preserved_agent_dir_for_host,
    preserve_agent_data,
    read_preservation_manifest,
    write_preservation_manifest,
)
from imbue.mngr.config.agent_config_registry import resolve_agent_type
from imbue.mngr.errors import CorruptedAgentDataError, HostConnectionError, MngrError
from imbue.mngr.hosts.common import get_agent_state_dir_path, get_agents_root_dir
from imbue.mngr.interfaces.cleanup_failures import CleanupFailedGroup
from imbue.mngr.interfaces.data_types import FileType
from imbue.mngr.interfaces.host import HostFileReadInterface, OnlineHostInterface
from imbue.mngr.primitives import AgentId, AgentName, AgentTypeName, DiscoveredAgent
from loguru import logger

from mngr_codex.plugin import paths, set_aside, unfetched
from mngr_codex.plugin.agent_type import AGENT_TYPE, has_class
from mngr_codex.plugin.host.error_text import one_line
from mngr_codex.plugin.host.place import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.agent import AgentInterface
    from imbue.mngr.interfaces.host import HostInterface

_LOCK_SECONDS = 5
"""How long the last pass waits for the pass of another process."""
_PASS_SECONDS = 60
_SET_ASIDE_SECONDS = 60.0
_PASS_FAILED = "mngr-codex-pass-failed: "
"""Begins the line with the error of the last pass."""
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError)
"""What mngr raises if the ``data.json`` of an agent is damaged."""
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
        labels=_labels(agent),
    )


def _labels(agent: BaseAgent[Any]) -> dict[str, str]:
    try:
        return agent.get_labels()
    except (CorruptedAgentDataError, ValueError, AttributeError) as error:
        logger.warning("cannot read the labels of agent {}: {}", agent.name, error)
        return {}


def _preserve_remote(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    items = preserved_items()
    name = f"{agent.name}@{address_of(host)}"

    def stopped() -> PreservedAgentIdentity:
        _stop(agent, host)
        return _identity(agent, host)

    try:
        identity = set_aside.retried(stopped, host, f"cannot stop agent {name}")
        found, output = set_aside.set_aside(
            host,
            agent._get_agent_dir(),
            identity,
            items,
            first=_pass(agent),
            seconds=_PASS_SECONDS + _SET_ASIDE_SECONDS,
        )
    except set_aside.CannotSetAsideError as error:
        logger.debug("cannot set the files of agent {} aside on its host: {}", name, error)
        _copy_at_once(agent, host, identity, error)
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
        # If this fails, the agent is kept.
        unfetched.add(agent.mngr_ctx, host.id, found[-1].identity)
        folders = ", ".join(str(each.folder) for each in found)
        logger.warning(
            "cannot copy the transcripts and sessions of agent {} to this machine: {}\n"
            "They are kept on the host, in {}\nhint: run `mngr codex recover {}`, and `mngr destroy {}` again if "
            "`mngr list` still shows the agent",
            name,
            one_line(error),
            folders,
            address_of(host),
            name,
        )


def _copy_at_once(
    agent: BaseAgent[Any], host: OnlineHostInterface, identity: PreservedAgentIdentity, reason: MngrError
) -> None:
    """Copies an agent's files whose host cannot set them aside, for example because its disk is full.

    Raises:
        MngrError: They were not copied completely.
    """
    try:
        # What was set aside earlier is older than the state, so it is fetched first.
        if earlier := set_aside.find(host, agent.id, is_all=True):
            set_aside.bring_here(host, agent.mngr_ctx, earlier, preserved_items())
        finished = flush_agent_transcript(agent, host)
        _copy_state(host, agent.mngr_ctx, agent._get_agent_dir(), identity, finished)
    except (MngrError, OSError) as error:
        raise MngrError(
            f"cannot preserve the transcripts and sessions of agent {agent.name}@{address_of(host)}, "
            f"neither on this machine ({str(error).strip()}) nor on its host: {reason}\n"
            f"hint: free disk space, or give them up with `{GIVE_UP}`"
        ) from error


def _copy_state(
    host: HostFileReadInterface,
    mngr_ctx: MngrContext,
    state: Path,
    identity: PreservedAgentIdentity,
    finished: tuple[TranscriptFlushResult, ...] = (),
) -> None:
    """Copies an agent's files from its state directory.

    Raises:
        MngrError: They were not copied completely.
    """
    archive = get_local_preserved_agent_dir_for_host(mngr_ctx, identity.agent_name, identity.agent_id, identity.host_id)
    results = preserve_agent_data(preserved_items(), host, state, archive, mngr_ctx)
    manifest = PreservationManifest(identity=identity, items=results, transcript_flush=finished)
    write_preservation_manifest(archive, manifest)
    errors = [item.error or "incomplete" for item in results if item.outcome is PreservationOutcome.ERROR]
    if errors:
        raise MngrError(errors[0])
    if archive.exists():
        set_aside.make_private(archive)
        if read_preservation_manifest(archive) is None:
            raise MngrError(f"cannot write the manifest in {archive}")


def _preserve_locally(agent: BaseAgent[Any], host: OnlineHostInterface) -> None:
    """Copies an agent's files on this machine. Files that cannot be copied are moved, which needs no space.

    Raises:
        MngrError: A file could be neither copied nor moved. It is still in the state directory.
    """
    state = agent._get_agent_dir()
    identity = _identity(agent, host)
    archive = get_local_preserved_agent_dir_for_host(agent.mngr_ctx, agent.name, agent.id, host.id)
    finished = flush_agent_transcript(agent, host)
    try:
        _copy_state(host, agent.mngr_ctx, state, identity, finished)
    except (MngrError, OSError) as error:
        logger.debug("cannot copy the files of agent {}: {}", agent.name, error)
    moved: list[PreservedItemResult] = []
    try:
        for item in preserved_items():
            differing = [file for file in _files(state / item.rel_path) if not _has_copy(file, state, archive)]
            for file in differing:
                copy = archive / file.relative_to(state)
                copy.parent.mkdir(parents=True, exist_ok=True)
                file.replace(copy)
            if differing:
                outcome = PreservationOutcome.COPIED
                moved.append(PreservedItemResult(rel_path=item.rel_path, kind=item.kind, outcome=outcome))
        if moved:
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
    found = (Path(folder, name) for folder, _, names in os.walk(path, onerror=_fail) for name in names)
    return [file for file in found if not file.is_symlink()]


def _fail(error: OSError) -> None:
    raise error


def _has_copy(file: Path, state: Path, archive: Path) -> bool:
    try:
        return (archive / file.relative_to(state)).stat().st_size == file.stat().st_size
    except FileNotFoundError:
        return False


def secure_host(host: HostInterface, mngr_ctx: MngrContext, agent_class: type[Any]) -> None:
    """Preserves the transcripts and sessions of all Codex agents on a host that is about to be destroyed with its disk.

    An error about one agent does not affect the others.

    Args:
        host: The host. It need not be running if mngr can read its files.
        mngr_ctx: mngr's context.
        agent_class: The class of the agents.

    Raises:
        MngrError: Files of an agent could not be copied to this machine.
    """
    errors: list[str] = []

    def attempt(action: Callable[[], None]) -> None:
        try:
            action()
        except (MngrError, OSError) as error:
            errors.append(str(error))

    if isinstance(host, OnlineHostInterface):
        try:
            agents, unlisted = _agents(host)
        except (MngrError, OSError) as error:
            logger.debug("cannot reach host {} before it is destroyed: {}", host.id, error)
            try:
                host = host.to_offline_host()
            except NotImplementedError:
                _fail_to_look(host, mngr_ctx, error)
                return
        else:
            for agent in agents:
                if isinstance(agent, agent_class):
                    attempt(partial(agent.secure, host))
            if not host.is_local:
                for agent_id in () if _is_given_up(AGENT_TYPE, mngr_ctx) else unlisted:
                    attempt(partial(_preserve_unlisted, host, mngr_ctx, agent_id))
                attempt(partial(_bring_rest_here, host, mngr_ctx))
    if not isinstance(host, OnlineHostInterface):
        # What was set aside earlier is older than the state, so it is fetched first.
        attempt(partial(_bring_rest_here, host, mngr_ctx))
        attempt(partial(_preserve_from_volume, host, mngr_ctx, agent_class))
    if errors:
        raise MngrError("\n".join(errors))


def _agents(host: OnlineHostInterface) -> tuple[list[AgentInterface[Any]], list[AgentId]]:
    """Returns the agents of a host, and the ids of Codex agents whose ``data.json`` is missing or damaged.

    Raises:
        MngrError, OSError: The host cannot be reached.
    """
    agents: list[AgentInterface[Any]] = []
    try:
        agents = host.get_agents()
    except _DAMAGED:
        # mngr fails at the first damaged file, so each is read on its own.
        for agent_id in _ids(host):
            reference = DiscoveredAgent(
                host_id=host.id,
                agent_id=agent_id,
                agent_name=AgentName(agent_id),
                provider_name=host.get_provider_name(),
                certified_data={},
            )
            try:
                agents += host.load_agents_from_refs([reference])
            except _DAMAGED as error:
                logger.debug("cannot load agent {}: {}", agent_id, error)
    return agents, _unlisted(host, {agent.id for agent in agents})


def _ids(host: HostInterface) -> list[AgentId]:
    """Returns the ids of the agents that have a state directory on a host."""
    folder = get_agents_root_dir(host.host_dir)
    if not isinstance(host, HostFileReadInterface) or not host.path_exists(folder):
        return []
    ids = []
    for entry in host.list_directory(folder):
        with suppress(ValueError):
            ids.append(AgentId(Path(entry.path).name))
    return ids


def _unlisted(host: HostInterface, known: Collection[AgentId]) -> list[AgentId]:
    """Returns the ids of Codex agents that have a state directory on a host, but that mngr does not know there."""
    if not isinstance(host, HostFileReadInterface):
        return []
    unknown = (agent_id for agent_id in _ids(host) if agent_id not in known)
    return [
        agent_id
        for agent_id in unknown
        if host.path_exists(get_agent_state_dir_path(host.host_dir, agent_id) / paths.CODEX_HOME)
    ]


def _identity_of_unlisted(host: HostInterface, agent_id: AgentId) -> PreservedAgentIdentity:
    logger.warning(
        "the data.json of agent {} on host {} is missing or damaged, its other files are not affected",
        agent_id,
        address_of(host),
    )
    return PreservedAgentIdentity(
        host_id=host.id,
        host_name=host.get_name(),
        provider_name=host.get_provider_name(),
        agent_id=agent_id,
        agent_name=AgentName(agent_id),
        agent_type=AgentTypeName(AGENT_TYPE),
    )


def _preserve_unlisted(host: OnlineHostInterface, mngr_ctx: MngrContext, agent_id: AgentId) -> None:
    """Preserves the files of an agent of which only the state directory is known.

    Raises:
        MngrError: They could not be copied.
    """
    items = preserved_items()
    identity = _identity_of_unlisted(host, agent_id)
    try:
        found, _ = set_aside.set_aside(host, get_agent_state_dir_path(host.host_dir, agent_id), identity, items)
        set_aside.bring_here(host, mngr_ctx, found, items)
    except (MngrError, OSError) as error:
        raise MngrError(
            f"cannot preserve the transcripts and sessions of agent {agent_id}@{address_of(host)}: {error}\n"
            f"hint: repair its data.json, or give them up with `{GIVE_UP}`"
        ) from error


def _preserve_from_volume(host: HostInterface, mngr_ctx: MngrContext, agent_class: type[Any]) -> None:
    """Copies the files of the agents of a host that is not running.

    Raises:
        MngrError: The files of an agent could not be copied, or it is not known which agents there are.
    """
    address = address_of(host)
    try:
        try:
            agents = host.discover_agents()
        except _DAMAGED as error:
            if not isinstance(host, HostFileReadInterface):
                raise MngrError(f"the data of an agent is damaged: {error!r}") from error
            # Their folders show which agents there are.
            agents = []
        found = [
            PreservedAgentIdentity(
                host_id=host.id,
                host_name=host.get_name(),
                provider_name=agent.provider_name,
                agent_id=agent.agent_id,
                agent_name=agent.agent_name,
                agent_type=agent.agent_type,
                labels=agent.labels,
            )
            for agent in agents
            if agent.agent_type is not None
            and has_class(agent.agent_type, agent_class, mngr_ctx)
            and not _is_given_up(agent.agent_type, mngr_ctx)
        ]
        if not _is_given_up(AGENT_TYPE, mngr_ctx):
            unlisted = _unlisted(host, {agent.agent_id for agent in agents})
            found += [_identity_of_unlisted(host, agent_id) for agent_id in unlisted]
    except (MngrError, OSError) as error:
        _fail_to_look(host, mngr_ctx, error)
        return
    errors = []
    for identity in found:
        what = f"cannot preserve the transcripts and sessions of agent {identity.agent_name}@{address}"
        try:
            set_aside.retried(partial(_copy_from_volume, host, mngr_ctx, identity), host, what)
        except (MngrError, OSError) as error:
            errors.append(f"{what}: {error}")
    if errors:
        raise MngrError("\n".join([*errors, f"hint: start the host, or give them up with `{GIVE_UP}`"]))


def _copy_from_volume(host: HostInterface, mngr_ctx: MngrContext, identity: PreservedAgentIdentity) -> None:
    if not isinstance(host, HostFileReadInterface):
        raise set_aside.CannotSetAsideError("the host is not running")
    _copy_state(host, mngr_ctx, get_agent_state_dir_path(host.host_dir, identity.agent_id), identity)


def _fail_to_look(host: HostInterface, mngr_ctx: MngrContext, reason: Exception) -> None:
    """Raises the error that it is not known which agents a host has. If their files are given up, it is a warning."""
    problem = f"cannot look for Codex agents on host {address_of(host)} before it is destroyed: {reason}"
    if not _is_given_up(AGENT_TYPE, mngr_ctx):
        hint = f"start the host, or give their transcripts and sessions up with `{GIVE_UP}`"
        raise MngrError(f"{problem}\nhint: {hint}") from reason
    logger.warning("{}", problem)


def _is_given_up(agent_type: str, mngr_ctx: MngrContext) -> bool:
    """Returns whether the settings give up the files of agents of a type. They do not for an unknown type."""
    try:
        config = resolve_agent_type(AgentTypeName(agent_type), mngr_ctx.config).agent_config
    except MngrError:
        return False
    return getattr(config, "preserve_on_destroy", True) is False


def _bring_rest_here(host: HostInterface, mngr_ctx: MngrContext) -> None:
    """Copies what earlier destroys have set aside on a host.

    Raises:
        MngrError: It could not be copied.
    """
    address = address_of(host)
    what = f"cannot copy the transcripts and sessions of destroyed agents that are kept on host {address}"
    try:
        noted = unfetched.agents(mngr_ctx, host.id).values()
        if isinstance(host, HostFileReadInterface):
            errors = []
            for parts in set_aside.by_agent(set_aside.retried(lambda: set_aside.find(host), host, what)):
                try:
                    set_aside.bring_here(host, mngr_ctx, parts, preserved_items())
                except (MngrError, OSError) as error:
                    errors.append(f"{parts[-1].identity.agent_name}: {error}")
            if errors:
                raise MngrError("; ".join(errors))
        elif names := sorted(agent.name for agent in noted if not _is_given_up(agent.type, mngr_ctx)):
            raise MngrError(f"its files cannot be read ({', '.join(names)})")
    except (MngrError, OSError) as error:
        if _is_given_up(AGENT_TYPE, mngr_ctx):
            logger.warning("{}: {}", what, error)
            return
        raise MngrError(
            f"{what}: {error}\nhint: start the host and run `mngr codex recover {address}`, or give them up with "
            f"`{GIVE_UP}`"
        ) from error
