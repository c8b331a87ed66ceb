"""Finds servers of Codex that run hooks in another environment than that of the agent or terminal.

Codex 0.163 and later can run turns in a server, which a terminal joins if the server listens in its Codex home, even
with ``features.daemon_auto_start = false`` (seen on 0.163 and 0.171). The server runs the hooks, in the environment in
which it was started. The plugin's hooks find the agent by a variable in that environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mngr_codex.plugin.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mngr_codex.plugin.cli.doctor.processes import Process

# A server with another address is joined only by a terminal that was started with `--remote`.
_SERVER = re.compile(r"\bapp-server\b.* --listen[ =]unix://(?: |$)")
_HOOK = re.compile(r"mngr-codex['\"]? hook ")
_VARIABLE = "MNGR_AGENT_STATE_DIR"


@dataclass(frozen=True)
class Server:
    """A server that the terminals with its Codex home join."""

    pids: tuple[int, ...]
    """Its process, and the wrapper that started it if there is one."""
    codex_home: Path
    """The Codex home, without symlinks."""
    state_dir: str | None
    """The state directory of the agent in whose environment it was started."""

    def __str__(self) -> str:
        """Returns the server as messages show it."""
        return f"process {' and '.join(map(str, self.pids))}, a Codex server,"


def running(processes: Iterable[Process]) -> tuple[Server, ...]:
    """Returns the servers among these processes whose environment can be read."""
    found: dict[tuple[Path, str | None], list[int]] = {}
    for process in processes:
        if not _SERVER.search(process.command):
            continue
        environment = process.environment()
        home = environment.get("CODEX_HOME") or (environment.get("HOME") and f"{environment['HOME']}/.codex")
        if home:
            found.setdefault((Path(home).resolve(), environment.get(_VARIABLE)), []).append(process.pid)
    return tuple(Server(tuple(pids), home, state_dir) for (home, state_dir), pids in found.items())


def of_agent(servers: Iterable[Server], *, codex_home: Path, state_dir: Path, agent: str) -> Iterator[Finding]:
    """Checks that no server runs the hooks of an agent in another environment.

    Args:
        servers: The servers of this machine.
        codex_home: The agent's Codex home.
        state_dir: Its state directory.
        agent: Its name.
    """
    home = codex_home.resolve()
    for server in servers:
        if server.codex_home != home:
            continue
        if server.state_dir and Path(server.state_dir).resolve() == state_dir.resolve():
            yield Finding("server", f"{server} runs the hooks in the agent's environment", None, agent)
            continue
        environment = f"with {_VARIABLE}={server.state_dir}" if server.state_dir else f"without {_VARIABLE}"
        pids = " ".join(map(str, server.pids))
        yield Finding(
            "server",
            f"{server} uses the agent's home and was started {environment}. It runs the agent's hooks, so mngr does "
            "not see the turns",
            f"run `kill {pids}; mngr stop {agent} && mngr start {agent}`",
            agent,
        )


def of_user(servers: Iterable[Server], *, codex_home: Path, hook_commands: Iterable[str]) -> Iterator[Finding]:
    """Checks that the user's own hooks do not depend on the environment of a server.

    Args:
        servers: The servers of this machine.
        codex_home: The user's Codex home.
        hook_commands: The commands of the user's own hooks.
    """
    if not any(_HOOK.search(command) and "--state-dir" not in command for command in hook_commands):
        return
    home = codex_home.resolve()
    for server in servers:
        if server.codex_home == home:
            where = f"to {server.state_dir}" if server.state_dir else "nowhere"
            yield Finding(
                "server",
                f"{server} runs the hooks in {codex_home}, so those that call `mngr-codex hook` without --state-dir "
                f"report {where}, for every terminal",
                "run `mngr codex hooks install`, which writes the state directory into these hooks",
                is_warning=True,
            )
