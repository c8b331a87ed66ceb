"""Copies of transcripts and sessions that stay on an agent's host until they have arrived on this machine.

mngr deletes the state directory of an agent that it destroys, even if the files to preserve could not be copied. So
they are set aside on the host before anything is copied: as hard links outside of the state directory, in one command.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shlex
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.api.preservation import (
    PRESERVATION_MANIFEST_FILENAME,
    PreservationManifest,
    PreservationOutcome,
    PreservedAgentIdentity,
    PreservedItem,
    PreservedItemResult,
    get_local_preserved_agent_dir_for_host,
    preserve_agent_data,
    read_preservation_manifest,
    write_preservation_manifest,
)
from imbue.mngr.api.providers import get_local_host
from imbue.mngr.errors import MngrError
from imbue.mngr.hosts.common import get_agents_root_dir
from imbue.mngr.interfaces.data_types import FileType
from imbue.mngr.interfaces.host import HostFileReadInterface, OnlineHostInterface
from imbue.mngr.primitives import AgentId, AgentName, AgentTypeName
from loguru import logger

from mngr_codex.plugin import unfetched
from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.host.error_text import one_line
from mngr_codex.plugin.host.place import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imbue.mngr.api.preservation import TranscriptFlushResult
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import HostInterface

_ROOT = "preserved/set_aside"
"""The folder in mngr's folder on the host. It has a folder for each time that an agent's files were set aside."""
_IDENTITY = "agent.json"
_IDENTITY_BYTES = 64 * 1024
_FILES = "files"
_LIST_FILE, _PART_FILE = "list", "part"
_FOLDER_NAME = re.compile(r"\.?(?P<name>.+)--(?P<id>[^.]+)\.(?P<token>[^.]+)")
RETRY_SECONDS = 60.0
"""How long a host that cannot be reached is tried again."""
_MAXIMUM_PAUSE_SECONDS = 8.0
_COMMAND_SECONDS = 60.0
# An interrupted transfer continues where it ended. A line that swallows everything is noticed. The host may be hostile:
# a link would lead out of the archive when something is written through it, and only mngr writes the manifest.
_RSYNC_OPTIONS = (
    f"--partial --timeout=30 --no-links --no-devices --no-specials --exclude=/{PRESERVATION_MANIFEST_FILENAME}"
)
_SIZE = re.compile(r"\s*(\d+) \./(.+)")

# The folder gets its name when it is complete, so a folder with a name is complete; until then the name begins with a
# dot. A command that was cut off is continued by the next one, also by that of a later destroy, whose token differs.
# Links cost no space. `-H` follows a link to the folder of sessions. Where the file system has no links, the files are
# copied, for a limited time in each command. mngr repeats a command whose connection broke or whose time is over, while
# the first one still runs: the lock lets only one of them work.
_SET_ASIDE = """\
umask 077
state={state} root={root} name={name}
new=$root/.$name
mkdir -p "$root" || exit
unfinished() {{
    echo "{unfinished}$(du -sk "$new" 2>/dev/null | cut -f 1)"
    exit 0
}}
if command -v flock >/dev/null 2>&1 && command exec 9>"$root/.{id}.lock"; then
    tries=0
    until flock -n 9; do
        tries=$((tries + 1))
        [ $tries -le {slice} ] || unfinished
        sleep 1
    done
