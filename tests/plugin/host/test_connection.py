"""Commands with an input, on this machine and over an ssh connection that breaks."""

import subprocess
import sys
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
from tests.support.ssh_server import SshServer

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.errors import CommandTimeoutError, HostAuthenticationError, HostConnectionError, MngrError
from imbue.mngr.interfaces.host import OnlineHostInterface

from mngr_codex.plugin.host import channel, connection
from mngr_codex.plugin.host.connection import Completed, LostCommandError, run_with_input

LARGE = bytes(range(256)) * 4096


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


def test_a_line_that_breaks_while_the_key_is_checked(
    remote: OnlineHostInterface, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mngr reports that in the same way as a refused key."""
    problems = ["Authentication failed: transport shut down or saw EOF"] * 2
    open_command = channel.open_command

    def opened(host: OnlineHostInterface, script: str) -> Any:
        if problems:
            raise HostAuthenticationError(f"Authentication failed when connecting to host: ({problems.pop()})")
        return open_command(host, script)

    monkeypatch.setattr(connection, "open_command", opened)
    assert run_with_input(remote, "echo here", b"", timeout_seconds=20).stdout == b"here\n"
    problems.append("Authentication failed.")
    with pytest.raises(HostAuthenticationError):
        run_with_input(remote, "echo here", b"", timeout_seconds=20)


def test_a_line_that_breaks_again_and_again(remote: OnlineHostInterface, proxy: LineProxy, tmp_path: Path) -> None:
    with proxy.resetting(7, 0.05, 0.8):
        for number in range(8):
            ran = run_with_input(remote, counting(tmp_path, "echo $text"), b"%d" % number, timeout_seconds=20)
            assert ran.stdout == b"%d\n" % number
    # A connection that breaks can end the input early.
    assert set(runs(tmp_path)) - {""} == set("01234567")


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
    remote: OnlineHostInterface, sshd: SshServer, proxy: LineProxy, tmp_path: Path
) -> None:
    sshd.stop()
    proxy.reset()
    with after(6, sshd.start):
        ran = run_with_input(remote, counting(tmp_path, "echo $text"), b"text", timeout_seconds=20)
    assert ran.stdout == b"text\n"


def test_a_server_that_stays_away(
    remote: OnlineHostInterface, sshd: SshServer, proxy: LineProxy, tmp_path: Path
) -> None:
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


def test_the_time_that_a_command_may_take_does_not_count_while_the_host_is_away(
    remote: OnlineHostInterface, sshd: SshServer, proxy: LineProxy, tmp_path: Path
) -> None:
    def stay_away() -> None:
        sshd.stop()
        proxy.reset()

    stay_away()
    begun = time.monotonic()
    with pytest.raises(HostConnectionError) as never_sent:
        run_with_input(remote, ["true"], b"", timeout_seconds=300, line_seconds=2)
    assert not isinstance(never_sent.value, LostCommandError)
    assert time.monotonic() - begun < 20
    sshd.start()
    begun = time.monotonic()
    with after(1, stay_away), pytest.raises(LostCommandError):
        run_with_input(remote, counting(tmp_path, "sleep 3"), b"text", timeout_seconds=300, line_seconds=2)
    assert time.monotonic() - begun < 20
    assert runs(tmp_path) == ["text"]


def test_a_command_whose_channel_closes_without_a_status_runs_once_more(
    remote: OnlineHostInterface, tmp_path: Path
) -> None:
    """The connection works. A signal looks the same as a channel that broke."""
    first = f'[ "$(wc -l <{tmp_path}/runs)" -gt 1 ] || kill -9 $$; echo ended'
    ran = run_with_input(remote, counting(tmp_path, first), b"text", timeout_seconds=20)
    assert ran == Completed(0, b"ended\n", b"")
    assert runs(tmp_path) == ["text", "text"]
    always = counting(tmp_path, "kill -9 $$")
    assert run_with_input(remote, always, b"killed", timeout_seconds=20).status == -1
    assert runs(tmp_path)[2:] == ["killed", "killed"]
    assert run_with_input(remote, always, b"once", timeout_seconds=20, is_repeatable=False).status == -1
    assert runs(tmp_path)[4:] == ["once"]


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


@pytest.mark.parametrize(
    "slow", ["cat >/dev/null; sleep 30", "exec sleep 30", "cat >/dev/null; exec >&- 2>&-; sleep 30"]
)
def test_a_command_that_is_slow_on_a_line_that_works_is_not_repeated(
    remote: OnlineHostInterface, tmp_path: Path, slow: str
) -> None:
    """It reads its input, does not read it, or has closed its output."""
    content = b"x" * 8_000_000
    with pytest.raises(CommandTimeoutError, match="did not end within"):
        run_with_input(remote, f"echo run >>{tmp_path}/runs; {slow}", content, timeout_seconds=1, line_seconds=60)
    assert runs(tmp_path) == ["run"]


INTERRUPTED = """
import os, signal, sys, threading, time
from types import SimpleNamespace
from mngr_codex.plugin.host.connection import run_with_input

def interrupt():
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    # As the terminal does.
    os.killpg(0, signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
run_with_input(SimpleNamespace(is_local=True), sys.argv[2], b"", timeout_seconds=60)
"""


def test_a_command_here_can_clean_up_after_ctrl_c(tmp_path: Path) -> None:
    typed, removed = tmp_path / "typed", tmp_path / "removed"
    script = f"trap 'sleep 1; touch {removed}; exit' INT; touch {typed}; sleep 30 & wait"
    mngr = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, typed, script], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    assert "KeyboardInterrupt" in mngr.communicate(timeout=30)[1]
    assert removed.exists()


def test_a_host_without_an_ssh_connection_of_mngr_is_an_error() -> None:
    other = SimpleNamespace(id="h", is_local=False)
    with pytest.raises(MngrError, match="cannot run a command on host h: mngr does not reach it over ssh"):
        run_with_input(cast("OnlineHostInterface", other), "cat", b"text\n", timeout_seconds=10)
