"""The ``command`` setting."""

import pytest

from mngr_codex.plugin.command_setting import for_subcommand, program_of, with_program


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


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("codex", "'/a b/codex'"),
        ('codex -c x="$HOME/codex codex"', "'/a b/codex' -c x=\"$HOME/codex codex\""),
        ("env A=codex B='my codex' codex codex", "env A=codex B='my codex' '/a b/codex' codex"),
        ("A='no codex here' codex", "A='no codex here' '/a b/codex'"),
        ("'codex' --search", "'codex' --search"),
        ("/opt/codex --search", "'/a b/codex' --search"),
        ("codex 'open", "'/a b/codex' 'open"),
    ],
)
def test_a_program_is_replaced_by_its_path(command: str, expected: str) -> None:
    assert with_program(command, "/a b/codex") == expected
