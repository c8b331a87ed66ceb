"""The live output of a real agent, followed by mngr's own function."""

import json
import subprocess
import sys
from threading import Event

import pytest

from tests.support.machine import Machine, until
from tests.support.rule_based_model import Model, after, says

# isort: split
from scripted_model import Response, message, shell_call

pytestmark = pytest.mark.slow

# Prints each text when it comes, until the agent waits.
SCRIPT = """
import json
from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
from imbue.mngr.agents.live_output_tail import tail_live_output
from imbue.mngr.api.providers import get_local_host
from imbue.mngr.config.loader import load_config
from imbue.mngr.main import get_or_create_plugin_manager
from imbue.mngr.primitives import AgentLifecycleState

with ConcurrencyGroup(name="test") as group:
    host = get_local_host(load_config(get_or_create_plugin_manager(), group))
    (agent,) = host.get_agents()

    def is_finished():
        return agent.get_lifecycle_state() is not AgentLifecycleState.RUNNING

    for text in tail_live_output(host, agent.get_live_output_path(), agent.make_live_output_reader(), is_finished):
        print(json.dumps(text), flush=True)
"""


def test_messages_come_while_the_agent_works(machine: Machine, model: Model) -> None:
    was_seen = Event()
    model.on(
        "slowly",
        lambda request: Response([message("First…\nand more.", final=False), shell_call(request, "true")]),
        after(was_seen, says("Done.")),
    )
    agent = machine.create()
    agent.message("Do it slowly.")
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        env=machine.environment,
        cwd=machine.repository,
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline()) == "First…\nand more.\n\n"
        assert agent.is_active
        was_seen.set()
        assert "".join(json.loads(line) for line in follower.stdout) == "Done.\n\n"
    until(lambda: agent.listed["state"] == "WAITING", description="WAITING", seconds=10)
