"""Hooks with a state directory for each session, and `status`."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_agent import Ids
from tests.support.folder_snapshot import snapshot
from tests.support.machine import until
from tests.support.program import Completed, program, run

WORK_DIR = "/srv/proj"


class Sessions:
    """The sessions of a Codex whose hooks have a state directory for each session.

    This process runs the hooks, as Codex does, so a session runs as long as the tests do.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.root = self.home / ".local/state/mngr-codex/sessions"
        self.rollouts = folder / "rollouts"
        self.rollouts.mkdir()
        self.new_id = Ids()
        self.turn = self.new_id()

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home)}

    def hook(self, event: str, session: str, *, root: Path | None = None, **members: Any) -> None:
        payload = {
            "session_id": session,
            "turn_id": self.turn,
            "transcript_path": str(self.rollouts / f"{session}.jsonl"),
            "cwd": WORK_DIR,
            **members,
        }
        template = (root or self.root) / "{session_id}"
        # Nothing depends on the environment: hooks run in that of Codex's daemon.
        environment = {"MNGR_AGENT_STATE_DIR": str(self.folder / "other")}
        done = run("hook", event, "--state-dir", template, stdin=json.dumps(payload).encode(), env=environment, cwd="/")
        assert (done.status, done.stdout, done.stderr) == (0, b"", ""), done

    def write_line(self, session: str, kind: str) -> None:
        line = {
            "timestamp": "2026-11-22T07:12:50.678Z",
            "type": "event_msg",
            "payload": {"type": kind, "turn_id": self.turn},
        }
        with (self.rollouts / f"{session}.jsonl").open("a") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def status(self, *options: str) -> Completed:
        return run("status", *options, env=self.environment())

    def states(self, *options: str) -> dict[str, str]:
        done = self.status("--json", *options)
        assert (done.status, done.stderr) == (0, ""), done
        return {each["session_id"]: each["state"] for each in json.loads(done.stdout)}


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path)


class TestStateDirectories:
    """The state directory of a session."""

    def test_each_session_has_its_own(self, sessions: Sessions) -> None:
        sessions.hook("user-prompt-submit", "a")
        sessions.hook("user-prompt-submit", "b")
        sessions.hook("stop", "b")
        assert {path.name for path in sessions.root.iterdir()} == {"a", "b"}
        assert (sessions.root / "a/active").exists() and not (sessions.root / "b/active").exists()
        assert (sessions.root / "a/codex_root_session").read_text().strip() == "a"
        assert not (sessions.folder / "other").exists()

    def test_they_are_for_this_user_only(self, sessions: Sessions) -> None:
        sessions.hook("user-prompt-submit", "a")
        for folder in (sessions.root, sessions.root / "a"):
            assert folder.stat().st_mode & 0o777 == 0o700

    def test_no_transcript_is_written(self, sessions: Sessions) -> None:
        """The rollout of the session is its transcript."""
        sessions.write_line("a", "task_started")
        for event in ("session-start", "user-prompt-submit", "stop", "session-end"):
            sessions.hook(event, "a")
        assert not (sessions.root / "a/logs").exists() and not (sessions.root / "a/events").exists()

    @pytest.mark.parametrize("id_", ["../x", "/etc", "..", "a/b", "a\0b", "", "x" * 256], ids=ascii)
    def test_an_id_that_is_no_file_name_is_only_logged(self, sessions: Sessions, id_: str) -> None:
        sessions.hook("user-prompt-submit", "good")
        before = snapshot(sessions.folder)
        sessions.hook("user-prompt-submit", id_)
        [line] = (sessions.root / "events/logs/mngr_codex/events.jsonl").read_text().splitlines()
        assert "session_id" in json.loads(line)["message"]
        log = str(sessions.root.relative_to(sessions.folder) / "events")
        assert {name: it for name, it in snapshot(sessions.folder).items() if not name.startswith(log)} == before
        assert sessions.states() == {"good": "RUNNING"}


