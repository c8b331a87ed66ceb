"""What an agent's settings allow to be copied from this machine to the agent's host."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.carry.login import Decision, decide
from mngr_codex.plugin.carry.settings import WITH_SECRETS, Setup, has_own_settings, read
from mngr_codex.plugin.carry.user_files import user_codex_home

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.config import CodexAgentConfig


@dataclass(frozen=True, kw_only=True)
class Carrying:
    """What may be copied, and from where."""

    login: bool | str
    """The setting ``carry_login``."""
    settings: bool | str
    """The setting ``carry_settings``; False if the agent gets nothing of the user's setup."""
    codex_home: Path
    """The user's Codex home on this machine."""
    environment: Mapping[str, str] = field(repr=False)
    """The environment of mngr."""

    @classmethod
    def of(cls, host: OnlineHostInterface, config: CodexAgentConfig) -> Carrying | None:
        """Returns the parts that may be copied to a host; None for this machine, whose agents use the originals.

        Args:
            host: The agent's host.
            config: The agent's settings, validated.
        """
        if host.is_local:
            return None
        return cls(
            login=config.carry_login,
            settings=config.use_user_config and config.carry_settings,
            codex_home=user_codex_home(os.environ),
            environment=os.environ,
        )

    def setup(self, owned: Collection[str]) -> Setup | None:
        """Returns the setup to copy to a host; None if the agent's settings exclude it.

        Args:
            owned: The entries of the user's Codex home on the host.
        """
        if self.settings is False:
            return None
        return read(self.codex_home, owned, with_secrets=self.settings == WITH_SECRETS)

    def decide_login(self) -> Decision:
        """Decides whether the login is copied to a host that has none and whose Codex needs one."""
        config = self.user_config()
        return decide(self.login, codex_home=self.codex_home, environment=self.environment, user_config=config)

    def config_for(self, owned: Collection[str]) -> dict[str, Any]:
        """Returns the content of this machine's ``config.toml`` if an agent on a host gets it; otherwise nothing.

        Args:
            owned: The entries of the user's Codex home on the host.
        """
        return {} if self.settings is False or has_own_settings(owned) else self.user_config()

    def user_config(self) -> dict[str, Any]:
        """Returns the content of the user's ``config.toml`` on this machine; empty if it cannot be read."""
        import tomllib

        try:
            return tomllib.loads((self.codex_home / "config.toml").read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            return {}
