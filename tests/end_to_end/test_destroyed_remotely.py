"""An agent on another host is destroyed while the line to the host is broken, or a disk is full."""

import json
import shutil

import pytest

from tests.support.machine import Machine, RunningCommand, until
from tests.support.remote_host import HomeDisk, MakeHost, Options, RemoteHost
from tests.support.rule_based_model import Model, says

pytestmark = pytest.mark.slow


@pytest.fixture
def host(make_host: MakeHost) -> RemoteHost:
    """A host behind a line that can be cut, whose home is a disk of its own.

    The near machine's rsync creates the file `copying`, and waits until the test has created `go`.
    """
    host = make_host(Options(home_disk=HomeDisk(400)), proxy_delay_seconds=0.0)
    machine = host.machine
    waits = f'touch "{machine.folder}/copying"; until [ -e "{machine.folder}/go" ]; do sleep 0.1; done'
    machine.add_program("rsync", f'case "$*" in *set_aside*) {waits} ;; esac\nexec {shutil.which("rsync")} "$@"\n')
    return host


def is_copying(machine: Machine, running: RunningCommand) -> bool:
    is_running = running.process.poll() is None
    is_copying = (machine.folder / "copying").exists()
    assert is_copying or is_running, running.output.read_text()
    return is_copying


def let_copy(machine: Machine) -> None:
    (machine.folder / "go").touch()


def test_nothing_is_lost_if_the_line_breaks_for_longer_than_a_minute(host: RemoteHost, model: Model) -> None:
    """mngr deletes the agent when the line is back. The transcript is fetched later."""
    machine = host.machine
    model.on("remember", says("I shall remember."))
    agent = host.create()
    machine.mngr("message", "t", "-m", "Please remember this.")
    agent.wait()
    with machine.running_mngr("destroy", "t", "--force") as running:
        until(lambda: is_copying(machine, running), description="the copying")
        with host.proxy.cut():
            let_copy(machine)
            until(lambda: running.shows("They are kept on the host"), description="the end of the tries", seconds=150)
        running.process.wait(120)
        shown = running.output.read_text()
    assert "trying again for" in shown and f"hint: run `mngr codex recover {host.address}`" in shown
    listed = json.loads(machine.mngr("codex", "recover", host.name, "--list", "--format", "json").stdout)
    # When the line is back, mngr can go on to destroy the emptied host, and what is kept there is fetched before that.
    assert not listed or ([each["agent"] for each in listed] == ["t"] and listed[0]["files"] >= 4)
    machine.mngr("codex", "recover", host.name)
    assert "I shall remember." in machine.mngr("transcript", "t", "--preserved").stdout
    (kept,) = (machine.home / ".mngr" / "preserved").glob("t--*")
    assert list((kept / "plugin/codex/home/sessions").rglob("rollout-*.jsonl"))
    assert {path.stat().st_mode & 0o077 for path in kept.rglob("*") if path.name != "manifest.json"} == {0}
    assert "nothing is kept" in machine.mngr("codex", "recover", host.address).stdout
    assert not host.path(host.host_dir / "preserved/set_aside").exists()


def test_a_destroy_that_is_killed_can_be_repeated(host: RemoteHost, model: Model) -> None:
    """Nothing is doubled."""
    machine = host.machine
    agent = host.create()
    machine.mngr("message", "t", "-m", "Hello.")
    agent.wait()
    with machine.running_mngr("destroy", "t", "--force") as running:
        until(lambda: is_copying(machine, running), description="the copying")
    let_copy(machine)
    set_aside = host.path(host.host_dir / "preserved/set_aside")
    assert len(list(set_aside.glob("t--*"))) == 1
    machine.mngr("destroy", "t", "--force", status=None)
    assert not agent.state.exists() and not set_aside.exists()
    assert machine.mngr("transcript", "t", "--preserved").stdout.count("You said: Hello.") == 1


def test_an_agent_that_cannot_be_preserved_is_kept(host: RemoteHost, model: Model) -> None:
    """It is destroyed nevertheless if the user gives up its files."""
    machine = host.machine
    agent = host.create()
    machine.mngr("message", "t", "-m", "Hello.")
    agent.wait()
    host.write(host.host_dir / "preserved", "not a folder")
    machine.add_program("rsync", "echo 'no rsync here' >&2; exit 1\n")
    destroyed = machine.mngr("destroy", "t", "--force", status=None)
    assert "neither on this machine (rsync failed: no rsync here) nor on its host: " in destroyed.stderr
    assert destroyed.status != 0
    assert agent.state.exists() and machine.listed()["t"]["state"] == "STOPPED"
    machine.mngr("destroy", "t", "--force", "-S", "agent_types.codex.preserve_on_destroy=false", status=None)
    assert not agent.state.exists()


def test_an_agent_on_a_full_disk_is_destroyed(host: RemoteHost, model: Model) -> None:
    """Links need hardly any space, and if even that is missing, the files are copied at once."""
    machine = host.machine
    agent = host.create()
    machine.mngr("message", "t", "-m", "Hello.")
    agent.wait()
    let_copy(machine)
    host.fill_disk()
    machine.mngr("destroy", "t", "--force", status=None)
    assert not agent.state.exists()
    assert "You said: Hello." in machine.mngr("transcript", "t", "--preserved").stdout
