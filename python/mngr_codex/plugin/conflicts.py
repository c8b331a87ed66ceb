"""Other plugins that claim the agent type ``codex``, such as `imbue-mngr-codex`: mngr takes one without a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mngr_codex.plugin.agent_type import AGENT_TYPE

if TYPE_CHECKING:
    import pluggy
    from imbue.mngr.config.data_types import MngrConfig

_OURS = "mngr_codex"


@dataclass(frozen=True)
class Claim:
    """A plugin that claims the agent type."""

    plugin: str
    """Its name, by which mngr enables and disables it."""
    distribution: str
    """The package that brings it."""
    is_ours: bool

    def __str__(self) -> str:
        """The plugin as a person is told of it."""
        return f"{self.distribution} (plugin {self.plugin})"


def claims(pm: pluggy.PluginManager) -> list[Claim]:
    """Give the plugins that claim the agent type, the one that has it first.

    A plugin that is disabled claims nothing.

    Args:
        pm: mngr's plugin manager.
    """
    brought_by = {id(plugin): distribution.project_name for plugin, distribution in pm.list_plugin_distinfo()}
    found = []
    # mngr takes the first of these: one that is registered earlier, or says that it wants to be called last.
    for implementation in pm.hook.register_agent_type.get_hookimpls():
        registration = implementation.function()
        if isinstance(registration, tuple) and registration and registration[0] == AGENT_TYPE:
            module = str(getattr(implementation.plugin, "__name__", ""))
            found.append(
                Claim(
                    plugin=implementation.plugin_name,
                    distribution=brought_by.get(id(implementation.plugin), module or implementation.plugin_name),
                    is_ours=module.partition(".")[0] == _OURS,
                )
            )
    return found


def warning(pm: pluggy.PluginManager) -> str | None:
    """Tell that several plugins claim the agent type, which one has it, and how to choose; None if there is but one.

    Args:
        pm: mngr's plugin manager.
    """
    found = claims(pm)
    if len(found) < 2:
        return None
    winner, *others = found
    lines = [
        f"{len(found)} plugins claim the agent type {AGENT_TYPE}: {', '.join(str(claim) for claim in found)}.",
        f"Agents of that type are made by {winner}.",
        "To choose, disable all but one:",
        *(f"  mngr plugin disable {claim.plugin} --scope user    # no more {claim.distribution}" for claim in found),
    ]
    if any(claim.plugin == AGENT_TYPE for claim in found):
        # mngr takes a block of settings for that of the plugin of the same name.
        lines.append(
            f'With {AGENT_TYPE} disabled, [agent_types.{AGENT_TYPE}] needs plugin = "{_OURS}", or it is passed over.'
        )
    if any(claim.is_ours for claim in others):
        lines.append("Until then mngr-codex makes no agents, and hooks, transcripts and settings are the other's.")
    return "\n".join(lines)


def settings_warning(config: MngrConfig) -> str | None:
    """Tell that mngr passes the settings of the agent type over; None if it does not.

    It does so where a plugin with the type's own name is disabled, unless the settings name the plugin that they are
    for.

    Args:
        config: mngr's settings.
    """
    if AGENT_TYPE not in config.disabled_plugins or AGENT_TYPE in config.agent_types:
        return None
    return (
        f"mngr passes settings under [agent_types.{AGENT_TYPE}] over while the plugin {AGENT_TYPE} is disabled, unless "
        f'plugin = "{_OURS}" stands there.'
    )
