"""An agent on another host, as an ordinary user over ssh, without Python and without the user's files."""

from threading import Event

import pytest

from tests.support.compaction import ask
from tests.support.machine import until
from tests.support.remote_host import RemoteHost
from tests.support.rule_based_model import Model, after, runs, says

pytestmark = pytest.mark.slow


def test_an_agent_runs_on_a_host_without_python(host: RemoteHost, model: Model) -> None:
    """All commands go over ssh, and the program runs on the host."""
    machine = host.machine
    was_seen = Event()
    model.on("slowly", runs("true"), after(was_seen, says("Slow, but done.")))
    agent = host.create()
    machine.mngr("message", "t", "-m", "Do it slowly.")
    listed = machine.listed()["t"]
    assert listed["state"] == "RUNNING" and "turn_since" in listed["plugin"]["codex"]
    was_seen.set()
    agent.wait()
    listed = machine.listed()["t"]
    fields = listed["plugin"]["codex"]
    assert (listed["state"], fields["waiting_reason"]) == ("WAITING", "END_OF_TURN")
    assert fields["session_id"] == (agent.state / "codex_root_session").read_text().strip()
    assert fields["model"] == "gpt-5.5"
    assert fields["tokens"]["input"] >= fields["context_tokens"] > 0
    assert fields.keys() >= {"since", "idle_since"} and "turn_since" not in fields
    assert agent.answers()[-1] == "Slow, but done."
    assert ask(machine, provider="there", host=host.name, compact=True)["compacted"] is True
    until(lambda: "context_tokens" not in machine.listed()["t"]["plugin"]["codex"], description="the compaction")
    agent.wait()
    compacted = machine.listed()["t"]["plugin"]["codex"]
    assert compacted["idle_since"] == fields["idle_since"] < compacted["last_compaction"]["at"]
    assert ask(machine, provider="there", host=host.name)["idle"] is None
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    machine.mngr("message", "t", "-m", "And now?")
    until(lambda: agent.answers()[-1] == "You said: And now?", description="the answer")
    assert not list((agent.state / "plugin/codex/home").glob(".mngr-message*"))
    # mngr destroys the agent, and then fails to destroy the host of its ssh provider.
    machine.mngr("destroy", "t", "--force", status=None)
    assert not agent.state.exists()
    (kept,) = (machine.home / ".mngr" / "preserved").glob("t*")
    assert list((kept / "plugin/codex/home/sessions").rglob("rollout-*.jsonl"))


def test_an_agent_runs_without_the_program_on_an_unknown_platform(host: RemoteHost) -> None:
    """A notice names the platform."""
    host.add_program("uname", '[ "$*" = -sm ] && echo "FreeBSD amd64" || exec /usr/bin/uname "$@"\n')
    machine = host.machine
    created = machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect")
    assert "FreeBSD x86_64" in created.stderr and "hint: set program_wheels" in created.stderr
    machine.mngr("message", "t", "-m", "Hello there.")
    agent = host.agent()
    rollouts = list((agent.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl"))
    assert "Hello there." in rollouts[0].read_text()
    assert machine.listed()["t"]["state"] == "WAITING"
