"""The settings of the agent type."""

from typing import Any

import pytest
from imbue.mngr.errors import ConfigParseError

from mngr_codex.plugin.config import CodexAgentConfig


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("model", "", "at least 1 character"),
        ("program_wheels", "", "must not be empty"),
        ("model_reasoning_effort", "huge", "'none', 'minimal', 'low', 'medium', 'high' or 'xhigh'"),
        ("sandbox_mode", "none", "'read-only', 'workspace-write' or 'danger-full-access'"),
        ("update_policy", "SOMETIMES", "'AUTO', 'ASK' or 'NEVER'"),
        ("trust_repo_hooks", "perhaps", "boolean"),
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
    assert not (config.trust_repo_hooks or config.auto_allow_permissions or config.is_dialog_dismissed)


@pytest.mark.parametrize("name", ["auto_dismiss_dialogs", "auto_dismiss_dialogs_at_startup"])
def test_both_names_of_the_setting(name: str) -> None:
    settings: dict[str, Any] = {name: True}
    assert CodexAgentConfig.model_construct(**settings).validated().is_dialog_dismissed


def test_every_setting_is_documented() -> None:
    assert all(field.description for field in CodexAgentConfig.model_fields.values())
