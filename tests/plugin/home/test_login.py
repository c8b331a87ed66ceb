"""Whether an agent's Codex needs a login."""

from __future__ import annotations

from typing import Any

import pytest

from mngr_codex.plugin.home.login import login_notice, needs_login


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        ({}, True),
        ({"model_provider": "openai"}, True),
        ({"model_provider": "ollama"}, False),
        ({"model_provider": "p", "model_providers": {"p": {"requires_openai_auth": False}}}, False),
        ({"model_provider": "p", "model_providers": {"p": {"requires_openai_auth": True}}}, True),
    ],
)
def test_openais_models_need_a_login(config: dict[str, Any], needed: bool) -> None:
    assert needs_login(config) is needed


def test_the_notice_explains_a_keyring() -> None:
    assert "codex login" in login_notice({}, "/h/.codex") and "keyring" not in login_notice({}, "/h/.codex")
    assert "keyring" in login_notice({"cli_auth_credentials_store": "auto"}, "/h/.codex")
