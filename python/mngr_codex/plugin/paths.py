"""Where the plugin's things stand in an agent's state dir."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "commands/mngr-codex"
"""The native program, as it was put on the agent's host."""
LAUNCHER = "commands/codex"
"""What starts codex. Called so because mngr knows a running agent by its command's name."""
CODEX_HOME = "plugin/codex/home"
"""What codex has for its ``~/.codex``."""
SESSIONS = f"{CODEX_HOME}/sessions"
"""Codex's rollouts."""
ROOT_SESSION = "codex_root_session"
ROLLOUT = "codex_transcript_path"
ROLLOUTS = "codex_transcript_paths"
ACTIVE = "active"
PERMISSIONS_WAITING = "permissions_waiting"
DIALOG_EXPECTED = "plugin/codex/dialog_expected"
"""Exists where codex may open a dialog of its own when it starts, which nobody but the user can answer."""


def state_dir(host_dir: Path, agent_id: object) -> Path:
    """The folder in which mngr keeps what is known of an agent.

    Args:
        host_dir: mngr's folder on the agent's host.
        agent_id: The agent's id.
    """
    return host_dir / "agents" / str(agent_id)
