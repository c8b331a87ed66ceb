"""What is known about an agent's host before anything is installed there: its platform, Codex, the user's files.

All of it is read with one command, once for each agent that is created.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import MngrError

from mngr_codex.plugin.carry import delivery
from mngr_codex.plugin.command_setting import program_of, with_program
from mngr_codex.plugin.home.user_files import PROFILES
from mngr_codex.plugin.host.connection import LINE_SECONDS, run_with_input
from mngr_codex.plugin.host.files import last_line
from mngr_codex.plugin.host.place import HostPlace
from mngr_codex.plugin.host.program import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.interfaces.host import OnlineHostInterface

CONFIG, HOOKS, MODELS = "config.toml", "hooks.json", "models_cache.json"
"""Files in the user's ``CODEX_HOME``."""
TOKENS = ("CODEX_ACCESS_TOKEN", "OPENAI_IDENTITY_TOKEN_FILE")
"""The variables that can contain a login. API keys in the environment are none for Codex's TUI (0.163, 0.171)."""

_SECONDS = 60.0
_VERSION = "version.json"


@dataclass(frozen=True, kw_only=True)
class UserFile:
    """A file in the user's ``CODEX_HOME``."""

    content: bytes = b""
    problem: str | None = None
    """Why the file cannot be read."""

    def text(self) -> str:
        """Returns the text without its byte order mark, which Codex ignores as well.

        Raises:
            OSError: The file cannot be read.
            UnicodeDecodeError: The file is not UTF-8.
        """
        if self.problem is not None:
            raise OSError(self.problem)
        return self.content.decode().removeprefix("\ufeff")


class Installation(Enum):
    """How mngr has installed Codex in the home of a host's user."""

    FROM_PYPI = auto()
    """With uv or pip."""
    SENT = auto()
    """From this machine, for a host that has no program to install it."""


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What is known about a host."""

    command: str
    """The ``command`` setting. It begins with the path of Codex if that is installed but not on PATH."""
    platform: Platform = field(default_factory=lambda: Platform("", ""))
    home: str = ""
    """The user's home."""
    user_codex_home: str = ""
    """The user's own ``CODEX_HOME``."""
    is_codex_found: bool = False
    """Whether the program of the command exists."""
    codex_path: str | None = None
    """The path of Codex if it is installed but not on PATH."""
    link: str = ""
    """The target of the symlink as which Codex was found; empty if it is none."""
    version: str | None = None
    """The version of Codex; None if it does not report one."""
    installer: str | None = None
    """The first of ``npm``, ``uv`` and ``pip`` that exists. Looked up only if Codex is missing."""
    runs_programs: bool = True
    """Whether programs in mngr's directory can be run. They cannot if it is mounted with ``noexec``."""
    is_logged_in: bool = False
    """Whether the user's Codex has a login."""
    has_account: bool = False
    """Whether it is a ChatGPT login."""
    has_token: bool = False
    """Whether a variable of the environment contains a login."""
    owned: frozenset[str] = frozenset()
    """The entries of the user's ``CODEX_HOME`` that are not copied from this machine. Looked up on other hosts only."""
    has_tar: bool = False
    """Whether the host can unpack archives. Looked up on other hosts only."""
    files: Mapping[str, UserFile] = field(default_factory=dict)
    """The user's settings, hooks, profiles and list of models, by their names; missing ones are left out."""

    def text(self, name: str) -> str | None:
        """Returns the text of one of the user's files; None if it does not exist.

        Raises:
            OSError: The file cannot be read.
            UnicodeDecodeError: The file is not UTF-8.
        """
        file = self.files.get(name)
        return None if file is None else file.text()

    @property
    def profiles(self) -> tuple[str, ...]:
        """The file names of the user's profiles."""
        return tuple(name for name in sorted(self.files) if name.endswith(PROFILES[1:]))

    @property
    def installation(self) -> Installation | None:
        """How mngr has installed Codex in the user's home; None if it was installed in another way."""
        found = re.fullmatch(
            r"/\.local/share/mngr-codex/codex/([^/]+)(/[^/]+)*/codex", self.link.removeprefix(self.home)
        )
        if found is None:
            return None
        return Installation.FROM_PYPI if found[1] == "codex_cli_bin" else Installation.SENT

    @property
    def latest_version(self) -> str | None:
        """The newest version of Codex that the user's own Codex knows; None if it knows none."""
        try:
            known = json.loads(self.text(_VERSION) or "null")
        except (OSError, ValueError, RecursionError):
            return None
        latest = known.get("latest_version") if isinstance(known, dict) else None
        return latest if isinstance(latest, str) else None


