"""Copies of transcripts and sessions that stay on an agent's host until they have arrived on this machine.

mngr deletes the state directory of an agent that it destroys, even if the files to preserve could not be copied. So
they are set aside on the host before anything is copied: as hard links outside of the state directory, in one command.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from imbue.mngr.api.preservation import (
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
from imbue.mngr.interfaces.data_types import FileType
from imbue.mngr.interfaces.host import HostFileReadInterface, OnlineHostInterface
from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from imbue.mngr.api.preservation import TranscriptFlushResult
    from imbue.mngr.config.data_types import MngrContext
    from imbue.mngr.interfaces.host import HostInterface
    from imbue.mngr.primitives import AgentId

_ROOT = "preserved/set_aside"
"""The folder in mngr's folder on the host. It has a folder for each time that an agent's files were set aside."""
_IDENTITY = "agent.json"
_FILES = "files"
RETRY_SECONDS = 60.0
"""How long a host that cannot be reached is tried again."""
_MAXIMUM_PAUSE_SECONDS = 8.0
_COMMAND_SECONDS = 60.0
# An interrupted transfer continues where it ended. A line that swallows everything is noticed.
_RSYNC_OPTIONS = "--partial --timeout=30"
_SIZE = re.compile(r"\s*(\d+) \./(.+)")

# The folder gets its name when it is complete, so a folder with a name is complete. Links cost no space; the files are
# copied where the file system has none. `-H` follows a link to the folder of sessions.
_SET_ASIDE = """\
umask 077
state={state} root={root} name={name}
mkdir -p "$root" || exit
# mngr repeats a command whose connection broke, and the first run may still be working.
if command -v flock >/dev/null 2>&1 && command exec 9>"$root/.{id}.lock"; then
    flock 9
fi
if [ -d "$state" ] && [ ! -e "$root/$name" ]; then
{first}
    new=$root/.$name.$$
    fail() {{
        rm -rf "$new"
        exit 1
    }}
    mkdir -p "$new/{files}" && printf '%s\\n' {identity} >"$new/{identity_file}" || fail
    for item in {items}; do
        [ -e "$state/$item" ] || continue
        to=$new/{files}/$item
        mkdir -p "${{to%/*}}" || fail
        cp -RlpH "$state/$item" "$to" 2>/dev/null || {{
            rm -rf "$to"
            cp -RpH "$state/$item" "$to" || fail
        }}
    done
    mv "$new" "$root/$name" || fail
fi
[ ! -d "$state" ] || [ -d "$root/$name" ] || exit 1
"""

_LIST = """\
for folder in {folders}; do
    [ -f "$folder/{identity_file}" ] || continue
    printf '@ %s\\n' "$folder"
    cat "$folder/{identity_file}"
    (cd "$folder/{files}" && find . -type f -exec wc -c {{}} +) || [ ! -d "$folder" ] || exit
