"""Detects other plugins that provide the agent type ``codex``, such as ``imbue-mngr-codex``.

mngr silently uses only one plugin per agent type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mngr_codex.plugin.agent_type import AGENT_TYPE, PLUGIN

if TYPE_CHECKING:
    import pluggy
    from imbue.mngr.config.data_types import MngrConfig

USAGE_READER = "imbue-mngr-codex-usage"


@dataclass(frozen=True)
class Provider:
    """A plugin that provides the agent type."""

    plugin: str
    """The name by which mngr enables and disables it."""
    distribution: str
    """The package that contains it."""
    is_ours: bool

    def __str__(self) -> str:
        """Returns the plugin as messages show it."""
        return f"{self.distribution} (plugin {self.plugin})"


def providers(pm: pluggy.PluginManager) -> list[Provider]:
    """Returns the enabled plugins that provide the agent type. mngr uses the first.

    Args:
        pm: mngr's plugin manager.
    """
    distributions = {id(plugin): distribution.project_name for plugin, distribution in pm.list_plugin_distinfo()}
    found = []
    # mngr uses the first one: the plugin registered earliest, or a plugin that asks to be called last.
    for implementation in pm.hook.register_agent_type.get_hookimpls():
        registration = implementation.function()
        if isinstance(registration, tuple) and registration and registration[0] == AGENT_TYPE:
            module = str(getattr(implementation.plugin, "__name__", ""))
            found.append(
                Provider(
                    plugin=implementation.plugin_name,
                    distribution=distributions.get(id(implementation.plugin), module or implementation.plugin_name),
                    is_ours=module.partition(".")[0] == PLUGIN,
                )
            )
    return found


def warning(pm: pluggy.PluginManager) -> str | None:
    """Returns a warning if several plugins provide the agent type, with the plugin that mngr uses and how to choose.

    Args:
        pm: mngr's plugin manager.

    Returns:
        The warning; None if there is only one such plugin.
    """
    found = providers(pm)
    if len(found) < 2:
        return None
    winner, *others = found
    lines = [
        f"{len(found)} plugins provide the agent type {AGENT_TYPE}: {', '.join(str(each) for each in found)}.",
        f"mngr uses {winner}.",
        "hint: disable all but one:",
        *(f"  mngr plugin disable {each.plugin} --scope user    # disables {each.distribution}" for each in found),
    ]
    if any(each.plugin == AGENT_TYPE for each in found):
        # mngr assumes that a table of settings belongs to the plugin with the same name.
        lines.append(
            f'With {AGENT_TYPE} disabled, [agent_types.{AGENT_TYPE}] needs plugin = "{PLUGIN}", or it is ignored.'
        )
    if any(each.is_ours for each in others):
        lines.append("Until then mngr-codex is not used: hooks, transcripts and settings are the other plugin's.")
    return "\n".join(lines)


def settings_warning(config: MngrConfig) -> str | None:
    """Returns a warning if mngr ignores the settings of the agent type.

    mngr ignores them if a plugin with the type's own name is disabled, unless the settings name their plugin.

    Args:
        config: mngr's settings.

    Returns:
        The warning; None if mngr uses the settings.
    """
    if AGENT_TYPE not in config.disabled_plugins or AGENT_TYPE in config.agent_types:
        return None
    return (
        f"mngr ignores settings under [agent_types.{AGENT_TYPE}] while the plugin {AGENT_TYPE} is disabled\n"
        f'hint: add plugin = "{PLUGIN}" there'
    )


def usage_reader_warning(pm: pluggy.PluginManager) -> str | None:
    """Returns a warning if ``imbue-mngr-codex-usage`` is enabled, which only serves agents of ``imbue-mngr-codex``.

    It requires that package, so neither can be removed alone. Without ``imbue-mngr-codex``, mngr does not start.

    Args:
        pm: mngr's plugin manager.

    Returns:
        The warning, with a hint on its own line; None if the plugin is missing or disabled.
    """
    installed = {distribution.project_name for _, distribution in pm.list_plugin_distinfo()}
    if USAGE_READER not in installed:
        return None
    return (
        f"{USAGE_READER} only measures agents of imbue-mngr-codex, and requires that package; agents of mngr-codex "
        "need neither for `mngr usage`\n"
        f"hint: run `mngr plugin remove {USAGE_READER} imbue-mngr-codex`, or `pip uninstall` with both names. Remove "
        "both at once: without imbue-mngr-codex alone, mngr does not start"
    )
