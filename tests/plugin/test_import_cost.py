"""mngr loads the plugin for every command, so loading must be cheap."""

import subprocess
import sys

import pytest

MAXIMUM_MILLISECONDS = 30

SCRIPT = """
import importlib.metadata, sys, time

listed = importlib.metadata.distributions
importlib.metadata.distributions = lambda **where: [each for each in listed(**where) if each.name != "mngr-codex"]
import imbue.mngr.main

assert not any(name.startswith("mngr_codex") for name in sys.modules)
begun = time.process_time()
import mngr_codex.plugin as plugin

plugin.register_agent_type()
plugin.agent_field_generators()
plugin.offline_agent_field_generators()
plugin.register_cli_commands()
plugin.register_help_topics()
print((time.process_time() - begun) * 1000)
late = ("adoption", "cli.doctor", "home.", "host.", "preservation", "provisioning")
early = [name for name in sys.modules if name.startswith(tuple(f"mngr_codex.plugin.{each}" for each in late))]
assert not early, early
"""


@pytest.mark.slow
def test_the_import_under_mngr(home: object) -> None:
    """Measures the processor time of imports that mngr does not need itself."""
    times = []
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        times.append(float(ran.stdout))
    assert min(times) <= MAXIMUM_MILLISECONDS, times
