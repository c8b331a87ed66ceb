"""First messages: which are refused, and the warning about one that did not arrive."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from imbue.mngr.agents.tui_agent import InteractiveTuiAgent
from imbue.mngr.errors import ConfigParseError, MessageDeliveredButBlockedError, SendFailureKind, SendMessageError
from loguru import logger

from mngr_codex.plugin.agent import CodexAgent
from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.host.facts import read
from mngr_codex.plugin.messages.first import command_refusal, login_refusal, undelivered_warning


@pytest.mark.parametrize("message", ["/model", "/model gpt-5.5", "/review", "/plan ", "/status\nand more", "/quit"])
def test_commands_are_refused_as_first_messages(message: str) -> None:
    refusal = command_refusal("t", message)
    assert refusal and message.split()[0] in refusal and "hint: " in refusal


@pytest.mark.parametrize(
    "message",
    [
        "Fix it.",
        " /model",
        "/etc is full",
        "/model/x",
        "/models",
        "/init",
        "/review the last commit",
        "/plan the work",
        "/goal be done",
    ],
)
def test_messages_and_commands_that_start_a_turn_are_not_refused(message: str) -> None:
    assert command_refusal("t", message) is None


def test_the_refusal_shows_how_to_send_the_command() -> None:
    assert "`mngr message t -m '/model gpt-5.5'`" in (command_refusal("t", "/model gpt-5.5") or "")
    assert "`mngr message t -m '/model …'`" in (command_refusal("t", "/model gpt\nand more") or "")
    update = command_refusal("t", "/model", is_update=True) or ""
    assert update.startswith("not updating agent t: ") and "hint: update the agent" in update


def options(*arguments: str, message: str | None = "Fix it.", is_update: bool = False, **environment: Any) -> Any:
    given = {"env_vars": (), "env_files": (), **environment}
    return SimpleNamespace(
        name="t",
        initial_message=message,
        is_update=is_update,
        agent_args=arguments,
        environment=SimpleNamespace(**given),
    )


def refused(host: Any, chosen: Any, **settings: Any) -> str | None:
    config = CodexAgentConfig(**settings)
    return login_refusal(host, read(host, str(config.command)), chosen, config, {})


OTHER = {"model_provider": "p", "model_providers": {"p": {"base_url": "http://127.0.0.1:9"}}}
SAME = {"model_provider": "p", "model_providers": {"p": {"requires_openai_auth": True}}}


def test_a_first_message_needs_a_login(host: Any, home: Path) -> None:
    refusal = refused(host, options()) or ""
    assert f"{home}/.codex/auth.json does not exist" in refusal and "hint: run `codex login` first" in refusal
    update = refused(host, options(is_update=True)) or ""
    assert update.startswith("not updating agent t: ") and "or update the agent" in update
    assert refused(host, options(message=None)) is None
    (home / ".codex").mkdir()
    (home / ".codex" / "auth.json").write_text("{}")
    assert refused(host, options()) is None


def test_a_provider_without_login_takes_the_first_message(host: Any, home: Path) -> None:
    """The user's config.toml and the agent type's config_overrides can name it."""
    assert refused(host, options(), config_overrides=OTHER) is None
    assert refused(host, options(), config_overrides=SAME)
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text('model_provider = "p"\n[model_providers.p]\nbase_url = "x"\n')
    assert refused(host, options()) is None
    assert refused(host, options(), use_user_config=False)
    assert refused(host, options(), config_overrides={"model_provider": "openai"})


def test_a_keyring_is_explained(host: Any, home: Path) -> None:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text('cli_auth_credentials_store = "keyring"\n')
    assert "keyring" in (refused(host, options()) or "")


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (("-c", 'model_provider="p"'), {}),
        (("--config=model_provider=p",), {}),
        (("--oss",), {}),
        ((), {"cli_args": ("-p", "work")}),
        ((), {"command": "codex --profile work"}),
        ((), {"command": "my-codex"}),
        ((), {"command": "env CODEX_ACCESS_TOKEN=x codex"}),
        ((), {"config_overrides": {"profile": "work"}}),
    ],
)
def test_what_may_have_another_login_is_not_refused(
    host: Any, arguments: tuple[str, ...], settings: dict[str, Any]
) -> None:
    assert refused(host, options(*arguments), **settings) is None
    assert refused(host, options("--search"), command="env A=b /opt/codex --no-alt-screen")


def test_an_access_token_is_a_login(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = SimpleNamespace(key="CODEX_ACCESS_TOKEN", value="x")
    assert refused(host, options(env_vars=(token,))) is None
    file = tmp_path / "env"
    file.write_text("OPENAI_IDENTITY_TOKEN_FILE=/x\n")
    assert refused(host, options(env_files=(file,))) is None
    # Codex's terminal interface does not accept it.
    assert refused(host, options(env_vars=(SimpleNamespace(key="OPENAI_API_KEY", value="x"),)))
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", "x")
    assert refused(host, options()) is None


def test_an_invalid_config_is_an_error_before_anything_is_made(host: Any, home: Path) -> None:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text("model = \n")
    with pytest.raises(ConfigParseError, match="cannot parse"):
        refused(host, options(message=None))


def test_the_warning_shows_how_to_send_the_message_again() -> None:
    error = SendMessageError("t", "no\nhint: do it", SendFailureKind.INPUT_BLOCKED)
    warning = undelivered_warning("t", "Fix it.", error)
    assert warning == (
        "agent t is running, but does not have the first message: no\nhint: do it\n"
        "hint: send it again with `mngr message t -m 'Fix it.'`"
    )
    assert "`mngr message t -m …`" in undelivered_warning("t", "Fix it.\n" * 50, error)
    unconfirmed = SendMessageError("t", "no", SendFailureKind.SUBMISSION_UNCONFIRMED)
    assert "may not have the first message" in undelivered_warning("t", "x", unconfirmed)
    unreachable = SendMessageError("t", "no", SendFailureKind.AGENT_UNREACHABLE)
    assert "agent t does not have the first message: no" in undelivered_warning("t", "x", unreachable)
    blocked = MessageDeliveredButBlockedError("t", "/x opened a menu", SendFailureKind.INPUT_BLOCKED)
    assert "has the first message: /x opened a menu" in undelivered_warning("t", "x", blocked)
    assert "may not have the first message: interrupted" in undelivered_warning("t", "x", KeyboardInterrupt())


@pytest.mark.parametrize("error", [SendMessageError("t", "no"), OSError("disk full"), KeyboardInterrupt()])
def test_only_the_first_message_of_a_new_agent_fails_without_an_error(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error would make mngr remove the worktree of the running agent."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(InteractiveTuiAgent, "send_message", fail)
    agent = CodexAgent.model_construct(name="t")
    agent._is_first_message_next = True
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    try:
        agent.send_message("Fix it.")
    finally:
        logger.remove(sink)
    assert "agent t is running" in lines[0] and "mngr message t -m 'Fix it.'" in lines[0]
    with pytest.raises(type(error)):
        agent.send_message("Fix it.")
