"""The hook that reads usage events, without imbue-mngr-usage. `tests/end_to_end/test_usage.py` runs it with that."""

from __future__ import annotations

import pytest


def test_the_plugin_can_be_loaded_without_the_package_that_defines_the_hook(home: object) -> None:
    pluggy = pytest.importorskip("pluggy")
    hookspecs = pytest.importorskip("imbue.mngr.plugins.hookspecs")
    from mngr_codex import plugin

    manager = pluggy.PluginManager("mngr")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()  # fails if a hook has no specification and is not optional


def test_events_of_other_agent_types_are_declined(home: object) -> None:
    pytest.importorskip("imbue.mngr")
    from mngr_codex.plugin import aggregate_usage_source

    assert aggregate_usage_source("claude", {}, 86400, 0) is None
