"""The pages of ``mngr help`` about Codex agents."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from imbue.mngr.cli.help_formatter import get_help_metadata

from mngr_codex.plugin.cli.codex import codex, trust
from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.host.program import RUN_AS
from tests.support import program as tested
from tests.support.project import ROOT

OWN = [
    *(("codex",), ("codex", "doctor"), ("codex", "recover")),
    *(("codex", "trust"), ("codex", "trust", "list"), ("codex", "trust", "revoke")),
]

OF_PROGRAM = ("convert", "transcript", "status", "hooks", "marker", "watch")


def mngr(*arguments: str) -> str:
    """Returns the output of an mngr command that succeeds."""
    from imbue.mngr.main import cli

    ran = CliRunner().invoke(cli, arguments, prog_name="mngr")
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.mark.parametrize("words", OWN, ids=" ".join)
def test_commands_have_a_page_like_mngrs_own(home: Path, words: tuple[str, ...]) -> None:
    page = mngr("help", *words)
    for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"):
        assert f"{title}\n" in page
    assert page == mngr(*words, "--help") == mngr(*words, "-h")
    if words[-1] in ("doctor", "recover", "list", "revoke"):
        assert "--format" in page and "-S, --setting" in page


def test_pages_of_groups_list_their_commands(home: Path) -> None:
    for group, words in ((codex, ["codex"]), (trust, ["codex", "trust"])):
        page = mngr("help", *words)
        for name, command in group.commands.items():
            assert (f"`{name}`: {command.get_short_help_str()}" in page) == (command.name == name)


def test_references_lead_to_pages(home: Path) -> None:
    for words in [*OWN, *(("codex", name) for name in OF_PROGRAM), ("codex_guide",), ("codex_settings",)]:
        references = mngr("help", *words).partition("SEE ALSO\n")[2].partition("\n\n")[0].splitlines()
        assert references
        for reference in references:
            mngr(*reference.split(" - ")[0].split()[1:])


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The native program, which the plugin finds."""
    path = tested.program()
    monkeypatch.setattr("mngr_codex.plugin.host.program.own_program", lambda: path)
    for page in (get_help_metadata(f"codex.{name}") for name in OF_PROGRAM):
        vars(page).pop("_help", None)
    return path


@pytest.mark.parametrize("name", OF_PROGRAM)
def test_a_program_command_has_a_page_made_from_the_programs_help(home: Path, program: Path, name: str) -> None:
    page = mngr("help", "codex", name)
    for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"):
        assert f"{title}\n" in page
    assert f"SYNOPSIS\n       mngr codex {name} " in page
    assert "mngr-codex" not in page.replace("`mngr-codex hooks", "")
    assert page == mngr("codex", name, "--help") == mngr("codex", name, "-h")
    assert ("--agent NAME" in page) == (name in ("marker", "watch"))
    own = subprocess.run([program, name, "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", own, re.MULTILINE)) - {"--version"}
    assert options <= set(re.findall(r"--[\w-]+", page))
    assert f"codex {name}" in mngr("help")


def test_the_help_of_a_subcommand_of_the_program(home: Path, program: Path) -> None:
    shown = mngr("codex", "marker", "show", "--help")
    assert "Usage: mngr codex marker show" in shown and "--agent <NAME> " in shown
    assert mngr("codex", "marker", "--agent", "t", "show", "--help") == shown
    assert "Usage: mngr codex hooks install" in mngr("codex", "hooks", "install", "-h")


def test_pages_say_how_to_name_an_agent_on_another_host(home: Path, program: Path) -> None:
    for name in ("transcript", "marker", "watch"):
        page = mngr("help", "codex", name)
        assert "NAME@HOST" in page.partition("OPTIONS\n")[0]
        assert re.search(rf"mngr codex {name} .*fix-it", page.partition("EXAMPLES\n")[2])
    assert "mngr codex status --host my-host" in mngr("help", "codex", "status")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["transcript", "nobody"], "hint: `mngr codex transcript` lists the newest sessions"),
        (["convert", "nobody"], "and `mngr transcript NAME --format jsonl` the transcript of one on another host"),
        (["transcript", "--nonsense"], "Usage: mngr codex transcript "),
        (["marker", "show", "--state-dir", "."], "hint: `mngr codex hooks install` makes Codex run the hooks"),
    ],
)
def test_hints_name_commands_that_users_of_mngr_have(
    home: Path, program: Path, arguments: list[str], hint: str
) -> None:
    ran = subprocess.run([program, *arguments], env={**os.environ, **RUN_AS}, capture_output=True, text=True, cwd=home)
    assert hint in ran.stderr and "`mngr-codex" not in ran.stderr
    own = subprocess.run([program, *arguments], capture_output=True, text=True, cwd=home)
    assert own.stderr == ran.stderr.replace("mngr codex ", "mngr-codex ") != ran.stderr


def test_a_page_on_a_terminal_has_the_programs_text_unchanged(
    home: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mngr takes the text for Markdown, in which `<DIR>` would be a tag."""
    for module in ("imbue.mngr.cli.help", "mngr_codex.plugin.cli.program_help"):
        monkeypatch.setattr(f"{module}.is_interactive_terminal", lambda: True)
    assert "--state-dir <DIR>" in re.sub(r"\x1b\[[0-9;]*m", "", mngr("help", "codex", "watch"))


def test_a_page_without_the_program(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mngr_codex.plugin.host.program.own_program", lambda: None)
    vars(get_help_metadata("codex.transcript")).pop("_help", None)
    page = mngr("help", "codex", "transcript")
    assert "mngr codex transcript [OPTIONS]" in page and "cannot be run" in page


def test_trust_list_has_an_alias_that_is_not_listed_as_a_command(home: Path) -> None:
    assert trust.commands["ls"] is trust.commands["list"]
    assert trust.list_commands(click.Context(trust)) == ["list", "revoke"]
    assert mngr("help", "codex", "trust", "ls") == mngr("help", "codex", "trust", "list")
    assert "codex trust list, ls" in mngr("help")


def test_topics_are_listed(home: Path) -> None:
    listed = mngr("help")
    assert "codex_guide" in listed and "codex_settings" in listed


def test_the_topic_on_settings_describes_each(home: Path) -> None:
    page = mngr("help", "codex_settings")
    for name in CodexAgentConfig.model_fields:
        assert f"- `{name}`" in page
    assert "- `update_policy` (default: `ASK`): " in page
    assert "- `trust_repo_hooks` (default: `false`): " in page
    assert page.index("`trust_repo_hooks`") < page.index("Settings of all agent types") < page.index("`env_file`")


def test_the_guide_is_the_readme(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution contains it in its metadata."""
    readme = (ROOT / "README.md").read_text()
    monkeypatch.setattr("importlib.metadata.metadata", lambda name: {"Description": readme} if name else {})
    assert mngr("help", "codex_guide").startswith(readme)
    monkeypatch.setattr("importlib.metadata.metadata", lambda _: {})
    assert "github.com" in mngr("help", "codex_guide")
