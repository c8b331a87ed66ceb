"""Asks mngr's object of an agent what mngr-autocompact asks it, and lets it compact, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.support.machine import Json, Machine

# Without mngr-autocompact, the request is the one that it makes.
_SCRIPT = """
import json, sys
from datetime import timedelta
from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
from imbue.mngr.api.providers import get_provider_instance
from imbue.mngr.config.loader import load_config
from imbue.mngr.errors import MngrError
from imbue.mngr.main import get_or_create_plugin_manager
from imbue.mngr.primitives import HostName, ProviderInstanceName

provider, host_name, *words = sys.argv[1:]
with ConcurrencyGroup(name="test") as group:
    context = load_config(get_or_create_plugin_manager(), group)
    host = get_provider_instance(ProviderInstanceName(provider), context).get_host(HostName(host_name))
    (agent,) = host.get_agents()
    idle = agent.get_idle_since()
    shown = {"idle": idle and idle.isoformat(), "tokens": agent.get_context_tokens(), "running": agent.is_running()}
    if words and idle is not None:
        try:
            from imbue.mngr_autocompact.config import AutoCompactPluginConfig, ContextCompactionMode
            from imbue.mngr_autocompact.manager import get_stale_idle_since, trigger_compaction
        except ImportError:
            try:
                agent.request_compaction("Keep the plan.", 5.0, idle)
                shown["compacted"] = True
            except MngrError as error:
                shown |= {"compacted": False, "error": str(error)}
        else:
            mode = ContextCompactionMode.PROACTIVE_TIMER
            config = AutoCompactPluginConfig(mode=mode, min_context_tokens=1)
            for minutes, expected in ((26, None), (28, idle)):
                assert get_stale_idle_since(agent, config, mode, idle + timedelta(minutes=minutes)) == expected
            shown["compacted"] = trigger_compaction(agent, "Keep the plan.", idle)
    host.disconnect()
    print(json.dumps(shown))
"""


def ask(machine: Machine, *, provider: str = "local", host: str = "localhost", compact: bool = False) -> Json:
    """Asks the only agent of a host whether it is idle.

    Args:
        machine: The machine on which mngr runs.
        provider: The name of the host's provider.
        host: The name of the host.
        compact: Whether an idle agent is compacted.

    Returns:
        ``idle`` (since when), ``tokens``, ``running`` and, if a compaction was requested, ``compacted``.
    """
    words = ["compact"] if compact else []
    # The environment that has mngr-autocompact.
    python = os.environ.get("MNGR_CODEX_SIBLINGS_PYTHON") or sys.executable
    ran = subprocess.run(
        [python, "-c", _SCRIPT, provider, host, *words],
        env=machine.environment,
        cwd=machine.repository,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    shown: Json = json.loads(ran.stdout.splitlines()[-1])
    return shown
