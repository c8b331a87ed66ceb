"""The first run of an agent's Codex, before the agent starts: whether it and what it needs work on the host.

One command creates the agent's ``CODEX_HOME``, asks Codex for the hooks, and tries the native program and the sandbox.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imbue.mngr.errors import CommandTimeoutError, MngrError

from mngr_codex.plugin.home import sandbox
from mngr_codex.plugin.home.app_server import ANSWER_SECONDS, query_script, report_of
from mngr_codex.plugin.host.files import last_line, write_and_run
from mngr_codex.plugin.host.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.home.app_server import CodexReport
    from mngr_codex.plugin.host.files import HostFile

_MARGIN_SECONDS = 100


@dataclass(frozen=True, kw_only=True)
class FirstRun:
    """What is written and tried."""

    command: str
    """The ``command`` setting, as a shell would run it, with the path of Codex if that is not on PATH."""
    codex_home: Path
    """The agent's ``CODEX_HOME``."""
    work_dir: Path
    """The agent's work directory."""
    creation: str
    """The script that creates the directory."""
    files: Sequence[HostFile]
    """The files to write, with the agent's settings and hooks."""
    after_files: str = ""
    """A script that runs when the files were written."""
    program: Path | None = None
    """The path of the native program, which is tried; None if the host has none."""
    tries_sandbox: bool = False
    """Whether Codex's sandbox is tried."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The results of a first run."""

    report: CodexReport
    """What Codex reports."""
    work_dir: str
    """The agent's work directory without symlinks."""
    lines: Sequence[str]
    """The output of the scripts of the request, with other lines."""
    after_files_problem: str | None = None
    """Why the script that runs after the files failed; None if it did not."""
    program_problem: str | None = None
    """Why the native program does not run; None if it does, or if there is none."""
    sandbox_problem: str | None = None
    """Why Codex's sandbox does not start; None if it does, or if it was not tried."""


# Codex may look the directory up by its path without symlinks, which must be trusted as well.
_TRUST = """\
real=$(cd {work_dir} && pwd -P && echo .)
real=${{real%$'\\n'.}}
case $real in
*$'\\n'*) ;;
*)
    printf 'work_dir %s\\n' "$real"
    case $real in
    {work_dir} | *[\\"\\\\]*) ;;
    *)
        grep -qF "[projects.\\"$real\\"]" {config} ||
            printf '\\n[projects."%s"]\\ntrust_level = "trusted"\\n' "$real" >>{config}
        ;;
    esac
    ;;
esac
"""
_AFTER_FILES = """\
said=$( (
{script}
) 2>&1 ) || printf 'failed %s\\n' "$(printf '%s\\n' "$said" | tail -n 1)"
printf '%s\\n' "$said"
"""
_PROGRAM = """\
printf 'program %s\\n' "$({program} --version 2>&1 </dev/null | tail -n 1)"
"""


def run(host: OnlineHostInterface, request: FirstRun) -> Answers:
    """Creates an agent's ``CODEX_HOME``, and returns what Codex reports there.

    Args:
        host: The agent's host.
        request: What is written and tried.

    Raises:
        MngrError: The home cannot be created.
        HostConnectionError: The connection to the host cannot be restored.
    """
    home = shlex.quote(str(request.codex_home))
    script = _AFTER_FILES.format(script=request.after_files) if request.after_files else ""
    script += _TRUST.format(work_dir=shlex.quote(str(request.work_dir)), config=f"{home}/config.toml")
    if request.program is not None:
        script += _PROGRAM.format(program=shlex.quote(str(request.program)))
    if request.tries_sandbox:
        # It starts while Codex lists the hooks.
        script += sandbox.start_script(request.command, home)
    query = query_script(command=request.command, codex_home=request.codex_home, work_dir=request.work_dir)
    script += f"(\n{query})\n"
    if request.tries_sandbox:
        script += sandbox.RESULT_SCRIPT
    seconds = float(ANSWER_SECONDS + _MARGIN_SECONDS)
    try:
        output = write_and_run(
            host, request.files, script, before=f"{request.creation}echo created\n", timeout_seconds=seconds
        )
    except CommandTimeoutError:
        raise MngrError(f"cannot create the agent: Codex did not answer within {seconds:.0f} s") from None
    lines = output.stdout.decode(errors="replace").split("\n")
    if "created" not in lines:
        raise MngrError(f"cannot create the agent's CODEX_HOME {request.codex_home}: {last_line(output)}")
    stderr = output.stderr.decode(errors="replace")
    return Answers(
        report=report_of("\n".join(lines), stderr, request.command),
        # The script does not print a path with line breaks.
        work_dir=next(_values(lines, "work_dir"), str(request.work_dir)),
        lines=lines,
        after_files_problem=next(_values(lines, "failed"), None),
        program_problem=_program_problem(next(_values(lines, "program"), None)),
        sandbox_problem=sandbox.problem_in(list(_values(lines, "sandbox"))),
    )


def _values(lines: Sequence[str], name: str) -> Iterator[str]:
    """Yields the values of the lines with a name."""
    return (line[len(name) + 1 :] for line in lines if line.startswith(f"{name} "))


def _program_problem(line: str | None) -> str | None:
    """Returns the reason in what the program has printed as its version."""
    if line is None or line.startswith(PROGRAM):
        return None
    # "bash: line 12: /x/mngr-codex: Permission denied"
    return line.rpartition(": ")[2] or "it printed nothing"
