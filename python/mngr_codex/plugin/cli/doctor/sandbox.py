"""Checks that Codex's sandbox starts."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mngr_codex.plugin import paths
from mngr_codex.plugin.cli.doctor.finding import Finding
from mngr_codex.plugin.home import sandbox
from mngr_codex.plugin.home.config_toml import read_config
from mngr_codex.plugin.host.connection import run_with_input
from mngr_codex.plugin.host.place import HostPlace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.agent import CodexAgent

_SECONDS = 30.0
NOT_USED = "not tried: the agent runs without it"


def check(host: OnlineHostInterface, agent: CodexAgent, command: str) -> Iterator[Finding]:
    """Checks that the sandbox of an agent's Codex starts, unless the agent runs without it.

    Args:
        host: This machine.
        agent: The agent.
        command: The ``command`` setting, with the path of Codex if that is not on PATH.
    """
    home = agent._get_agent_dir() / paths.CODEX_HOME
    config = read_config(host, str(home / "config.toml"))
    if sandbox.is_disabled(config, command, [str(agent.get_command())]):
        return
    ran = run_with_input(host, script(command, home), b"", timeout_seconds=_SECONDS)
    yield judge(ran.stdout.decode(errors="replace"), HostPlace(), str(agent.name))


def script(command: str, codex_home: Path) -> str:
    """Returns a script that tries the sandbox in a copy of an agent's home: Codex writes to any home that it gets.

    Args:
        command: The ``command`` setting, with the path of Codex if that is not on PATH.
        codex_home: The agent's ``CODEX_HOME``.
    """
    config = shlex.quote(str(codex_home / "config.toml"))
    start = sandbox.start_script(command, '"$copy"')
    return (
        f'copy=$(mktemp -d) && {{ cp {config} "$copy" 2>/dev/null\n{start}{sandbox.RESULT_SCRIPT}rm -rf "$copy"\n}}\n'
    )


def judge(printed: str, place: HostPlace, agent: str, host: str | None = None) -> Finding:
    """Returns the finding about what :func:`script` has printed.

    Args:
        printed: The output.
        place: The host.
        agent: The agent's name.
        host: The name of the host, as the doctor's report has it; None for this machine.
    """
    lines = [line.removeprefix("sandbox ") for line in printed.splitlines() if line.startswith("sandbox ")]
    problem = sandbox.problem_in(lines)
    if not lines:
        return Finding("sandbox", f"not tried: no temporary file can be created{place.there}", None, agent, host=host)
    if problem is None:
        return Finding("sandbox", f"it starts{place.there}", None, agent, host=host)
    said, remedy = sandbox.texts(problem, place)
    return Finding("sandbox", said, remedy, agent, is_warning=True, host=host)
