"""The directory of an agent's ``CODEX_HOME``, with links to the user's files and copies of them.

What Codex writes to is copied (rules; ``config_toml`` does the same for settings and profiles). What it only reads is
linked (``AGENTS.md``, ``.env``, prompts, skills, agent roles, themes), so that changes by the user reach existing
agents. The login is a link as well: Codex writes through it, and a later ``codex login`` applies to all agents.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface


LINKED = ("AGENTS.md", "AGENTS.override.md", "themes", ".env", ".credentials.json")
"""Files and folders of the user that agents link to. The tokens of MCP servers (``.credentials.json``) are linked like
the login: a copy would become invalid as soon as the other one is renewed."""
LINKED_ENTRIES = ("prompts", "skills", "agents")
"""Folders of the user to whose entries agents link, except hidden ones: ``skills/.system`` is Codex's own."""
RULES = "rules"
"""The folder of rules, which agents copy."""
PROFILES = "*.config.toml"
"""The files of the user's profiles, as a pattern."""


@dataclass(frozen=True, kw_only=True)
class CodexHomeDirectory:
    """The directory of an agent's ``CODEX_HOME`` after its creation."""

    user_codex_home: str
    """The user's own ``CODEX_HOME``."""
    work_dir: str
    """The agent's work directory without symlinks."""
    is_logged_in: bool
    """Whether the user's Codex has a login."""
    has_account: bool
    """Whether it is a ChatGPT login."""
    profiles: tuple[str, ...]
    """The file names of the user's profiles; empty if the user's files are not carried over."""
    lines: tuple[str, ...]
    """What the additional script has printed."""


def create_directory(
    host: OnlineHostInterface,
    codex_home: Path,
    *,
    work_dir: Path,
    user_codex_home: Path | None,
    carries_user_files: bool,
    script_before: str = "",
) -> CodexHomeDirectory:
    """Creates an agent's ``CODEX_HOME`` with the link to the login, and carries the user's files over.

    Args:
        host: The agent's host.
        codex_home: The directory to create; it may exist already.
        work_dir: The agent's work directory.
        user_codex_home: The user's own ``CODEX_HOME`` if it is not ``~/.codex``.
        carries_user_files: Whether the agent gets anything of the user's besides the login.
        script_before: A script that runs first, with the user's home in ``$user``.

    Raises:
        MngrError: The directory cannot be created.
    """
    user = shlex.quote(str(user_codex_home)) if user_codex_home else '"$HOME/.codex"'
    script = f"""\
set -e
user={user} home={shlex.quote(str(codex_home))}
{script_before}mkdir -p "$home"
chmod 700 "$home"
# Codex cannot write the login through a link into a directory that does not exist.
[ -d "$user" ] || mkdir -p -m 700 "$user" 2>/dev/null || :
ln -sfn "$user/auth.json" "$home/auth.json"
printf 'user %s\\n' "$user"
work_dir=$(cd {shlex.quote(str(work_dir))} && pwd -P && echo .)
work_dir=${{work_dir%$'\\n'.}}
case $work_dir in *$'\\n'*) ;; *) printf 'work_dir %s\\n' "$work_dir" ;; esac
if [ -s "$user/auth.json" ]; then echo login; fi
if grep -q '"refresh_token" *: *"' "$user/auth.json" 2>/dev/null; then echo account; fi
""" + (CARRY_OVER if carries_user_files else "")
    result = host.execute_idempotent_command(f"bash -c {shlex.quote(script)}", timeout_seconds=60.0)
    lines = [line.split(" ", 1) for line in result.stdout.split("\n")]
    values = {line[0]: line[1] for line in lines if len(line) == 2}
    if not result.success or not values.get("user"):
        from imbue.mngr.errors import MngrError

        raise MngrError(f"cannot create the agent's CODEX_HOME {codex_home}: {result.stderr.strip()}")
    return CodexHomeDirectory(
        user_codex_home=values["user"],
        # The script does not print a path with line breaks.
        work_dir=values.get("work_dir", str(work_dir)),
        is_logged_in=["login"] in lines,
        has_account=["account"] in lines,
        profiles=tuple(line[1] for line in lines if line[0] == "profile"),
        lines=tuple(result.stdout.split("\n")),
    )


CARRY_OVER = f"""\
link() {{
    if [ -e "$1" ] && {{ [ -L "$2" ] || [ ! -e "$2" ]; }}; then ln -sfn "$1" "$2"; fi
}}
for name in {" ".join(LINKED)}; do
    link "$user/$name" "$home/$name"
done
for folder in {" ".join(LINKED_ENTRIES)}; do
    for entry in "$user/$folder"/*; do
        [ -e "$entry" ] || continue
        mkdir -p "$home/$folder"
        link "$entry" "$home/$folder/${{entry##*/}}"
    done
done
# Rules that Codex has added for the agent are kept.
for rules in "$user/{RULES}"/*; do
    [ -e "$rules" ] || continue
    mkdir -p "$home/{RULES}"
    [ -e "$home/{RULES}/${{rules##*/}}" ] || cp -R "$rules" "$home/{RULES}/"
done
for profile in "$user"/{PROFILES}; do
    if [ -f "$profile" ]; then printf 'profile %s\\n' "${{profile##*/}}"; fi
done
"""
"""The part of a bash script that links an agent's home, `$home`, to the files in `$user` and copies the rules."""
