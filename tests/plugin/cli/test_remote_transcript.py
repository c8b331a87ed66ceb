"""``mngr transcript`` of an agent on another host: the program runs there, and this terminal shows what it would here.

The host is this machine over ssh, and its agents consist of their files only.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, append_lines
from tests.support.line_proxy import LineProxy
from tests.support.machine import MngrServer, until
from tests.support.program import convert_file, program
from tests.support.recordings import DATA
from tests.support.rollout_builder import Rollout
from tests.support.ssh_server import PROGRAM, SshServer, ssh_server
from tests.support.transcript_machine import TRANSCRIPT, TranscriptMachine, write_agent

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

RECORDED = convert_file(DATA / "0.163.0" / "tools.jsonl").stdout
LINES = RECORDED.splitlines(keepends=True)
NUMBERS = itertools.count(1)


@dataclass
class Near(TranscriptMachine):
    """The user's machine, whose mngr reaches the host through a proxy."""

    _: KW_ONLY
    remote: SshServer
    proxy: LineProxy

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settings('enabled_backends = ["local", "ssh"]', self.remote.settings(self.proxy.port))
        self.environment["TZ"] = "America/Caracas"

    def there(self, stream: bytes | None = RECORDED, **data: str) -> tuple[str, Path]:
        """Creates an agent on the host, and returns its name and its state directory."""
        number = next(NUMBERS)
        data = {"name": f"there-{number}", **data}
        return data["name"], self.remote.agent(stream, Path(program()), agent_id=f"agent-{number:032}", **data)

    def here(self, there: Path) -> str:
        """Creates an agent of this machine with the transcript of one on the host, and returns its name."""
        data = json.loads((there / "data.json").read_text())
        name = f"{data['name']}-here"
        write_agent(
            self.host_dir,
            (there / TRANSCRIPT).read_bytes(),
            agent_id=there.name,
            work_dir=self.folder,
            name=name,
            type=data["type"],
        )
        return name

    @contextlib.contextmanager
    def following(self, *arguments: str, command: tuple[str, ...] = ("transcript",)) -> Iterator[Following]:
        """Runs ``mngr transcript``, or another command, with pipes."""
        shown = self.folder / f"shown-{next(NUMBERS)}"
        mngr = Path(sys.executable).with_name("mngr")
        with shown.open("wb") as out, shown.with_suffix(".errors").open("wb") as errors:
            running = subprocess.Popen(
                [mngr, *command, *arguments], env=self.environment, cwd=self.folder, stdout=out, stderr=errors
            )
        try:
            yield Following(running, shown)
        finally:
            running.kill()
            running.wait()


@dataclass
class Following:
    process: subprocess.Popen[bytes]
    file: Path

    def shown(self) -> bytes:
        return self.file.read_bytes()

    def errors(self) -> str:
        return self.file.with_suffix(".errors").read_text()

    def waits_for(self, text: bytes) -> None:
        def is_shown() -> bool:
            assert self.process.poll() is None, self.errors()
            return self.shown() == text

        until(is_shown, description=f"{text[-80:]!r} after {self.shown()[-80:]!r}", seconds=40)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("remote")) as running:
        yield running


@pytest.fixture
def near(tmp_path: Path, server: MngrServer, remote: SshServer) -> Iterator[Near]:
    with LineProxy(remote.port) as proxy:
        yield Near(tmp_path, server, remote=remote, proxy=proxy)


