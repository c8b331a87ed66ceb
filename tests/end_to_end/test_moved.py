"""An agent whose state directory mngr has moved starts again, with its session and its hooks."""

import json
import subprocess
import sys
from threading import Event

import pytest

from tests.support.machine import Agent, MakeMachine, until
from tests.support.rule_based_model import Model, after, runs, says

pytestmark = pytest.mark.slow

_MUTATE = """
import sys
from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
from imbue.mngr.api.providers import get_local_host
from imbue.mngr.config.loader import load_config
from imbue.mngr.hosts.mutate_id import mutate_agent_id
from imbue.mngr.main import get_or_create_plugin_manager
from imbue.mngr.primitives import AgentId
with ConcurrencyGroup(name="tests") as group:
    mngr_ctx = load_config(get_or_create_plugin_manager(), group)
    mutate_agent_id(get_local_host(mngr_ctx), AgentId(sys.argv[1]), AgentId(sys.argv[2]), mngr_ctx.config)
"""


def test_an_agent_with_another_id_continues(make_machine: MakeMachine, model: Model) -> None:
    machine = make_machine()
    hooks = {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}
    (machine.home / ".codex/hooks.json").write_text(json.dumps({"hooks": hooks}))
    was_seen = Event()
    model.on("slowly", runs("true"), after(was_seen, says("Slow, but done.")))
    agent = machine.create()
    agent.message("Before.")
    agent.wait()
    machine.mngr("stop", "t")
    session = (agent.state / "codex_root_session").read_text()
    new_id = f"agent-{'5' * 32}"
    command = [sys.executable, "-c", _MUTATE, agent.state.name, new_id]
    subprocess.run(command, env=machine.environment, cwd=machine.repository, check=True, capture_output=True)
    moved = Agent(machine, "t", agent.state.with_name(new_id))
    assert not agent.state.exists() and moved.state.exists()
    started = machine.mngr("start", "t")
    assert "cannot adapt" not in started.stderr
    moved.message("Do it slowly.")
    until(lambda: machine.listed()["t"]["state"] == "RUNNING", description="the turn")
    was_seen.set()
    until(lambda: machine.listed()["t"]["state"] == "WAITING", description="the end of the turn")
    assert (moved.state / "codex_root_session").read_text() == session
    answers = [answer for answer in moved.answers() if answer]
    assert answers.count("You said: Before.") == 1 and answers[-1] == "Slow, but done."
    paths = (moved.state / "codex_transcript_paths").read_text().split()
    assert len(set(paths)) == 1 and new_id in paths[0]
    raw = (moved.state / "logs/codex_transcript/events.jsonl").read_bytes()
    (rollout,) = (moved.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl")
    assert raw == rollout.read_bytes()
    assert agent.state.name not in (moved.state / "plugin/codex/home/hooks.json").read_text()
    command_now = json.loads((moved.state / "data.json").read_text())["command"]
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    assert json.loads((moved.state / "data.json").read_text())["command"] == command_now
    assert not agent.state.exists()
