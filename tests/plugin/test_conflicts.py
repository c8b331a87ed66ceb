"""Several plugins that provide the agent type codex, in mngr's own plugin manager."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from mngr_codex.plugin.conflicts import providers, warning


@pytest.fixture
def manager(home: object) -> Any:
    """A plugin manager with mngr's hooks and no plugins."""
    pluggy = pytest.importorskip("pluggy")
    hookspecs = pytest.importorskip("imbue.mngr.plugins.hookspecs")
    manager = pluggy.PluginManager("mngr")
    manager.add_hookspecs(hookspecs)
    return manager


def plugin(module: str, agent_type: str | None, **options: Any) -> ModuleType:
    from imbue.mngr import hookimpl

    plugin_module = ModuleType(module)

    def register_agent_type() -> Any:
        return agent_type and (agent_type, object, object)

    plugin_module.register_agent_type = hookimpl(**options)(register_agent_type)  # type: ignore[attr-defined]
    return plugin_module


def winner(manager: Any) -> str:
    """Returns the plugin whose class mngr uses, determined like in mngr itself."""
    from imbue.mngr.agents.agent_registry import _agent_type_registrations_by_plugin

    used: dict[str, str] = {}
    for registration, name in reversed(_agent_type_registrations_by_plugin(manager)):
        if registration is not None:
            used[registration[0]] = name
    return used["codex"]


OURS, THEIRS = "mngr_codex.plugin", "imbue.mngr_codex.plugin"


def test_a_single_plugin_is_no_conflict(manager: Any) -> None:
    manager.register(plugin(OURS, "codex"), name="mngr_codex")
    manager.register(plugin("other.plugin", "other"), name="other")
    manager.register(plugin("silent.plugin", None), name="silent")
    assert warning(manager) is None
    assert [(each.plugin, each.is_ours) for each in providers(manager)] == [("mngr_codex", True)]


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("ours_last_called", [True, False])
def test_the_warning_names_the_plugin_that_mngr_uses_and_how_to_choose(
    manager: Any, ours_first: bool, ours_last_called: bool
) -> None:
    both = [(plugin(OURS, "codex", trylast=ours_last_called), "mngr_codex"), (plugin(THEIRS, "codex"), "codex")]
    for each, name in both if ours_first else reversed(both):
        manager.register(each, name=name)
    has_ours = ours_first or ours_last_called
    assert winner(manager) == providers(manager)[0].plugin == ("mngr_codex" if has_ours else "codex")
    text = warning(manager)
    assert text is not None
    assert f"mngr uses {OURS if has_ours else THEIRS} (plugin" in text
    assert "mngr plugin disable codex" in text and "mngr plugin disable mngr_codex" in text
    assert ("mngr-codex is not used" in text) is not has_ours


def test_a_disabled_plugin_is_no_conflict(manager: Any) -> None:
    manager.set_blocked("codex")
    manager.register(plugin(OURS, "codex"), name="mngr_codex")
    manager.register(plugin(THEIRS, "codex"), name="codex")
    assert warning(manager) is None
