"""Puts the user's setup and login of this machine on another host: the files, and the script that runs after them."""

from __future__ import annotations

import io
import shlex
import tarfile
from typing import TYPE_CHECKING

from mngr_codex.plugin.carry.login import AUTH
from mngr_codex.plugin.home.user_files import CARRY_OVER, LINKED, LINKED_ENTRIES, PROFILES, RULES
from mngr_codex.plugin.host.files import HostFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path, PurePath

    from mngr_codex.plugin.carry.login import Login
    from mngr_codex.plugin.carry.settings import CarriedFile, Setup

FOLDER = ".mngr-carried"
"""The folder in the agent's ``CODEX_HOME`` with the files of the setup, to which the agent links."""
_LOGIN = ".mngr-login"
_ARCHIVE = ".mngr-carried.tar"
_OWNED, _COPIED, _KEPT = "owned ", "login copied", "login kept"


def inventory_script(user_codex_home: str) -> str:
    """Returns a script that lists the setup of the user of a host, for :func:`owned_entries`.

    Args:
        user_codex_home: The user's Codex home there, as a word of a shell.
    """
    names = ["config.toml", "hooks.json", PROFILES, *LINKED, *(f"{folder}/*" for folder in (*LINKED_ENTRIES, RULES))]
    return f"""\
for path in {" ".join(f"{user_codex_home}/{name}" for name in names)}; do
    if [ -e "$path" ] || [ -L "$path" ]; then printf '{_OWNED}%s\\n' "${{path#{user_codex_home}/}}"; fi
done
"""


def owned_entries(lines: Iterable[str]) -> frozenset[str]:
    """Returns the entries of the user's Codex home in the lines that :func:`inventory_script` has printed."""
    return frozenset(line.removeprefix(_OWNED) for line in lines if line.startswith(_OWNED))


def cleaning_script(codex_home: Path) -> str:
    """Returns a script that removes the files of an earlier setup from an agent's home, and the links to them."""
    home = shlex.quote(str(codex_home))
    linked = [*LINKED, *(f"{folder}/*" for folder in LINKED_ENTRIES)]
    return f"""\
rm -rf {home}/{FOLDER} {home}/{_ARCHIVE} {home}/{_LOGIN}
for link in {" ".join(f"{home}/{name}" for name in linked)}; do
    if [ -L "$link" ] && [ ! -e "$link" ]; then rm -f "$link"; fi
done
"""


def files(setup: Setup | None, login: Login | None, codex_home: Path, *, uses_tar: bool) -> list[HostFile]:
    """Returns the files to write into an agent's home, which :func:`script` puts in their places.

    Args:
        setup: The setup, or None.
        login: The login, or None.
        codex_home: The agent's ``CODEX_HOME``.
        uses_tar: Whether the files of the setup go into an archive, which is much faster if there are many.
    """
    found = []
    if setup and setup.files:
        if uses_tar:
            found.append(HostFile(codex_home / _ARCHIVE, _archive(setup.files)))
        else:
            found += [
                HostFile(codex_home / FOLDER / path, each.content, _mode(each)) for path, each in setup.files.items()
            ]
    return found if login is None else [*found, HostFile(codex_home / _LOGIN, login.content)]


def _archive(carried: Mapping[PurePath, CarriedFile]) -> bytes:
    """Returns an archive in the format whose long names busybox can read."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, each in carried.items():
            member = tarfile.TarInfo(str(path))
            member.size, member.mode = len(each.content), _mode(each)
            archive.addfile(member, io.BytesIO(each.content))
    return content.getvalue()


def _mode(carried: CarriedFile) -> int:
    return 0o700 if carried.is_executable else 0o600


def script(setup: Setup | None, login: Login | None, *, codex_home: Path, user_codex_home: str) -> str:
    """Returns the script for bash that links the files of the setup and creates the login of the host's user.

    The login is complete when it appears, with mode 0600, and never replaces another one.

    Args:
        setup: The setup, or None.
        login: The login, or None.
        codex_home: The agent's ``CODEX_HOME``.
        user_codex_home: The user's own ``CODEX_HOME`` on the host.
    """
    parts = []
    if login is not None:
        parts.append(_LOGIN_SCRIPT.format(new=shlex.quote(str(codex_home / _LOGIN)), user=shlex.quote(user_codex_home)))
    if setup and setup.files:
        parts.append(f"user={shlex.quote(str(codex_home / FOLDER))} home={shlex.quote(str(codex_home))}\n")
        parts.append(_UNPACK + CARRY_OVER)
    return "".join(parts)


def is_login_copied(lines: Iterable[str]) -> bool | None:
    """Returns what became of the login, from the output of :func:`script`.

    Returns:
        True if it was copied, False if the host had got one in the meantime, and None if it could not be created.
    """
    outcomes = [line for line in lines if line in (_COPIED, _KEPT)]
    return None if not outcomes else outcomes[-1] == _COPIED


_UNPACK = f"""\
if [ -e "$home/{_ARCHIVE}" ]; then
    mkdir -p "$user" && tar -xmof "$home/{_ARCHIVE}" -C "$user" && rm -f "$home/{_ARCHIVE}" || exit
fi
"""

# `ln` fails if the name exists, and so does the redirection with `set -C`, for file systems without hard links. A
# script that runs again, because the connection broke, finds the login that it has created.
_LOGIN_SCRIPT = f"""\
new={{new}} user={{user}}
login=$user/{AUTH} staged=$user/.{AUTH}.new-$$
[ -d "$user" ] || mkdir -p -m 700 "$user"
if [ ! -e "$login" ] && [ ! -L "$login" ] && (umask 077; cat "$new" >"$staged"); then
    ln "$staged" "$login" 2>/dev/null || (umask 077; set -C; cat "$new" >"$login") 2>/dev/null
fi
if cmp -s "$new" "$login"; then
    echo '{_COPIED}'
elif [ -s "$login" ]; then
    echo '{_KEPT}'
fi
rm -f "$new" "$staged"
"""
