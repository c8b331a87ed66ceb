"""`mngr-codex send` and `mngr-codex screen` with a fake TUI in tmux: a message arrives exactly once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import fake_tui
from tests.support.machine import until
from tests.support.program import PROGRAM

pytestmark = pytest.mark.slow

# Runs the real tmux. The call whose number is in the file `stall` stops for good, before or after that.
STALLED = """\
#!/bin/sh
exec 9>"$COUNT.lock"
flock 9
number=$(( $(cat "$COUNT") + 1 ))
echo $number >"$COUNT"
read -r stalled when <"$STALL"
exec 9>&-
[ "$number" = "$stalled" ] || exec {tmux} "$@"
if [ "$when" = after ]; then {tmux} "$@" || exit; fi
echo $$ >"$STALL.pid"
touch "$STALL.reached"
exec sleep 1000
"""


class Tui:
    """A fake TUI in a pane of the agent `agent-1`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "agent-1"
        sessions = self.state / "plugin/codex/home/sessions/2026/01/05"
        sessions.mkdir(parents=True)
        self.rollout = sessions / "rollout-2026-01-05T10-00-00-019a-7b.jsonl"
        self.rollout.touch()
        self.control, self.submitted_file = folder / "control", folder / "submitted"
        self.environment = {**os.environ, "TMUX_TMPDIR": str(folder)}
        script = [sys.executable, fake_tui.__file__, str(self.rollout), str(self.submitted_file), str(self.control)]
        size = ("-x", "100", "-y", "30")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-s", "x", "-n", "agent", *size, *script)
        self.tmux("set-option", "-t", "x", "@mngr_agent_id", "agent-1")
        until(lambda: "Ask Codex" in self.pane(), description="the composer")

    def tmux(self, *arguments: str) -> str:
        ran = subprocess.run(
            ["tmux", "-u", *arguments], env=self.environment, capture_output=True, text=True, check=True
        )
        return ran.stdout

    def pane(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "x")

    def submitted(self) -> list[str]:
        """The messages that the TUI has taken."""
        text = self.submitted_file.read_text() if self.submitted_file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def start(self, text: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Starts the program with a message."""
        process = subprocess.Popen(
            [PROGRAM, "send", "--json", "--state-dir", self.state, "--timeout", "5", *arguments],
            env={**self.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdin
        process.stdin.write(text)
        process.stdin.close()
        # `communicate` would write to it.
        process.stdin = None
        return process

    def send(self, text: str, *arguments: str, **environment: str) -> dict[str, Any]:
        """Runs the program with a message, and returns the line that it prints."""
        return answer(self.start(text, *arguments, **environment))


def answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Returns the line that a run prints."""
    output, errors = process.communicate(timeout=120)
    line: dict[str, Any] = json.loads(output)
    assert (line["version"], errors) == (1, "")
    assert process.returncode == (0 if line["outcome"] in ("arrived", "taken", "queued") else 1)
    return line


@pytest.fixture
def tui(tmp_path: Path) -> Iterator[Tui]:
    running = Tui(tmp_path)
    yield running
    running.tmux("kill-server")


def test_a_message_arrives_and_its_text_is_in_no_file(tui: Tui) -> None:
    line = tui.send("Xyzzy plugh\nsecond line\n", "--token", "a")
    assert (line["token"], line["outcome"], line["arrived"]) == ("a", "arrived", True)
    assert tui.submitted() == ["Xyzzy plugh\nsecond line"]
    folder = tui.state / "plugin/mngr_codex/messages"
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
        assert "plugh" not in file.read_text()
    assert tui.tmux("list-buffers") == ""
    assert "mngr_codex" not in tui.tmux("show-options", "-p", "-t", "x")


def test_a_second_run_with_the_same_token_returns_the_same_outcome(tui: Tui) -> None:
    first = tui.send("Hello", "--token", "a")
    again = tui.send("Hello", "--token", "a")
    assert {**again, "waited_seconds": 0} == {**first, "waited_seconds": 0}
    assert tui.submitted() == ["Hello"]
    other = tui.send("Something else", "--token", "a")
    assert (other["outcome"], other["terminal"]) == ("failed", ["the token belongs to another message"])
    assert tui.submitted() == ["Hello"]


def test_simultaneous_runs_with_the_same_token_send_once(tui: Tui) -> None:
    tui.control.write_text("slow")
    runs = [tui.start("Hello", "--token", "a") for _ in range(4)]
    assert [answer(run)["outcome"] for run in runs] == ["arrived"] * 4
    assert tui.submitted() == ["Hello"]


def test_messages_with_different_tokens_are_sent_one_after_the_other(tui: Tui) -> None:
    texts = [f"Message {number}\nwith two lines" for number in range(5)]
    runs = [tui.start(text) for text in texts]
    assert [answer(run)["outcome"] for run in runs] == ["arrived"] * 5
    assert sorted(tui.submitted()) == texts


def test_an_input_that_ends_early_does_nothing(tui: Tui) -> None:
    line = tui.send("Hello", "--token", "a", "--length", "6")
    assert (line["outcome"], line["arrived"]) == ("truncated", False)
    # The same token works once the input is complete. What follows is not waited for.
    assert tui.send("Hello!more", "--token", "a", "--length", "6")["outcome"] == "arrived"
    assert tui.submitted() == ["Hello!"]


def test_a_lost_enter_is_repeated(tui: Tui) -> None:
    tui.control.write_text("lose")
    assert tui.send("Hello")["outcome"] == "arrived"
    assert tui.submitted() == ["Hello"]


def test_a_dialog_gets_no_text(tui: Tui) -> None:
    tui.control.write_text("dialog")
    until(lambda: "Would you" in tui.pane(), description="the dialog")
    before = tui.pane()
    line = tui.send("Hello")
    assert (line["outcome"], line["view"], line["dialog"]) == ("dialog", "dialog", "approval")
    assert (line["showing"], line["arrived"]) == ("an approval request", False)
    assert tui.pane() == before


def test_a_draft_stays(tui: Tui) -> None:
    tui.tmux("send-keys", "-t", "x", "-l", "my draft")
    until(lambda: "my draft" in tui.pane(), description="the draft")
    line = tui.send("Hello")
    assert (line["outcome"], line["row"]) == ("draft", "› my draft")
    assert tui.submitted() == [] and "my draft" in tui.pane()


def test_an_empty_message_and_a_missing_terminal_are_errors(tui: Tui) -> None:
    assert tui.send(" \n")["outcome"] == "empty"
    line = tui.send("Hello", "--target", "%99")
    assert (line["outcome"], line["arrived"]) == ("no_terminal", False)
    assert "can't find pane" in line["terminal"][0]


@pytest.mark.parametrize("text", ["line\n" * 500, "x" * 2_000_000, "words of a line, " * 60_000])
def test_long_messages_arrive(tui: Tui, text: str) -> None:
    assert tui.send(text)["outcome"] == "arrived"
    assert tui.submitted() == [text.strip()]


def stall(tui: Tui, call: int, when: str) -> dict[str, str]:
    """Returns the environment of a run that stops at a call of tmux."""
    programs = tui.folder / "stalled"
    programs.mkdir(exist_ok=True)
    (programs / "tmux").write_text(STALLED.format(tmux=shutil.which("tmux")))
    (programs / "tmux").chmod(0o755)
    count, file = tui.folder / "count", tui.folder / "stall"
    count.write_text("0")
    file.write_text(f"{call} {when}\n")
    (tui.folder / "stall.reached").unlink(missing_ok=True)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "COUNT": str(count), "STALL": str(file)}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_message_arrives_once_if_the_first_run_is_killed_at_any_call_of_tmux(tui: Tui, when: str) -> None:
    killed = 0
    for call in range(1, 30):
        text, token = f"Message {call}", f"token-{call}"
        run = tui.start(text, "--token", token, **stall(tui, call, when))
        until(
            lambda run=run: (tui.folder / "stall.reached").exists() or run.poll() is not None,  # type: ignore[misc]
            description="the call",
        )
        if run.poll() is not None:
            assert answer(run)["outcome"] == "arrived"
            break
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        # It is not in the run's process group.
        os.kill(int((tui.folder / "stall.pid").read_text()), signal.SIGKILL)
        killed += 1
        line = tui.send(text, "--token", token)
        assert (line["outcome"], line["arrived"]) == ("arrived", True), call
        assert tui.submitted().count(text) == 1, call
    assert killed > 5
    assert len(tui.submitted()) == killed + 1


