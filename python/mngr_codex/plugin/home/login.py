"""Whether an agent's Codex needs a login, and the texts that explain how to log it in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from mngr_codex.plugin.command_setting import for_subcommand
from mngr_codex.plugin.host.place import HostPlace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imbue.mngr.interfaces.host import OnlineHostInterface


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


@dataclass(frozen=True, kw_only=True)
class LoginPlace(HostPlace):
    """Where the login of an agent's Codex is, for texts about it."""

    command: str = "codex"
    """The command that runs Codex there, with its path if Codex is not on PATH."""

    @classmethod
    def of(cls, host: OnlineHostInterface, command: str = "codex") -> Self:
        """Returns the place of a host.

        Args:
            host: The host.
            command: The command that runs Codex there, as in the facts about the host.
        """
        return replace(super().of(host), command=command)

    @property
    def action(self) -> str:
        """What logs Codex in, as the beginning of a hint. Only ``--device-auth`` needs no browser on the host."""
        options = "" if self.host_name is None else " --device-auth"
        return self.run(f"{for_subcommand(self.command)} login{options}")


def login_notice(
    place: LoginPlace,
    user_config: Mapping[str, Any],
    user_codex_home: str,
    *,
    agent_name: str = "NAME",
    not_copied: str = "",
) -> str:
    """Returns a notice that Codex is not logged in, with the commands that log it in.

    Args:
        place: Where Codex looks for its login.
        user_config: The content of the user's ``config.toml``.
        user_codex_home: The ``CODEX_HOME`` of the user there.
        agent_name: The agent's name.
        not_copied: Why the login of this machine was not copied, and hints about that.
    """
    return (
        f"Codex is not logged in{place.there}: {user_codex_home}/auth.json does not exist. The agent shows Codex's "
        f"login screen and can't take messages.{not_copied}\nhint: {place.action}, or log in with "
        f"`mngr connect {agent_name}`; agents started afterwards use the login"
        f"{keyring_hint(user_config, user_codex_home)}"
    )


def login_hint(place: LoginPlace, agent_name: str) -> str:
    """Returns how the user logs a running agent in, as the text of a hint.

    Args:
        place: Where Codex looks for its login.
        agent_name: The agent's name.
    """
    return (
        f"{place.action}, then `mngr stop {agent_name}` and `mngr start {agent_name}`; "
        f"or log in with `mngr connect {agent_name}`"
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
