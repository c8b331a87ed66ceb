"""An agent's CODEX_HOME: its files, its trusted hooks and its trusted directories."""