def test_a_run_goes_on_if_its_connection_is_closed(tui: Tui) -> None:
    """The other end has gone: standard output is a broken pipe, and the process gets SIGHUP."""
    tui.control.write_text("slow")
    run = tui.start("Hello", "--token", "a")
    until(lambda: tui.submitted() == ["Hello"], description="Enter")
    assert run.stdout and run.stderr
    run.stdout.close()
    run.stderr.close()
    os.kill(run.pid, signal.SIGHUP)
    line = tui.send("Hello", "--token", "a")
    assert line["outcome"] == "arrived"
    run.wait(10)
    assert tui.submitted() == ["Hello"]


def is_empty(tui: Tui) -> bool:
    return "Ask Codex" in tui.pane()


def test_ctrl_c_leaves_no_text_in_the_composer(tui: Tui) -> None:
    """At whatever moment: the terminal sends the signal to the whole process group."""
    outcomes = []
    for number in range(80):
        run = tui.start(f"Message {number}")
        time.sleep(0.002 * number)
        os.killpg(run.pid, signal.SIGINT)
        output, errors = run.communicate(timeout=20)
        line = json.loads(output) if output else {"outcome": "killed", "arrived": False, "in_composer": False}
        assert errors == "" and not line["in_composer"], line
        outcomes.append(line["outcome"])
        until(lambda: is_empty(tui), description=f"the empty composer after {line}", seconds=3)
        assert line["arrived"] == (f"Message {number}" in tui.submitted()), line
    assert {"interrupted", "arrived"} <= set(outcomes), outcomes


