"""An agent's CODEX_HOME: what the plugin writes there, and whose hooks and directories are trusted."""
