"""The directory of an agent's ``CODEX_HOME``, with links to the user's files and copies of them.

What Codex writes to is copied (rules; ``config_toml`` does the same for settings and profiles). What it only reads is
linked (``AGENTS.md``, ``.env``, prompts, skills, agent roles, themes), so that changes by the user reach existing
agents. The login is a link as well: Codex writes through it, and a later ``codex login`` applies to all agents.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LINKED = ("AGENTS.md", "AGENTS.override.md", "themes", ".env", ".credentials.json")
"""Files and folders of the user that agents link to. The tokens of MCP servers (``.credentials.json``) are linked like
the login: a copy would become invalid as soon as the other one is renewed."""
LINKED_ENTRIES = ("prompts", "skills", "agents")
"""Folders of the user to whose entries agents link, except hidden ones: ``skills/.system`` is Codex's own."""
RULES = "rules"
"""The folder of rules, which agents copy."""
PROFILES = "*.config.toml"
"""The files of the user's profiles, as a pattern."""


def creation_script(user_codex_home: str, codex_home: Path, *, carries_user_files: bool) -> str:
    """Returns a bash script that creates an agent's ``CODEX_HOME`` with its links and copies.

    Args:
        user_codex_home: The user's own ``CODEX_HOME``.
        codex_home: The directory to create; it may exist already.
        carries_user_files: Whether the agent gets anything of the user's besides the login.
    """
    return f"""\
set -e
user={shlex.quote(user_codex_home)} home={shlex.quote(str(codex_home))}
mkdir -p "$home"
chmod 700 "$home"
# Codex cannot write the login through a link into a directory that does not exist.
[ -d "$user" ] || mkdir -p -m 700 "$user" 2>/dev/null || :
ln -sfn "$user/auth.json" "$home/auth.json"
""" + (CARRY_OVER if carries_user_files else "")


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
"""
"""The part of a bash script that links an agent's home, `$home`, to the files in `$user` and copies the rules."""
