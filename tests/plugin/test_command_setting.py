"""The ``command`` setting."""

import pytest

from mngr_codex.plugin.command_setting import for_subcommand, program_of


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("codex", "codex"),
        ("codex --profile work", "codex"),
        ("'/opt/my codex/codex' -c a=b", "/opt/my codex/codex"),
        ("env A=1 B='2 3' codex", "codex"),
        ("A=1 /x/codex", "/x/codex"),
        ("co'dex", "co'dex"),
        ("", "codex"),
    ],
)
def test_the_program_of_a_command(command: str, program: str) -> None:
    assert program_of(command) == program


@pytest.mark.parametrize(
    ("command", "without"),
    [
        ("codex --profile work", "codex"),
        ("codex -p 'my work' -c a=b", "codex -c a=b"),
        ("'/my codex' --profile=work --search", "'/my codex' --search"),
        ("codex --profile", "codex"),
        ("X=$HOME codex -c 'a=\"b\"'", "X=$HOME codex -c 'a=\"b\"'"),
    ],
)
def test_a_subcommand_is_run_without_a_profile(command: str, without: str) -> None:
    assert for_subcommand(command) == without
