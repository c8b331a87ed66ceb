"""Whether an agent's Codex needs a login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def needs_login(config: Mapping[str, Any]) -> bool:
    """Returns whether Codex asks for a login: for OpenAI's own models, and for providers that require one.

    Args:
        config: The content of the agent's ``config.toml``.
    """
    provider = config.get("model_provider", "openai")
    providers = config.get("model_providers")
    settings = providers.get(provider) if isinstance(providers, dict) else None
    if isinstance(settings, dict):
        return settings.get("requires_openai_auth") is True
    return bool(provider == "openai")


def login_notice(user_config: Mapping[str, Any], user_codex_home: str) -> str:
    """Returns a notice that Codex is not logged in, with the commands that log it in.

    Args:
        user_config: The content of the user's ``config.toml``.
        user_codex_home: The user's ``CODEX_HOME``.
    """
    return (
        f"Codex is not logged in: {user_codex_home}/auth.json does not exist on the agent's host. The agent shows "
        "Codex's login screen and can't take messages.\nhint: run `codex login` there; agents started afterwards use it"
        f"{keyring_hint(user_config, user_codex_home)}"
    )


def keyring_hint(user_config: Mapping[str, Any], user_codex_home: str) -> str:
    """Returns a further hint if the user's Codex keeps its login in a keyring; otherwise an empty text.

    Args:
        user_config: The content of the user's ``config.toml``.
        user_codex_home: The user's ``CODEX_HOME``.
    """
    if user_config.get("cli_auth_credentials_store", "file") == "file":
        return ""
    return (
        "\nhint: your Codex keeps its login in a keyring, which agents cannot share; first set "
        f'cli_auth_credentials_store = "file" in {user_codex_home}/config.toml'
    )