fi
if [ -d "$state" ] && [ ! -e "$root/$name" ]; then
    if [ ! -d "$new" ]; then
{first}
        for begun in "$root"/.*--{id}.*; do
            [ -d "$begun" ] || continue
            to=$new
            [ ! -d "$new" ] || to=$root/${{begun##*/.}}
            mv "$begun" "$to" || exit 1
        done
    fi
    mkdir -p "$new/{files}" && printf '%s\\n' {identity} >"$new/{identity_file}" || exit 1
    start=$(date +%s)
    for item in {items}; do
        [ -e "$state/$item" ] || continue
        to=$new/{files}/$item
        mkdir -p "${{to%/*}}" || exit 1
        [ ! -e "$to" ] && cp -RlpH "$state/$item" "$to" 2>/dev/null && continue
        find -H "$state/$item" -type f >"$new/{list_file}" || exit 1
        while IFS= read -r file; do
            copy=$new/{files}/${{file#"$state/"}}
            mkdir -p "${{copy%/*}}" || exit 1
            [ ! "$file" -ef "$copy" ] || continue
            ln -f "$file" "$copy" 2>/dev/null && continue
            if [ -f "$copy" ] && [ ! "$file" -nt "$copy" ] && [ $(wc -c <"$file") = $(wc -c <"$copy") ]; then
                continue
            fi
            cp "$file" "$new/{part_file}" && mv -f "$new/{part_file}" "$copy" || exit 1
            [ $(($(date +%s) - start)) -lt {slice} ] || unfinished
        done <"$new/{list_file}"
    done
    mv "$new" "$root/$name" || exit 1
fi
[ ! -d "$state" ] || [ -d "$root/$name" ] || exit 1
"""

# What was begun for an agent that still exists is continued when it is destroyed.
_LIST = """\
for folder in {folders}; do
    [ -d "$folder" ] || continue
    case ${{folder##*/}} in
    .*)
        agent=${{folder##*--}}
        {is_all} || [ ! -d {agents}/"${{agent%%.*}}" ] || continue
        ;;
    esac
    printf '@ %s\\n= ' "$folder"
    cat "$folder/{identity_file}" 2>/dev/null | LC_ALL=C tr -cd ' -~' | head -c {identity_bytes}
    echo
    [ -d "$folder/{files}" ] || continue
    (cd "$folder/{files}" && find . -type f -exec wc -c {{}} +) || [ ! -d "$folder" ] || exit
done
echo {end}
"""
_END = "end-of-set-aside"
_UNFINISHED = "unfinished-set-aside: "
"""Begins the line of a command that has not set everything aside yet, with the size in KiB."""
_SLICE_SECONDS = 20
_STALLED_SECONDS = 300.0
"""How long setting aside may make no progress."""


@dataclass(frozen=True)
class SetAside:
    """The files of an agent that were set aside on its host."""

    folder: Path
    """The absolute path of the folder on the host."""
    identity: PreservedAgentIdentity
    """The agent and its host."""
    sizes: Mapping[str, int]
    """The size of each file in bytes, by its path relative to the agent's state directory."""

    @property
    def total(self) -> int:
        """The size of all files, in bytes."""
        return sum(self.sizes.values())


class CannotSetAsideError(MngrError):
    """The host was reached, but the files could not be set aside on it."""


def set_aside(
    host: OnlineHostInterface,
    state_dir: Path,
    identity: PreservedAgentIdentity,
    items: Iterable[PreservedItem],
    *,
    first: str = "",
    seconds: float = _COMMAND_SECONDS,
) -> tuple[list[SetAside], str]:
    """Sets the files of an agent aside. A host that cannot be reached is tried again for a minute.

    Args:
        host: The agent's host.
        state_dir: The agent's state directory on it.
        identity: The agent.
        items: The files and folders. Those that do not exist are skipped.
        first: Shell commands that run before.
        seconds: The time limit of each command.

    Returns:
        Everything that is set aside of the agent, oldest first, and what the commands printed.

    Raises:
        CannotSetAsideError: The host was reached, but the files could not be set aside.
        MngrError: The host cannot be reached, or makes no progress.
    """
    root = host.host_dir / _ROOT
    # Folders with later tokens have newer files.
    token = f"{time.time_ns():020}-{secrets.token_hex(3)}"
    script = _SET_ASIDE.format(
        state=shlex.quote(str(state_dir)),
        root=shlex.quote(str(root)),
        name=shlex.quote(f"{identity.agent_name}--{identity.agent_id}.{token}"),
        id=identity.agent_id,
        # In ASCII, so that the file can be cleaned of other bytes if it is damaged.
        identity=shlex.quote(json.dumps(identity.model_dump(mode="json"))),
        identity_file=_IDENTITY,
        files=_FILES,
        list_file=_LIST_FILE,
        part_file=_PART_FILE,
        items=shlex.join(item.rel_path for item in items),
        first=first,
        slice=_SLICE_SECONDS,
        unfinished=_UNFINISHED,
    ) + _list(host, identity.agent_id)
    what = f"cannot set the transcripts and sessions of agent {identity.agent_name}@{address_of(host)} aside"
    printed = ""
    progress, progress_at = "", time.monotonic()
    while True:
        ran = retried(lambda: host.execute_idempotent_command(script, timeout_seconds=seconds), host, what)
        if not ran.success:
            raise CannotSetAsideError((ran.stderr or ran.stdout).strip() or "the command failed")
        printed += ran.stdout
        sizes = [line for line in ran.stdout.splitlines() if line.startswith(_UNFINISHED)]
        if not sizes:
            return _parse(host, ran.stdout), printed
        if sizes[-1] != progress:
            progress, progress_at = sizes[-1], time.monotonic()
            size = progress.removeprefix(_UNFINISHED) or "0"
            logger.info("setting the files of agent {} aside on its host: {} KiB so far", identity.agent_name, size)
        elif time.monotonic() - progress_at > _STALLED_SECONDS:
            raise MngrError(f"{what}: there was no progress for {_STALLED_SECONDS:.0f} s")


def find(host: HostInterface, agent_id: AgentId | None = None, *, is_all: bool = False) -> list[SetAside]:
    """Returns what is set aside on a host, of all agents or of one, oldest first.

    Args:
        host: The host.
        agent_id: The agent, or None for all agents.
        is_all: Whether to include what was only begun of an agent that still exists.

    Raises:
        MngrError: The host cannot be reached.
    """
    if not isinstance(host, OnlineHostInterface):
        return _find_on_volume(host)
    ran = host.execute_idempotent_command(_list(host, agent_id, is_all=is_all), timeout_seconds=_COMMAND_SECONDS)
    if not ran.success:
        root = host.host_dir / _ROOT
        raise MngrError(f"cannot list {root} on host {address_of(host)}: {(ran.stderr or ran.stdout).strip()}")
    return _parse(host, ran.stdout)


def _list(host: HostInterface, agent_id: AgentId | None, *, is_all: bool = False) -> str:
    root = shlex.quote(str(host.host_dir / _ROOT))
    name = "*" if agent_id is None else f"*--{agent_id}.*"
    return _LIST.format(
        folders=f"{root}/{name} {root}/.{name if agent_id else '*--*'}",
        agents=shlex.quote(str(get_agents_root_dir(host.host_dir))),
        is_all=str(is_all).lower(),
        identity_file=_IDENTITY,
        identity_bytes=_IDENTITY_BYTES,
        files=_FILES,
        end=_END,
    )


def _parse(host: HostInterface, output: str) -> list[SetAside]:
    """Returns what a listing shows, oldest first.

    Raises:
        MngrError: The listing is incomplete.
    """
    if _END not in output.splitlines():
        raise MngrError("the answer of the host is incomplete")
    found: list[SetAside] = []
    folder = Path()
    sizes: dict[str, int] = {}
    for line in output.splitlines():
        if line.startswith("@ "):
            folder = Path(line[2:])
        elif line.startswith("= "):
            sizes = {}
            identity = _identity(host, folder, line[2:])
            if identity is not None:
                found.append(SetAside(folder, identity, sizes))
        elif (match := _SIZE.fullmatch(line)) is not None:
            sizes[match[2]] = int(match[1])
    return _oldest_first(found)


def _oldest_first(found: Iterable[SetAside]) -> list[SetAside]:
    return sorted(found, key=lambda each: (each.identity.agent_id, each.folder.name.rpartition(".")[2]))


def _identity(host: HostInterface, folder: Path, text: str) -> PreservedAgentIdentity | None:
    """Returns whose files a folder has: from its file about that, or from its name.

    The name counts, with a warning, if the file is damaged or names another agent. None if the name is invalid as well.
    """
    name = _FOLDER_NAME.fullmatch(folder.name)
    try:
        identity = PreservedAgentIdentity.model_validate_json(text)
        # A host must not replace the archive of another agent.
        named = None if name is None else (name["name"], name["id"])
        if identity.host_id == host.id and named == (str(identity.agent_name), str(identity.agent_id)):
            return identity
    except ValueError:
        pass
    try:
        if name is None:
            raise ValueError
        identity = PreservedAgentIdentity(
            host_id=host.id,
            host_name=host.get_name(),
            provider_name=host.get_provider_name(),
            agent_id=AgentId(name["id"]),
            agent_name=AgentName(name["name"]),
            agent_type=AgentTypeName(AGENT_TYPE),
        )
    except ValueError:
        logger.warning("ignoring {} on host {}: it has no files of a destroyed agent", folder, address_of(host))
        return None
    logger.warning(
        "{}/{} on host {} is damaged: the type and the labels of agent {} are unknown, its files are not affected",
        folder,
        _IDENTITY,
        address_of(host),
        identity.agent_name,
    )
    return identity


def _find_on_volume(host: HostInterface) -> list[SetAside]:
    root = host.host_dir / _ROOT
    if not isinstance(host, HostFileReadInterface) or not host.path_exists(root):
        return []
    found = []
    for entry in host.list_directory(root):
        folder = Path(entry.path)
        if entry.file_type != FileType.DIRECTORY:
            continue
        name = folder / _IDENTITY
        text = host.read_file(name).decode(errors="replace") if host.path_exists(name) else ""
        identity = _identity(host, folder, text)
        if identity is None:
            continue
        files = folder / _FILES
        entries = host.list_directory(files, recursive=True) if host.path_exists(files) else []
        sizes = {
            str(Path(entry.path).relative_to(files)): entry.size
            for entry in entries
            if entry.file_type == FileType.FILE
        }
        found.append(SetAside(folder, identity, sizes))
    return _oldest_first(found)


def by_agent(found: Iterable[SetAside]) -> list[list[SetAside]]:
    """Returns what :func:`find` has found, for each agent."""
    return [list(group) for _, group in groupby(found, key=lambda each: each.identity.agent_id)]


def bring_here(
    host: HostInterface,
    mngr_ctx: MngrContext,
    parts: Sequence[SetAside],
    items: Sequence[PreservedItem],
    *,
    finished: Sequence[TranscriptFlushResult] = (),
    keeps: bool = False,
) -> None:
    """Copies an agent's files that were set aside to this machine's folder of preserved agents, and removes them there.

    A host that cannot be reached is tried again for a minute.

    Args:
        host: The host.
        mngr_ctx: mngr's context.
        parts: Everything that is set aside of the agent, oldest first; at least one.
        items: The files and folders that are recorded in the manifest.
        finished: What the last pass over the transcripts has reported.
        keeps: Whether the files stay on the host.

    Raises:
        MngrError, OSError: The files could not be copied. They are still on the host.
    """
    known = {each.folder: each for each in parts}
    identity = parts[-1].identity
    is_first = True

    def copy() -> None:
        nonlocal is_first
        there = known
        if not is_first:
            # Another process may have brought some of it here, and removed it.
            there = {each.folder: each for each in find(host, identity.agent_id, is_all=True) if each.folder in known}
            known.update(there)
        is_first = False
        sizes = {path: size for part in known.values() for path, size in part.sizes.items()}
        if sizes:
            _copy(host, mngr_ctx, identity, list(there.values()), sizes, items, finished)

    retried(copy, host, f"cannot copy the transcripts and sessions of agent {identity.agent_name}")
    unfetched.remove(mngr_ctx, host.id, [identity.agent_id])
    if not keeps:
        remove(host, parts)


def _copy(
    host: HostInterface,
    mngr_ctx: MngrContext,
    identity: PreservedAgentIdentity,
    parts: Sequence[SetAside],
    sizes: Mapping[str, int],
    items: Sequence[PreservedItem],
    finished: Sequence[TranscriptFlushResult],
) -> None:
    """Copies the parts over each other, and checks that the archive of the agent then has the files in their sizes.

    Raises:
        MngrError: Something is missing or incomplete. The archive's manifest shows it.
        OSError: The archive cannot be read or written.
    """
    archive = get_local_preserved_agent_dir_for_host(mngr_ctx, identity.agent_name, identity.agent_id, identity.host_id)
    archive.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(archive):
        manifest_file = archive / PRESERVATION_MANIFEST_FILENAME
        if manifest_file.is_symlink():
            # mngr would write through it.
            manifest_file.unlink()
        error: Exception | None = None
        for part in parts:
            try:
                if isinstance(host, OnlineHostInterface):
                    local = get_local_host(mngr_ctx)
                    local.copy_directory(host, part.folder / _FILES, archive, extra_args=_RSYNC_OPTIONS)
                elif isinstance(host, HostFileReadInterface):
                    preserve_agent_data(items, host, part.folder / _FILES, archive, mngr_ctx)
            except (MngrError, OSError) as failed:
                error = failed
        incomplete = [path for path, size in sizes.items() if _size(archive / path) != size]
        results = [_result(item, sizes, incomplete, error) for item in items]
        manifest = PreservationManifest(identity=identity, items=tuple(results), transcript_flush=tuple(finished))
        make_private(archive)
        write_preservation_manifest(archive, manifest)
        # A file that was not replaced can have the right size.
        if error is not None:
            raise error
        if incomplete:
            raise MngrError(f"{len(incomplete)} files differ from those on the host: {incomplete[0]}, …")
        if read_preservation_manifest(archive) is None:
            raise MngrError(f"cannot write the manifest in {archive}")
        _sync(archive, sizes)


def _result(
    item: PreservedItem, sizes: Mapping[str, int], incomplete: Sequence[str], error: Exception | None
) -> PreservedItemResult:
    def belongs(path: str) -> bool:
        return path == item.rel_path or path.startswith(f"{item.rel_path}/")

    reason = None
    if not any(map(belongs, sizes)):
        outcome = PreservationOutcome.MISSING
    elif not any(map(belongs, incomplete)):
        outcome = PreservationOutcome.COPIED
    else:
        outcome = PreservationOutcome.ERROR
        reason = str(error or "incomplete")[-1000:]
    return PreservedItemResult(rel_path=item.rel_path, kind=item.kind, outcome=outcome, error=reason)


def remove(host: HostInterface, parts: Sequence[SetAside]) -> None:
    """Removes files on their host. After a failure only a copy is left there, so it is a warning."""
    if not parts or not isinstance(host, OnlineHostInterface):
        return
    root = host.host_dir / _ROOT
    words = shlex.join(str(part.folder) for part in parts)
    address = address_of(host)
    locks = " ".join({shlex.quote(f"{root}/.{part.identity.agent_id}.lock") for part in parts})
    command = f"rm -rf {words} && {{ rm -f {locks}; rmdir {shlex.quote(str(root))} 2>/dev/null || :; }}"
    try:
        ran = host.execute_idempotent_command(command, timeout_seconds=_COMMAND_SECONDS)
        reason = None if ran.success else (ran.stderr or ran.stdout).strip()
    except (MngrError, OSError) as error:
        reason = str(error)
    if reason is not None:
        logger.warning(
            "cannot remove {} on host {}: {}\nIts files have been copied to this machine\n"
            "hint: `mngr codex recover {}` removes it",
            words,
            address,
            reason,
            address,
        )


def retried[T](action: Callable[[], T], host: HostInterface, description: str) -> T:
    """Calls a function until it succeeds, for about a minute, each time with a new connection to the host.

    Raises:
        MngrError, OSError: The last error. A full disk and a command that the host has refused are not tried again.
    """
    end = None
    pause = 1.0
    while True:
        try:
            return action()
        except (MngrError, OSError) as error:
            # The first try may have taken longer than a minute.
            end = end or time.monotonic() + RETRY_SECONDS
            left = end - time.monotonic()
            if left <= 0 or isinstance(error, CannotSetAsideError) or _is_disk_full(error):
                raise
            logger.info("{}: {}; trying again for at least {:.0f} s", description, one_line(error), left)
            time.sleep(min(pause, left))
            pause = min(2 * pause, _MAXIMUM_PAUSE_SECONDS)
        if isinstance(host, OnlineHostInterface):
            host.disconnect()


def _is_disk_full(error: Exception) -> bool:
    reason = str(error)
    return "No space left on device" in reason or "Disk quota exceeded" in reason


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def make_private(archive: Path) -> None:
    """Makes an archive private: mngr creates files that others can read, while Codex's own are private."""
    for folder, folders, files in os.walk(archive):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700 if name in folders else 0o600)
    archive.chmod(0o700)


def _sync(archive: Path, paths: Iterable[str]) -> None:
    """Waits until the files are on disk: the copies on the host are removed then."""
    files = [archive / path for path in paths]
    for path in {*files, *(folder for file in files for folder in file.relative_to(archive).parents)}:
        descriptor = os.open(archive / path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _locked(archive: Path) -> Iterator[None]:
    """Waits while another process copies to the archive."""
    descriptor = os.open(archive, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
