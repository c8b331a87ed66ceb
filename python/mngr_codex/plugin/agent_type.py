"""The name of the agent type."""

from __future__ import annotations

AGENT_TYPE = "codex"
