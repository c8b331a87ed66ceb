"""``mngr codex``: the program's own commands where only ``mngr`` is on PATH, and a doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from imbue.mngr.cli.common_opts import add_common_options

from mngr_codex.plugin.cli import local_agents

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def codex() -> None:
    """Look after codex agents, and convert what codex writes."""


def _passed_on(name: str, short_help: str) -> click.Command:
    @click.command(
        name,
        short_help=short_help,
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def run(arguments: tuple[str, ...]) -> None:
        import os
        import sys

        from mngr_codex.plugin.host.program import own_program

        program = own_program()
        if program is None:
            raise click.ClickException("The program mngr-codex is gone. Install mngr-codex anew, as its README says.")
        words: Sequence[str] = arguments
        if name in ("marker", "watch"):
            words = with_state_dir(arguments)
            if {"-h", "--help"} & set(arguments):
                click.echo("`--agent NAME` stands for the `--state-dir` of that agent.\n")
                sys.stdout.flush()
            elif (name == "watch" or {"show", "recompute", "reset"} & set(arguments)) and not (
                "MNGR_AGENT_STATE_DIR" in os.environ or any(word.startswith("--state-dir") for word in words)
            ):
                raise click.UsageError(f"Name the agent: mngr codex {' '.join((name, *arguments))} --agent NAME")
        os.execv(program, [str(program), name, *words])

    return run


for _name, _short_help in (
    ("convert", "Convert a rollout to a common transcript."),
    ("transcript", "Show a transcript: of an agent, of a rollout, or a common transcript itself."),
    ("marker", "Show what says whether an agent is at work: marker show --agent NAME."),
    ("watch", "Follow an agent's rollouts: watch --once --agent NAME."),
):
    codex.add_command(_passed_on(_name, _short_help))


def with_state_dir(arguments: Sequence[str]) -> list[str]:
    """Put an agent's state dir in place of its name: for ``--agent NAME`` comes ``--state-dir DIR``, behind all else.

    Raises:
        click.UsageError: No agent of this machine has the name.
    """
    words = iter(arguments)
    kept: list[str] = []
    named: list[str] = []
    for word in words:
        if word == "--":
            return [*kept, *named, word, *words]
        if word == "--agent" and (name := next(words, "")):
            named = ["--state-dir", str(_state_dir(name))]
        elif word.startswith("--agent="):
            named = ["--state-dir", str(_state_dir(word.partition("=")[2]))]
        else:
            kept.append(word)
    return [*kept, *named]


def _state_dir(name: str) -> Path:
    from imbue.mngr.config.host_dir import read_default_host_dir

    for agent in local_agents.read(read_default_host_dir()):
        if name in (agent.name, agent.id):
            return agent.state_dir
    raise click.UsageError(f"This machine has no agent {name}. `mngr list` shows those that there are.")


@codex.command(short_help="Look whether all is there that codex agents need.")
@click.argument("names", nargs=-1)
@add_common_options
@click.pass_context
def doctor(ctx: click.Context, /, **_: object) -> None:
    """Look whether all is there that codex agents need, and say what to do where it is not.

    Looks at this machine and at its codex agents, or at those of these NAMES. Ends with 1 if something is wrong.
    """
    from mngr_codex.plugin.cli.doctor import run

    ctx.exit(run(ctx))
