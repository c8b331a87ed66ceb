"""An agent whose configured model the user's ChatGPT account does not offer."""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.chatgpt_login import chatgpt_login, offers
from tests.support.machine import Agent, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, asked

pytestmark = pytest.mark.slow

API_KEY_LOGIN = '{"auth_mode":"apikey","OPENAI_API_KEY":"sk-test"}'


def machine_with_account(
    make_machine: MakeMachine, model: Model, codex: Path, folder: Path, **settings: Any
) -> Machine:
    """Returns a machine with a ChatGPT login, whose account offers two models.

    With such a login the TUI connects to servers that only accept a real account, so it starts with an API key.
    """
    model.models = offers(codex, folder / "codex", "gpt-usual", "gpt-other")
    overrides = {
        "model_provider": "openai",
        "openai_base_url": model.base_url,
        "chatgpt_base_url": f"{model.base_url}/",
    }
    machine = make_machine(model="gpt-lacking", config_overrides=overrides, **settings)
    wrapper = machine.folder / "bin" / "codex"
    login = machine.home / ".codex" / "auth.json"
    swap = f"case $* in '') echo '{API_KEY_LOGIN}' >{login} ;; esac\n"
    wrapper.write_text(wrapper.read_text().replace("exec", f"{swap}exec"))
    return machine


def create(machine: Machine, name: str) -> tuple[str, Agent]:
    """Creates an agent with the ChatGPT login, and returns what mngr has warned of."""
    (machine.home / ".codex" / "auth.json").write_text(chatgpt_login())
    return machine.mngr("create", name, "codex", "--yes", "--no-connect").stderr, machine.agent(name)


def configured_model(agent: Agent) -> str:
    model: str = tomllib.loads((agent.state / "plugin/codex/home/config.toml").read_text())["model"]
    return model


def test_the_agent_uses_the_accounts_default(
    make_machine: MakeMachine, model: Model, codex: Path, folder: Path
) -> None:
    machine = machine_with_account(make_machine, model, codex, folder, fall_back_to_account_default_model=True)
    shown, agent = create(machine, "t")
    assert "does not offer the model gpt-lacking" in shown and "gpt-usual" in shown
    assert configured_model(agent) == "gpt-usual"
    assert agent.listed["plugin"]["codex"]["model"] == "gpt-usual"
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    assert {request["model"] for request in model.requests if asked(request) == "Are you there?"} == {"gpt-usual"}

    machine.write_settings(model="gpt-other")
    shown, agent = create(machine, "u")
    assert "gpt-other" not in shown and configured_model(agent) == "gpt-other"


def test_without_the_setting_the_model_stays(
    make_machine: MakeMachine, model: Model, codex: Path, folder: Path
) -> None:
    """Codex is not asked. If the user's Codex has fetched the account's list lately, a warning names the setting."""
    machine = machine_with_account(make_machine, model, codex, folder)
    shown, agent = create(machine, "t")
    assert "gpt-lacking" not in shown and configured_model(agent) == "gpt-lacking"
    assert not any(stray.startswith("GET /v1/models") for stray in model.strays)
    fetched = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    cache = {"fetched_at": fetched, "client_version": "0.163.0", "models": model.models}
    (machine.home / ".codex" / "models_cache.json").write_text(json.dumps(cache))
    shown, agent = create(machine, "u")
    assert "gpt-lacking" in shown and "fall_back_to_account_default_model = true" in shown
    assert configured_model(agent) == "gpt-lacking"