def programs_of(state_dir: Path) -> list[int]:
    """Returns the processes of the agent's program on the host."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[0] == str(state_dir / PROGRAM):
                found.append(int(process.name))
    return found


# -- the same as on this machine


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--full", "--head", "5"),
        ("--utc", "--tail", "3"),
        ("--role", "user", "--role", "tool"),
        ("--format", "json"),
        ("--format", "jsonl", "--tail", "2"),
        ("--format", "atif"),
    ],
    ids=" ".join,
)
def test_every_format_is_shown_as_on_this_machine(near: Near, arguments: tuple[str, ...]) -> None:
    name, state_dir = near.there()
    here = near.here(state_dir)
    expected = near.by_program(here, *arguments)
    ran = near.by_program(name, *arguments)
    assert (ran.status, ran.stdout) == (0, expected.stdout) and expected.stdout
    # The log of a listing names the host, which is then asked at once.
    near.mngr("list")
    before = near.proxy.traffic.connections
    assert near.by_program(name, *arguments).stdout == expected.stdout
    assert near.by_program(f"{name}@remote", *arguments).stdout == expected.stdout
    assert near.proxy.traffic.connections == before + (4 if "atif" in arguments else 2)


def test_only_the_shown_records_come_over_the_line(near: Near) -> None:
    name, _ = near.there(LINES[0] + b"".join(LINES[1:]) * (20_000_000 // len(RECORDED)))
    near.mngr("list")
    before = near.proxy.traffic.received
    assert near.by_program(name, "--tail", "20").stdout
    assert near.proxy.traffic.received - before < 100_000


def in_terminal(near: Near, *arguments: str, columns: int) -> str:
    """Returns what ``mngr transcript`` shows in a terminal of some width."""
    controlling, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command: list[str | Path] = [Path(sys.executable).with_name("mngr"), "transcript", *arguments]
    environment = {**near.environment, "TERM": "xterm", "PAGER": "sed 's/^/| /'"}
    with subprocess.Popen(
        command, env=environment, cwd=near.folder, stdin=terminal, stdout=terminal, stderr=terminal
    ) as running:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):
            while more := os.read(controlling, 65536):
                shown += more
        os.close(controlling)
    assert running.returncode == 0, shown
    return shown.decode()


def test_colors_width_and_pager_are_those_of_this_terminal(near: Near) -> None:
    answer = (
        LINES[0]
        + json.dumps(
            {
                "type": "step",
                "event_id": "evt-1",
                "emitter": "codex/common_transcript",
                "timestamp": "2026-11-22T07:15:02.000Z",
                "source": "agent",
                "message": "**Words** " + "and more words " * 30,
            }
        ).encode()
    )
    name, state_dir = near.there(answer + b"\n")
    here = near.here(state_dir)
    widths = set()
    for columns in (44, 100):
        shown = in_terminal(near, name, columns=columns)
        assert shown == in_terminal(near, here, columns=columns)
        assert "| " in shown and "\x1b[1m" in shown
        widths.add(max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in shown.splitlines()))
    assert len(widths) == 2
    assert in_terminal(near, name, "--no-pager", columns=44) == in_terminal(near, here, "--no-pager", columns=44)


# -- calls that mngr handles


def test_without_a_program_that_runs_mngr_reads_the_transcript(near: Near) -> None:
    name, state_dir = near.there()
    expected = near.by_program(name, "--format", "jsonl").stdout
    own = state_dir / PROGRAM
    own.unlink()
    assert near.by_mngr(name, "--format", "jsonl").stdout == expected
    ran = near.mngr("transcript", name, "--follow")
    assert ran.status == 2 and "the program mngr-codex is not on the host remote.there" in ran.stderr
    assert f"hint: `mngr event {name} codex/common_transcript --follow`" in ran.stderr
    # Too old, and of another machine.
    for script in ("#!/bin/sh\necho unexpected argument >&2\nexit 2\n", "\x7fELF nonsense"):
        own.write_text(script)
        own.chmod(0o755)
        ran = near.by_mngr(name, "--format", "jsonl")
        assert ran.stdout == expected and "unexpected" not in ran.stderr
        assert "is too old or does not run there" in near.mngr("transcript", name, "--follow").stderr
        own.unlink()


def test_transcripts_that_mngr_handles(near: Near) -> None:
    name, state_dir = near.there(None)
    assert "No common transcript" in near.by_mngr(name).stderr
    file = state_dir / TRANSCRIPT
    file.parent.mkdir(parents=True)
    file.write_text('{"type":"user_message","content":"x"}\n')
    assert near.by_mngr(name).status == 1
    file.write_bytes(b"".join(LINES[1:]))
    near.by_mngr(name, "--format", "atif")
    near.by_program(name, "--format", "json")
    other = state_dir / "events/other/common_transcript/events.jsonl"
    other.parent.mkdir(parents=True)
    other.write_bytes(RECORDED)
    assert "Multiple common transcript sources" in near.by_mngr(name).stderr


def test_an_outdated_log(near: Near) -> None:
    """The agent was renamed or destroyed by a mngr on another machine."""
    name, state_dir = near.there()
    near.mngr("list")
    data = json.loads((state_dir / "data.json").read_text())
    (state_dir / "data.json").write_text(json.dumps(data | {"name": f"{name}-new"}, indent=2))
    assert near.by_program(f"{name}-new", "--format", "json").stdout
    assert near.by_mngr(name).status == 1
    (state_dir / "data.json").unlink()
    assert near.by_mngr(f"{name}-new").status == 1


@pytest.mark.parametrize("target", ["nobody", "nobody@remote", "nobody@nowhere"])
def test_hosts_are_asked_once_for_an_agent_that_does_not_exist(near: Near, target: str) -> None:
    near.there()
    before = near.proxy.traffic.connections
    without = near.without_plugin(target)
    asked = near.proxy.traffic.connections - before
    assert near.by_mngr(target) == without and without.status == 1
    assert near.proxy.traffic.connections - before == 2 * asked
    with near.proxy.cut():
        ran, without = near.by_mngr(target), near.without_plugin(target)
    assert (ran.status, ran.stdout) == (without.status, without.stdout)
    assert ran.stderr.splitlines()[-1] == without.stderr.splitlines()[-1]
    assert near.by_mngr(target, "--follow") == near.by_mngr(target)


def test_an_agent_of_another_type(near: Near) -> None:
    name, _ = near.there(type="command")
    assert "does not produce a common transcript" in near.by_mngr(name).stderr


def test_two_agents_with_the_same_name(near: Near) -> None:
    name, state_dir = near.there()
    here = near.host_dir / "agents" / ("agent-" + "f" * 32)
    here.mkdir(parents=True)
    data = json.loads((state_dir / "data.json").read_text())
    (here / "data.json").write_text(json.dumps(data | {"id": here.name}))
    near.mngr("list")
    assert "Multiple agents" in near.by_mngr(name).stderr
    assert near.by_program(f"{name}@remote.there", "--format", "json").status == 0


def test_a_host_that_does_not_answer(near: Near) -> None:
    name, _ = near.there()
    near.mngr("list")
    with near.proxy.cut():
        ran = near.by_program(name)
    assert ran.status == 1 and "cannot connect to remote.there: " in ran.stderr


@pytest.mark.slow
def test_a_line_that_breaks_in_the_middle_of_a_transcript(near: Near) -> None:
    """What was shown is not shown again, and a transcript that has changed by then is an error."""
    name, state_dir = near.there(LINES[0] + LINES[2] * (30_000_000 // len(LINES[2])))
    near.mngr("list")
    file = state_dir / TRANSCRIPT
    expected = near.by_program(name, "--format", "jsonl").stdout.encode()
    mngr = Path(sys.executable).with_name("mngr")
    command: list[str | Path] = [mngr, "transcript", name, "--format", "jsonl"]
    for is_changed in (False, True):
        # Its output is more than all buffers on the way hold.
        with subprocess.Popen(
            command, env=near.environment, cwd=near.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            assert running.stdout is not None and running.stderr is not None
            shown = running.stdout.read(1_000_000)
            if is_changed:
                changed = near.folder / "changed"
                changed.write_bytes(file.read_bytes().replace(b'"timestamp":"20', b'"timestamp":"19'))
                changed.rename(file)
            near.proxy.reset()
            shown += running.stdout.read()
            errors = running.stderr.read()
        assert b"the connection to remote.there broke; connecting again" in errors
        if is_changed:
            assert running.returncode == 1 and b"the answer has changed" in errors and b"hint: run the" in errors
            assert expected.startswith(shown)
        else:
            assert running.returncode == 0 and shown == expected


# -- follow


@pytest.mark.parametrize("form", ["jsonl", "human"])
def test_following_over_a_line_that_breaks(near: Near, form: str) -> None:
    """Each record is shown once, although the line breaks at any time."""
    name, state_dir = near.there(b"")
    file = state_dir / TRANSCRIPT
    records = [
        json.dumps(
            {
                "type": "step",
                "event_id": f"evt-{number}",
                "emitter": "codex/common_transcript",
                "timestamp": "2026-11-22T07:15:02.000Z",
                "source": "user",
                "message": f"record {number:03}",
            }
        )
        for number in range(120)
    ]
    near.mngr("list")
    with near.following(name, "--follow", "--format", form) as following:
        until(lambda: programs_of(state_dir), description="the program")
        # On a busy machine, connecting can take longer than the pauses between breaks.
        with near.proxy.resetting(7, 0.8, 1.6):
            for record in records:
                with file.open("a") as more:
                    more.write(record + "\n")
                time.sleep(0.08)

        def numbers() -> list[int]:
            return [int(number) for number in re.findall(rb"record (\d+)", following.shown())]

        until(lambda: len(numbers()) >= len(records), description="all records", seconds=90)
        time.sleep(0.5)
        assert numbers() == list(range(len(records))), following.errors()
        assert near.proxy.traffic.resets > 2
        assert "the connection to remote.there broke; connecting again" in following.errors()
        if form == "jsonl":
            assert [json.loads(line) for line in following.shown().splitlines()] == [json.loads(r) for r in records]


def test_nothing_is_lost_before_the_first_record(near: Near) -> None:
    """With no record at first, the position is known all the same."""
    name, state_dir = near.there()
    near.mngr("list")
    mngr = ["--follow", "--format", "jsonl", "--tail", "1"]
    with near.following(name, *mngr) as following:
        following.waits_for(LINES[-1])
        with near.proxy.cut():
            with (state_dir / TRANSCRIPT).open("ab") as more:
                more.write(LINES[1])
            time.sleep(0.5)
        following.waits_for(LINES[-1] + LINES[1])


def test_a_call_without_an_output_is_shown_once_although_the_line_breaks(near: Near, tmp_path: Path) -> None:
    followed = FollowedAgent(tmp_path / "agents")
    rollout = Rollout().meta().started().context().user("Clean up.").assistant("I clean up.").usage()
    rollout.call("first", arguments='{"cmd":"make clean"}')
    append_lines(followed.make_current("1"), (line + b"\n" for line in rollout.lines))
    followed.run_once()
    name, state_dir = near.there(None)
    for folder in ("events", "logs", "plugin/mngr_codex"):
        shutil.copytree(followed.state / folder, state_dir / folder, dirs_exist_ok=True)
    near.mngr("list")
    with near.following(name, "--follow", "--tail", "1", command=("codex", "transcript")) as following:
        until(lambda: b"(no output: the session ended)" in following.shown(), description="the call")

        def is_shown_after_a_break(record: bytes) -> None:
            shown = following.shown()
            assert shown.count(b"make clean") == 1, shown
            (before,) = programs_of(state_dir)
            near.proxy.reset()
            until(lambda: programs_of(state_dir) not in ([], [before]), description="the next run", seconds=30)
            with (state_dir / TRANSCRIPT).open("ab") as more:
                more.write(record)
            until(lambda: following.shown() != shown, description="the next record", seconds=30)

        is_shown_after_a_break(LINES[1])
        is_shown_after_a_break(LINES[2])
        assert following.shown().count(b"make clean") == 1, following.shown()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_following_ends_the_program_on_the_host(near: Near, number: signal.Signals) -> None:
    name, state_dir = near.there(LINES[0])
    with near.following(name, "--follow", "--format", "jsonl") as following:
        following.waits_for(LINES[0])
        assert programs_of(state_dir)
        following.process.send_signal(number)
        assert following.process.wait(10) == -number
        until(lambda: not programs_of(state_dir), description="the end of the program", seconds=10)


def test_a_reader_that_leaves_ends_the_program_on_the_host(near: Near) -> None:
    name, state_dir = near.there()
    mngr = Path(sys.executable).with_name("mngr")
    command: list[str | Path] = [mngr, "transcript", name, "--follow", "--format", "jsonl"]
    with subprocess.Popen(command, env=near.environment, cwd=near.folder, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == LINES[0]
        until(lambda: programs_of(state_dir), description="the program")
        running.stdout.close()
        assert running.wait(10) == -signal.SIGPIPE
    until(lambda: not programs_of(state_dir), description="the end of the program", seconds=10)


@dataclass
class Screen:
    """A terminal in which a command runs, and everything that was written to it."""

    controlling: int
    process: subprocess.Popen[bytes]
    written: bytes = b""

    def shows(self, text: bytes) -> bool:
        os.set_blocking(self.controlling, False)
        with contextlib.suppress(BlockingIOError, OSError):
            while more := os.read(self.controlling, 65536):
                self.written += more
        return text in self.written


def test_following_in_a_terminal(near: Near) -> None:
    """Calls that run are shown below, and stay on the screen after Ctrl-C, which also ends the program on the host."""
    name, state_dir = near.there()
    controlling, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 90, 0, 0))
    command: list[str | Path] = [Path(sys.executable).with_name("mngr"), "transcript", name, "--follow"]
    environment = {**near.environment, "TERM": "xterm"}
    running = subprocess.Popen(
        command,
        env=environment,
        cwd=near.folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    screen = Screen(controlling, running)
    try:
        until(lambda: screen.shows(b"Tools done."), description="the transcript")
        assert b"\x1b[1m" in screen.written and b"\x1e" not in screen.written
        (program_there,) = programs_of(state_dir)
        size = Path(f"/proc/{program_there}/fd/1").resolve()
        assert str(size).startswith("/dev/pts/")
        with size.open() as own:
            assert os.get_terminal_size(own.fileno()) == (90, 40)
            fcntl.ioctl(controlling, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 70, 0, 0))
            until(lambda: os.get_terminal_size(own.fileno()) == (70, 30), description="the new size", seconds=10)
        near.proxy.reset()
        until(lambda: screen.shows(b"connecting again"), description="the message", seconds=20)
        until(lambda: programs_of(state_dir) not in ([], [program_there]), description="the next run", seconds=30)
        assert screen.written.count(b"Tools done.") == 1
        os.write(controlling, b"\x03")
        assert running.wait(10) == -signal.SIGINT
        until(lambda: not programs_of(state_dir), description="the end of the program", seconds=10)
    finally:
        running.kill()
        running.wait()
        os.close(controlling)
