"""Where the plugin's things stand in an agent's state dir."""

from __future__ import annotations

PROGRAM = "commands/mngr-codex"
"""The native program, as it was put on the agent's host."""
LAUNCHER = "commands/codex"
"""What starts codex. Called so because mngr knows a running agent by its command's name."""
CODEX_HOME = "plugin/codex/home"
"""What codex has for its ``~/.codex``."""
SESSIONS = f"{CODEX_HOME}/sessions"
"""Codex's rollouts."""
ARCHIVED_SESSIONS = f"{CODEX_HOME}/archived_sessions"
"""Those that the user has put away."""
ROOT_SESSION = "codex_root_session"
ROLLOUT = "codex_transcript_path"
ROLLOUTS = "codex_transcript_paths"
ACTIVE = "active"
PERMISSIONS_WAITING = "permissions_waiting"
