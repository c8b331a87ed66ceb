"""The deployed login, and the deployed variables."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
import pytest

from tests.plugin.deploy.conftest import API_KEY_LOGIN, CHATGPT_LOGIN, Deployer

AUTH = "~/.codex/auth.json"


def test_a_chatgpt_login_in_two_places_causes_a_warning(deployer: Deployer, warnings: list[str]) -> None:
    deployer.write("auth.json", CHATGPT_LOGIN)
    assert deployer.files() == {AUTH: CHATGPT_LOGIN}
    (warning,) = warnings
    assert "invalidates" in warning and "codex login --with-api-key" in warning


def test_an_api_key_login_causes_none(deployer: Deployer, warnings: list[str]) -> None:
    deployer.write("auth.json", API_KEY_LOGIN)
    assert deployer.files() == {AUTH: API_KEY_LOGIN}
    assert warnings == []


def test_the_login_keeps_its_mode(deployer: Deployer) -> None:
    """mngr copies a file with its mode, and writes a text that anybody can read."""
    path = deployer.write("auth.json", API_KEY_LOGIN)
    collected = deployer.mngr_ctx.pm.hook.get_files_for_deploy(
        mngr_ctx=deployer.mngr_ctx,
        include_user_settings=True,
        include_project_settings=True,
        repo_root=deployer.repository,
    )
    assert path in [source for files in collected for source in files.values()]


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"OPENAI_API_KEY": "sk-o"}, "sk-o"),
        ({"CODEX_API_KEY": "sk-c", "OPENAI_API_KEY": "sk-o"}, "sk-c"),
        ({"CODEX_API_KEY": "", "OPENAI_API_KEY": "sk-o"}, "sk-o"),
    ],
)
def test_an_api_key_in_the_environment_becomes_a_login(
    deployer: Deployer,
    schedule_add: Callable[..., click.Context],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    key: str,
) -> None:
    """Codex's TUI takes none from the environment, so no variable is deployed."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with schedule_add("nightly codex"):
        assert json.loads(deployer.files()[AUTH]) == {"auth_mode": "apikey", "OPENAI_API_KEY": key}
        assert deployer.variables() == {}
        assert deployer.files(user=False) == {}
        deployer.write("auth.json", "")
        assert json.loads(deployer.files()[AUTH])["OPENAI_API_KEY"] == key
        deployer.write("auth.json", CHATGPT_LOGIN)
        assert deployer.files() == {AUTH: CHATGPT_LOGIN}


def test_the_key_of_another_program_is_not_deployed(deployer: Deployer, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the deployed agent type is not known, only a key that is certainly Codex's becomes a login."""
    deployer.codex_home.mkdir()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-o")
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", "token")
    assert (deployer.files(), deployer.variables()) == ({}, {"CODEX_ACCESS_TOKEN": "token"})
    monkeypatch.setenv("CODEX_API_KEY", "sk-c")
    assert json.loads(deployer.files()[AUTH])["OPENAI_API_KEY"] == "sk-c"
    assert deployer.variables() == {}


def test_no_login_is_made_for_a_provider_without_one(deployer: Deployer, monkeypatch: pytest.MonkeyPatch) -> None:
    """But the variables that its settings name are deployed, unless they are set already."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-o")
    monkeypatch.setenv("AZURE_KEY", "azure")
    monkeypatch.setenv("AZURE_HEADER", "header")
    monkeypatch.setenv("OTHER_KEY", "other")
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", "token")
    config = (
        'model_provider = "azure"\n[model_providers.azure]\nenv_key = "AZURE_KEY"\n'
        'env_http_headers = { "X-Header" = "AZURE_HEADER", "X-Missing" = "MISSING" }\n'
        '[model_providers.other]\nenv_key = "OTHER_KEY"\n'
    )
    deployer.write("config.toml", config)
    assert deployer.files() == {"~/.codex/config.toml": config}
    assert deployer.variables() == {"AZURE_KEY": "azure", "AZURE_HEADER": "header"}
    assert deployer.variables(AZURE_KEY="set") == {"AZURE_KEY": "set", "AZURE_HEADER": "header"}


def test_the_provider_of_the_agent_type_decides(deployer: Deployer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-o")
    monkeypatch.setenv("P_KEY", "p")
    deployer.codex_home.mkdir()
    provider = {"model_provider": "p", "model_providers": {"p": {"env_key": "P_KEY"}}}
    deployer.set_types(codex={"config_overrides": provider})
    assert (deployer.files(), deployer.variables()) == ({}, {"P_KEY": "p"})


def test_an_access_token_is_deployed_without_another_login(deployer: Deployer, monkeypatch: pytest.MonkeyPatch) -> None:
    deployer.codex_home.mkdir()
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", "token")
    assert deployer.variables() == {"CODEX_ACCESS_TOKEN": "token"}
    assert deployer.variables(CODEX_ACCESS_TOKEN="set") == {"CODEX_ACCESS_TOKEN": "set"}
    deployer.write("auth.json", API_KEY_LOGIN)
    assert deployer.variables() == {}
