"""Codex's official packages, and the command that installs one on a host."""

from __future__ import annotations

import re
import shlex

NPM_PACKAGE = "@openai/codex"
PYPI_PACKAGE = "openai-codex-cli-bin"
"""The `codex` binary as a wheel. The wheel installs no command, so a symlink is created."""
_ATTEMPT = "mngr-codex installs Codex with "
"""Begins the line before the output of each program that is tried."""


def install_command(version: str | None = None) -> str:
    """Returns the command that installs Codex for a host's user: with npm, otherwise from PyPI into ``~/.local``.

    Needs only the user's permissions: if npm's global folder is not writable, it installs into ``~/.local``. A program
    that fails is followed by the next one, and :func:`reasons_of` reads from the output why each has failed.

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
with_npm() {{
    prefix=$(npm prefix -g)
    if [ -n "$prefix" ] && is_writable "$prefix/lib/node_modules" && is_writable "$prefix/bin"; then
        npm install -g --fetch-retries=1 {npm}
    else
        npm install -g --fetch-retries=1 --prefix "$HOME/.local" {npm}
    fi
}}
target=$HOME/.local/share/mngr-codex/codex
link() {{
    mkdir -p "$HOME/.local/bin" && ln -sf "$target/codex_cli_bin/bin/codex" "$HOME/.local/bin/codex"
}}
with_uv() {{
    uv pip install --quiet --upgrade --no-deps --target "$target" {pypi} && link
}}
with_pip() {{
    "$python" -m pip install --quiet --upgrade --no-deps --target "$target" {pypi} && link
}}
tried=
attempt() {{
    tried=yes
    echo "{_ATTEMPT}$1" >&2
    "with_$1" >&2 && exit
}}
if command -v npm >/dev/null; then attempt npm; fi
if command -v uv >/dev/null; then attempt uv; fi
for python in python3 python; do
    if "$python" -m pip --version >/dev/null 2>&1; then
        attempt pip
        break
    fi
done
if [ -z "$tried" ]; then
    echo 'cannot install Codex: none of npm, uv and pip was found' >&2
    echo 'hint: install one of them, or install Codex yourself' >&2
fi
exit 1
"""
    return f"bash -c {shlex.quote(script)}"


def reasons_of(output: str) -> str:
    """Returns why each program that has tried to install Codex has failed.

    Args:
        output: What the command that installs it has written to standard error.
    """
    before, *attempts = re.split(rf"(?m)^{re.escape(_ATTEMPT)}(\w+)$", output)
    if not attempts:
        return reason_of(before)
    return "; ".join(f"{name}: {reason_of(said)}" for name, said in zip(attempts[::2], attempts[1::2], strict=True))


def reason_of(output: str) -> str:
    """Returns the line of an installer's output that says what went wrong: npm's first message, or the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    of_npm = (re.fullmatch(r"npm (?:error|ERR!) (?!code |syscall |errno |path |dest )(.+)", line) for line in lines)
    said = [line for line in lines if not line.startswith("hint: ")]
    return next((found[1].strip() for found in of_npm if found), said[-1] if said else "it printed no error")
