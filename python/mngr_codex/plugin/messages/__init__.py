"""Messages to a running Codex."""
