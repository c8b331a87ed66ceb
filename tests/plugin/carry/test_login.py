"""Which logins are copied to another host, and what two copies of one do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.carry.login import Decision, Kind, copied_notice, decide, kind_of
from mngr_codex.plugin.home.login import LoginPlace
from tests.support.chatgpt_login import chatgpt_login

API_KEY = '{"auth_mode":"apikey","OPENAI_API_KEY":"sk-test"}'
BOTH = json.dumps({"OPENAI_API_KEY": "sk-test", "tokens": {"refresh_token": "r"}})


@pytest.fixture
def codex_home(tmp_path: Path) -> Path:
    return tmp_path


def decided(codex_home: Path, setting: bool | str = "api_key", config: Any = None, **environment: str) -> Decision:
    return decide(setting, codex_home=codex_home, environment=environment, user_config=config or {})


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (API_KEY, Kind.API_KEY),
        ('{"OPENAI_API_KEY":"sk-test"}', Kind.API_KEY),
        (chatgpt_login(), Kind.RENEWED),
        (BOTH, Kind.RENEWED),
        ('{"auth_mode":"apikey","OPENAI_API_KEY":"sk","tokens":{"access_token":"a"}}', Kind.OTHER),
        ('{"auth_mode":"agentIdentity","agent_identity":"x"}', Kind.OTHER),
        ('{"auth_mode":"chatgpt","OPENAI_API_KEY":"sk-test"}', Kind.OTHER),
        ('{"auth_mode":"apikey","OPENAI_API_KEY":null}', Kind.OTHER),
        ("[]", Kind.OTHER),
        ("{", Kind.OTHER),
        ("[" * 100_000, Kind.OTHER),
    ],
)
def test_a_refresh_token_makes_a_login_one_that_is_renewed(content: str, kind: Kind) -> None:
    assert kind_of(content.encode()) is kind


def test_an_api_key_is_copied(codex_home: Path) -> None:
    (codex_home / "auth.json").write_text(API_KEY)
    for setting in ("api_key", True):
        login = decided(codex_home, setting, OPENAI_API_KEY="sk-other").login
        assert login and login.content == API_KEY.encode() and "sk-test" not in repr(login)
        place = LoginPlace(host_name="box")
        text, is_warning = copied_notice(login, place, "/home/alice/.codex")
        assert text.startswith(f"an API key was copied from {codex_home}/auth.json to /home/alice/.codex/auth.json on ")
        assert not is_warning
    assert decided(codex_home, False) == Decision(login=None, reason="carry_login is false")


@pytest.mark.parametrize("content", [chatgpt_login(), BOTH])
def test_a_chatgpt_login_is_copied_only_on_request(codex_home: Path, content: str) -> None:
    (codex_home / "auth.json").write_text(content)
    kept = decided(codex_home)
    assert kept.login is None and "a ChatGPT login, which works in one place only" in kept.reason
    assert "carry_login = true" in kept.hint
    copied = decided(codex_home, True).login
    assert copied and copied.content == content.encode()
    place = LoginPlace(host_name="box", ssh="ssh -t alice@box")
    text, is_warning = copied_notice(copied, place, "/home/alice/.codex")
    assert is_warning and "can be logged out" in text and "codex logout" in text
    assert "`ssh -t alice@box codex login --device-auth`" in text


def test_an_api_key_in_the_environment_is_copied_if_there_is_no_file(codex_home: Path) -> None:
    """As in deployments. An empty file is no login for Codex."""
    (codex_home / "auth.json").write_text("")
    login = decided(codex_home, OPENAI_API_KEY="sk-1").login
    assert login and login.source == "OPENAI_API_KEY" and json.loads(login.content)["OPENAI_API_KEY"] == "sk-1"
    login = decided(codex_home, OPENAI_API_KEY="sk-1", CODEX_API_KEY="sk-2").login
    assert login and login.source == "CODEX_API_KEY"


def test_what_cannot_be_copied_has_a_reason(codex_home: Path) -> None:
    assert f"there is none in {codex_home}/auth.json" in decided(codex_home).reason
    keyring = decided(codex_home, config={"cli_auth_credentials_store": "keyring"})
    assert "keyring" in keyring.hint and f"{codex_home}/config.toml" in keyring.hint
    (codex_home / "auth.json").write_bytes(b" " * 2_000_000)
    assert "too large" in decided(codex_home).reason
    (codex_home / "auth.json").unlink()
    (codex_home / "auth.json").mkdir()
    assert "Is a directory" in decided(codex_home).reason
