"""The pages of ``mngr help codex …``, in the form of mngr's own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imbue.mngr.cli.help_formatter import CommandHelpMetadata, add_pager_help_option

from mngr_codex.plugin.cli.program_help import Additions

if TYPE_CHECKING:
    import click

_PAGES = (
    CommandHelpMetadata(
        key="codex",
        one_line_description="Inspect and maintain Codex agents, and convert Codex sessions",
        synopsis="mngr codex COMMAND [OPTIONS]",
        description="`mngr create NAME codex` creates a Codex agent; `mngr help codex_guide` describes how to use it. "
        "These commands find out what is wrong with one, and show sessions of Codex with and without mngr. An agent is "
        "named as in other commands of mngr: NAME, or NAME@HOST if it is on another host.",
        examples=(
            ("Check the setup, and suggest fixes", "mngr codex doctor"),
            ("List the Codex sessions of this machine that are running or waiting", "mngr codex status"),
            ("List those of another host", "mngr codex status --host my-host"),
            ("Show a session of your own Codex", "mngr codex transcript latest"),
            ("Show the transcript of an agent on another host", "mngr codex transcript my-agent@my-host"),
            ("Show the folders that you have trusted", "mngr codex trust list"),
        ),
        see_also=(
            ("codex_guide", "Create and use Codex agents"),
            ("codex_settings", "Settings of Codex agents"),
            ("create", "Create an agent"),
            ("transcript", "Show an agent's transcript"),
        ),
    ),
    CommandHelpMetadata(
        key="codex.doctor",
        one_line_description="Check the setup Codex agents need, and suggest fixes",
        synopsis="mngr codex doctor [NAMES...] [--json] [--verbose]",
        description="Checks this machine, the other hosts with Codex agents, and these agents, or only the agents "
        "NAMES (also NAME@HOST). Nothing is changed. A host that does not answer is reported after 15 s.\n\n"
        "Shows problems (✗) and warnings (!) first, then one line for each machine and agent without any. "
        "With --verbose there is one line for each check.\n\nExits with 1 if there is a problem, otherwise with 0.",
        examples=(
            ("Check everything", "mngr codex doctor"),
            ("Check one agent, with a line for each check", "mngr codex doctor my-agent --verbose"),
            ("Check an agent on another host", "mngr codex doctor my-agent@my-host"),
            ("Print all findings as JSON", "mngr codex doctor --json"),
        ),
        see_also=(("codex_settings", "Settings of Codex agents"),),
    ),
    CommandHelpMetadata(
        key="codex.recover",
        one_line_description="Fetch what destroyed agents have left on a host",
        synopsis="mngr codex recover HOST [--list] [--keep]",
        description="`mngr destroy` copies an agent's transcripts and sessions to this machine. If the connection to "
        "the agent's host breaks and does not return within a minute, or this machine's disk is full, they stay on the "
        "host, and a warning says so.\n\nThis command copies them to this machine, checks that they are complete, and "
        "removes them on the host. `mngr transcript NAME --preserved` then shows them, and `mngr create --adopt` "
        "continues the sessions.",
        examples=(
            ("Fetch everything from a host", "mngr codex recover my-host"),
            ("Show what is kept there", "mngr codex recover my-host --list"),
        ),
        see_also=(("destroy", "Destroy agents"), ("transcript", "Show an agent's transcript")),
    ),
    CommandHelpMetadata(
        key="codex.trust",
        one_line_description="Show or revoke the folders that you have trusted",
        synopsis="mngr codex trust [list|revoke] [OPTIONS]",
        description="`mngr create` asks whether Codex may work in a folder, and remembers the answer for the folder's "
        "repository and all its worktrees.\n\nThe folders that your own Codex trusts are in ~/.codex/config.toml, and "
        "not listed here.",
        examples=(
            ("Show the trusted folders", "mngr codex trust list"),
            ("Stop trusting this repository", "mngr codex trust revoke ."),
        ),
        see_also=(("codex_guide", "Create and use Codex agents"),),
    ),
    CommandHelpMetadata(
        key="codex.trust.list",
        one_line_description="Show the folders that you have trusted",
        synopsis="mngr codex trust [list|ls] [OPTIONS]",
        description="Shows each folder, and since when it is trusted.",
        aliases=("ls",),
        examples=(
            ("Show the trusted folders", "mngr codex trust list"),
            ("Print them as JSON", "mngr codex trust list --format json"),
        ),
        see_also=(("codex trust revoke", "Stop trusting a folder"),),
    ),
    CommandHelpMetadata(
        key="codex.trust.revoke",
        one_line_description="Stop trusting a folder, or all folders",
        synopsis="mngr codex trust revoke PATH | --all",
        description="`mngr create` asks again about the folder PATH or its repository. Agents that exist keep running.",
        examples=(
            ("Stop trusting this repository", "mngr codex trust revoke ."),
            ("Stop trusting all folders", "mngr codex trust revoke --all"),
        ),
        see_also=(("codex trust list", "Show the folders that you have trusted"),),
    ),
)

_AT_HOST = "The agent can be on another host: NAME, or NAME@HOST if there are several of that name."

ADDITIONS = {
    "convert": Additions(see_also={"codex transcript": "Show the transcript of a session"}),
    "transcript": Additions(
        note=f"{_AT_HOST} Its transcript is then read there, and only what is shown comes over the connection.",
        examples=("mngr codex transcript fix-it@my-host              an agent on another host",),
        see_also={"transcript": "Show an agent's transcript", "codex convert": "Convert a Codex rollout"},
    ),
    "status": Additions(
        examples=("mngr codex status --host my-host",),
        see_also={"list": "List agents", "codex hooks": "Install the hooks of a Codex that runs without mngr"},
    ),
    "hooks": Additions(see_also={"codex status": "List the Codex sessions of this machine"}),
    "marker": Additions(
        note="Give the agent with --agent: NAME, or NAME@HOST if it is on another host.",
        examples=("mngr codex marker show --agent fix-it", "mngr codex marker recompute --agent fix-it@my-host"),
        see_also={"codex doctor": "Check the setup Codex agents need", "codex status": "List the Codex sessions"},
    ),
    "watch": Additions(
        note="An agent has a watcher of its own while its Codex runs. This command is for an agent whose watcher was "
        "killed. Give the agent with --agent: NAME, or NAME@HOST if it is on another host.",
        examples=("mngr codex watch --once --agent fix-it",),
        see_also={"codex marker": "Show an agent's state", "codex doctor": "Check the setup Codex agents need"},
    ),
}
"""What the pages of the program's commands have in addition to the program's own help."""


def add_pages(group: click.Group) -> None:
    """Registers the pages, and shows them for ``--help`` as well. Those of groups list their commands.

    Args:
        group: The command ``mngr codex``, with all its commands.
    """
    pages = {page.key: page for page in _PAGES}
    _add_page(group, "codex", pages)


def _add_page(command: click.Command, key: str, pages: dict[str, CommandHelpMetadata]) -> None:
    page = pages.get(key)
    if page is None:
        return
    commands = getattr(command, "commands", {})
    if commands:
        lines = [f"- `{name}`: {each.get_short_help_str(200)}" for name, each in commands.items() if name == each.name]
        page = page.model_copy(update={"additional_sections": (("Commands", "\n".join(lines)),)})
    page.register()
    add_pager_help_option(command)
    for name, each in commands.items():
        if name == each.name:
            _add_page(each, f"{key}.{name}", pages)
