"""The program on systems without a libc, with busybox alone, or with another libc than glibc.

Each is a folder that becomes the root of the program's file system and has nothing but what the test puts there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import Completed, program, run
from tests.support.recordings import DATA

RECORDING = DATA / "0.163.0" / "tui_approval.jsonl"
SESSION = "01a20218-0001-7000-8000-0123456789ab"
TURN = "01a20218-0002-7000-8000-0123456789ab"
ROLLOUT = f"/codex/sessions/2026/11/22/rollout-2026-11-22T07-11-32-{SESSION}.jsonl"
STATE = "/mngr/agents/agent-bare"


class Root:
    """The root of a file system with the program in `/bin`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "tmp", "mngr/agents/agent-bare", "codex/sessions/2026/11/22"):
            (folder / name).mkdir(parents=True)
        shutil.copy(program(), folder / "bin" / "mngr-codex")

    def path(self, inside: str) -> Path:
        """Returns where a path of the system is on this machine."""
        return self.folder / inside.removeprefix("/")

    def run(self, *arguments: str, stdin: bytes = b"") -> Completed:
        """Runs a program of the system, by its path."""
        environment = {"PATH": "/bin", "MNGR_AGENT_STATE_DIR": STATE}
        chroot = shutil.which("chroot", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert chroot
        done = subprocess.run(
            [chroot, self.folder, *arguments], input=stdin, capture_output=True, env=environment, timeout=60
        )
        return Completed(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def nothing_else(root: Root) -> None:
    """Only the program."""


def busybox(root: Root) -> None:
    """Busybox, linked statically."""
    found = shutil.which("busybox")
    if found is None or is_dynamic(Path(found)):
        pytest.skip("a static busybox is not installed (apt install busybox-static)")
    shutil.copy(found, root.folder / "bin" / "busybox")
    (root.folder / "bin" / "sh").symlink_to("busybox")
    assert root.run("/bin/sh", "-c", "busybox ls /bin").stdout.split() == [b"busybox", b"mngr-codex", b"sh"]


def musl(root: Root) -> None:
    """The libc musl, with a program that needs it."""
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.skip("musl-gcc is not installed (apt install musl-tools)")
    source = root.folder / "tmp" / "hello.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("musl"); }\n')
    subprocess.run([compiler, "-o", root.folder / "bin" / "hello", source], check=True)
    assert root.run("/bin/hello").status != 0, "the system has no libc yet"
    (loader,) = Path("/lib").glob("ld-musl-*.so.1")
    (root.folder / "lib").mkdir()
    shutil.copy(loader.resolve(), root.folder / "lib" / loader.name)
    assert root.run("/bin/hello").stdout == b"musl\n"


@pytest.fixture(params=[nothing_else, busybox, musl], ids=lambda make: make.__name__)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Root:
    """A system of each kind."""
    make: Callable[[Root], None] = request.param
    if os.getuid() != 0:
        pytest.skip("only root can change the root of a file system")
    if is_dynamic(program()):
        pytest.skip("the program is a debug build, which needs a libc (`make install` links it statically)")
    made = Root(tmp_path / "root")
    make(made)
    return made


def is_dynamic(path: Path) -> bool:
    """Whether a program needs a dynamic linker, whose name is in its header."""
    return b"/ld-linux" in path.read_bytes()[: 64 * 1024]


def test_a_rollout_is_converted(root: Root) -> None:
    shutil.copy(RECORDING, root.path(ROLLOUT))
    there = root.run("/bin/mngr-codex", "convert", ROLLOUT, "--agent-id", "agent-bare")
    here = run("convert", RECORDING, "--agent-id", "agent-bare")
    assert (there.status, there.stdout) == (0, here.stdout)
    assert there.stdout


def test_an_agent_is_followed(root: Root) -> None:
    """Hooks, marker and watcher."""

    def hook(event: str) -> None:
        payload = {"session_id": SESSION, "turn_id": TURN, "transcript_path": ROLLOUT, "cwd": "/", "prompt": "Hello."}
        done = root.run("/bin/mngr-codex", "hook", event, stdin=json.dumps(payload).encode())
        assert (done.status, done.stdout, done.stderr) == (0, b"", "")

    def marker() -> dict[str, object]:
        done = root.run("/bin/mngr-codex", "marker", "show", "--json")
        assert done.status == 0, done.stderr
        shown: dict[str, object] = json.loads(done.stdout)
        return shown

    state = root.path(STATE)
    hook("user-prompt-submit")
    assert (state / "active").exists() and marker()["state"] == "RUNNING"
    shutil.copy(RECORDING, root.path(ROLLOUT))
    assert root.run("/bin/mngr-codex", "watch", "--once", "--final").status == 0
    hook("stop")
    assert not (state / "active").exists() and marker()["state"] == "WAITING"
    assert (state / "logs/codex_transcript/events.jsonl").read_bytes() == RECORDING.read_bytes()
    common = (state / "events/codex/common_transcript/events.jsonl").read_bytes()
    assert common == run("convert", RECORDING, "--agent-id", "agent-bare").stdout


def test_a_wrong_use_is_explained(root: Root) -> None:
    for command in ("convert", "transcript"):
        wrong = root.run("/bin/mngr-codex", command, "--no-such-option")
        assert (wrong.status, wrong.stdout) == (2, b"")
        assert "--no-such-option" in wrong.stderr
