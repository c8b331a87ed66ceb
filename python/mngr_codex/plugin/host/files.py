"""Writes files to a host, all of them in one channel of mngr's connection."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imbue.mngr.errors import MngrError

from mngr_codex.plugin.host.connection import Completed, run_with_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

_NOT_WRITTEN = 121
_WRITE_SECONDS = 60.0

# Standard input is copied to a file first: programs that read a part of a pipe may read ahead. If the connection
# breaks, that file is too short. Each file is complete, with its mode, before it replaces another one. `mv` would move
# a file into a directory of its name. The files can contain API keys. Their list is a part of the input, because the
# length of a command is limited.
_READ = """\
received=$(mktemp) || exit {status}
cat >"$received" && [ "$(wc -c <"$received")" -eq {size} ] || {{ rm -f "$received"; exit {status}; }}
fail() {{ rm -f "$received"; echo "$1: $2" >&2; exit {status}; }}
offset=$(({index} + 1))
put() {{
    new=$1.new-$$
    [ ! -d "$1" ] || fail "$1" 'Is a directory'
    mkdir -p "${{1%/*}}" && (umask 077; tail -c "+$3" "$received" | head -c "$4" >"$new") &&
        [ "$(wc -c <"$new")" -eq "$4" ] && chmod "$2" "$new" && mv -f "$new" "$1" ||
        {{ rm -f "$new"; fail "$1" 'cannot be written'; }}
}}
while IFS= read -r -d '' path && IFS=' ' read -r -d '' mode length; do
    put "$path" "$mode" "$offset" "$length"
    offset=$((offset + length))
done < <(head -c {index} "$received")
rm -f "$received"
"""


@dataclass(frozen=True)
class HostFile:
    """A file to write on a host."""

    path: Path
    content: bytes
    mode: int = 0o600


def write_files(host: OnlineHostInterface, files: Sequence[HostFile], *, removed: Sequence[Path] = ()) -> None:
    """Writes files to a host and creates their directories. Each file is replaced completely or not at all.

    Args:
        host: The host.
        files: The files.
        removed: Files to remove, which need not exist.

    Raises:
        MngrError: A file cannot be written.
        HostConnectionError: The connection to the host cannot be restored.
    """
    write_and_run(host, files, removal(removed), timeout_seconds=_WRITE_SECONDS)


def removal(paths: Sequence[Path]) -> str:
    """Returns the part of a script that removes files, which need not exist."""
    return f"rm -f {shlex.join(map(str, paths))}\n" if paths else ""


def write_and_run(
    host: OnlineHostInterface, files: Sequence[HostFile], script: str, *, before: str = "", timeout_seconds: float
) -> Completed:
    """Writes files to a host, and then runs a script there. On another host this is one command.

    If the connection breaks, all of it is done again.

    Args:
        host: The host.
        files: The files.
        script: The script, for bash.
        before: A script that runs before the files are written. If it fails, they are not written.
        timeout_seconds: How long each of these may take.

    Returns:
        The result of the script, with the output of both scripts; or that of the first script if it fails.

    Raises:
        MngrError: A file cannot be written.
        CommandTimeoutError: It takes longer than that.
        HostConnectionError: The connection to the host cannot be restored.
    """
    if host.is_local:
        return _write_and_run_locally(host, files, script, before, timeout_seconds)
    content = b""
    # After `||`, bash would ignore a `set -e` in the script.
    parts = [f'( {before}\n) </dev/null\nstatus=$?; [ "$status" -eq 0 ] || exit "$status"' if before else ""]
    if files:
        index = b"".join(_index(files))
        content = index + b"".join(file.content for file in files)
        parts.append(_READ.format(index=len(index), size=len(content), status=_NOT_WRITTEN))
    output = run_with_input(host, ["bash", "-c", "\n".join([*parts, script])], content, timeout_seconds=timeout_seconds)
    if output.status == _NOT_WRITTEN:
        raise MngrError(f"cannot write the agent's files on the host: {last_line(output)}")
    return output


def last_line(completed: Completed) -> str:
    """Returns the last line that a command has written to standard error, or else its exit status."""
    lines = [line.strip() for line in completed.stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {completed.status}"


def _index(files: Sequence[HostFile]) -> Iterator[bytes]:
    """Yields the entries that precede the contents: for each file the path, the mode and the size."""
    for file in files:
        yield b"%b\0%04o %d\0" % (os.fsencode(file.path), file.mode, len(file.content))


def _write_and_run_locally(
    host: OnlineHostInterface, files: Sequence[HostFile], script: str, before: str, timeout_seconds: float
) -> Completed:
    """Does the same without a program for each step."""

    def run(text: str) -> Completed:
        if not text:
            return Completed(0, b"", b"")
        return run_with_input(host, ["bash", "-c", text], b"", timeout_seconds=timeout_seconds)

    first = run(before)
    if first.status != 0:
        return first
    for file in files:
        try:
            host.write_file(file.path, file.content, mode=f"{file.mode:04o}")
        except OSError as error:
            raise MngrError(f"cannot write the agent's files: {error}") from None
    second = run(script)
    return Completed(second.status, first.stdout + second.stdout, first.stderr + second.stderr)
