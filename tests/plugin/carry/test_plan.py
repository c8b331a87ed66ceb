"""What an agent's settings allow to be copied."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mngr_codex.plugin.carry.plan import Carrying
from mngr_codex.plugin.config import CodexAgentConfig


def carrying(monkeypatch: pytest.MonkeyPatch, here: Path, **settings: Any) -> Carrying:
    """Returns what may be copied from a Codex home to another host."""
    monkeypatch.setenv("CODEX_HOME", str(here))
    monkeypatch.delenv("MNGR_AGENT_STATE_DIR", raising=False)
    other: Any = SimpleNamespace(is_local=False)
    found = Carrying.of(other, CodexAgentConfig(**settings))
    assert found
    return found


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "config.toml").write_text('model = "m"\n[model_providers.p]\nname = "p"\n')
    (folder / "AGENTS.md").write_text("x")
    return folder


def test_nothing_is_copied_to_this_machine(host: Any) -> None:
    assert Carrying.of(host, CodexAgentConfig()) is None


def test_the_settings_decide_about_the_setup(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    (here / ".env").write_text("x")

    def names(**settings: Any) -> list[str] | None:
        setup = carrying(monkeypatch, here, **settings).setup(())
        return setup.names if setup else None

    assert names() == ["AGENTS.md", "config.toml"]
    assert names(carry_settings="with_secrets") == [".env", "AGENTS.md", "config.toml"]
    assert names(carry_settings=False) is None
    assert names(use_user_config=False) is None


@pytest.mark.parametrize("theirs", [None, "config.toml", "x.config.toml", "hooks.json", "AGENTS.md"])
def test_the_settings_of_this_machine_count_if_the_host_has_none(
    monkeypatch: pytest.MonkeyPatch, here: Path, theirs: str | None
) -> None:
    owned = {theirs} if theirs else set()
    expected = {} if theirs in ("config.toml", "x.config.toml", "hooks.json") else {"model": "m"}
    found = carrying(monkeypatch, here).config_for(owned)
    assert {name: value for name, value in found.items() if name == "model"} == expected
    assert ("model_providers" in found) is bool(expected)
    assert carrying(monkeypatch, here, carry_settings=False).config_for(owned) == {}


def test_the_login_is_that_of_this_machine(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    for name in ("OPENAI_API_KEY", "CODEX_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (here / "config.toml").write_text('cli_auth_credentials_store = "keyring"\n')
    assert "keyring" in carrying(monkeypatch, here).decide_login().hint
    (here / "auth.json").write_text('{"OPENAI_API_KEY":"sk-test"}')
    assert carrying(monkeypatch, here).decide_login().login
    assert carrying(monkeypatch, here, carry_login=False).decide_login().login is None
