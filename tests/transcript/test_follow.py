"""`mngr-codex transcript --follow` shows new records immediately."""

import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import IO

import pytest

from tests.support import zstd_frames
from tests.support.program import convert_file, program, run
from tests.support.recordings import DATA, lines_of
from tests.support.transcript_records import HEADER, State, step

SECONDS = 20


class Follower:
    """A running `transcript --follow`, and the lines that it prints."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: Queue[str] = Queue()
        self._errors: Queue[str] = Queue()
        streams = ((process.stdout, self._lines), (process.stderr, self._errors))
        self.readers = [threading.Thread(target=_read, args=each, daemon=True) for each in streams]
        for reader in self.readers:
            reader.start()

    def line(self) -> str:
        """Waits for the next line on standard output."""
        return self._lines.get(timeout=SECONDS).rstrip("\n")

    def error(self) -> str:
        """Waits for the next line on standard error."""
        return self._errors.get(timeout=SECONDS).rstrip("\n")

    def message(self) -> str:
        """Waits for the next record with a message, and returns the message."""
        record = json.loads(self.line())
        return str(record["message"]) if "message" in record else self.message()

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ends the program, which must have printed nothing more, and returns its status."""
        self.process.send_signal(number)
        status = self.process.wait(SECONDS)
        for reader in self.readers:
            reader.join()
        assert self._lines.empty(), self.line()
        return status


def _read(stream: IO[str], lines: "Queue[str]") -> None:
    for line in stream:
        lines.put(line)


