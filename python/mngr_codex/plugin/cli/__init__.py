"""The commands that the plugin adds to mngr."""
