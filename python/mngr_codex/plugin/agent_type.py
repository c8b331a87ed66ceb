"""The names under which mngr knows the agent type and the plugin."""

from __future__ import annotations

AGENT_TYPE = "codex"
PLUGIN = "mngr_codex"
"""The name of the entry point in ``pyproject.toml``, and of the package."""
