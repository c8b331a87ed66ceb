"""Commands with an input, on this machine and over an ssh connection that breaks."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import paramiko
import pytest

from tests.support.line_proxy import LineProxy
from tests.support.machine import until

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.errors import CommandTimeoutError, HostConnectionError, MngrError
from imbue.mngr.interfaces.host import OnlineHostInterface

from mngr_codex.plugin.host.connection import Completed, LostCommandError, run_with_input

LARGE = bytes(range(256)) * 4096


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
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
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
def remote(home: Path, sshd: Sshd, proxy: LineProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnlineHostInterface]:
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


@contextmanager
def after(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Does something while the block runs."""
    thread = threading.Timer(seconds, action)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_command_reads_its_input_here(host: OnlineHostInterface) -> None:
    assert run_with_input(host, ["cat"], LARGE, timeout_seconds=10) == Completed(0, LARGE, b"")
    ran = run_with_input(host, "cat >&2; exit 3", b"a problem", timeout_seconds=10)
    assert ran == Completed(3, b"", b"a problem")
    # A command need not read its input.
    assert run_with_input(host, ["echo", "it's  here"], LARGE, timeout_seconds=10) == Completed(0, b"it's  here\n", b"")
    with pytest.raises(CommandTimeoutError, match="did not end within 1 s: sleep 30"):
        run_with_input(host, ["sleep", "30"], b"", timeout_seconds=1)


def test_a_command_reads_its_input_over_ssh(remote: OnlineHostInterface) -> None:
    assert run_with_input(remote, ["cat"], LARGE, timeout_seconds=20) == Completed(0, LARGE, b"")
    assert run_with_input(remote, "cat >&2; exit 3", b"a problem", timeout_seconds=20) == Completed(
        3, b"", b"a problem"
    )
    assert run_with_input(remote, ["echo", "it's  here"], LARGE, timeout_seconds=20).stdout == b"it's  here\n"
    # More errors than a channel's window has room for.
    loud = run_with_input(remote, "head -c 6000000 /dev/zero >&2; echo done", b"", timeout_seconds=30)
    assert (loud.stdout, len(loud.stderr)) == (b"done\n", 6_000_000)
    killed = run_with_input(remote, "kill -9 $$", b"", timeout_seconds=20)
    assert (killed.status, killed.stdout) == (-1, b"")


def test_a_command_takes_one_channel(remote: OnlineHostInterface, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    open_channel = paramiko.Transport.open_channel

    def counted(self: paramiko.Transport, *arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return open_channel(self, *arguments, **options)

    monkeypatch.setattr(paramiko.Transport, "open_channel", counted)
    run_with_input(remote, ["cat"], b"text", timeout_seconds=20)
    assert len(opened) == 1


def counting(folder: Path, rest: str) -> str:
    """Returns a script that records each run with its input."""
    return f'text=$(cat); echo "$text" >>{folder}/runs; {rest}'


def runs(folder: Path) -> list[str]:
    return (folder / "runs").read_text().splitlines() if (folder / "runs").exists() else []


@pytest.mark.parametrize("moment", [0.0, 0.3, 1.5])
def test_a_command_runs_again_with_its_input_if_the_line_breaks(
    remote: OnlineHostInterface, proxy: LineProxy, tmp_path: Path, moment: float
) -> None:
    with after(moment, proxy.reset):
        ran = run_with_input(remote, counting(tmp_path, "sleep 1; echo ended"), b"text", timeout_seconds=20)
    assert ran == Completed(0, b"ended\n", b"")
    assert set(runs(tmp_path)) == {"text"} and 1 <= len(runs(tmp_path)) <= 2
    assert moment != 0.3 or len(runs(tmp_path)) == 2


def test_a_line_that_breaks_again_and_again(remote: OnlineHostInterface, proxy: LineProxy, tmp_path: Path) -> None:
    with proxy.resetting(7, 0.05, 0.8):
        for number in range(8):
            ran = run_with_input(remote, counting(tmp_path, "echo $text"), b"%d" % number, timeout_seconds=20)
            assert ran.stdout == b"%d\n" % number
    assert set(runs(tmp_path)) == set("01234567")


def test_a_command_that_must_not_run_twice_is_not_repeated(
    remote: OnlineHostInterface, proxy: LineProxy, tmp_path: Path
) -> None:
    with after(0.5, proxy.reset), pytest.raises(LostCommandError, match="was lost while a command ran"):
        run_with_input(remote, counting(tmp_path, "sleep 2"), b"text", timeout_seconds=20, is_repeatable=False)
    assert runs(tmp_path) == ["text"]
    # A connection that was broken before is made again.
    proxy.reset()
    assert run_with_input(remote, ["cat"], b"text", timeout_seconds=20, is_repeatable=False).stdout == b"text"


def test_a_server_that_is_gone_for_some_seconds(
    remote: OnlineHostInterface, sshd: Sshd, proxy: LineProxy, tmp_path: Path
) -> None:
    sshd.stop()
    proxy.reset()
    with after(6, sshd.start):
        ran = run_with_input(remote, counting(tmp_path, "echo $text"), b"text", timeout_seconds=20)
    assert ran.stdout == b"text\n"


def test_a_server_that_stays_away(remote: OnlineHostInterface, sshd: Sshd, proxy: LineProxy, tmp_path: Path) -> None:
    """The error shows whether the command can have run."""
    sshd.stop()
    proxy.reset()
    begun = time.monotonic()
    with pytest.raises(HostConnectionError) as never_sent:
        run_with_input(remote, ["true"], b"", timeout_seconds=1, line_seconds=4)
    assert not isinstance(never_sent.value, LostCommandError)
    assert 4 < time.monotonic() - begun < 20
    sshd.start()

    def stay_away() -> None:
        sshd.stop()
        proxy.reset()

    with after(1, stay_away), pytest.raises(LostCommandError):
        run_with_input(remote, counting(tmp_path, "sleep 3"), b"text", timeout_seconds=4, line_seconds=3)
    assert runs(tmp_path) == ["text"]


@pytest.mark.slow
def test_a_line_that_is_silent_for_40_seconds(remote: OnlineHostInterface, proxy: LineProxy, tmp_path: Path) -> None:
    result: list[Completed] = []

    def run() -> None:
        result.append(run_with_input(remote, counting(tmp_path, "sleep 1; echo ended"), b"text", timeout_seconds=10))

    thread = threading.Thread(target=run)
    with proxy.black_hole():
        thread.start()
        time.sleep(40)
    thread.join(90)
    assert result == [Completed(0, b"ended\n", b"")]
    assert set(runs(tmp_path)) == {"text"}


def test_a_command_that_does_not_end_over_ssh(remote: OnlineHostInterface) -> None:
    with pytest.raises(CommandTimeoutError, match="did not end within"):
        run_with_input(remote, ["sleep", "30"], b"", timeout_seconds=1, line_seconds=1)


def test_a_host_without_an_ssh_connection_of_mngr_is_an_error() -> None:
    other = SimpleNamespace(id="h", is_local=False)
    with pytest.raises(MngrError, match="cannot run a command on host h: mngr does not reach it over ssh"):
        run_with_input(cast("OnlineHostInterface", other), "cat", b"text\n", timeout_seconds=10)
