"""Which agent types a deployment may create."""

from __future__ import annotations

from collections.abc import Callable

import click
import pytest

from mngr_codex.plugin.deploy.settings import scheduled_type
from tests.plugin.deploy.conftest import API_KEY_LOGIN, Deployer

type MakeContext = Callable[..., click.Context]


@pytest.mark.parametrize(
    ("arguments", "command", "name"),
    [
        ("--type codex --message 'fix bugs'", None, "codex"),
        ("nightly codex --message x --branch ':run-{DATE}'", "create", "codex"),
        ("--type=claude nightly", "CREATE", "claude"),
        ("nightly --type reviewer -- --search", "create", "reviewer"),
        ("nightly -- codex", "create", None),
        ("--template nightly", None, None),
        ("", None, None),
        ("--type codex", "exec", None),
        ("'unfinished", None, None),
        ("--unknown-option --type codex", None, None),
    ],
)
def test_the_type_of_a_scheduled_agent(
    home: object, schedule_add: MakeContext, arguments: str, command: str | None, name: str | None
) -> None:
    assert scheduled_type(schedule_add(arguments, command)) == name


def test_other_commands_name_no_type(home: object) -> None:
    assert scheduled_type(None) is None
    assert scheduled_type(click.Context(click.Command("add"))) is None


def test_nothing_is_deployed_for_an_agent_of_another_type(
    deployer: Deployer, schedule_add: MakeContext, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", "token")
    deployer.write("AGENTS.md")
    with schedule_add("nightly command -- sleep 1"):
        assert (deployer.files(), deployer.variables(), warnings) == ({}, {}, [])
    for arguments in ("nightly codex", "nightly unknown-type", "--template t"):
        with schedule_add(arguments):
            assert set(deployer.files()) == {"~/.codex/AGENTS.md"}


def test_the_settings_of_the_scheduled_type_apply(deployer: Deployer, schedule_add: MakeContext) -> None:
    deployer.write("AGENTS.md")
    deployer.write("auth.json", API_KEY_LOGIN)
    deployer.set_types(codex={}, bare={"use_user_config": False})
    with schedule_add("nightly bare"):
        assert set(deployer.files()) == {"~/.codex/auth.json"}
    with schedule_add("nightly codex"):
        assert set(deployer.files()) == {"~/.codex/auth.json", "~/.codex/AGENTS.md"}


def test_a_codex_agent_without_a_login_causes_a_warning(
    deployer: Deployer, schedule_add: MakeContext, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not if the type is not known, since the deployment may need none."""
    deployer.write("config.toml", 'cli_auth_credentials_store = "keyring"\n')
    deployer.files()
    assert warnings == []
    with schedule_add("nightly codex"):
        deployer.files()
        (warning,) = warnings
        assert "no login for Codex is deployed" in warning and "keyring" in warning
        monkeypatch.setenv("CODEX_ACCESS_TOKEN", "token")
        deployer.files()
    assert len(warnings) == 1
