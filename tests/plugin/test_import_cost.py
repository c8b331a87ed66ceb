"""mngr loads the plugin for every command, so loading must import little."""

import json
import subprocess
import sys

import pytest

# Imports everything that mngr imports by itself, then loads the plugin, and prints the modules that this has imported.
SCRIPT = """
import importlib.metadata, json, sys

listed = importlib.metadata.distributions
importlib.metadata.distributions = lambda **where: [each for each in listed(**where) if each.name != "mngr-codex"]
import imbue.mngr.main

before = set(sys.modules)
import mngr_codex.plugin as plugin

plugin.register_agent_type()
plugin.agent_field_generators()
plugin.offline_agent_field_generators()
plugin.register_cli_commands()
plugin.register_help_topics()
print(json.dumps(sorted(set(sys.modules) - before)))
"""

# A module that only some commands need is imported in the function that needs it.
NEEDED_BY_EVERY_COMMAND = {
    "imbue.mngr.agents.tui_agent",
    "imbue.mngr.agents.tui_utils",
    "mngr_codex",
    "mngr_codex._core",
    "mngr_codex.plugin",
    "mngr_codex.plugin.agent",
    "mngr_codex.plugin.agent_type",
    "mngr_codex.plugin.cli",
    "mngr_codex.plugin.cli.codex",
    "mngr_codex.plugin.cli.help",
    "mngr_codex.plugin.cli.local_agents",
    "mngr_codex.plugin.cli.program_help",
    "mngr_codex.plugin.cli.remote_agents",
    "mngr_codex.plugin.cli.transcript",
    "mngr_codex.plugin.command_setting",
    "mngr_codex.plugin.config",
    "mngr_codex.plugin.help_topics",
    "mngr_codex.plugin.last_known",
    "mngr_codex.plugin.launch",
    "mngr_codex.plugin.listing",
    "mngr_codex.plugin.markers",
    "mngr_codex.plugin.paths",
    "mngr_codex.plugin.starting",
    "pydantic.functional_serializers",
}


@pytest.mark.slow
def test_the_import_under_mngr(home: object) -> None:
    """Only these modules are imported in addition to mngr's own."""
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    imported = set(json.loads(ran.stdout))
    assert "mngr_codex.plugin.agent" in imported
    assert imported <= NEEDED_BY_EVERY_COMMAND
