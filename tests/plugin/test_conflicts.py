"""Several plugins that provide the agent type codex, in mngr's own plugin manager."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mngr_codex.plugin.conflicts import providers, usage_reader_warning, warning


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


@pytest.fixture
def usage_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Installs a package with the name of the published usage plugin, and returns the name of its plugin."""
    (tmp_path / "published_usage.py").write_text("")
    dist_info = tmp_path / "imbue_mngr_codex_usage-0.2.0.dist-info"
    dist_info.mkdir()
    (dist_info / "METADATA").write_text("Metadata-Version: 2.1\nName: imbue-mngr-codex-usage\nVersion: 0.2.0\n")
    (dist_info / "entry_points.txt").write_text("[mngr]\ncodex_usage = published_usage\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "codex_usage"


def test_the_usage_plugin_of_the_published_plugin_is_explained(manager: Any, usage_reader: str) -> None:
    from mngr_codex.plugin.cli.doctor import installation

    assert usage_reader_warning(manager) is None and list(installation.usage_reader(manager)) == []
    assert manager.load_setuptools_entrypoints("mngr", name=usage_reader) == 1
    (finding,) = installation.usage_reader(manager)
    assert finding.level == "warning" and "only measures agents of imbue-mngr-codex" in finding.said
    assert finding.remedy is not None
    assert "`mngr plugin remove imbue-mngr-codex-usage imbue-mngr-codex`" in finding.remedy


def test_a_disabled_usage_plugin_is_not_mentioned(manager: Any, usage_reader: str) -> None:
    manager.set_blocked(usage_reader)
    manager.load_setuptools_entrypoints("mngr", name=usage_reader)
    assert usage_reader_warning(manager) is None
