"""Programs on the agent's host: Codex and the native program."""
