"""Tries whether Codex's sandbox starts on a host, with the settings of an agent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.command_setting import arguments_of, for_subcommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mngr_codex.plugin.host.place import HostPlace

SECONDS = 10
"""How long the sandbox has to start."""
_UNRESTRICTED = "danger-full-access"
_USAGE = 2
"""The exit status of a Codex that does not know the subcommand or its arguments."""
_FAILED = 3

# Nothing of it may hold the output open.
_START = """\
tried=$(mktemp) || exit {failed}
(
    unset RUST_BACKTRACE
    export CODEX_HOME={codex_home}
    cd "$CODEX_HOME"
    {command} sandbox -- true </dev/null >"$tried" 2>&1 &
    codex=$!
    {{ sleep {seconds}; echo "it has not ended after {seconds} s" >>"$tried"; kill -9 $codex; }} >/dev/null 2>&1 &
    killer=$!
    wait $codex
    echo "status $?" >>"$tried"
    kill $killer
) >/dev/null 2>&1 &
sandbox=$!
"""
RESULT_SCRIPT = """\
wait $sandbox
grep -v '^note: ' "$tried" | tail -n 2 | sed 's/^/sandbox /'
rm -f "$tried"
"""
"""The part of a script that waits for the sandbox, and prints its last lines with ``sandbox`` before each."""


def is_disabled(config: Mapping[str, Any], command: str, arguments: Iterable[str]) -> bool:
    """Returns whether an agent runs without Codex's sandbox, so that it need not start.

    Args:
        config: The content of the agent's ``config.toml``.
        command: The ``command`` setting, as a shell would run it.
        arguments: The agent's arguments of Codex.
    """
    given = " ".join((*arguments_of(command), *arguments))
    options = (_UNRESTRICTED, "--dangerously-bypass-approvals", "--yolo")
    return config.get("sandbox_mode") == _UNRESTRICTED or any(option in given for option in options)


def start_script(command: str, codex_home: str) -> str:
    """Returns the part of a script that tries the sandbox in the background, before :data:`RESULT_SCRIPT`.

    Args:
        command: The ``command`` setting, as a shell would run it, with the path of Codex if that is not on PATH.
        codex_home: The ``CODEX_HOME``, as a shell word. Codex writes to it.
    """
    return _START.format(codex_home=codex_home, command=for_subcommand(command), seconds=SECONDS, failed=_FAILED)


def problem_in(lines: Sequence[str]) -> str | None:
    """Returns why the sandbox does not start; None if it does, if it was not tried, or if this Codex has none.

    Args:
        lines: The lines that :data:`RESULT_SCRIPT` has printed, without ``sandbox`` before them.
    """
    status = re.fullmatch(r"status (\d+)", lines[-1]) if lines else None
    if status is None or int(status[1]) in {0, _USAGE}:
        return None
    return lines[0].strip() if len(lines) > 1 else f"exit status {status[1]}"


def texts(problem: str, place: HostPlace) -> tuple[str, str]:
    """Returns the notice about a sandbox that does not start, and the hint.

    Args:
        problem: Why it does not start.
        place: The host.
    """
    return (
        f"Codex's sandbox does not start{place.there}, so every command of the model fails: {problem}",
        f"allow users of {place} to create namespaces; or, if {place} is a sandbox itself, set "
        f'sandbox_mode = "{_UNRESTRICTED}" for the agent type',
    )