@contextmanager
def following(*arguments: str | Path) -> Iterator[Follower]:
    command = [program(), "transcript", *arguments, "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        running = Follower(process)
        try:
            yield running
        finally:
            process.kill()
            for reader in running.readers:
                reader.join()


def test_existing_records_are_shown_before_new_ones(state: State) -> None:
    with following("fix-it", "--format", "jsonl") as followed:
        assert [followed.message() for _ in range(3)] == ["first", "second", "third"]
        for number in range(50):
            state.append(step(f"n{number}"))
            assert followed.message() == f"n{number}"
        assert followed.end() == -signal.SIGINT


def test_new_records_are_filtered_by_role(state: State) -> None:
    with following("fix-it", "--format", "jsonl", "--role", "agent", "--tail", "1") as followed:
        assert followed.message() == "second"
        state.append(step("no"), step("yes", source="agent"))
        assert followed.message() == "yes"
        followed.end()


def test_existing_records_can_be_skipped(state: State) -> None:
    with following("fix-it", "--format", "jsonl", "--tail", "0") as followed:
        # The program would skip a record that is written before it has found the end of the file.
        threading.Event().wait(0.3)
        state.append(step("new"))
        assert followed.message() == "new"
        followed.end()


def test_a_record_written_in_pieces_is_shown_once_complete(state: State) -> None:
    with following("fix-it", "--format", "jsonl", "--tail", "1") as followed:
        assert followed.message() == "third"
        line = f"{step('complete')}\n"
        with state.transcript.open("a") as file:
            for character in line:
                file.write(character)
                file.flush()
        assert followed.message() == "complete"
        followed.end()


@pytest.mark.parametrize("missing", ["file", "folders"])
def test_a_missing_transcript_is_waited_for(state: State, missing: str) -> None:
    state.transcript.unlink()
    if missing == "folders":
        for folder in (state.transcript.parent, state.transcript.parent.parent, state.folder / "events"):
            folder.rmdir()
    with following("fix-it", "--format", "jsonl") as followed:
        assert str(state.transcript) in followed.error()
        state.transcript.parent.mkdir(parents=True, exist_ok=True)
        state.write(HEADER, step("first"))
        assert followed.message() == "first"
        state.append(step("second"))
        assert followed.message() == "second"
        followed.end()


def test_a_rotated_transcript_is_followed(state: State) -> None:
    with following("fix-it", "--format", "jsonl", "--tail", "1") as followed:
        assert followed.message() == "third"
        for number in range(5):
            state.append(step(f"last of {number}"))
            state.transcript.rename(state.transcript.with_name(f"events.jsonl.2026010100000000000{number}"))
            state.write(step(f"first of {number}"))
            assert [followed.message(), followed.message()] == [f"last of {number}", f"first of {number}"]
        followed.end()


@pytest.mark.parametrize("seed", range(8))
def test_each_line_is_shown_once_in_order_while_files_are_rotated(state: State, seed: int) -> None:
    """Lines are written in pieces and in large blocks, and files are renamed while they are read."""
    chance = random.Random(seed)
    state.transcript.unlink()
    written: list[str] = []
    with following("fix-it", "--format", "jsonl") as followed:
        rotated = 0
        while len(written) < 5000:
            lines = [
                json.dumps(
                    {"type": "step", "source": "user", "n": len(written) + number, "x": "x" * chance.randrange(2000)}
                )
                for number in range(chance.randrange(1, 200))
            ]
            written += lines
            data = "".join(f"{line}\n" for line in lines).encode()
            with state.transcript.open("ab", buffering=0) as file:
                while data:
                    count = chance.choice([7, 4096, 100_000])
                    file.write(data[:count])
                    data = data[count:]
            if chance.random() < 0.4:
                rotated += 1
                state.transcript.rename(state.transcript.with_name(f"events.jsonl.{20260101000000000000 + rotated}"))
        shown = [followed.line() for _ in written]
        assert shown == written
        assert followed.end(signal.SIGTERM) == -signal.SIGTERM


def test_a_replaced_transcript_is_shown_from_its_start(state: State) -> None:
    with following("fix-it", "--format", "jsonl", "--tail", "1") as followed:
        assert followed.message() == "third"
        other = state.transcript.with_name("other")
        other.write_text(f"{HEADER}\n{step('another')}\n")
        os.replace(other, state.transcript)
        assert followed.message() == "another"
        assert "was rewritten" in followed.error()
        followed.end()


def test_a_shorter_rewritten_transcript_is_shown_from_its_start(state: State) -> None:
    with following("fix-it", "--format", "jsonl", "--tail", "1") as followed:
        assert followed.message() == "third"
        state.write(HEADER, step("new"))
        assert followed.message() == "new"
        assert "was rewritten" in followed.error()
        state.append(step("more"))
        assert followed.message() == "more"
        followed.end()


def test_a_partial_last_line_is_shown_once_complete(state: State) -> None:
    with state.transcript.open("a") as file:
        file.write(step("fourth"))
    with following("fix-it", "--format", "jsonl", "--tail", "1") as followed:
        assert followed.message() == "third"
        state.append("", step("fifth"))
        assert [followed.message(), followed.message()] == ["fourth", "fifth"]
        followed.end()


def test_a_partial_last_line_of_a_rotated_file_is_shown(state: State) -> None:
    with following("fix-it", "--format", "jsonl", "--tail", "1") as followed:
        assert followed.message() == "third"
        with state.transcript.open("a") as file:
            file.write(step("fourth"))
        state.transcript.rename(state.transcript.with_name("events.jsonl.20260101000000000000"))
        state.write(step("fifth"))
        assert [followed.message(), followed.message()] == ["fourth", "fifth"]
        followed.end()


def test_skipped_lines_are_reported_immediately(state: State) -> None:
    with following("fix-it", "--format", "jsonl", "--tail", "1") as followed:
        assert followed.message() == "third"
        offset = state.transcript.stat().st_size
        state.append("no JSON", step("fourth"))
        assert followed.message() == "fourth"
        assert f"{state.transcript}: the line at byte {offset} is not a JSON object" in followed.error()
        followed.end()


def test_a_link_to_a_replaced_file_is_followed(state: State, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(state.transcript)
    with following(link, "--format", "jsonl", "--tail", "1") as followed:
        assert followed.message() == "third"
        other = state.transcript.with_name("other")
        other.write_text(f"{state.transcript.read_text()}{step('fourth')}\n")
        os.replace(other, state.transcript)
        assert followed.message() == "fourth"
        followed.end()


def test_the_human_format_is_followed(state: State) -> None:
    with following("fix-it", "--tail", "1") as followed:
        while "third" not in followed.line():
            pass
        state.append(step("and now"))
        while "and now" not in followed.line():
            pass
        followed.end()


def test_a_rollout_is_followed(tmp_path: Path) -> None:
    lines = lines_of(DATA / "0.169.0" / "tools.jsonl")
    rollout = tmp_path / "rollout.jsonl"
    rollout.write_bytes(b"".join(lines[:6]))
    with following(rollout, "--format", "jsonl") as followed:
        assert json.loads(followed.line())["type"] == "header"
        with rollout.open("ab", buffering=0) as file:
            for line in lines[6:]:
                file.write(line)
        record: dict[str, object] = {}
        while record.get("message") != "Tools done.":
            record = json.loads(followed.line())
        assert followed.end() == -signal.SIGINT


def test_a_rollout_replaced_by_another_session_is_shown_from_its_start(tmp_path: Path) -> None:
    rollout = tmp_path / "rollout.jsonl"
    rollout.write_bytes(b"".join(lines_of(DATA / "0.169.0" / "tools.jsonl")))
    other = tmp_path / "other.jsonl"
    other.write_bytes(b"".join(lines_of(DATA / "0.163.0" / "tools.jsonl")))
    expected = [convert_file(path, "--partial").stdout.splitlines()[1:] for path in (rollout, other)]
    with following(rollout, "--format", "jsonl") as followed:
        for in_place, lines in zip([None, True], expected, strict=True):
            if in_place:
                rollout.write_bytes(other.read_bytes())
                assert "was rewritten" in followed.error()
            assert json.loads(followed.line())["type"] == "header"
            assert [followed.line().encode() for _ in lines] == lines
        followed.end()


# A folder needs a file to be recognized as a transcript.
@pytest.mark.parametrize(
    ("before", "is_folder"),
    [(None, False), *((before, is_folder) for before in (b"", b'{"time', b'\n{"time') for is_folder in (False, True))],
)
def test_an_empty_rollout_is_recognized_by_its_first_line(
    tmp_path: Path, before: bytes | None, is_folder: bool
) -> None:
    rollout = tmp_path / "events.jsonl"
    if before is not None:
        rollout.write_bytes(before)
    recorded = DATA / "0.169.0" / "tools.jsonl"
    with following(tmp_path if is_folder else rollout, "--format", "jsonl") as followed:
        assert str(tmp_path) in followed.error()
        rollout.write_bytes(recorded.read_bytes())
        assert json.loads(followed.line())["type"] == "header"
        records = convert_file(recorded, "--partial").stdout.splitlines()[1:]
        assert [followed.line().encode() for _ in records] == records
        followed.end()


def test_a_compressed_rollout_is_shown_and_not_followed(tmp_path: Path) -> None:
    packed = tmp_path / "rollout.jsonl.zst"
    packed.write_bytes(zstd_frames.frame([zstd_frames.raw((DATA / "0.169.0" / "tools.jsonl").read_bytes())]))
    plain = run("transcript", packed, "--format", "jsonl")
    done = run("transcript", packed, "--format", "jsonl", "--follow")
    assert (done.status, done.stdout) == (0, plain.stdout)
    assert "not following it" in done.stderr
    assert run("transcript", packed, "--follow", "--tail", "0").stdout == b""


def test_a_closed_pipe_ends_it_immediately(state: State) -> None:
    """It does not wait for the next record."""
    command: list[str | Path] = [program(), "transcript", "fix-it", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(SECONDS) == -signal.SIGPIPE
        assert process.stderr.read() == b""


# -- output that another program passes on


def marked_step(number: int) -> str:
    return step(f"m{number}", event_id=f"evt-{number}")


def records_of(follower: Follower, count: int) -> dict[str, str]:
    """Returns the next records by their ids, as they are marked."""
    found: dict[str, str] = {}
    text: list[str] = []
    while len(found) < count:
        line = follower.line()
        if line.startswith("\x1e="):
            found[line[2:]] = "\n".join(text)
            text = []
        elif line != "\x1e":
            text.append(line)
    return found


@pytest.mark.parametrize("form", ["jsonl", "human"])
def test_marks_name_the_last_record_that_is_shown(state: State, form: str) -> None:
    state.write(HEADER, *map(marked_step, range(3)))
    with following("fix-it", "--format", form, "--marks", "--tail", "2") as followed:
        shown = records_of(followed, 2)
        assert list(shown) == ["evt-1", "evt-2"]
        assert all(f"m{number}" in shown[f"evt-{number}"] for number in (1, 2))
        state.append(marked_step(3))
        assert "m3" in records_of(followed, 1)["evt-3"]


@pytest.mark.parametrize("form", ["jsonl", "human"])
def test_following_continues_after_a_record(state: State, form: str) -> None:
    """The text is the one that would have followed."""
    state.write(HEADER, *map(marked_step, range(300)))
    with following("fix-it", "--format", form, "--marks") as followed:
        complete = records_of(followed, 300 + (form == "jsonl"))
    for number in (0, 2, 150, 298):
        with following("fix-it", "--format", form, "--marks", "--after", f"evt-{number}", "--tail", "1") as followed:
            shown = records_of(followed, 299 - number)
            assert shown == dict(list(complete.items())[-(299 - number) :])
            state.append(marked_step(300))
            assert "m300" in records_of(followed, 1)["evt-300"]
        state.write(HEADER, *map(marked_step, range(300)))


def test_a_count_of_copied_records_is_not_shown_again(state: State) -> None:
    copied = step("c", event_id="evt-c", is_copied_context=True)
    state.write(HEADER, copied, marked_step(1))
    with following("fix-it", "--marks") as followed:
        assert "1 record copied" in records_of(followed, 1)["evt-1"]
    with following("fix-it", "--marks", "--after", "evt-c") as followed:
        shown = records_of(followed, 1)["evt-1"]
        assert "m1" in shown and "copied" not in shown


def test_following_continues_in_a_rotated_file(state: State) -> None:
    state.write(HEADER, *map(marked_step, range(3)))
    state.transcript.rename(state.transcript.with_name("events.jsonl.20261122070000000000"))
    state.write(*map(marked_step, range(3, 5)))
    with following("fix-it", "--format", "jsonl", "--marks", "--after", "evt-1") as followed:
        assert list(records_of(followed, 3)) == ["evt-2", "evt-3", "evt-4"]


def test_following_continues_at_the_start_if_the_record_is_gone(state: State) -> None:
    state.write(HEADER, *map(marked_step, range(2)))
    with following("fix-it", "--format", "human", "--marks", "--after", "evt-9") as followed:
        assert "was rewritten; showing it from the start" in followed.error()
        assert list(records_of(followed, 2)) == ["evt-0", "evt-1"]
    with following("fix-it", "--format", "human", "--marks", "--after", "") as followed:
        assert list(records_of(followed, 2)) == ["evt-0", "evt-1"]


def test_the_position_is_marked_before_anything_is_shown(state: State) -> None:
    state.write(HEADER, *map(marked_step, range(2)))
    with following("fix-it", "--format", "jsonl", "--marks", "--tail", "0") as followed:
        assert followed.line() == "\x1e=evt-1"
    state.transcript.write_text("")
    with following("fix-it", "--format", "jsonl", "--marks", "--tail", "0") as followed:
        assert followed.line() == "\x1e="


def test_marks_need_an_agents_transcript(tmp_path: Path) -> None:
    ran = run("transcript", DATA / "0.163.0/plain.jsonl", "--follow", "--marks")
    assert ran.status == 1 and "a rollout" in ran.stderr
    for wrong in (("--marks",), ("--follow", "--after", "x")):
        assert run("transcript", tmp_path, *wrong).status == 2
