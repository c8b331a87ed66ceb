"""Messages to a running codex: typed into its composer, and known to have arrived by what codex wrote."""
