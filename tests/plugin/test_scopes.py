"""`config_overrides` in several of mngr's settings files, and in a type with a parent, as mngr itself reads them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
from imbue.mngr.config.agent_config_registry import resolve_agent_type
from imbue.mngr.config.loader import load_config
from imbue.mngr.errors import ConfigParseError
from imbue.mngr.main import get_or_create_plugin_manager
from imbue.mngr.primitives import AgentTypeName

from mngr_codex.plugin.config import CodexAgentConfig

type Resolve = Callable[..., CodexAgentConfig]

OVERRIDES = "[agent_types.codex.config_overrides]\n"
OF_CHILD = '[agent_types.child]\nparent_type = "codex"\n[agent_types.child.config_overrides]\n'


@pytest.fixture
def resolve(home: Path, monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Reads an agent type from the settings of the user, of the project and of this clone of it."""
    profile, repository = home / ".mngr" / "profiles" / "tests", home / "repository"
    folder = repository / ".mngr"
    for each in (profile, folder):
        each.mkdir(parents=True)
    (home / ".mngr" / "config.toml").write_text('profile = "tests"\n')
    subprocess.run(["git", "init", "-q", repository], check=True)
    monkeypatch.chdir(repository)

    def read(user: str = "", project: str = "", local: str = "", agent_type: str = "codex") -> CodexAgentConfig:
        for file, text in ((profile / "settings.toml", user), (folder / "settings.toml", project)):
            file.write_text(f"is_allowed_in_pytest = true\n{text}")
        (folder / "settings.local.toml").write_text(f"is_allowed_in_pytest = true\n{local}")
        # An error that leaves the group would become a group of errors.
        with ConcurrencyGroup(name="tests") as group:
            try:
                settings = load_config(get_or_create_plugin_manager(), group).config
            except ConfigParseError as error:
                failure: ConfigParseError | None = error
            else:
                failure = None
        if failure is not None:
            raise failure
        config = resolve_agent_type(AgentTypeName(agent_type), settings).agent_config
        assert isinstance(config, CodexAgentConfig)
        return config

    return read


def overrides(config: CodexAgentConfig) -> dict[str, Any]:
    return config.validated().config_overrides


def test_the_overrides_of_all_settings_files_add_up(resolve: Resolve) -> None:
    user = OVERRIDES + 'web_search = "disabled"\nmodel_verbosity = "high"\n'
    config = resolve(user, OVERRIDES + "x.y = 1\n", OVERRIDES + 'model_verbosity = "low"\n')
    assert overrides(config) == {"web_search": "disabled", "model_verbosity": "low", "x": {"y": 1}}


def test_a_table_in_several_settings_files_needs_mngrs_suffix(resolve: Resolve) -> None:
    with pytest.raises(ConfigParseError, match="narrowing"):
        resolve(OVERRIDES + "tui.a = 1\n", OVERRIDES + "tui.b = 2\n")
    config = resolve(OVERRIDES + "tui.a = 1\n", OVERRIDES + "tui__extend.b = 2\n")
    assert overrides(config) == {"tui": {"a": 1, "b": 2}}


def test_the_overrides_of_a_parent_are_inherited(resolve: Resolve) -> None:
    config = resolve(OVERRIDES + "a = 1\nb = 1\n" + OF_CHILD + "b = 2\n", OF_CHILD + "c = 3\n", agent_type="child")
    assert overrides(config) == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    ("user", "project", "agent_type"),
    [
        ("[agent_types.codex]\nconfig_overrides = 'x'\n", "", "codex"),
        ("[agent_types.codex]\nconfig_overrides = ['x']\n", OVERRIDES + "a = 1\n", "codex"),
        (OVERRIDES + "a = 1\n", "[agent_types.codex]\nconfig_overrides = 3\n", "codex"),
        ("[agent_types.codex]\nconfig_overrides = 'x'\n" + OF_CHILD + "a = 1\n", "", "child"),
        (OVERRIDES + "a = 1\n[agent_types.child]\nparent_type = 'codex'\nconfig_overrides = 3\n", "", "child"),
    ],
)
def test_an_invalid_value_stops_no_other_command(resolve: Resolve, user: str, project: str, agent_type: str) -> None:
    """mngr reads the settings for every command, also those that fix them."""
    config = resolve(user, project, agent_type=agent_type)
    with pytest.raises(
        ConfigParseError, match=r"config_overrides = ('x'|\['x'\]|3): Input should be a valid dictionary"
    ):
        config.validated()
    # Neither `mngr config` nor a copy has anything else than what the user wrote.
    shown = config.config_overrides
    assert not isinstance(shown, dict)
    assert config.model_dump()["config_overrides"] == shown
    assert config.model_dump(mode="json", serialize_as_any=True)["config_overrides"] == shown


def test_what_is_carried_to_other_hosts_can_be_set_for_a_type(resolve: Resolve) -> None:
    user = "[agent_types.codex]\ncarry_login = true\ncarry_settings = false\n"
    child = '[agent_types.child]\nparent_type = "codex"\ncarry_settings = "with_secrets"\n'
    config = resolve(user, child).validated()
    assert config.carry_login is True and config.carry_settings is False
    config = resolve(user, child, agent_type="child").validated()
    assert config.carry_login is True and config.carry_settings == "with_secrets"
