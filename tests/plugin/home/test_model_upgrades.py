"""The models that Codex would offer to replace."""

import json

import pytest

from mngr_codex.plugin.home.model_upgrades import cached_upgrades


@pytest.mark.parametrize(
    "cache", [None, "", "nonsense", "[]", '{"models": 3}', '{"models": [1, {"slug": 2}]}', "[" * 100_000]
)
def test_a_malformed_cache_yields_no_upgrades(cache: str | None) -> None:
    assert cached_upgrades(cache) == {}


def test_the_replacements_of_models() -> None:
    models = [{"slug": "old", "upgrade": {"model": "new"}}, {"slug": "new", "upgrade": None}]
    assert cached_upgrades(json.dumps({"models": models})) == {"old": "new"}
