"""An ssh server on loopback, and mngr's host that is reached through it."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.support.line_proxy import LineProxy
from tests.support.machine import until
from tests.support.ports import free_port

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import OnlineHostInterface


class Sshd:
    """An ssh server on loopback, reached through a proxy."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
        if program is None:
            pytest.skip("sshd is not installed (apt install openssh-server)")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd requires it if it runs as root
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\nPidFile none\n"
            f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
            f'PasswordAuthentication no\nPermitRootLogin yes\nSetEnv HOME="{folder}"\n'
        )
        self._command = [program, "-D", "-e", "-f", str(folder / "config")]
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(self._command, stderr=log, start_new_session=True)

        def is_listening() -> bool:
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", self.port)) == 0

        until(is_listening, description="the ssh server", seconds=10)

    def stop(self) -> None:
        if self._running is not None:
            self._running.send_signal(signal.SIGKILL)
            self._running.wait()
            self._running = None

    def settings(self, port: int) -> str:
        """Returns the settings of mngr for this host, reached through another port."""
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(self.folder / 'host_key.pub').read_text()}")
        return (
            f'[providers.there]\nbackend = "ssh"\nhost_dir = "{self.folder / "mngr"}"\n'
            f'[providers.there.hosts.remote]\naddress = "127.0.0.1"\nport = {port}\nuser = "{getpass.getuser()}"\n'
            f'key_file = "{self.folder / "user_key"}"\nknown_hosts_file = "{self.folder / "known_hosts"}"\n'
        )


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[LineProxy]:
    with LineProxy(sshd.port) as line:
        yield line


@pytest.fixture
def remote(
    home: Path, sshd: Sshd, proxy: LineProxy, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[OnlineHostInterface]":
    """mngr's host behind the proxy, with a connection."""
    from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
    from imbue.mngr.api.providers import get_provider_instance
    from imbue.mngr.config.loader import load_config
    from imbue.mngr.main import get_or_create_plugin_manager
    from imbue.mngr.primitives import HostName, ProviderInstanceName

    profile = home / ".mngr" / "profiles" / "tests"
    profile.mkdir(parents=True)
    (home / ".mngr" / "config.toml").write_text('profile = "tests"\n')
    (profile / "settings.toml").write_text(
        'is_allowed_in_pytest = true\nenabled_backends = ["local", "ssh"]\n' + sshd.settings(proxy.port)
    )
    monkeypatch.chdir(home)
    with ConcurrencyGroup(name="tests") as group:
        context = load_config(get_or_create_plugin_manager(), group)
        host = cast(Any, get_provider_instance(ProviderInstanceName("there"), context)).get_host(HostName("remote"))
        assert host.execute_idempotent_command("true").success
        yield host
        host.disconnect()