class TestStatus:
    """`status`."""

    def test_running_and_waiting_sessions_are_listed(self, sessions: Sessions) -> None:
        for session in ("a", "b", "c"):
            sessions.hook("session-start", session)
            sessions.hook("user-prompt-submit", session)
        sessions.hook("permission-request", "b")
        sessions.hook("stop", "c")
        listed = {each["session_id"]: each for each in json.loads(sessions.status("--json").stdout)}
        assert {id_: (each["state"], each["waiting_reason"]) for id_, each in listed.items()} == {
            "a": ("RUNNING", None),
            "b": ("WAITING", "PERMISSIONS"),
            "c": ("WAITING", "END_OF_TURN"),
        }
        since = listed["a"].pop("since")
        assert abs(time.time() - time.mktime(time.strptime(since[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60
        assert listed["a"] == {
            "session_id": "a",
            "agent": None,
            "state": "RUNNING",
            "waiting_reason": None,
            "cwd": WORK_DIR,
            "subagents": 0,
            "state_dir": str(sessions.root / "a"),
            "transcript_path": str(sessions.rollouts / "a.jsonl"),
            "model": None,
            "context_tokens": None,
        }

    def test_people_see_a_table(self, sessions: Sessions) -> None:
        sessions.hook("user-prompt-submit", "long-id", cwd=str(sessions.home / "project"))
        sessions.hook("user-prompt-submit", "b")
        sessions.hook("permission-request", "b", cwd="/work")
        title, *rows = sessions.status().stdout.decode().splitlines()
        assert title.split() == ["STATE", "FOR", "FOLDER", "SESSION"]
        assert [row.split() for row in rows] == [
            ["RUNNING", "0", "s", "~/project", "long-id"],
            ["WAITING", "PERMISSIONS", "0", "s", WORK_DIR, "b"],
        ]
        assert (
            len({row.index(name) for row, name in zip([title, *rows], ["SESSION", "long-id", "b"], strict=True)}) == 1
        )

    def test_without_a_session_a_hint_is_printed(self, sessions: Sessions) -> None:
        done = sessions.status()
        assert (done.status, done.stdout) == (0, b"") and "hint: `mngr-codex hooks install`" in done.stderr
        assert sessions.states() == {}
        (sessions.home / ".codex").mkdir()
        assert run("hooks", "install", env=sessions.environment()).status == 0
        said = sessions.status().stderr
        assert "no session is running or waiting\nhint: sessions appear with their first message" in said
        assert "(/hooks)" in said and "hooks install" not in said
        assert "no session has been recorded" in sessions.status("--all").stderr

    def test_a_pipe_in_place_of_a_file_is_not_waited_for(self, sessions: Sessions) -> None:
        sessions.hook("user-prompt-submit", "a")
        for file in ("plugin/mngr_codex/session.json", "codex_transcript_path"):
            (sessions.root / "a" / file).unlink()
            os.mkfifo(sessions.root / "a" / file)
        (sessions.home / ".codex").mkdir()
        os.mkfifo(sessions.home / ".codex/hooks.json")
        assert sessions.states() == {"a": "RUNNING"}
        agent = sessions.home / ".mngr/agents/agent-1"
        (agent / "plugin/mngr_codex").mkdir(parents=True)
        os.mkfifo(agent / "data.json")
        os.mkfifo(agent / "plugin/mngr_codex/lifecycle")
        done = sessions.status("--json", "--all")
        assert done.status == 1 and "it is a pipe or a device" in done.stderr

    def test_text_of_a_session_cannot_control_the_terminal(self, sessions: Sessions) -> None:
        sessions.hook("user-prompt-submit", "\u202e", cwd="/a\u2028b")
        assert sessions.status().stdout.decode().split()[-2:] == ["/a<U+2028>b", "<U+202E>"]

    def test_ended_sessions_are_listed_on_request(self, sessions: Sessions) -> None:
        sessions.hook("user-prompt-submit", "a")
        sessions.hook("session-end", "a")
        sessions.hook("session-end", "never used")
        assert sessions.states() == {}
        assert sessions.states("--all") == {"a": "ENDED"}
        # It is resumed.
        sessions.hook("session-start", "a")
        assert sessions.states() == {"a": "WAITING"}

    def test_what_no_hook_reports_is_read_in_the_rollout(self, sessions: Sessions) -> None:
        sessions.write_line("a", "task_started")
        sessions.hook("user-prompt-submit", "a")
        assert sessions.states() == {"a": "RUNNING"}
        sessions.write_line("a", "turn_aborted")
        assert sessions.states() == {"a": "WAITING"}
        assert not (sessions.root / "a/active").exists()

    def test_the_folders_of_the_installed_hooks_are_searched(self, sessions: Sessions) -> None:
        elsewhere = sessions.folder / "else where"
        sessions.hook("user-prompt-submit", "a", root=elsewhere)
        assert sessions.states() == {}
        assert sessions.states("--state-root", str(elsewhere)) == {"a": "RUNNING"}
        (sessions.home / ".codex").mkdir()
        installed = run("hooks", "install", "--state-dir", elsewhere / "{session_id}", env=sessions.environment())
        assert installed.status == 0, installed.stderr
        assert sessions.states() == {"a": "RUNNING"}

    def test_a_missing_folder_is_an_error(self, sessions: Sessions) -> None:
        done = sessions.status("--state-root", str(sessions.folder / "none"))
        assert (done.status, done.stdout) == (1, b"") and "no such directory" in done.stderr

    def test_agents_of_mngr_are_listed_by_name(self, sessions: Sessions) -> None:
        agent = sessions.home / ".mngr/agents/agent-1"
        agent.mkdir(parents=True)
        (agent / "data.json").write_text(json.dumps({"name": "helper", "work_dir": "/tree", "type": "codex"}))
        environment = {"MNGR_AGENT_STATE_DIR": str(agent)}
        assert run("marker", "reset", env=environment).status == 0
        assert sessions.states() == {}, "its Codex is not running"
        with subprocess.Popen(["sleep", "60"]) as codex:
            watcher = subprocess.Popen([program(), "watch", "--with-pid", str(codex.pid)], env=environment)
            until(lambda: sessions.states() != {}, description="the agent", seconds=10)
            [listed] = json.loads(sessions.status("--json").stdout)
            assert (listed["agent"], listed["state"], listed["cwd"]) == ("helper", "WAITING", "/tree")
            assert b" helper\n" in sessions.status().stdout
            codex.kill()
        assert watcher.wait(10) == 0
        assert sessions.states() == {}
        assert [each["state"] for each in json.loads(sessions.status("--json", "--all").stdout)] == ["ENDED"]


class TestFollow:
    """`status --follow`."""

    @pytest.fixture
    def follower(self, sessions: Sessions) -> Iterator["subprocess.Popen[bytes]"]:
        sessions.hook("user-prompt-submit", "a")
        command = [str(program()), "status", "--follow"]
        process = subprocess.Popen(command, env=sessions.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert read_line(process) == f"RUNNING   {WORK_DIR}  a"
        yield process
        process.kill()
        process.communicate()

    def test_each_change_is_one_line(self, sessions: Sessions, follower: "subprocess.Popen[bytes]") -> None:
        sessions.hook("stop", "a")
        assert read_line(follower) == f"WAITING   {WORK_DIR}  a"
        sessions.hook("user-prompt-submit", "b", cwd="/b")
        assert read_line(follower) == "RUNNING   /b  b"
        sessions.hook("permission-request", "b")
        assert read_line(follower) == "WAITING PERMISSIONS  /b  b"
        sessions.hook("session-end", "a")
        assert read_line(follower) == f"ENDED     {WORK_DIR}  a"

    def test_a_folder_that_is_missing_at_first_or_for_a_time_is_followed(self, sessions: Sessions) -> None:
        command = [str(program()), "status", "--follow"]
        process = subprocess.Popen(command, env=sessions.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            assert process.stdout and not select.select([process.stdout], [], [], 0.5)[0]
            sessions.hook("user-prompt-submit", "a")
            assert read_line(process) == f"RUNNING   {WORK_DIR}  a"
            shutil.rmtree(sessions.home / ".local")
            assert read_line(process) == f"ENDED     {WORK_DIR}  a"
            sessions.hook("user-prompt-submit", "b")
            assert read_line(process) == f"RUNNING   {WORK_DIR}  b"
            elsewhere = sessions.folder / "elsewhere"
            sessions.hook("user-prompt-submit", "c", root=elsewhere)
            (sessions.home / ".codex").mkdir()
            assert hooks_installed(sessions, elsewhere)
            assert read_line(process) == f"RUNNING   {WORK_DIR}  c"
        finally:
            process.kill()
            process.communicate()

    def test_a_line_of_the_rollout_is_a_change(self, sessions: Sessions, follower: "subprocess.Popen[bytes]") -> None:
        sessions.write_line("a", "task_started")
        sessions.write_line("a", "turn_aborted")
        assert read_line(follower) == f"WAITING   {WORK_DIR}  a"

    def test_it_ends_quietly_by_a_signal_and_without_a_reader(
        self, sessions: Sessions, follower: "subprocess.Popen[bytes]"
    ) -> None:
        assert follower.stdout
        follower.stdout.close()
        assert follower.wait(10) == -signal.SIGPIPE
        assert follower.stderr and follower.stderr.read() == b""
        command = [str(program()), "status", "--follow"]
        with subprocess.Popen(command, env=sessions.environment(), stdout=subprocess.PIPE) as other:
            read_line(other)
            other.send_signal(signal.SIGINT)
            assert (other.communicate()[0], other.returncode) == (b"", -signal.SIGINT)

    def test_a_terminal_shows_one_list_that_is_replaced(self, sessions: Sessions) -> None:
        sessions.hook("user-prompt-submit", "a", cwd="/a/folder/with/a/name/that/does/not/fit/on/the/screen")
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 45, 0, 0))
        environment = {**sessions.environment(), "TERM": "xterm"}
        process = subprocess.Popen([program(), "status", "--follow"], env=environment, stdout=theirs)
        os.close(theirs)
        try:
            text = read_until(ours, "  a\x1b")
            assert "STATE" in text and "WAITING" not in text
            assert re.search("RUNNING  . s  …[a-z/]*/the/screen  a\x1b", text), text
            sessions.hook("stop", "a")
            text = read_until(ours, "WAITING")
            # The list is erased before it is written again.
            assert "\r\x1b[J" in text
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == -signal.SIGINT
        os.close(ours)

    def test_a_terminal_with_few_rows_shows_the_first_sessions(self, sessions: Sessions) -> None:
        ids = [sessions.new_id() for _ in range(9)]
        for id_ in ids:
            sessions.hook("user-prompt-submit", id_)
        text = on_terminal(sessions, "more", rows=6, columns=40)
        rows = shown_rows(text)
        assert len(rows) == 5 and rows[0].startswith("STATE") and rows[-1] == "… and 6 more"
        assert all(len(row) <= 40 for row in rows)
        assert all(row.endswith("…") and ids[0][:4] in row for row in rows[1:4])

    def test_a_terminal_says_that_there_is_no_session(self, sessions: Sessions) -> None:
        rows = shown_rows(on_terminal(sessions, "report sessions", rows=10, columns=100))
        assert rows == [
            "no session is running or waiting",
            "hint: `mngr-codex hooks install` adds the hooks that report sessions",
        ]

    def test_the_hint_for_an_empty_list_fits_what_there_is(self, sessions: Sessions) -> None:
        """Users of mngr need no hooks for its agents."""
        environment = {**sessions.environment(), "MNGR_CODEX_RUN_AS": "mngr codex"}
        assert "\nhint: an agent appears with its first message\n" in run("status", env=environment).stderr
        sessions.hook("user-prompt-submit", "a")
        sessions.hook("stop", "a")
        sessions.hook("session-end", "a")
        assert "\nhint: --all adds the sessions that have ended\n" in run("status", env=environment).stderr


def hooks_installed(sessions: Sessions, root: Path) -> bool:
    """Installs hooks for the state directories in a folder."""
    return run("hooks", "install", "--state-dir", root / "{session_id}", env=sessions.environment()).status == 0


def on_terminal(sessions: Sessions, word: str, *, rows: int, columns: int) -> str:
    """What `--follow` writes to a terminal of this size, up to a word and the end of the row."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**sessions.environment(), "TERM": "xterm"}
    process = subprocess.Popen([program(), "status", "--follow"], env=environment, stdout=theirs)
    os.close(theirs)
    try:
        return read_until(ours, f"{word}\x1b")
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)


def shown_rows(text: str) -> list[str]:
    """The rows of the list in what was written to a terminal."""
    return re.split("\r+\n", text.rpartition("\x1b[?7l")[2].partition("\x1b")[0])


def read_line(process: "subprocess.Popen[bytes]") -> str:
    """Returns the next line of the output, without waiting forever."""
    assert process.stdout
    assert select.select([process.stdout], [], [], 10)[0], "nothing was printed"
    # Unbuffered, so that `select` sees what has not been read.
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(process.stdout.fileno(), 1)
    return line.decode().removesuffix("\n")


def read_until(terminal: int, word: str) -> str:
    """Returns the output up to a word."""
    text = ""
    end = time.monotonic() + 10
    while word not in text:
        assert time.monotonic() < end, text
        assert select.select([terminal], [], [], 10)[0], text
        text += os.read(terminal, 4096).decode()
    return text
