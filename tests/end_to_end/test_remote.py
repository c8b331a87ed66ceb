"""An agent on another host, which is this machine over ssh, without Python and without the user's files."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.compaction import ask
from tests.support.machine import Agent, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, runs, says

pytestmark = pytest.mark.slow


class Remote:
    """An ssh server on loopback, with its own home and PATH for logins."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.folder = machine.folder / "remote"
        self.home = self.folder / "home"
        self.host_dir = self.folder / "mngr"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        binaries = self.folder / "bin"
        for each in (self.home / ".codex", binaries, self.folder / "tmux"):
            each.mkdir(parents=True)
        for directory in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
            for program in Path(directory).glob("*"):
                link = binaries / program.name
                if not program.name.startswith(("python", "codex", "mngr")) and not link.is_symlink():
                    link.symlink_to(program)
        shutil.copy(machine.folder / "bin" / "codex", binaries / "codex")
        shutil.copy(machine.home / ".codex" / "auth.json", self.home / ".codex" / "auth.json")
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}")
        self.environment = {
            **machine.environment,
            "HOME": str(self.home),
            "PATH": str(binaries),
            "TMUX_TMPDIR": str(self.folder / "tmux"),
        }
        del self.environment["MNGR_HOST_DIR"]
        self.config = self.folder / "sshd_config"
        settings = " ".join(f'{name}="{value}"' for name, value in self.environment.items())
        self.config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder / 'host_key'}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nSetEnv {settings}\n"
        )

    def settings(self) -> str:
        """Returns the settings of mngr for this host."""
        return (
            f'\n[providers.there]\nbackend = "ssh"\nhost_dir = "{self.host_dir}"\n'
            f'[providers.there.hosts.remote]\naddress = "127.0.0.1"\nport = {self.port}\nuser = "{getpass.getuser()}"\n'
            f'key_file = "{self.folder / "user_key"}"\nknown_hosts_file = "{self.folder / "known_hosts"}"\n'
        )

    def agent(self, name: str = "t") -> Agent:
        """Returns the only agent on the host."""
        (state,) = (self.host_dir / "agents").glob("*")
        return Agent(self.machine, name, state)


@pytest.fixture
def remote(make_machine: MakeMachine) -> Iterator[Remote]:
    """The other host, with its ssh server running."""
    server = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
    if server is None:
        pytest.skip("sshd is not installed (apt install openssh-server)")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd requires it if it runs as root
    machine = make_machine()
    remote = Remote(machine)
    settings = machine.profile / "settings.toml"
    text = settings.read_text().replace('enabled_backends = ["local"]', 'enabled_backends = ["local", "ssh"]')
    settings.write_text(text + remote.settings())
    with (remote.folder / "sshd.log").open("wb") as log:
        running = subprocess.Popen([server, "-D", "-e", "-f", remote.config], stderr=log)
    try:

        def is_listening() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", remote.port)) == 0

        until(is_listening, description="the ssh server", seconds=10)
        yield remote
    finally:
        for state in (remote.host_dir / "agents").glob("*"):
            machine.end_agent(state)
        subprocess.run(["tmux", "kill-server"], env=remote.environment, capture_output=True)
        running.terminate()
        running.wait()


def test_an_agent_runs_on_a_host_without_python(remote: Remote, model: Model) -> None:
    """All commands go over ssh, and the program runs on the host."""
    machine = remote.machine
    assert not shutil.which("python3", path=remote.environment["PATH"])
    model.on("slowly", runs("sleep 6"), says("Slow, but done."))
    machine.mngr("create", "t@remote.there", "codex", "--yes", "--no-connect")
    agent = remote.agent()
    machine.mngr("message", "t", "-m", "Do it slowly.")
    listed = machine.listed()["t"]
    assert listed["state"] == "RUNNING" and "turn_since" in listed["plugin"]["codex"]
    agent.wait()
    listed = machine.listed()["t"]
    fields = listed["plugin"]["codex"]
    assert (listed["state"], fields["waiting_reason"]) == ("WAITING", "END_OF_TURN")
    assert fields["session_id"] == (agent.state / "codex_root_session").read_text().strip()
    assert fields["model"] == "gpt-5.5"
    assert fields["tokens"]["input"] >= fields["context_tokens"] > 0
    assert fields.keys() >= {"since", "idle_since"} and "turn_since" not in fields
    assert agent.answers()[-1] == "Slow, but done."
    assert ask(machine, provider="there", host="remote", compact=True)["compacted"] is True
    until(lambda: "context_tokens" not in machine.listed()["t"]["plugin"]["codex"], description="the compaction")
    agent.wait()
    compacted = machine.listed()["t"]["plugin"]["codex"]
    assert compacted["idle_since"] == fields["idle_since"] < compacted["last_compaction"]["at"]
    assert ask(machine, provider="there", host="remote")["idle"] is None
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


def test_an_agent_runs_without_the_program_on_an_unknown_platform(remote: Remote) -> None:
    """A notice names the platform."""
    uname = Path(remote.environment["PATH"]) / "uname"
    uname.unlink()
    uname.write_text('#!/bin/sh\n[ "$*" = -sm ] && echo "FreeBSD amd64" || exec /usr/bin/uname "$@"\n')
    uname.chmod(0o755)
    machine = remote.machine
    created = machine.mngr("create", "t@remote.there", "codex", "--yes", "--no-connect")
    assert "FreeBSD x86_64" in created.stderr and "hint: set program_wheels" in created.stderr
    machine.mngr("message", "t", "-m", "Hello there.")
    agent = remote.agent()
    rollouts = list((agent.state / "plugin/codex/home/sessions").rglob("rollout-*.jsonl"))
    assert "Hello there." in rollouts[0].read_text()
    assert machine.listed()["t"]["state"] == "WAITING"