# The answers are lines `NAME VALUE`; `file SIZE NAME` is followed by the content. The sizes are measured on copies,
# because Codex can replace its files meanwhile. Codex writes to its home even for `--version` (seen on 0.163), so it
# must not get the user's.
_SCRIPT = """\
user={user}
printf 'system %s\nhome %s\nuser %s\n' "$(uname -sm)" "$HOME" "$user"
program={program}
if path=$(command -v "$program"); then
    echo found
elif [ "$program" = codex ]; then
    path=$HOME/.local/bin/codex
    if [ ! -x "$path" ] && command -v npm >/dev/null; then
        installer=npm path=$(npm prefix -g 2>/dev/null)/bin/codex
    fi
    if [ -x "$path" ]; then
        printf 'found\npath %s\n' "$path"
        PATH=$PATH:${{path%/*}}
    elif [ -n "${{installer-}}" ]; then
        echo "installer $installer"
    elif command -v uv >/dev/null; then
        echo 'installer uv'
    elif python3 -m pip --version >/dev/null 2>&1 || python -m pip --version >/dev/null 2>&1; then
        echo 'installer pip'
    fi
fi
if link=$(readlink "$path" 2>/dev/null); then echo "link $link"; fi
if version=$(CODEX_HOME=/dev/null sh -c {version_command} 2>/dev/null </dev/null); then
    printf '%s\n' "$version" | sed 's/^/version /'
fi
if [ -s "$user/auth.json" ]; then echo login; fi
if grep -q '"refresh_token" *: *"' "$user/auth.json" 2>/dev/null; then echo account; fi
{probes}
[ -d "$user" ] && copy=$(mktemp) && error=$(mktemp) || exit 0
trap 'rm -f "$copy" "$error"' EXIT
for path in {files}; do
    [ -e "$path" ] || continue
    case $path in
    *'
'*) continue ;;
    *.config.toml) [ -f "$path" ] || continue ;;
    esac
    if cat "$path" >"$copy" 2>"$error"; then
        printf 'file %d %s\n' "$(wc -c <"$copy")" "${{path##*/}}"
        cat "$copy"
    else
        printf 'unreadable %s: %s\n' "${{path##*/}}" "$(tail -n 1 "$error")"
    fi
done
"""
_NOEXEC_PROBE = """\
folder={folder}
while [ -n "$folder" ] && [ ! -d "$folder" ]; do folder=${{folder%/*}}; done
if probe=$(mktemp "$folder/.mngr-codex-XXXXXX" 2>/dev/null); then
    chmod 700 "$probe"
    [ -x "$probe" ] || echo noexec
    rm -f "$probe"
fi
"""


def read(
    host: OnlineHostInterface,
    command: str,
    user_codex_home: Path | None = None,
    *,
    line_seconds: float = LINE_SECONDS,
) -> HostFacts:
    """Reads the facts about a host. Leaves nothing there.

    Args:
        host: The host.
        command: The ``command`` setting, as a shell would run it.
        user_codex_home: The user's own ``CODEX_HOME`` if it is not ``~/.codex``.
        line_seconds: How long this is tried again after the line broke.

    Raises:
        MngrError: The host does not run the command that reads them.
    """
    probes = "".join(f'if [ -n "${{{name}-}}" ]; then echo token; fi\n' for name in TOKENS)
    if not host.is_local:
        probes += _NOEXEC_PROBE.format(folder=shlex.quote(str(host.host_dir))) + delivery.inventory_script('"$user"')
    script = _SCRIPT.format(
        user=shlex.quote(str(user_codex_home)) if user_codex_home else "$HOME/.codex",
        program=shlex.quote(program_of(command)),
        version_command=shlex.quote(f"{command} --version"),
        probes=probes,
        files=" ".join(f'"$user"/{name}' for name in (CONFIG, HOOKS, MODELS, _VERSION, PROFILES)),
    )
    output = run_with_input(host, script, b"", timeout_seconds=_SECONDS, line_seconds=line_seconds)
    facts = parse(output.stdout, command)
    if output.status != 0 or not facts.user_codex_home:
        raise MngrError(f"cannot find out what is installed{HostPlace.of(host).there}: {last_line(output)}")
    return facts


def command_of(agent: BaseAgent[Any]) -> str:
    """Returns the command that runs an agent's Codex, for a hint: the setting, if its host cannot be read.

    Args:
        agent: The agent, on a host that is running.
    """
    setting = str(agent.agent_config.command)
    try:
        return read(agent.host, setting, line_seconds=0.0).command
    except (MngrError, OSError):
        return setting


def parse(output: bytes, command: str) -> HostFacts:
    """Parses the answers of a host. Unknown and incomplete lines are ignored.

    Args:
        output: The output of the command that reads the facts.
        command: The ``command`` setting.
    """
    values: dict[str, list[str]] = {}
    files: dict[str, UserFile] = {}
    rest = output
    while rest:
        line, _, rest = rest.partition(b"\n")
        name, _, value = line.decode(errors="surrogateescape").partition(" ")
        if name == "file":
            size, _, file = value.partition(" ")
            files[file], rest = UserFile(content=rest[: int(size)]), rest[int(size) :]
        elif name == "unreadable":
            file, _, problem = value.partition(": ")
            files[file] = UserFile(problem=problem.rpartition(": ")[2])
        else:
            values.setdefault(name, []).append(value)
    owned = delivery.owned_entries(f"owned {value}" for value in values.get("owned", ()))

    def last(name: str) -> str | None:
        return values.get(name, [None])[-1]

    path = last("path")
    version = re.search(r"(?m)^codex\S*\s+(\S+)", "\n".join(values.get("version", ())))
    return HostFacts(
        command=with_program(command, path) if path else command,
        platform=Platform.from_uname(last("system") or ""),
        home=last("home") or "",
        user_codex_home=last("user") or "",
        is_codex_found="found" in values,
        codex_path=path,
        link=last("link") or "",
        version=version.group(1) if version else None,
        installer=last("installer"),
        runs_programs="noexec" not in values,
        is_logged_in="login" in values,
        has_account="account" in values,
        has_token="token" in values,
        owned=owned,
        has_tar="tar" in values.get("has", ()),
        files=files,
    )
