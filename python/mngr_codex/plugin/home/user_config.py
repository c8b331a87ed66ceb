"""The user's ``config.toml`` on a host, from the facts about the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mngr_codex.plugin.home.config_toml import Table, parse_config
from mngr_codex.plugin.host.facts import CONFIG

if TYPE_CHECKING:
    from mngr_codex.plugin.host.facts import HostFacts


def user_config(facts: HostFacts) -> Table:
    """Returns the content of the user's ``config.toml`` on a host; an empty table if it does not exist.

    Args:
        facts: The facts about the host.

    Raises:
        ConfigParseError: The file cannot be read or is not valid TOML.
    """
    return parse_config(f"{facts.user_codex_home}/{CONFIG}", lambda: facts.text(CONFIG))
