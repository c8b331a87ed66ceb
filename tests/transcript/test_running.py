"""What a running agent works on is shown before its records are final."""

import os
import re
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, append_lines, wait_until
from tests.support.program import program, run
from tests.support.rollout_builder import Rollout, uuid7

COMMAND = "rm -rf ./cache ./data"
ARGUMENTS = f'{{"cmd":"{COMMAND}"}}'


def processor_seconds() -> float:
    """Returns the processor time of all programs that this process has run."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Session:
    """A running agent: a rollout under construction, which is followed into the transcripts."""

    def __init__(self, folder: Path) -> None:
        self.agent = FollowedAgent(folder)
        self.path = self.agent.make_current("1")
        self.folder = self.agent.state
        self.rollout = Rollout()
        self._written = 0

    def follow(self) -> None:
        """Writes the new lines and copies them to the transcripts."""
        append_lines(self.path, (line + b"\n" for line in self.rollout.lines[self._written :]))
        self._written = len(self.rollout.lines)
        self.agent.run_once()
        # The pass removes it, because no hook has begun a turn.
        (self.folder / "active").touch()

    def shown(self, *options: str) -> str:
        done = run("transcript", self.folder, *options)
        assert (done.status, done.stderr) == (0, ""), done
        return done.stdout.decode()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session(tmp_path / "agents")
    session.rollout.meta().started().context().user("Clean up.").assistant("I clean up.").usage()
    return session


def released(rollout: Rollout) -> None:
    """A call whose step is final before its output."""
    rollout.call("first", arguments=ARGUMENTS).call("second", "wait", "{}").output("second", "done")


def held_back(rollout: Rollout) -> None:
    """A call whose step waits for its token counts."""
    rollout.call("first", arguments=ARGUMENTS)


@pytest.mark.parametrize("begin", [released, held_back])
def test_a_call_without_an_output_is_shown_as_running(session: Session, begin: Callable[[Rollout], None]) -> None:
    begin(session.rollout)
    session.follow()
    last = session.shown().splitlines()[-1]
    assert re.fullmatch(rf"  ● running since 2026-11-22 \d\d:\d\d:\d\d \(.+\): {re.escape(COMMAND)}", last), last
    (since,) = re.findall(r"since \S+ (\S+)", last)
    assert f"T{since}" in next(line for line in session.rollout.lines if b"rm -rf" in line).decode()
    session.rollout.output("first", "gone").usage()
    session.follow()
    shown = session.shown()
    assert "running" not in shown and shown.count(COMMAND) == 1 and "gone" in shown


def test_several_running_calls_are_shown_in_their_order(session: Session) -> None:
    session.rollout.call("one", arguments=ARGUMENTS).call("two", "apply_patch", '{"input":"*** Add File: x"}')
    session.rollout.call("three", "lookup", '{"a":1}').output("three").call("four", "shell", '{"command":["a","b"]}')
    session.follow()
    running = [line.partition("): ")[2] for line in session.shown().splitlines() if "running" in line]
    assert running == [COMMAND, "→ apply_patch +x", "a b"]


def test_calls_that_never_have_an_output_do_not_run(session: Session) -> None:
    session.rollout.item("web_search_call", action={"query": "x"}, status="completed")
    session.follow()
    assert "web_search" in session.shown() and "running" not in session.shown()


def test_the_last_words_are_shown(session: Session) -> None:
    session.rollout.assistant("My last words.")
    session.follow()
    assert b"My last words." not in session.agent.common
    assert "  My last words.\n\ntotal: 1 turn, 1 model call, " in session.shown()
    assert session.shown("--tail", "1").endswith("  My last words.\n")


def test_an_output_that_is_held_back_is_shown(session: Session) -> None:
    session.rollout.call("first", arguments=ARGUMENTS).output("first", "gone")
    session.follow()
    assert b"gone" not in session.agent.common
    shown = session.shown()
    assert "gone" in shown and "running" not in shown


def test_a_command_of_a_running_program_is_shown(session: Session) -> None:
    session.rollout.custom_call("first", input="await tools.exec_command({cmd: 'ls'})")
    session.rollout.command("item", ("/bin/bash", "-lc", "ls"), aggregated_output="file")
    session.follow()
    lines = session.shown().splitlines()
    assert "ran ls" in lines[-3] and "file" in lines[-2] and "● running since" in lines[-1]


def test_a_killed_session_is_not_running(session: Session) -> None:
    held_back(session.rollout)
    session.follow()
    (session.folder / "active").unlink()
    shown = session.shown()
    assert f"  ○ {COMMAND} (no output: the session ended)\n\ntotal: " in shown and "running" not in shown
    # The next session continues the rollout.
    session.rollout.started(uuid7(3)).context(uuid7(3)).user("Again.")
    session.follow()
    shown = session.shown()
    assert COMMAND in shown and "no output" not in shown and "running" not in shown


def test_a_call_that_awaits_an_approval_is_named(session: Session) -> None:
    held_back(session.rollout)
    session.follow()
    (session.folder / "permissions_waiting").touch()
    assert re.search(rf"● waiting for an approval since \S+ \S+ \(.+\): {COMMAND}\n$", session.shown())


@pytest.mark.parametrize(
    ("options", "is_shown"),
    [
        (["--tail", "1"], True),
        (["--full"], True),
        (["--role", "agent"], True),
        (["--role", "user", "--role", "agent", "--tail", "1"], True),
        (["--head", "9"], False),
        (["--role", "user"], False),
        (["--role", "system", "--role", "user"], False),
    ],
)
@pytest.mark.parametrize("begin", [released, held_back])
def test_the_options_apply_to_running_calls(
    session: Session, begin: Callable[[Rollout], None], options: list[str], is_shown: bool
) -> None:
    begin(session.rollout)
    session.follow()
    assert ("● running since" in session.shown(*options)) == is_shown


@pytest.mark.parametrize("form", ["jsonl", "json", "atif"])
def test_other_formats_contain_only_final_records(session: Session, form: str) -> None:
    session.follow()
    before = session.shown("--format", form)
    held_back(session.rollout)
    session.rollout.output("first")
    session.follow()
    assert session.shown("--format", form) == before


@pytest.mark.parametrize("damage", ["missing", "empty", "noise", "other transcript"])
def test_nothing_runs_without_a_checkpoint_of_this_transcript(session: Session, damage: str) -> None:
    held_back(session.rollout)
    session.follow()
    checkpoint = session.folder / "plugin/mngr_codex/following"
    if damage == "missing":
        checkpoint.unlink()
    elif damage == "other transcript":
        common = session.folder / "events/codex/common_transcript/events.jsonl"
        common.write_bytes(common.read_bytes().replace(b"I clean up.", b"I clean UP."))
    else:
        checkpoint.write_bytes(b"" if damage == "empty" else os.urandom(9_000_000))
    shown = session.shown()
    assert "running" not in shown and COMMAND not in shown


def test_only_the_end_of_a_large_transcript_is_read(session: Session) -> None:
    for number in range(3000):
        session.rollout.assistant(f"{number} " + "x" * 10_000).usage()
    held_back(session.rollout)
    session.follow()
    began = processor_seconds()
    assert session.shown("--tail", "1").endswith(f"{COMMAND}\n")
    fast = processor_seconds() - began
    run("convert", session.path)
    # A conversion reads all of the 30 MB.
    assert fast < (processor_seconds() - began - fast) / 2


def test_records_that_the_watcher_has_not_copied_are_not_shown_twice(session: Session) -> None:
    """The raw transcript is ahead of the common one while the watcher writes."""
    session.follow()
    raw = session.folder / "logs/codex_transcript/events.jsonl"
    session.rollout.call("first", arguments=ARGUMENTS).output("first", "gone").usage().call(
        "next", arguments='{"cmd":"ls"}'
    )
    append_lines(raw, (line + b"\n" for line in session.rollout.lines[6:]))
    shown = session.shown()
    assert shown.count(COMMAND) == 1 and shown.count("gone") == 1 and shown.endswith(": ls\n")
    assert "Clean up." in shown


class TestFollow:
    """`--follow` where nothing can be replaced."""

    def test_a_call_that_takes_long_is_announced_once(self, session: Session) -> None:
        session.follow()
        command: list[str | Path] = [program(), "transcript", session.folder, "--follow"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                lines = iter(process.stdout.readline, "")
                assert any("I clean up." in line for line in lines)
                held_back(session.rollout)
                session.follow()
                assert any(re.fullmatch(rf"  ● running since \S+: {COMMAND}\n", line) for line in lines)
                session.rollout.output("first", "gone").usage()
                session.follow()
                rest = []
                for line in lines:
                    rest.append(line)
                    if "gone" in line:
                        break
                assert not any("running" in line for line in rest)
                assert sum(COMMAND in line for line in rest) == 1
            finally:
                process.kill()

    def test_a_call_is_announced_once_although_another_process_continues(self, session: Session) -> None:
        """The marks list the calls that were announced."""
        held_back(session.rollout)
        session.follow()
        first, shown = _marked(session, "--tail", "1")
        assert f": {COMMAND}\n" in shown and first.startswith("running:")
        (session.folder / "active").unlink()
        both, shown = _marked(session, "--tail", "1", "--announced", first)
        assert f"  ○ {COMMAND} (no output: the session ended)\n" in shown and both.startswith(f"{first},ended:")
        none, shown = _marked(session, "--tail", "1", "--announced", both)
        assert "I clean up." in shown and COMMAND not in shown and none == ""
        assert run("transcript", session.folder, "--follow", "--marks", "--announced", "ended").status == 2

    def test_a_program_is_shown_at_once(self, session: Session) -> None:
        session.rollout.custom_call("first", input="await tools.exec_command({cmd: 'ls'})").usage()
        session.rollout.call("second", "wait", "{}").output("second", "done")
        session.path.write_bytes(session.rollout.data)
        command: list[str | Path] = [program(), "transcript", session.path, "--follow"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                assert any("→ exec await tools" in line for line in iter(process.stdout.readline, ""))
            finally:
                process.kill()

    def test_a_growing_rollout_shows_what_runs(self, session: Session) -> None:
        held_back(session.rollout)
        session.path.write_bytes(session.rollout.data)
        command: list[str | Path] = [program(), "transcript", session.path, "--follow"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                lines = iter(process.stdout.readline, "")
                assert any(re.fullmatch(rf"  ● running since \S+: {COMMAND}\n", line) for line in lines)
            finally:
                process.kill()


def _marked(session: Session, *options: str) -> tuple[str, str]:
    """Follows a transcript up to the first mark of announced calls or without a record.

    Returns the calls that it lists, and the text before it.
    """
    command: list[str | Path] = [program(), "transcript", session.folder, "--follow", "--marks", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            shown = ""
            for line in iter(process.stdout.readline, "\x1e\n"):
                if line.startswith("\x1e~"):
                    return line[2:-1], shown
                shown += line
            return "", shown
        finally:
            process.kill()


def test_nothing_wakes_it_up_while_nothing_runs(session: Session) -> None:
    session.follow()
    with subprocess.Popen([program(), "transcript", session.folder, "--follow"], stdout=subprocess.PIPE) as process:
        try:
            switches = Path(f"/proc/{process.pid}/status")
            if not switches.exists():
                pytest.skip("there is no /proc")

            def count() -> int:
                (found,) = re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", switches.read_text(), re.M)
                return int(found)

            state = Path(f"/proc/{process.pid}/stat")
            wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "S")
            time.sleep(0.5)
            before = count()
            time.sleep(2.5)
            assert count() <= before + 1
        finally:
            process.kill()
