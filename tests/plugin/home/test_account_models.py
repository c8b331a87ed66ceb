"""The account's models, asked on mngr's local host, with the real Codex and with fake ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.home import account_models
from mngr_codex.plugin.home.account_models import AccountModels, Choice, cached_names, choose, query
from tests.support.chatgpt_login import chatgpt_login, offers
from tests.support.rule_based_model import Model

API_KEY_LOGIN = '{"auth_mode":"apikey","OPENAI_API_KEY":"sk-test"}'
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def cache(*names: str, at: datetime | None = None) -> str:
    fetched = (at or datetime.now(UTC)).isoformat().replace("+00:00", "Z")
    return json.dumps({"fetched_at": fetched, "models": [{"slug": name} for name in names]})


class Home:
    """An agent's ``CODEX_HOME``, and the server of the account's models."""

    def __init__(self, host: Any, path: Path, model: Model) -> None:
        self.host, self.path, self.model = host, path, model
        path.mkdir()

    def write(self, login: str) -> None:
        (self.path / "auth.json").write_text(login)
        url = self.model.base_url
        # Other requests of a logged-in Codex must not reach the network either.
        (self.path / "config.toml").write_text(f'openai_base_url = "{url}"\nchatgpt_base_url = "{url}/backend/"\n')

    def query(self, codex: str) -> AccountModels | None:
        return query(self.host, command=codex, codex_home=self.path)

    def choose(self, config: dict[str, Any], codex: str = "/missing", **changes: Any) -> Choice:
        defaults = {"has_account": True, "cache": None, "falls_back": True}
        return choose(
            config,
            query=lambda: account_models.query(self.host, command=codex, codex_home=self.path),
            **{**defaults, **changes},
        )


@pytest.fixture
def agent_home(host: Any, tmp_path: Path) -> Iterator[Home]:
    with Model() as model:
        yield Home(host, tmp_path / "agent's home", model)


def test_the_models_of_an_account(agent_home: Home, codex: str, tmp_path: Path) -> None:
    """Codex fetches them with a ChatGPT login."""
    agent_home.model.models = offers(codex, tmp_path / "codex", "gpt-usual", "gpt-other")
    agent_home.write(chatgpt_login())
    assert agent_home.query(codex) == AccountModels(names=frozenset({"gpt-usual", "gpt-other"}), default="gpt-usual")
    assert any(stray.startswith("GET /v1/models") for stray in agent_home.model.strays)


def test_the_list_that_codex_was_built_with_says_nothing_about_the_account(agent_home: Home, codex: str) -> None:
    """Codex uses it with an API key, and if it cannot fetch another one."""
    agent_home.write(API_KEY_LOGIN)
    assert agent_home.query(codex) is None
    agent_home.write(chatgpt_login())
    (agent_home.path / "config.toml").write_text('openai_base_url = "http://127.0.0.1:9/v1"\n')
    assert agent_home.query(codex) is None


def test_the_default_replaces_a_model_that_the_account_lacks(agent_home: Home, codex: str, tmp_path: Path) -> None:
    agent_home.model.models = offers(codex, tmp_path / "codex", "gpt-usual", "gpt-other")
    agent_home.write(chatgpt_login())
    chosen = agent_home.choose({"model": "gpt-lacking"}, codex)
    assert chosen.replacement == "gpt-usual"
    assert "does not offer the model gpt-lacking" in (chosen.notice or "") and "gpt-usual" in (chosen.notice or "")
    assert agent_home.choose({"model": "gpt-other"}, codex) == Choice()


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ({}, {}),
        ({"model": "m", "model_provider": "azure"}, {}),
        ({"model": "m"}, {"cache": cache("m", "n")}),
        ({"model": "m"}, {"falls_back": False}),
        ({"model": "m"}, {"falls_back": False, "has_account": False, "cache": cache("n")}),
        ({"model": "m"}, {"falls_back": False, "cache": cache("n", at=NOW - timedelta(days=900))}),
    ],
    ids=["no model", "other provider", "in the cache", "no cache", "no account", "old cache"],
)
def test_codex_is_not_asked_and_nothing_changes(
    agent_home: Home, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(account_models, "query", pytest.fail)
    assert agent_home.choose(config, **changes) == Choice()


def test_without_the_setting_a_recent_list_causes_a_warning_that_names_it(
    agent_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_models, "query", pytest.fail)
    chosen = agent_home.choose({"model": "m"}, falls_back=False, cache=cache("n"))
    assert chosen.replacement is None
    assert "fall_back_to_account_default_model = true" in (chosen.notice or "")


def test_what_cannot_be_known_is_said(agent_home: Home) -> None:
    chosen = agent_home.choose({"model": "m"}, has_account=False)
    assert chosen.replacement is None and "no ChatGPT login" in (chosen.notice or "")
    chosen = agent_home.choose({"model": "m"}, codex="/missing/codex")
    assert chosen.replacement is None and "could not fetch" in (chosen.notice or "")


def test_a_list_without_a_default_changes_nothing(agent_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = AccountModels(names=frozenset({"n"}), default=None)
    monkeypatch.setattr(account_models, "query", lambda *_, **__: offered)
    chosen = agent_home.choose({"model": "m"})
    assert chosen.replacement is None and "no default" in (chosen.notice or "")


@pytest.mark.parametrize(
    "text", [None, "", "[", "[]", "{}", '{"fetched_at": "never", "models": [{"slug": "m"}]}', '{"fetched_at": 1}']
)
def test_a_damaged_cache_is_ignored(text: str | None) -> None:
    assert cached_names(text, NOW) == frozenset()


def test_malformed_models_in_the_cache_are_skipped() -> None:
    text = json.dumps({"fetched_at": "2026-10-31T23:00:00.123456789Z", "models": [{"slug": "m"}, 1, {"slug": 2}, {}]})
    assert cached_names(text, NOW) == frozenset({"m"})
    assert (
        cached_names(json.dumps({"fetched_at": "2026-10-31T23:00:00", "models": [{"slug": "m"}]}), NOW) == frozenset()
    )
