"""The ``config.toml`` of an agent."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mngr_codex.plugin.home.config_toml import build_config, carried_over, check_overrides, merge, render


def test_later_layers_override_earlier_ones_table_by_table() -> None:
    config = build_config(
        user_config={"model": "users", "tui": {"theme": "dark"}, "notice": {"hide_full_access_warning": False}},
        settings={"model": "settings", "sandbox_mode": "read-only"},
        overrides={"sandbox_mode": "workspace-write", "notice": {"mine": 1}, "tui": {"animations": False}},
        trusted_paths=["/work"],
        model_upgrades={"old": "new"},
        hook_state={"a:stop:0:0": {"trusted_hash": "sha256:a"}},
    )
    assert config["model"] == "settings" and config["sandbox_mode"] == "workspace-write"
    assert config["tui"]["theme"] == "dark" and config["tui"]["animations"] is False
    assert config["notice"]["hide_full_access_warning"] is True and config["notice"]["mine"] == 1
    assert config["notice"]["model_migrations"] == {"old": "new"}
    assert config["projects"] == {"/work": {"trust_level": "trusted"}}
    assert config["hooks"]["state"] == {"a:stop:0:0": {"trusted_hash": "sha256:a"}}
    assert config["cli_auth_credentials_store"] == "file" and config["check_for_update_on_startup"] is False
    assert config["features"]["daemon_auto_start"] is False


@pytest.mark.parametrize(
    ("users", "settings", "expected"),
    [
        ({}, {}, "workspace-write"),
        ({"sandbox_mode": "read-only"}, {}, "read-only"),
        ({"sandbox_mode": "read-only"}, {"sandbox_mode": "danger-full-access"}, "danger-full-access"),
    ],
)
def test_only_a_setting_loosens_the_users_sandbox(
    users: dict[str, str], settings: dict[str, str], expected: str
) -> None:
    assert build_config(user_config=users, settings=settings, overrides={})["sandbox_mode"] == expected


def test_a_null_override_removes_a_key() -> None:
    assert merge({"a": 1, "b": {"c": 1, "d": 2}}, {"a": None, "b": {"c": None}}) == {"b": {"d": 2}}


def test_merging_leaves_both_tables_unchanged() -> None:
    base, overlay = {"a": {"b": 1}}, {"a": {"c": 2}}
    merge(base, overlay)["a"]["d"] = 3
    assert base == {"a": {"b": 1}} and overlay == {"a": {"c": 2}}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"cli_auth_credentials_store": "keyring"}, '"file"'),
        ({"check_for_update_on_startup": True}, "false"),
        ({"features": {"hooks": False}}, "true"),
        ({"features": {"daemon_auto_start": True}}, "false"),
        ({"hooks": {"state": {"x": {"trusted_hash": "y"}}}}, "trust_repo_hooks"),
    ],
)
def test_overrides_that_would_break_the_agent_are_refused(overrides: dict[str, Any], expected: str) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    with pytest.raises(errors.ConfigParseError, match=expected):
        check_overrides(overrides)


def test_other_overrides_are_accepted() -> None:
    check_overrides({"cli_auth_credentials_store": "file", "features": {"hooks": True, "x": 1}, "hooks": {"Stop": []}})


def test_private_settings_of_the_user_are_not_carried_over() -> None:
    kept = carried_over(
        {
            "projects": {"/other": {"trust_level": "trusted"}},
            "sqlite_home": "/fast",
            "hooks": {"state": {"x": {"trusted_hash": "y"}}, "Stop": [{"hooks": []}]},
            "mcp_servers": {"files": {"command": "files", "args": ["-v"]}},
            "model_instructions_file": "mine.md",
            "agents": {"reviewer": {"config_file": "agents/reviewer.toml"}},
            "model_catalog_json": "/absolute.json",
            "experimental_compact_prompt_file": "~/prompt.md",
        },
        "/home/user/.codex",
    )
    assert kept == {
        "mcp_servers": {"files": {"command": "files", "args": ["-v"]}},
        "model_instructions_file": "/home/user/.codex/mine.md",
        "agents": {"reviewer": {"config_file": "/home/user/.codex/agents/reviewer.toml"}},
        "model_catalog_json": "/absolute.json",
        "experimental_compact_prompt_file": "~/prompt.md",
    }


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = (
    text
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.just(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))


@given(st.dictionaries(text, values, max_size=4))
def test_rendered_tables_parse_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(render(table)) == table


@pytest.mark.parametrize(
    ("users", "instructions", "overrides", "expected"),
    [
        ({}, (), {}, None),
        ({"developer_instructions": "Mine."}, (), {}, "Mine."),
        ({}, ("One.", "Two."), {}, "One.\n\nTwo."),
        ({"developer_instructions": "Mine."}, ("One.",), {}, "Mine.\n\nOne."),
        ({"developer_instructions": 3}, ("One.",), {}, "One."),
        ({"developer_instructions": "Mine."}, ("One.",), {"developer_instructions": "Ours."}, "Ours.\n\nOne."),
        ({"developer_instructions": "Mine."}, ("One.",), {"developer_instructions": None}, "One."),
        ({"developer_instructions": "Mine."}, (), {"developer_instructions": "Ours."}, "Ours."),
    ],
)
def test_instructions_are_appended_to_the_users(
    users: dict[str, Any], instructions: tuple[str, ...], overrides: dict[str, Any], expected: str | None
) -> None:
    config = build_config(user_config=users, settings={}, overrides=overrides, instructions=instructions)
    assert config.get("developer_instructions") == expected
