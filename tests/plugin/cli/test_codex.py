"""``mngr codex`` takes agent names, while the program takes state directories."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mngr_codex.plugin.cli.codex import codex, with_state_dir


@pytest.fixture
def state(home: Path) -> Path:
    """The state directory of an agent."""
    state = home / ".mngr/agents/agent-1"
    state.mkdir(parents=True)
    (state / "data.json").write_text(json.dumps({"name": "fix-it"}))
    (home / ".mngr/agents/agent-2").mkdir()
    return state


def test_an_agent_by_name_or_id(state: Path) -> None:
    assert with_state_dir(["show", "--agent", "fix-it", "--json"]) == ["show", "--json", "--state-dir", str(state)]
    assert with_state_dir(["--agent=agent-1", "show"]) == ["show", "--state-dir", str(state)]
    assert with_state_dir(["--agent", "fix-it", "--", "x"]) == ["--state-dir", str(state), "--", "x"]
    assert with_state_dir(["--", "--agent", "fix-it"]) == ["--", "--agent", "fix-it"]


def test_an_unknown_agent(state: Path) -> None:
    with pytest.raises(click.UsageError, match="cannot find an agent nobody"):
        with_state_dir(["--agent", "nobody"])


def test_a_missing_agent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNGR_AGENT_STATE_DIR", raising=False)
    ran = CliRunner().invoke(codex, ["marker", "show"])
    assert ran.exit_code == 2 and "mngr codex marker show --agent NAME" in ran.output


@pytest.mark.parametrize("arguments", [["marker", "show", "--agent"], ["watch", "--agent="], ["status", "--host"]])
def test_an_option_without_a_name_is_an_error(arguments: list[str]) -> None:
    ran = CliRunner().invoke(codex, arguments)
    assert ran.exit_code == 2 and re.search(r"--(agent|host) needs a name", ran.output)


@pytest.mark.parametrize("arguments", [["marker"], ["marker", "--agent", "show"], ["hooks"]])
def test_a_missing_subcommand_is_an_error(arguments: list[str]) -> None:
    ran = CliRunner().invoke(codex, arguments)
    assert ran.exit_code == 2 and f"hint: `mngr codex {arguments[0]} --help` lists them" in ran.output


@pytest.mark.parametrize("content", [None, b"\x7fELF nonsense"], ids=["missing", "broken"])
def test_a_program_that_cannot_run_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    program = tmp_path / "mngr-codex"
    if content is not None:
        program.write_bytes(content)
        program.chmod(0o755)
    monkeypatch.setattr("mngr_codex.plugin.host.program.own_program", lambda: program)
    ran = CliRunner().invoke(codex, ["convert", "x"])
    assert ran.exit_code == 1 and f"cannot run {program}: " in ran.output


def test_the_help_of_the_doctor_says_what_verbose_does() -> None:
    shown = " ".join(CliRunner().invoke(codex, ["doctor", "--help"]).output.split())
    assert "-v, --verbose Show one line for each check" in shown and "-v for DEBUG" not in shown


def test_the_commands() -> None:
    assert sorted(codex.commands) == [
        *("convert", "doctor", "hooks", "marker", "recover", "status", "transcript", "trust", "watch"),
    ]
    assert all(command.get_short_help_str() for command in codex.commands.values())
