"""The models that Codex would offer to replace, from the list its server last sent."""

from __future__ import annotations

import json


def cached_upgrades(cache: str | None) -> dict[str, str]:
    """Returns the replacement that Codex offers for each outdated model.

    Args:
        cache: The text of ``models_cache.json``, or None if the file does not exist. Malformed entries are ignored.
    """
    try:
        content = json.loads(cache or "null")
    except (ValueError, RecursionError):
        return {}
    upgrades = {}
    models = content.get("models") if isinstance(content, dict) else None
    for model in models if isinstance(models, list) else ():
        upgrade = model.get("upgrade") if isinstance(model, dict) else None
        replacement = upgrade.get("model") if isinstance(upgrade, dict) else None
        if isinstance(replacement, str) and isinstance(model.get("slug"), str):
            upgrades[model["slug"]] = replacement
    return upgrades
