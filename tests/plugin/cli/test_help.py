"""The pages of ``mngr help`` about Codex agents."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mngr_codex.plugin.cli.codex import codex, trust
from mngr_codex.plugin.config import CodexAgentConfig
from tests.support.project import ROOT

OWN = [("codex",), ("codex", "doctor"), ("codex", "trust"), ("codex", "trust", "list"), ("codex", "trust", "revoke")]


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
    if words[-1] in ("doctor", "list", "revoke"):
        assert "--format" in page and "-S, --setting" in page


def test_pages_of_groups_list_their_commands(home: Path) -> None:
    for group, words in ((codex, ["codex"]), (trust, ["codex", "trust"])):
        page = mngr("help", *words)
        for name, command in group.commands.items():
            assert (f"`{name}`: {command.get_short_help_str()}" in page) == (command.name == name)


def test_references_lead_to_pages(home: Path) -> None:
    for words in [*OWN, ("codex_guide",), ("codex_settings",)]:
        references = mngr("help", *words).partition("SEE ALSO\n")[2].partition("\n\n")[0].splitlines()
        assert references
        for reference in references:
            mngr(*reference.split(" - ")[0].split()[1:])


def test_the_help_of_a_program_command_is_the_programs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(
        "mngr_codex.plugin.host.program.own_program", lambda: Path(os.environ.get("MNGR_CODEX_PROGRAM") or "/missing")
    )
    if "MNGR_CODEX_PROGRAM" not in os.environ:
        pytest.skip("MNGR_CODEX_PROGRAM is not set")
    assert "Usage: mngr-codex transcript" in mngr("help", "codex", "transcript")
    monkeypatch.setattr("mngr_codex.plugin.host.program.own_program", lambda: None)
    assert "Usage: mngr codex transcript" in mngr("help", "codex", "transcript")


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
