"""Runs the program on an agent's host, for messages and for the terminal.

An agent that an older version of the plugin has created has an older program, which does not know these commands. A
message is no restart of the agent, so the current program is put there first. The running watcher keeps its own.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import HostConnectionError, MngrError
from imbue.mngr.hosts.tmux import AGENT_PANE_ID_OPTION
from loguru import logger

from mngr_codex.plugin import paths
from mngr_codex.plugin.host.connection import run_with_input
from mngr_codex.plugin.host.program import program_for

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

    from mngr_codex.plugin.host.connection import Completed

Json = dict[str, Any]

_WRONG_USAGE = 2
_CANNOT_RUN = (126, 127)
_SHOWN_LENGTH = 200


class ProgramError(MngrError):
    """The program on an agent's host has failed without an answer."""


class ReplacementError(MngrError):
    """An older program on an agent's host cannot be replaced, so nothing was done."""


def run_on_terminal(
    agent: BaseAgent[Any], command: str, *options: str, content: bytes = b"", timeout_seconds: float
) -> Json | None:
    """Runs a command of the program on an agent's terminal, in one command on its host.

    Args:
        agent: The agent.
        command: A command with the options ``--state-dir``, ``--target`` and ``--json``, which can run again with the
            same input.
        options: Its other options.
        content: Its input.
        timeout_seconds: How long it may take.

    Returns:
        Its answer; None if the host cannot run the program.

    Raises:
        ProgramError: The program has failed.
        ReplacementError: An older program cannot be replaced.
        MngrError: As for :func:`mngr_codex.plugin.host.connection.run_with_input`.
    """
    script = _script(agent, command, *options)
    ran = run_with_input(agent.host, script, content, timeout_seconds=timeout_seconds)
    # A program that is missing was left out when the agent was created, because the host cannot run it.
    if ran.status == _WRONG_USAGE and not ran.stdout and _put_current_program(agent):
        ran = run_with_input(agent.host, script, content, timeout_seconds=timeout_seconds)
    if ran.status in _CANNOT_RUN and not ran.stdout:
        return None
    return _answer(command, ran)


def _script(agent: BaseAgent[Any], command: str, *options: str) -> str:
    """Returns a script that runs a command of the program on the pane that mngr has recorded for the agent.

    A session of an older mngr has no such record; its agent has the first pane of its window.
    """
    state_dir = agent._get_agent_dir()
    session = shlex.quote(f"={agent.tmux_target.session_name}:")
    window = f"{agent.tmux_target.as_shell_arg()}'.{{top-left}}'"
    program = shlex.quote(str(state_dir / paths.PROGRAM))
    words = shlex.join([command, "--json", "--state-dir", str(state_dir), *options])
    return (
        f"pane=$(tmux show-options -v -t {session} {AGENT_PANE_ID_OPTION} 2>/dev/null); "
        f'[ -n "$pane" ] || pane={window}; exec {program} {words} --target "$pane"'
    )


def _put_current_program(agent: BaseAgent[Any]) -> bool:
    """Writes the current program to the agent's state directory; returns False if there is none for its host."""
    program = program_for(agent.host, agent.agent_config.program_wheels)
    if program.content is None:
        return False
    file = agent._get_agent_dir() / paths.PROGRAM
    logger.debug("writing the current program to {} on the host of agent {}", file, agent.name)
    try:
        agent.host.write_file(file, program.content, mode="0755")
    except HostConnectionError:
        raise
    except (MngrError, OSError) as error:
        raise ReplacementError(f"cannot write the current mngr-codex to {file} on the agent's host: {error}") from error
    return True


def _answer(command: str, ran: Completed) -> Json:
    try:
        answer = json.loads(ran.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2])
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        reason = ran.stderr.decode("utf-8", "replace").strip()[-_SHOWN_LENGTH:] or f"status {ran.status}"
        raise ProgramError(f"mngr-codex {command} failed on the agent's host: {reason}")
    return answer
