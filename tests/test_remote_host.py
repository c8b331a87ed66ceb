"""The hosts that tests make, see `tests/support/remote_host.py`."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.machine import Machine, MngrServer, until
from tests.support.project import ROOT
from tests.support.remote_host import HOME, HomeDisk, Options, RemoteHost, reason_against_hosts

type Make = Callable[[Options], RemoteHost]

WITHOUT_CODEX = Options(codex=None)


@pytest.fixture
def make() -> Iterator[Make]:
    """Creates hosts for which neither mngr nor Codex is needed."""
    if reason := reason_against_hosts():
        pytest.skip(f"cannot make a remote host: {reason}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mc-")))
        machine = stack.enter_context(machine_in(folder))
        yield lambda options: stack.enter_context(RemoteHost(machine, options))


def machine_in(folder: Path) -> Machine:
    return Machine(folder, Path("/bin/true"), "http://127.0.0.1:9/v1", MngrServer(folder / "none", sys.executable))


def test_an_ordinary_user_finds_nothing_of_the_tester(make: Make) -> None:
    host = make(WITHOUT_CODEX)
    shown = subprocess.run(
        [*host.ssh_command(), "id -un; echo $HOME; echo $PATH; hostname; ls /root; ls -A /tmp /home"],
        capture_output=True,
        text=True,
    )
    assert shown.stdout.splitlines() == [
        "alice",
        "/home/alice",
        "/usr/local/bin:/usr/bin:/bin:/usr/games",
        "box",
        "/home:",
        "alice",
        "",
        "/tmp:",
    ]
    assert "Permission denied" in shown.stderr
    for hidden in ("python3", "codex", "mngr", "pip", "npm"):
        assert host.run(f"command -v {hidden}", check=False).returncode != 0
    for folder in (ROOT, host.machine.folder):
        assert host.run(f"ls -d {folder}", check=False, user="root").returncode != 0
    processes = host.run("ls -d /proc/[0-9]*").stdout.split()
    assert 0 < len(processes) < 10


def test_a_reboot_ends_all_processes_and_keeps_the_disk(make: Make) -> None:
    host = make(WITHOUT_CODEX)
    host.run("echo kept >file; echo gone >/tmp/file; setsid sleep 1000 >/dev/null 2>&1 &")
    before = host.pids()
    host.reboot()
    assert not [pid for pid in before if _is_running(pid)]
    assert host.run("cat file; ls -A /tmp").stdout == "kept\n"
    assert (host.path(HOME) / "file").read_text() == "kept\n"


def test_the_ssh_server_ends_and_starts_again(make: Make) -> None:
    host = make(WITHOUT_CODEX)
    with subprocess.Popen([*host.ssh_command(), "sleep 1000"], stderr=subprocess.DEVNULL) as connected:
        until(lambda: host.run("pgrep -x sleep", check=False).stdout, description="the command", seconds=10)
        with host.without_sshd():
            assert connected.wait(10) == 255
            assert subprocess.run([*host.ssh_command(), "true"], capture_output=True).returncode == 255
    assert subprocess.run([*host.ssh_command(), "true"]).returncode == 0


def test_the_disk_of_the_home_can_be_full(make: Make) -> None:
    host = make(Options(codex=None, home_disk=HomeDisk(megabytes=8)))
    host.fill_disk()
    refused = host.run("cp /bin/sh file", check=False)
    assert "No space left on device" in refused.stderr
    host.free_disk()
    assert host.run("echo text >file; cat file").stdout == "text\n"


def test_variants(make: Make) -> None:
    host = make(
        Options(
            codex=None,
            has_busybox=True,
            has_user_namespaces=False,
            home_disk=HomeDisk(megabytes=8, is_executable=False),
        )
    )
    assert "BusyBox" in host.run("ps --help 2>&1 || :").stdout
    assert "Permission denied" in host.run("cp /bin/true . && ./true", check=False).stderr
    assert host.run("unshare -Ur true", check=False).returncode != 0


def test_users_of_other_hosts_make_namespaces(make: Make) -> None:
    assert make(WITHOUT_CODEX).run("unshare -Ur id -u").stdout == "0\n"


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_nothing_of_a_host_remains(make: Make, tmp_path: Path, how: str) -> None:
    """Not even if the tests are killed."""
    before = mounts()
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from tests.support.remote_host import Options, RemoteHost\nfrom tests.test_remote_host import machine_in\n"
        f"with machine_in(Path({str(tmp_path)!r})) as machine, RemoteHost(machine, Options(codex=None)) as host:\n"
        "    host.run('setsid sleep 1000 >/dev/null 2>&1 &')\n"
        "    print(*host.pids(), host._keeper.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None and tests.stdin is not None
        pids = [int(each) for each in tests.stdout.readline().split()]
        assert len(pids) > 3
        if how == "kill":
            os.kill(tests.pid, signal.SIGKILL)
        else:
            tests.stdin.close()
        tests.wait(20)
    end = time.monotonic() + 10
    while left := [pid for pid in pids if _is_running(pid)]:
        assert time.monotonic() < end, f"still running: {left}"
        time.sleep(0.05)
    assert mounts() == before
    assert not list((tmp_path / "host-box" / "disk").iterdir())


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
