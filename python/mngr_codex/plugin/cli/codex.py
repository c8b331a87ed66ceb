"""``mngr codex``: the native program's commands for users with only ``mngr`` on PATH, and the doctor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
from imbue.mngr.cli.address_params import HOST_ADDRESS
from imbue.mngr.cli.common_opts import add_common_options
from imbue.mngr.cli.help_formatter import add_pager_help_option, help_option_callback, run_pager

from mngr_codex.plugin.cli import help as help_pages
from mngr_codex.plugin.cli import local_agents
from mngr_codex.plugin.cli.program_help import ProgramPage, program_help

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def codex() -> None:
    """Inspect and maintain Codex agents, and convert Codex sessions."""


_PROGRAM_COMMANDS = {
    "convert": "Convert a Codex rollout to mngr's common transcript.",
    "transcript": "Show the transcript of an agent, a rollout or a transcript file.",
    "status": "List the Codex sessions of this machine that are running or waiting.",
    "hooks": "Install or remove the hooks of a Codex that runs without mngr.",
    "marker": "Show, recompute or reset an agent's RUNNING/WAITING state.",
    "watch": "Keep an agent's transcripts and its RUNNING/WAITING state up to date.",
}
_WITH_AGENT = ("marker", "watch")
_WITH_SUBCOMMANDS = ("hooks", "marker")
_AGENT_HELP = "The agent, on any host: NAME or NAME@HOST, instead of --state-dir."


class _ProgramCommand(click.Command):
    """A command that runs the native program with all its arguments. Its own options are only shown."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Returns the parameters to parse."""
        return [each for each in self.params if isinstance(each, click.Argument)]

    def get_help(self, ctx: click.Context) -> str:
        """Returns the program's help."""
        return program_help([str(self.name)], tuple(_PROGRAM_COMMANDS)) or super().get_help(ctx)


