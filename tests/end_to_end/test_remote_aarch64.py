"""An agent on a host with another CPU than this machine's: aarch64, emulated. Codex itself runs without the emulator.

`make test-aarch64` runs these tests with everything that they need.
"""

import json
import re
import time
import zipfile
from importlib.metadata import version
from pathlib import Path
from threading import Event

import pytest

from mngr_codex.plugin.host.program import Platform, packaged_program, platform_of
from tests.support import emulation
from tests.support.machine import Json, Machine, MakeMachine, until
from tests.support.remote_host import MakeHost, Options, RemoteHost
from tests.support.rule_based_model import Model, after, runs, says

pytestmark = [pytest.mark.slow, pytest.mark.any_codex]

AARCH64 = Platform("Linux", "aarch64")


@pytest.fixture
def machine(make_machine: MakeMachine, folder: Path) -> Machine:
    """A machine whose mngr has the program for aarch64: in its package, or in a wheel in its settings."""
    if reason := emulation.reason_against_emulation():
        pytest.skip(f"cannot run programs for aarch64: {reason}")
    if packaged_program(AARCH64):
        return make_machine()
    built = emulation.built_program()
    if built is None:
        pytest.skip("the program for aarch64 is neither installed nor built (run `make test-aarch64`)")
    wheel = folder / f"mngr_codex-{version('mngr-codex')}-cp312-abi3-linux_aarch64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(built, "mngr_codex.data/scripts/mngr-codex")
    return make_machine(program_wheels=str(wheel))


@pytest.fixture
def arm(make_host: MakeHost, machine: Machine) -> RemoteHost:
    """A host with aarch64."""
    return make_host(Options(is_aarch64=True), machine=machine, name="arm", provider="arms")


def comparable(records: list[Json]) -> list[Json]:
    """Returns the records without what differs between any two agents: ids, times, sessions and folders."""
    kept = ("type", "source", "message", "tool_calls", "results")
    text = json.dumps([{name: record[name] for name in kept if name in record} for record in records])
    different = r'agent-[0-9a-f]{32}|call_\w+|Wall time: [0-9.]+|Chunk ID: \w+|(?<=_ms": )[0-9]+'
    kept_records: list[Json] = json.loads(re.sub(different, "0", text))
    return kept_records


def live(host: RemoteHost, model: Model, name: str) -> tuple[float, list[Json]]:
    """Runs an agent from its creation to its destruction, and returns how long creating took, and its records."""
    machine = host.machine
    was_seen = Event()
    model.on("slowly", runs("echo working"), after(was_seen, says("Slow, but done.")))
    start = time.monotonic()
    agent = host.create(name)
    seconds = time.monotonic() - start
    machine.mngr("message", name, "-m", "Do it slowly.")
    fields = machine.listed()[name]
    assert fields["state"] == "RUNNING" and "turn_since" in fields["plugin"]["codex"]
    was_seen.set()
    agent.wait(60)
    fields = machine.listed()[name]
    assert (fields["state"], fields["plugin"]["codex"]["waiting_reason"]) == ("WAITING", "END_OF_TURN")
    assert agent.answers()[-1] == "Slow, but done."
    machine.mngr("stop", name)
    assert machine.listed()[name]["state"] == "STOPPED"
    machine.mngr("start", name)
    machine.mngr("message", name, "-m", "And now?")
    until(lambda: agent.answers()[-1] == "You said: And now?", description="the answer")
    agent.wait(60)
    asked = [record["message"] for record in agent.records() if record.get("source") == "user"]
    assert asked == ["Do it slowly.", "And now?"]
    session = fields["plugin"]["codex"]["session_id"]
    assert machine.listed()[name]["plugin"]["codex"]["session_id"] == session
    records = comparable(agent.records())
    machine.mngr("destroy", name, "--force", status=None)
    assert not agent.state.exists()
    return seconds, records


def test_an_agent_lives_as_on_x86_64(make_host: MakeHost, machine: Machine, arm: RemoteHost, model: Model) -> None:
    expected_seconds, expected = live(make_host(machine=machine), model, "intel")
    seconds, records = live(arm, model, "arm")
    assert records == expected
    assert seconds < expected_seconds + 10


def test_the_program_on_the_host_is_the_one_for_its_cpu(arm: RemoteHost) -> None:
    agent = arm.create()
    program = agent.state / "commands" / "mngr-codex"
    assert platform_of(program.read_bytes()) == AARCH64
    shown = arm.run(f"uname -sm; {agent.state_on_host}/commands/mngr-codex --version").stdout
    assert shown.splitlines() == ["Linux aarch64", f"mngr-codex {version('mngr-codex')}"]
    (watcher,) = until(lambda: emulated(arm, "watch"), description="the watcher")
    assert Path(f"/proc/{watcher}/exe").resolve().name.startswith("qemu-")


def emulated(host: RemoteHost, command: str) -> list[int]:
    """Returns the ids of the emulated processes of the program that run one of its commands."""
    found = []
    for pid in host.pids():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[0].endswith(b"qemu-aarch64-static") and command.encode() in words:
            found.append(pid)
    return found