done
echo {end}
"""
_END = "end-of-set-aside"


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
    token: str,
    first: str = "",
    seconds: float = _COMMAND_SECONDS,
) -> tuple[list[SetAside], str]:
    """Sets the files of an agent aside, unless this was done with the same token before.

    Args:
        host: The agent's host.
        state_dir: The agent's state directory on it.
        identity: The agent.
        items: The files and folders. Those that do not exist are skipped.
        token: A plain file name. Folders with later ones have newer files.
        first: Shell commands that run before.
        seconds: The time limit.

    Returns:
        Everything that is set aside of the agent, oldest first, and what the commands printed.

    Raises:
        CannotSetAsideError: The host was reached, but the files could not be set aside.
        MngrError: The host cannot be reached.
    """
    root = host.host_dir / _ROOT
    script = _SET_ASIDE.format(
        state=shlex.quote(str(state_dir)),
        root=shlex.quote(str(root)),
        name=shlex.quote(f"{identity.agent_name}--{identity.agent_id}.{token}"),
        id=identity.agent_id,
        identity=shlex.quote(identity.model_dump_json()),
        identity_file=_IDENTITY,
        files=_FILES,
        items=shlex.join(item.rel_path for item in items),
        first=first,
    )
    ran = host.execute_idempotent_command(script + _list(root, identity.agent_id), timeout_seconds=seconds)
    if not ran.success:
        raise CannotSetAsideError((ran.stderr or ran.stdout).strip() or "the command failed")
    return _parse(ran.stdout), ran.stdout


def find(host: HostInterface, agent_id: AgentId | None = None) -> list[SetAside]:
    """Returns what is set aside on a host, of all agents or of one, oldest first.

    Raises:
        MngrError: The host cannot be reached.
    """
    root = host.host_dir / _ROOT
    if not isinstance(host, OnlineHostInterface):
        return _find_on_volume(host, root) if isinstance(host, HostFileReadInterface) else []
    ran = host.execute_idempotent_command(_list(root, agent_id), timeout_seconds=_COMMAND_SECONDS)
    if not ran.success:
        raise MngrError(f"cannot list {root} on host {host.get_name()}: {(ran.stderr or ran.stdout).strip()}")
    return _parse(ran.stdout)


def _list(root: Path, agent_id: AgentId | None) -> str:
    folders = "/*" if agent_id is None else f"/*--{agent_id}.*"
    return _LIST.format(folders=shlex.quote(str(root)) + folders, identity_file=_IDENTITY, files=_FILES, end=_END)


def _parse(output: str) -> list[SetAside]:
    """Returns what a listing shows, oldest first.

    Raises:
        MngrError: The listing is incomplete.
    """
    if _END not in output.splitlines():
        raise MngrError("the answer of the host is incomplete")
    found: list[SetAside] = []
    folder = None
    sizes: dict[str, int] = {}
    for line in output.splitlines():
        if line.startswith("@ "):
            folder = Path(line[2:])
        elif folder is not None and line.startswith("{"):
            sizes = {}
            found.append(SetAside(folder, PreservedAgentIdentity.model_validate_json(line), sizes))
        elif (match := _SIZE.fullmatch(line)) is not None:
            sizes[match[2]] = int(match[1])
    return sorted(found, key=lambda each: (each.identity.agent_id, each.folder.name.rpartition(".")[2]))


def _find_on_volume(host: HostFileReadInterface, root: Path) -> list[SetAside]:
    if not host.path_exists(root):
        return []
    found = []
    for entry in host.list_directory(root):
        folder = Path(entry.path)
        if folder.name.startswith(".") or not host.path_exists(folder / _IDENTITY):
            continue
        identity = PreservedAgentIdentity.model_validate_json(host.read_text_file(folder / _IDENTITY))
        files = folder / _FILES
        entries = host.list_directory(files, recursive=True) if host.path_exists(files) else []
        sizes = {
            str(Path(entry.path).relative_to(files)): entry.size
            for entry in entries
            if entry.file_type == FileType.FILE
        }
        found.append(SetAside(folder, identity, sizes))
    return sorted(found, key=lambda each: (each.identity.agent_id, each.folder.name.rpartition(".")[2]))


def bring_here(
    host: HostInterface,
    mngr_ctx: MngrContext,
    found: Sequence[SetAside],
    items: Sequence[PreservedItem],
    *,
    finished: Sequence[TranscriptFlushResult] = (),
    keeps: bool = False,
) -> None:
    """Copies files that were set aside to this machine's folder of preserved agents, and removes them on the host.

    A host that cannot be reached is tried again for a minute.

    Args:
        host: The host.
        mngr_ctx: mngr's context.
        found: What to copy, oldest first.
        items: The files and folders that are recorded in the manifest.
        finished: What the last pass over the transcripts has reported.
        keeps: Whether the files stay on the host.

    Raises:
        MngrError: The files of an agent could not be copied. They are still on the host.
    """
    for _, group in groupby(found, key=lambda each: each.identity.agent_id):
        parts = list(group)
        _bring_agent(host, mngr_ctx, parts, items, finished)
        if not keeps:
            remove(host, parts)


def _bring_agent(
    host: HostInterface,
    mngr_ctx: MngrContext,
    parts: Sequence[SetAside],
    items: Sequence[PreservedItem],
    finished: Sequence[TranscriptFlushResult],
) -> None:
    known = {each.folder: each for each in parts}
    identity = parts[-1].identity
    is_first = True

    def copy() -> None:
        nonlocal is_first
        there = known
        if not is_first:
            # Another process may have brought some of it here, and removed it.
            there = {each.folder: each for each in find(host, identity.agent_id) if each.folder in known}
            known.update(there)
        is_first = False
        sizes = {path: size for part in known.values() for path, size in part.sizes.items()}
        if sizes:
            _copy(host, mngr_ctx, identity, list(there.values()), sizes, items, finished)

    retried(copy, host, f"cannot copy the transcripts and sessions of agent {identity.agent_name}")


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
        if incomplete:
            raise MngrError(
                str(error) if error else f"{len(incomplete)} files differ from those on the host: {incomplete[0]}, …"
            )
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
            parts[0].identity.host_name,
            reason,
            parts[0].identity.host_name,
        )


def retried[T](action: Callable[[], T], host: HostInterface, description: str) -> T:
    """Calls a function until it succeeds, for about a minute, each time with a new connection to the host.

    Raises:
        MngrError, OSError: The last error. A full disk and a command that the host has refused are not tried again.
    """
    end = time.monotonic() + RETRY_SECONDS
    pause = 1.0
    while True:
        try:
            return action()
        except (MngrError, OSError) as error:
            left = end - time.monotonic()
            if left <= 0 or isinstance(error, CannotSetAsideError) or _is_disk_full(error):
                raise
            logger.info("{}: {}; trying again for {:.0f} s", description, error, left)
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
