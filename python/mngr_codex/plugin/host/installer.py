"""Codex's official packages, and the command that installs one on a host."""

from __future__ import annotations

import re
import shlex

NPM_PACKAGE = "@openai/codex"
PYPI_PACKAGE = "openai-codex-cli-bin"
"""The `codex` binary as a wheel. The wheel installs no command, so a symlink is created."""


def install_command(version: str | None = None) -> str:
    """Returns the command that installs Codex for a host's user: with npm, otherwise from PyPI into ``~/.local``.

    Needs only the user's permissions: if npm's global folder is not writable, it installs into ``~/.local``.

    Args:
        version: The version to install; None for the newest.
    """
    npm = shlex.quote(f"{NPM_PACKAGE}@{version or 'latest'}")
    pypi = shlex.quote(PYPI_PACKAGE + (f"=={version}" if version else ""))
    script = f"""\
is_writable() {{
    folder=$1
    while [ -n "$folder" ] && [ ! -e "$folder" ]; do folder=${{folder%/*}}; done
    [ -w "$folder/" ]
}}
if command -v npm >/dev/null; then
    prefix=$(npm prefix -g)
    if [ -n "$prefix" ] && is_writable "$prefix/lib/node_modules" && is_writable "$prefix/bin"; then
        npm install -g --fetch-retries=1 {npm}
    else
        npm install -g --fetch-retries=1 --prefix "$HOME/.local" {npm}
    fi
    exit
fi
folder=$HOME/.local/share/mngr-codex/codex
if command -v uv >/dev/null; then
    uv pip install --quiet --upgrade --no-deps --target "$folder" {pypi} || exit 1
else
    for python in python3 python; do
        if "$python" -m pip --version >/dev/null 2>&1; then found=$python; break; fi
    done
    if [ -z "${{found-}}" ]; then
        echo 'cannot install Codex: none of npm, uv and pip was found' >&2
        echo 'hint: install one of them, or install Codex yourself' >&2
        exit 1
    fi
    "$found" -m pip install --quiet --upgrade --no-deps --target "$folder" {pypi} || exit 1
fi
mkdir -p "$HOME/.local/bin"
ln -sf "$folder/codex_cli_bin/bin/codex" "$HOME/.local/bin/codex"
"""
    return f"bash -c {shlex.quote(script)}"


def reason_of(output: str) -> str:
    """Returns the line of an installer's output that says what went wrong: npm's first message, or the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    of_npm = (re.fullmatch(r"npm (?:error|ERR!) (?!code |syscall |errno |path |dest )(.+)", line) for line in lines)
    said = [line for line in lines if not line.startswith("hint: ")]
    return next((found[1].strip() for found in of_npm if found), said[-1] if said else "it printed no error")
