"""The settings of the agent type."""

from typing import Any

import pytest
from imbue.mngr.errors import ConfigParseError

from mngr_codex.plugin.config import CodexAgentConfig
from tests.support.project import ROOT


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("model", "", "at least 1 character"),
        ("program_wheels", "", "must be absolute"),
        ("program_wheels", "wheels/x.whl", "must be absolute"),
        ("model_reasoning_effort", "huge", "'none', 'minimal', 'low', 'medium', 'high' or 'xhigh'"),
        ("sandbox_mode", "none", "'read-only', 'workspace-write' or 'danger-full-access'"),
        ("update_policy", "SOMETIMES", "'AUTO', 'ASK' or 'NEVER'"),
        ("trust_repo_hooks", "perhaps", "boolean"),
        ("carry_login", "chatgpt", "True, False or 'api_key'"),
        ("carry_settings", "secrets", "True, False or 'with_secrets'"),
        ("config_overrides", ["x"], "dictionary"),
        ("message_confirmation_seconds", 0, "greater than 0"),
        ("message_confirmation_seconds", float("inf"), "less than or equal to 86400"),
    ],
)
def test_an_invalid_value_is_rejected_with_the_allowed_ones(name: str, value: Any, allowed: str) -> None:
    # mngr creates settings without validating them.
    settings: dict[str, Any] = {name: value}
    config = CodexAgentConfig.model_construct(**settings)
    with pytest.raises(ConfigParseError) as error:
        config.validated()
    assert name in str(error.value)
    assert allowed in str(error.value)


def test_invalid_values_are_kept_until_an_agent_is_created() -> None:
    """mngr reads all settings for every command."""
    config = CodexAgentConfig.model_validate({"sandbox_mode": "none", "model": "m", "trust_repo_hooks": "perhaps"})
    kept: dict[str, Any] = {name: getattr(config, name) for name in ("sandbox_mode", "model", "trust_repo_hooks")}
    assert kept == {"sandbox_mode": "none", "model": "m", "trust_repo_hooks": "perhaps"}
    with pytest.raises(ConfigParseError, match=r"(?s)sandbox_mode = 'none'.*trust_repo_hooks.*\[agent_types\.rev\]"):
        config.validated("rev")


def test_the_defaults() -> None:
    config = CodexAgentConfig().validated()
    assert config.command == "codex"
    assert config.sandbox_mode is None
    assert config.update_policy == "ASK"
    assert config.emit_common_transcript and config.use_user_config
    assert config.carry_login == "api_key" and config.carry_settings is True
    assert not (config.trust_repo_hooks or config.auto_allow_permissions or config.is_dialog_dismissed)


@pytest.mark.parametrize("name", ["auto_dismiss_dialogs", "auto_dismiss_dialogs_at_startup"])
def test_both_names_of_the_setting(name: str) -> None:
    settings: dict[str, Any] = {name: True}
    assert CodexAgentConfig.model_construct(**settings).validated().is_dialog_dismissed


def test_every_setting_is_documented() -> None:
    assert all(field.description for field in CodexAgentConfig.model_fields.values())
    documented = (ROOT / "docs" / "settings.md").read_text()
    assert not [name for name in CodexAgentConfig.__annotations__ if f"`{name}`" not in documented]


# The settings that the published plugin imbue-mngr-codex adds to those of every agent type.
_IN_BOTH = {"model", "model_reasoning_effort", "sandbox_mode", "auto_allow_permissions", "check_installation"}
_IN_BOTH |= {"config_overrides", "update_policy", "emit_common_transcript", "preserve_on_destroy"}
_IN_0_1_4 = {*_IN_BOTH, "auto_dismiss_dialogs"}
_IN_0_2_0 = {*_IN_BOTH, "auto_dismiss_dialogs_at_startup", "version"}
_IN_0_2_0 |= {"output_style", "append_system_prompt", "fall_back_to_account_default_model"}


def test_all_settings_of_the_published_plugin_are_known() -> None:
    """mngr refuses every command if a setting is unknown."""
    assert CodexAgentConfig.model_fields.keys() >= _IN_0_1_4 | _IN_0_2_0