def test_ctrl_c_ends_the_wait_for_codex(tui: Tui) -> None:
    tui.control.write_text("lose")
    run = tui.start("Hello")
    until(lambda: "› Hello" in tui.pane(), description="the text")
    time.sleep(0.2)
    os.killpg(run.pid, signal.SIGINT)
    line = answer(run)
    assert (line["outcome"], line["arrived"]) == ("not_taken", False)
    # Enter would be pressed again after 2 s.
    assert line["waited_seconds"] < 2
    assert is_empty(tui) and tui.submitted() == []
    # A composer that stays as it is, because Codex does not read its keys.
    tui.control.write_text("ignore")
    run = tui.start("Hello again", "--token", "a")
    time.sleep(0.5)
    os.kill(run.pid, signal.SIGTERM)
    line = answer(run)
    assert (line["outcome"], line["arrived"], line["in_composer"]) == ("interrupted", False, True)
    tui.control.write_text("")
    assert tui.send("Hello again", "--token", "a")["outcome"] == "arrived"
    assert tui.submitted() == ["Hello again"]


FULL = """\
#!/bin/sh
case "$*" in *paste-buffer*) {tmux} "$@"; exec mv "$RECORDS" "$RECORDS.away" ;; esac
exec {tmux} "$@"
"""


def test_a_record_that_cannot_be_written_leaves_no_text_in_the_composer(tui: Tui) -> None:
    """As if the disk became full after the text was pasted."""
    programs = tui.folder / "programs"
    programs.mkdir()
    (programs / "tmux").write_text(FULL.format(tmux=shutil.which("tmux")))
    (programs / "tmux").chmod(0o755)
    records = tui.state / "plugin/mngr_codex/messages"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "RECORDS": str(records)}
    line = tui.send("Hello", "--token", "a", **environment)
    assert (line["outcome"], line["arrived"], line["in_composer"]) == ("failed", False, False)
    assert "cannot write" in line["terminal"][0]
    assert is_empty(tui) and tui.submitted() == []
    records.with_name("messages.away").rename(records)
    assert tui.send("Hello", "--token", "a")["outcome"] == "arrived"
    assert tui.submitted() == ["Hello"]


def test_old_records_are_removed(tui: Tui) -> None:
    tui.send("Hello", "--token", "old")
    tui.send("Hello again", "--token", "new")
    folder = tui.state / "plugin/mngr_codex/messages"
    two_days_ago = time.time() - 2 * 86_400
    os.utime(folder / "old.json", (two_days_ago, two_days_ago))
    tui.send("Third", "--token", "third")
    assert sorted(file.name for file in folder.iterdir()) == ["lock", "new.json", "third.json"]


def test_wrong_usage() -> None:
    for arguments in (["--token", "a b"], ["--timeout", "-1"], ["--length", "x"]):
        ran = subprocess.run(
            [PROGRAM, "send", "--state-dir", "x", *arguments], input="", capture_output=True, text=True
        )
        assert ran.returncode == 2, arguments
    environment = {name: value for name, value in os.environ.items() if name != "MNGR_AGENT_STATE_DIR"}
    ran = subprocess.run([PROGRAM, "send"], input="", capture_output=True, text=True, env=environment)
    assert ran.returncode == 2 and "--state-dir" in ran.stderr


def screen(tui: Tui, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [str(PROGRAM), "screen", "--json", "--state-dir", str(tui.state), *arguments]
    ran = subprocess.run(command, env=tui.environment, capture_output=True, text=True)
    return ran.returncode, json.loads(ran.stdout)


def test_the_screen_is_shown(tui: Tui) -> None:
    status, seen = screen(tui)
    assert (status, seen["outcome"], seen["view"], seen["is_started"]) == (0, "shown", "empty", True)
    assert screen(tui, "--until", "ready")[1]["outcome"] == "ready"
    assert screen(tui, "--until", "started")[1]["outcome"] == "started"
    tui.control.write_text("dialog")
    until(lambda: "Would you" in tui.pane(), description="the dialog")
    status, seen = screen(tui, "--until", "ready", "--timeout", "0.5")
    assert (status, seen["outcome"], seen["dialog"]) == (1, "not_ready", "approval")
    assert seen["waiting_reason"] == "PERMISSIONS"
    status, seen = screen(tui, "--target", "%99")
    assert (status, seen["outcome"], seen["view"]) == (1, "no_terminal", None)


def test_a_codex_that_has_exited_is_reported(tui: Tui) -> None:
    (tui.state / "plugin/codex/started").touch()
    tui.tmux("new-session", "-d", "-s", "y", "-x", "100", "-y", "30", "bash --norc")
    tui.tmux("send-keys", "-t", "y", "echo ERROR: no session", "Enter")
    until(lambda: "\nERROR" in tui.tmux("capture-pane", "-p", "-t", "y"), description="the output")
    status, seen = screen(tui, "--until", "started", "--target", "y:")
    assert (status, seen["outcome"], seen["view"]) == (1, "exited", "shell")
    assert "ERROR: no session" in seen["terminal"]