def _program_command(name: str, short_help: str) -> click.Command:
    @click.command(
        name,
        cls=_ProgramCommand,
        short_help=short_help,
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def run(ctx: click.Context, /, arguments: tuple[str, ...]) -> None:
        import os

        from mngr_codex.plugin.host.program import RUN_AS, own_program

        if {"-h", "--help"} & set(_options(arguments)):
            _show_help(ctx, name, arguments)

        if name in _WITH_SUBCOMMANDS and not _subcommand(arguments):
            raise click.UsageError(f"no command given\nhint: `mngr codex {name} --help` lists them")
        program = own_program()
        if program is None:
            raise click.ClickException(
                "cannot find the mngr-codex program\nhint: reinstall mngr-codex as described in its README"
            )
        words: Sequence[str] = arguments
        status = _run_elsewhere(ctx, name, arguments)
        if status is not None:
            ctx.exit(status)
        if name in _WITH_AGENT:
            words = with_state_dir(arguments)
            if (name == "watch" or {"show", "recompute", "reset"} & set(arguments)) and not (
                "MNGR_AGENT_STATE_DIR" in os.environ or any(word.startswith("--state-dir") for word in words)
            ):
                raise click.UsageError(
                    f"no agent given\nhint: run `mngr codex {' '.join((name, *arguments))} --agent NAME`"
                )
        try:
            os.execve(program, [str(program), name, *words], os.environ | RUN_AS)
        except OSError as error:
            raise click.ClickException(
                f"cannot run {program}: {error.strerror}\nhint: reinstall mngr-codex as described in its README"
            ) from None

    if name in _WITH_AGENT:
        run.params.append(click.Option(["--agent"], metavar="NAME", help=_AGENT_HELP))
    if name == "status":
        host = "List the sessions of another host, on which mngr has a Codex agent: a HOST as in NAME@HOST."
        run.params.append(click.Option(["--host"], metavar="HOST", help=host))
    return add_pager_help_option(run)


def _show_help(ctx: click.Context, name: str, arguments: Sequence[str]) -> None:
    """Shows the page of a program's command, or the program's help for a subcommand, and exits."""
    subcommand = _subcommand(arguments) if name in _WITH_SUBCOMMANDS else None
    if subcommand is not None:
        shown = program_help([name, subcommand], tuple(_PROGRAM_COMMANDS))
        if shown is not None:
            if name in _WITH_AGENT:
                shown = shown.replace(
                    "\nOptions:\n", f"\nOptions:\n      --agent <NAME>     {_AGENT_HELP.removesuffix('.')}\n", 1
                )
            run_pager(shown, getattr(ctx.obj, "config", None))
            ctx.exit(0)
    help_option_callback(ctx, ctx.command.params[-1], True)


def _subcommand(arguments: Sequence[str]) -> str | None:
    """Returns the subcommand in the arguments of a command that has subcommands, if there is one."""
    _, others, _ = _split_option(arguments, "--agent")
    return next((word for word in others if not word.startswith("-")), None)


for _name, _short_help in _PROGRAM_COMMANDS.items():
    codex.add_command(_program_command(_name, _short_help))


def _options(arguments: Sequence[str]) -> Sequence[str]:
    """Returns the arguments before ``--``."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def with_state_dir(arguments: Sequence[str]) -> list[str]:
    """Replaces ``--agent NAME`` with ``--state-dir DIR`` at the end of the options.

    Raises:
        click.UsageError: No local agent has the name.
    """
    name, before, after = _split_option(arguments, "--agent")
    return [*before, *(["--state-dir", str(_state_dir(name))] if name else []), *after]


def _run_elsewhere(ctx: click.Context, name: str, arguments: Sequence[str]) -> int | None:
    """Runs a command on another host if the arguments name that or an agent on it, and returns the exit status."""
    value, before, after = _split_option(arguments, "--host" if name == "status" else "--agent")
    if name == "status" and value is not None:
        from mngr_codex.plugin.cli import remote_command

        return remote_command.show_status(ctx, value, [*before, *after])
    if name in _WITH_AGENT and value is not None and _local_state_dir(value) is None:
        from mngr_codex.plugin.cli import remote_command

        if "@" in value or remote_command.has_other_hosts(ctx):
            return remote_command.run(
                ctx, name, value, lambda state_dir: [*before, "--state-dir", str(state_dir), *after]
            )
    if name == "transcript":
        return _transcript_elsewhere(ctx, arguments)
    return None


def _transcript_elsewhere(ctx: click.Context, arguments: Sequence[str]) -> int | None:
    from mngr_codex.plugin.cli import remote_command

    target = remote_command.transcript_target(arguments)
    if target is None or _local_state_dir(target) is not None:
        return None
    if "@" in target:
        return remote_command.show_transcript(ctx, target, arguments)
    if not remote_command.has_other_hosts(ctx):
        return None
    # For what may be a session of this machine no host is asked, unless mngr knows an agent of that name.
    may_be_session = re.fullmatch(r"[0-9a-f-]{4,}", target) is not None
    try:
        return remote_command.show_transcript(ctx, target, arguments, is_known=may_be_session)
    except remote_command.NoSuchAgent:
        # The program knows what else it can be.
        return None


def _split_option(arguments: Sequence[str], option: str) -> tuple[str | None, list[str], list[str]]:
    """Returns the last value of an option, the other arguments before ``--``, and those from it on.

    Raises:
        click.UsageError: The option has no value.
    """
    options = list(_options(arguments))
    value = None
    kept: list[str] = []
    words = iter(options)
    for word in words:
        if word == option:
            value = next(words, "")
        elif word.startswith(f"{option}="):
            value = word.partition("=")[2]
        else:
            kept.append(word)
            continue
        if not value:
            raise click.UsageError(f"{option} needs a name")
    return value, kept, list(arguments[len(options) :])


def _local_state_dir(name: str) -> Path | None:
    from imbue.mngr.config.host_dir import read_default_host_dir

    agents = local_agents.read(read_default_host_dir())
    return next((agent.state_dir for agent in agents if name in (agent.name, agent.id)), None)


def _state_dir(name: str) -> Path:
    state_dir = _local_state_dir(name)
    if state_dir is not None:
        return state_dir
    raise click.UsageError(f"cannot find an agent {name} on this machine\nhint: `mngr list` shows all agents")


@codex.command(short_help="Check the setup Codex agents need, and suggest fixes.")
@click.argument("names", nargs=-1)
@click.option("--json", "is_json", is_flag=True, help="The same as `--format json`.")
@add_common_options
@click.pass_context
def doctor(ctx: click.Context, /, **_: object) -> None:
    """Check the setup Codex agents need, and suggest fixes, without changing anything.

    Checks this machine, the other hosts with Codex agents, and these agents, or only the agents NAMES (also NAME@HOST).
    Shows problems (✗) and warnings (!) first, then one line for each machine and agent without any; with --verbose, one
    line for each check. Exits 1 if there is a problem, otherwise 0.
    """
    from mngr_codex.plugin.cli.doctor import run

    ctx.exit(run(ctx))


for _option in doctor.params:
    if isinstance(_option, click.Option) and _option.name == "verbose":
        _option.help = "Show one line for each check; -vv also shows mngr's DEBUG log, -vvv its TRACE log"


@codex.command(short_help="Fetch what destroyed agents have left on a host.")
@click.argument("host", type=HOST_ADDRESS)
@click.option("--list", "is_list", is_flag=True, help="Only show what is kept on the host.")
@click.option("--keep", "keeps", is_flag=True, help="Keep the files on the host as well.")
@add_common_options
@click.pass_context
def recover(ctx: click.Context, /, **_: object) -> None:
    """Copy transcripts and sessions that destroyed agents have left on HOST to this machine, and remove them there."""
    from mngr_codex.plugin.cli.recover import recover

    recover(ctx)


class _GroupWithAliases(click.Group):
    """A group that lists commands only by their own names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the commands without aliases."""
        return [name for name in super().list_commands(ctx) if self.commands[name].name == name]


@codex.group(cls=_GroupWithAliases, short_help="Show or revoke the folders that you have trusted.")
def trust() -> None:
    """Show or revoke the folders that you have trusted when `mngr create` asked.

    The folders that Codex itself trusts are in ~/.codex/config.toml, and not listed here.
    """


@trust.command("list", short_help="Show the trusted folders.")
@add_common_options
@click.pass_context
def trust_list(ctx: click.Context, /, **_: object) -> None:
    """Show the trusted folders, and since when they are."""
    from mngr_codex.plugin.cli.trust import show

    show(ctx)


@trust.command("revoke", short_help="Stop trusting a folder, or all folders.")
@click.argument("path", required=False)
@click.option("--all", "revokes_all", is_flag=True, help="Revoke all folders, even if a file about them is damaged.")
@add_common_options
@click.pass_context
def trust_revoke(ctx: click.Context, /, **_: object) -> None:
    """Stop trusting the folder PATH or its repository: `mngr create` asks about it again.

    Agents that exist keep running.
    """
    from mngr_codex.plugin.cli.trust import revoke

    revoke(ctx)


trust.add_command(trust_list, "ls")
help_pages.add_pages(codex)
for _name in _PROGRAM_COMMANDS:
    ProgramPage(codex.commands[_name], tuple(_PROGRAM_COMMANDS), help_pages.ADDITIONS[_name]).register()
