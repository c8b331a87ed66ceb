"""An ssh server on loopback, on which mngr finds agents that consist of their files only."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine import until
from tests.support.ports import free_port
from tests.support.transcript_machine import write_agent

PROGRAM = "commands/mngr-codex"


@dataclass
class SshServer:
    """The server, its user's home, and mngr's folder on it. The host is called ``remote.there``."""

    folder: Path
    port: int
    command: list[str]
    _running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server, and waits until it accepts connections."""
        with (self.folder / "sshd.log").open("ab") as log:
            self._running = subprocess.Popen(self.command, stderr=log)

        def is_listening() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", self.port)) == 0

        until(is_listening, description="the ssh server", seconds=10)

    def stop(self) -> None:
        """Kills the server if it runs. Its connections remain."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    @property
    def home(self) -> Path:
        """The home of the user there."""
        return self.folder / "home"

    @property
    def host_dir(self) -> Path:
        """mngr's folder there."""
        return self.folder / "mngr"

    def settings(self, port: int | None = None) -> str:
        """Returns the settings of mngr with this host, reached through another port if one is given."""
        known_hosts = self.folder / f"known_hosts-{port or self.port}"
        known_hosts.write_text(f"[127.0.0.1]:{port or self.port} {(self.folder / 'host_key.pub').read_text()}")
        return (
            f'[providers.there]\nbackend = "ssh"\nhost_dir = "{self.host_dir}"\n'
            f'[providers.there.hosts.remote]\naddress = "127.0.0.1"\nport = {port or self.port}\n'
            f'user = "{getpass.getuser()}"\nkey_file = "{self.folder / "user_key"}"\n'
            f'known_hosts_file = "{known_hosts}"\n'
        )

    def agent(self, stream: bytes | None, program: Path | None, *, agent_id: str, **data: Any) -> Path:
        """Creates an agent with a transcript and a program, if they are given, and returns its state directory."""
        state_dir = write_agent(self.host_dir, stream, agent_id=agent_id, work_dir=self.home, **data)
        (state_dir / "commands").mkdir()
        if program is not None:
            (state_dir / PROGRAM).symlink_to(program)
        return state_dir


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Starts a server whose files are in a folder."""
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
    if program is None:
        pytest.skip("sshd is not installed (apt install openssh-server)")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd requires it if it runs as root
    port = free_port()
    config = folder / "sshd_config"
    server = SshServer(folder, port, [program, "-D", "-e", "-f", str(config)])
    server.home.mkdir(parents=True)
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    environment = {"HOME": server.home, "PATH": os.defpath, "LANG": "C.UTF-8"}
    settings = " ".join(f'{name}="{value}"' for name, value in environment.items())
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nSetEnv {settings}\n"
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()
