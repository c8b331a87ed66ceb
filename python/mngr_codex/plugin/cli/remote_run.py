"""Runs the commands of the native program on an agent's host, and shows their output in this terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import click
from imbue.mngr.errors import HostConnectionError

from mngr_codex.plugin.cli import remote_agents
from mngr_codex.plugin.host import streaming
from mngr_codex.plugin.host.error_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mngr_codex.plugin.cli.remote_agents import FoundAgent


def show_transcript(
    agent: FoundAgent,
    arguments: Sequence[str],
    *,
    is_human: bool,
    is_followed: bool,
    is_paged: bool,
    is_local_time: bool,
    is_as_mngr: bool = True,
    on_accepted: Callable[[], None] = lambda: None,
) -> int:
    """Shows the transcript of an agent on another host as the program shows that of one on this machine.

    Args:
        agent: The agent.
        arguments: The program's arguments before the state directory, without those about the terminal.
        is_human: Whether the output is for people, with the colors, the width and the time zone of this terminal.
        is_followed: Whether the arguments follow the transcript.
        is_paged: Whether a pager may be used.
        is_local_time: Whether times are shown in the time zone of this machine.
        is_as_mngr: Whether the program declines if mngr would show another transcript or an error.
        on_accepted: Called once, before anything is shown.

    Returns:
        The program's exit status.

    Raises:
        Declined: The program is not there, is too old, or does not print what mngr would.
    """
    own = streaming.terminal()
    pager = streaming.pager_command() if is_human and is_paged else None
    # A pager shows colors on the same terminal.
    is_colored = own is not None and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    marked = streaming.MarkedOutput()
    environment = {}
    columns = str(own.columns) if own else os.environ.get("COLUMNS", "")
    if is_human and columns.isdecimal():
        environment["COLUMNS"] = columns

    def script() -> str:
        words = list(arguments)
        if is_human and not any(word.startswith("--color") for word in words):
            words.append(f"--color={'always' if is_colored else 'never'}")
        if is_followed:
            words.append("--marks")
            if marked.position is not None:
                words.append(f"--after={marked.position}")
            if marked.announced is not None:
                words.append(f"--announced={marked.announced}")
        words += ["--no-pager", "--", str(agent.state_dir)]
        run = remote_agents.program_script(
            agent, words, environment=environment, is_one_transcript=is_as_mngr and not is_followed
        )
        return (remote_agents.time_zone_script() if is_human and is_local_time else "") + run

    with _output(pager) as output:
        return _stream(
            streaming.Run(
                host=agent.host,
                name=agent.host_name,
                script=script,
                shown=marked if is_followed else streaming.RepeatedOutput(),
                output=output,
                uses_terminal=is_followed and is_human and own is not None and sys.stderr.isatty(),
                declining=remote_agents.NOT_RUN if is_as_mngr else remote_agents.NOT_RUN - {2},
                is_endless=is_followed,
                on_accepted=on_accepted,
            )
        )


def run_program(
    agent: FoundAgent, arguments: Sequence[str], *, is_endless: bool = False, ends_with_input: bool = False
) -> int:
    """Runs a command of an agent's program on its host, and returns its exit status.

    Args:
        agent: The agent.
        arguments: The program's arguments.
        is_endless: Whether the command runs until Ctrl-C, so that a broken connection is made again for as long as that
            takes.
        ends_with_input: Whether the program does not notice that nobody reads its output.

    Raises:
        Declined: The program is not there or cannot be run.
    """
    uses_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    environment = {"MNGR_HOST_DIR": str(agent.host.host_dir)}
    is_ended = ends_with_input and not uses_terminal
    script = remote_agents.program_script(agent, arguments, environment=environment, ends_with_input=is_ended)
    return _stream(
        streaming.Run(
            host=agent.host,
            name=agent.host_name,
            script=lambda: script,
            shown=streaming.AnyOutput() if is_endless else streaming.RepeatedOutput(),
            output=streaming.StandardOutput(),
            uses_terminal=uses_terminal,
            keeps_input=is_ended,
            declining=remote_agents.NOT_RUN - {2},
            is_endless=is_endless,
        )
    )


@contextlib.contextmanager
def _output(pager: str | None) -> Iterator[streaming.Output]:
    if pager is None:
        yield streaming.StandardOutput()
        return
    running = streaming.Pager(pager)
    try:
        yield running
    finally:
        running.finish()


def _stream(run: streaming.Run) -> int:
    """Runs the program, and ends this process like the program if a signal ends that on this machine."""
    try:
        return streaming.stream(run)
    except HostConnectionError as error:
        raise click.ClickException(f"cannot connect to {run.name}: {one_line(error)}") from None
    except streaming.ConnectionBroken as error:
        raise click.ClickException(f"{error}\nhint: run the command again") from None
    except KeyboardInterrupt:
        _end_by(signal.SIGINT)
        raise
    except BrokenPipeError:
        if isinstance(run.output, streaming.Pager):
            # The user has quit it.
            return 0
        _end_by(signal.SIGPIPE)
        raise


def _end_by(number: signal.Signals) -> None:
    """Ends this process by a signal, as the program itself would end, so that a shell sees it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
