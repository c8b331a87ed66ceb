"""Invalid input and failing systems: the program never crashes, and leaves no partial file."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import zstd_frames
from tests.support.program import NOBODY, Completed, convert, convert_file, program, run, run_as_nobody
from tests.support.recordings import DATA
from tests.support.rollout_builder import Rollout, turn

MIB = 1024 * 1024


def assert_failed(conversion: Completed, *texts: object) -> None:
    """Checks that the program exited with 1, and that its message contains these texts."""
    assert conversion.status == 1, conversion
    for text in texts:
        assert str(text) in conversion.stderr
    assert "panicked" not in conversion.stderr


def files(folder: Path) -> dict[str, bytes]:
    """Returns the content of every file in a folder, including hidden ones."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The output of an earlier conversion, alone in its folder."""
    path = tmp_path / "out" / "common.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"an earlier conversion\n")
    return path


@pytest.fixture
def large_files() -> Iterator[Path]:
    """A folder that is removed directly after the test, for files too large to keep."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


class TestContent:
    """Contents of the input."""

    @pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
    @pytest.mark.parametrize("first", [0, 1], ids=["complete", "rotated"])
    def test_a_common_transcript_is_refused(self, output: Path, separators: tuple[str, str], first: int) -> None:
        records = convert(turn().assistant("done").data).records[first:]
        lines = "".join(f"{json.dumps(record, separators=separators)}\n" for record in records).encode()
        before = files(output.parent)
        conversion = run("convert", "-", "--output", output, stdin=lines)
        assert conversion.status == 1 and "already a common transcript" in conversion.stderr
        assert files(output.parent) == before

    @pytest.mark.parametrize("data", [b"", turn().lines[0] + b"\n", b"{", turn().lines[0][:50]])
    def test_nothing_to_convert_gives_an_empty_output(self, data: bytes, output: Path) -> None:
        conversion = run("convert", "-", "--output", output, stdin=data)
        assert (conversion.status, conversion.stdout) == (0, b"")
        assert files(output.parent) == {output.name: b""}

    def test_a_rollout_without_session_meta_is_converted(self) -> None:
        rollout = Rollout().user("hi").assistant("hello")
        assert [step["message"] for step in convert(rollout).steps] == ["hi", "hello"]

    def test_a_truncated_rollout_gives_a_prefix(self) -> None:
        data = turn().call(arguments='{"cmd":"echo 漢 😀"}').output().usage().assistant("done").usage().data
        complete = convert(data).stdout
        start = data.index(b'"function_call"')
        for end in [*range(0, start, 61), *range(start, len(data) + 1, 3)]:
            cut = convert(data[:end], "--partial")
            assert complete.startswith(cut.stdout), f"cut at {end}"
            assert cut.stdout == convert(data[: data.rfind(b"\n", 0, end) + 1], "--partial").stdout, f"cut at {end}"
            assert cut.summary.malformed == 0

    @pytest.mark.parametrize("seed", range(20))
    def test_binary_data_is_malformed(self, seed: int) -> None:
        junk = random.Random(seed).randbytes(50_000) + b"\n"
        assert_failed(run("convert", "-", stdin=junk), "no line contains a JSON object")
        conversion = convert(junk + turn().lines[0] + b"\n")
        assert conversion.records == []
        assert conversion.summary.malformed == sum(1 for line in junk.split(b"\n") if line.strip())

    @pytest.mark.parametrize("seed", range(20))
    def test_a_corrupted_rollout_is_converted(self, seed: int) -> None:
        chance = random.Random(seed)
        data = bytearray((DATA / "0.169.0" / "tools.jsonl").read_bytes())
        for _ in range(200):
            data[chance.randrange(len(data))] = chance.randrange(256)
        for arguments in ((), ("--partial",)):
            assert convert(bytes(data), *arguments).summary.malformed > 0

    def test_a_hole_of_zeros_is_malformed(self) -> None:
        rollout = turn().raw(bytes(100_000)).raw(bytes(100) + Rollout().user("found").lines[0]).user("after")
        conversion = convert(rollout)
        assert [step["message"] for step in conversion.steps] == ["go", "found", "after"]
        assert conversion.summary.malformed == 2

    @pytest.mark.parametrize("kind", ["world_state", "brand_new_line", "turn_context", "compacted"])
    def test_deeply_nested_lines_are_handled(self, kind: str) -> None:
        """A line with 10,000 levels is valid. One with a million may be malformed, but affects no other line."""
        for levels in (10_000, 1_000_000):
            nested = b'[{"a":' * (levels // 2) + b"1" + b"}]" * (levels // 2)
            line = Rollout().line(kind, "X").lines[0].replace(b'"X"', nested)
            conversion = convert(Rollout([line]).user("after"))
            assert conversion.steps[-1]["message"] == "after"
            assert conversion.summary.malformed == 0 or levels > 10_000

    @pytest.mark.parametrize(
        "rollout",
        [
            Rollout().line("brand_new_line", "DEEP"),
            Rollout().call(arguments="DEEP").output(),
            Rollout().item("web_search_call", id="ws", action="DEEP"),
            Rollout().output(output="DEEP"),
            Rollout().complete(error="DEEP"),
            Rollout().user_parts({"type": "input_text", "text": "hi", "more": "DEEP"}),
        ],
        ids=["unknown", "arguments", "action", "output", "error", "message"],
    )
    def test_records_are_not_too_deep_for_python(self, rollout: Rollout) -> None:
        """Python's JSON parser, which mngr uses, is limited to a thousand levels."""
        deep = rollout.data.replace(b'"DEEP"', b'{"a":' * 2000 + b"1" + b"}" * 2000)
        conversion = convert(deep)
        assert len(conversion.records) >= 2
        assert conversion.summary.malformed == 0

    @pytest.mark.parametrize(
        "rollout",
        [
            Rollout().line("brand_new_line", {"n": "LONG"}),
            Rollout().call(arguments={"n": "LONG"}).output(),
            Rollout().item("web_search_call", id="ws", action={"n": "LONG"}),
            Rollout().item("mcp_call", id="mcp", arguments="{}", more="LONG"),
            Rollout().output(output={"n": "LONG"}),
            Rollout().complete(error={"n": "LONG"}),
            Rollout().event("thread_rolled_back", num_turns="LONG"),
            turn().call().command(started=4000, command=["ls", "LONG"], exit_code="LONG").output().usage(),
            turn().assistant("hi").token_count({"total_tokens": 1}, {"input_tokens": "LONG", "output_tokens": 2}),
        ],
        ids=["unknown", "arguments", "action", "other member", "output", "error", "rolled back", "command", "usage"],
    )
    def test_integers_are_not_too_long_for_python(self, rollout: Rollout) -> None:
        """Python parses integers of at most 4,300 digits."""
        conversion = convert(rollout.data.replace(b'"LONG"', b"7" * 4301))
        assert len(conversion.records) >= 2
        assert conversion.summary.malformed == 0

    def test_a_line_longer_than_the_limit_is_an_error(self, output: Path) -> None:
        data = turn().data
        long_line = Rollout().user("x" * 20_000).data
        conversion = run("convert", "-", "--max-line", "10000", "--output", output, stdin=data + long_line + data)
        assert_failed(conversion, len(data))
        assert files(output.parent) == {output.name: b"an earlier conversion\n"}
        assert run("convert", "-", "--max-line", "30000", stdin=data + long_line).status == 0


def message(text: str, number: int = 1, **options: Any) -> bytes:
    """Returns the line of a message of the user, as Codex or as Python's `json.dumps` writes it."""
    line = Rollout().user(text, at=1000 * number).lines[0]
    return json.dumps(json.loads(line), **options).encode() if options else line


class TestDamagedLines:
    """Lines that are not exactly one record. Whole records in them are converted."""

    ONE, TWO, THREE = message("one"), message("two", 2), message("three", 3)
    START = turn().lines[0]

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (ONE + TWO, ["one", "two"]),
            (ONE + b"\r" + TWO + b"\r", ["one", "two"]),
            (ONE + TWO + THREE, ["one", "two", "three"]),
            (ONE[:60] + TWO, ["two"]),
            (ONE[:-30] + TWO[:-7] + ONE[:90] + THREE, ["three"]),
            (ONE + TWO[:50], ["one"]),
            (TWO[50:] + THREE, ["three"]),
            (bytes(5000) + ONE, ["one"]),
            (ONE + bytes(300_000) + TWO + bytes(3), ["one", "two"]),
            (ONE[:100] + bytes(3_000_000) + TWO, ["two"]),
            (b"\xef\xbb\xbf" + ONE, ["one"]),
            (b"x" * 3_000_000 + ONE, ["one"]),
            (ONE[:70] + message("x" * 3_000_000, 2) + THREE, ["x" * 3_000_000, "three"]),
            (START[:80] + ONE, ["one"]),
            (START + ONE, ["one"]),
            (Rollout().line("world_state", {}).lines[0] + message("one", indent=None), ["one"]),
            (Rollout().line("world_state", {}).lines[0][:-1] + ONE, ["one"]),
            (message("one", indent=None)[:90] + message("two", indent=None), ["two"]),
            (ONE + message("two", 2, sort_keys=True), ["one", "two"]),
            (ONE.replace(b"one", b"\xff") + TWO, ["\ufffd", "two"]),
        ],
    )
    def test_whole_records_are_converted(self, line: bytes, expected: list[str]) -> None:
        data = self.START + b"\n" + line + b"\n" + message("after", 9) + b"\n"
        conversion = convert(data)
        assert [step["message"] for step in conversion.steps] == [*expected, "after"]
        assert conversion.summary.malformed == 1
        assert f"the line at byte {len(self.START) + 1} is damaged" in conversion.stderr
        ids = [record["event_id"] for record in conversion.records]
        assert len(set(ids)) == len(ids)

    def test_repeated_records_have_different_ids(self) -> None:
        ids = [record["event_id"] for record in convert(self.ONE * 3 + b"\n").records]
        assert len(set(ids)) == 4

    def test_records_in_an_unterminated_line_are_converted(self) -> None:
        for line, expected, rest, malformed in (
            (self.ONE + self.TWO, ["one", "two"], b"", 1),
            (self.ONE[:60] + self.TWO, ["two"], b"", 1),
            (self.ONE + self.TWO[:50], ["one"], self.TWO[:50], 0),
            (self.ONE + bytes(9), ["one"], bytes(9), 0),
            (self.ONE + self.TWO + self.THREE[:50], ["one", "two"], self.THREE[:50], 1),
        ):
            conversion = convert(self.START + b"\n" + line)
            assert [step["message"] for step in conversion.steps] == expected
            assert conversion.summary.malformed == malformed
            offset = len(self.START) + 1 + len(line) - len(rest)
            assert conversion.summary.partial_line == ((len(rest), offset) if rest else None)
            assert convert(self.START + b"\n" + line, "--partial").steps == []

    def test_a_line_with_many_beginnings_takes_bounded_time(self) -> None:
        for piece in (b'{"timestamp":"x","a":[', b'{"timestamp":"x', b'{"timestamp":"x","a":{}}{'):
            line = piece * (2 * MIB // len(piece))
            conversion = convert(self.START + b"\n" + line + b"\n" + self.ONE + b"\n")
            assert conversion.steps[-1]["message"] == "one"
            assert conversion.summary.malformed == 1

    def test_a_large_hole_takes_no_memory(self, large_files: Path) -> None:
        path = large_files / "rollout.jsonl"
        with path.open("wb") as file:
            file.write(self.START + b"\n" + self.ONE[:60])
            file.seek(300_000_000, os.SEEK_CUR)
            file.write(self.TWO + b"\n")
        status, peak = TestMemory().peak("convert", path, "--output", large_files / "out")
        assert status == 0
        assert peak < 48 * MIB
        header, step = (large_files / "out").read_bytes().splitlines()
        assert b'"header"' in header
        assert json.loads(step)["message"] == "two"


class TestOtherFiles:
    """Files that are not rollouts are named."""

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b'{"type":"thread.started","thread_id":"1"}\n{"type":"turn.started"}\n', "codex exec --json"),
            (b'{"session_id":"1","ts":1780000000,"text":"hi"}\n', "history"),
            (b'{"id":"1","thread_name":"fix it","updated_at":"2026-01-01T00:00:00Z"}\n', "session names"),
            (b'{"parentUuid":null,"sessionId":"1","type":"user","message":{}}\n', "Claude Code"),
            (turn().data.decode().encode("utf-16"), "UTF-16"),
            (turn().data.decode().encode("utf-16-le"), "UTF-16"),
            (turn().data.decode().encode("utf-16-be"), "UTF-16"),
            (b'{"id":"1","timestamp":"2025","instructions":null}\n{"record_type":"state"}\n', "Codex 0.31"),
            (b'{"record_type":"state"}\n{"type":"message","role":"user","content":[]}\n', "Codex 0.31"),
            (json.dumps({"session": {"id": "1"}, "items": []}, indent=2).encode(), "Codex 0.31"),
            (json.dumps({"session": {"id": "1"}, "items": []}).encode(), "Codex 0.31"),
            (b"\n", "only blank lines"),
            (b" \t\r\n\n", "only blank lines"),
            (b"plain text", "no line contains a JSON object"),
            (bytes(100_000), "no line contains a JSON object"),
            (turn().lines[0][:40] + b"\n", "no line contains a JSON object"),
            (b'{"a":1}\n' * 1000, "neither a rollout nor a common transcript"),
            (b'{"type":"session_meta","payload":"' + b"x" * 100_000 + b'"}\n' * 2000, "neither a rollout nor"),
        ],
    )
    def test_a_file_that_is_not_a_rollout_is_refused(self, output: Path, data: bytes, text: str) -> None:
        path = output.parent.parent / "input.jsonl"
        path.write_bytes(data)
        conversion = run("convert", path, "--output", output)
        assert_failed(conversion, f"cannot convert {path}: it is ", text, "\nhint: ") if "only" not in text else None
        assert_failed(conversion, text, f"{output} is unchanged")
        assert files(output.parent) == {output.name: b"an earlier conversion\n"}
        streamed = run("convert", "-", stdin=data)
        assert_failed(streamed, text)
        assert streamed.stdout == b""

    def test_other_lines_before_the_first_rollout_line_are_converted(self) -> None:
        other = b'{"a":1}\nno json\n' * 300
        conversion = convert(other + turn().data)
        assert [step["source"] for step in conversion.steps] == ["system"] * 300 + ["user"]
        assert conversion.summary.malformed == 300

    def test_output_begins_with_the_first_rollout_line(self) -> None:
        with subprocess.Popen(
            [program(), "convert", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(turn().data + b"".join(message("x" * 10_000, at) + b"\n" for at in range(10, 30)))
            process.stdin.flush()
            assert b'"header"' in process.stdout.readline()
            process.stdin.close()
            process.stdout.read()

    def test_a_rollout_of_events_says_that_it_has_no_messages(self) -> None:
        events = Rollout().started().event("user_message", message="hi").event("agent_message", message="Only an event")
        conversion = convert(events)
        assert conversion.records == []
        assert "the rollout holds no messages, only events" in conversion.stderr
        assert "no messages" not in convert(events.user("hi")).stderr


class TestCompressed:
    """Input that is compressed with Zstandard."""

    CONTENT = turn().assistant("done").usage().data

    @pytest.mark.parametrize("name", ["rollout.jsonl.zst", "rollout.jsonl", "rollout"])
    def test_compression_is_detected_by_content(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        for data in (self.CONTENT, zstd_frames.compress(self.CONTENT)):
            path.write_bytes(data)
            assert convert_file(path).stdout == convert(self.CONTENT).stdout

    def test_stdin_may_be_compressed(self) -> None:
        assert convert(zstd_frames.compress(self.CONTENT)).stdout == convert(self.CONTENT).stdout

    def test_a_file_compressed_by_codex_is_read(self) -> None:
        path = DATA / "0.169.0" / "compressed.jsonl"
        assert convert_file(path.with_name("compressed.jsonl.zst")).stdout == convert_file(path).stdout

    def test_several_frames_are_one_input(self) -> None:
        for cut in (0, 10, len(self.CONTENT) // 2, len(self.CONTENT)):
            first, second = zstd_frames.compress(self.CONTENT[:cut]), zstd_frames.compress(self.CONTENT[cut:])
            data = first + zstd_frames.skippable(b"a note") + second
            assert convert(data).stdout == convert(self.CONTENT).stdout

    def test_a_skippable_frame_may_come_first(self) -> None:
        data = zstd_frames.skippable(b"\0\0\0\0") + zstd_frames.compress(self.CONTENT)
        plain, compressed = convert(self.CONTENT), convert(data)
        assert plain.stdout == compressed.stdout
        assert plain.stderr == compressed.stderr

    def test_a_window_that_is_too_large_is_refused_with_a_hint(self, tmp_path: Path) -> None:
        path = tmp_path / "rollout.jsonl.zst"
        data = zstd_frames.compress(self.CONTENT)
        path.write_bytes(data[:5] + b"\x70" + data[6:])
        assert_failed(run("convert", path), path, "8 MiB", f"zstd -d --long=31 -c {path} | mngr-codex convert -")

    def test_offsets_refer_to_the_decompressed_content(self) -> None:
        rollout = Rollout().user("same", at=0).user("same", at=0).raw("not json")
        plain, compressed = convert(rollout), convert(zstd_frames.compress(rollout.data))
        assert plain.stdout == compressed.stdout
        assert plain.stderr == compressed.stderr

    @pytest.mark.parametrize("source", ["handmade", "recorded"])
    def test_a_truncated_file_is_an_error(self, tmp_path: Path, output: Path, source: str) -> None:
        recorded = (DATA / "0.169.0" / "compressed.jsonl.zst").read_bytes()
        data = recorded if source == "recorded" else zstd_frames.compress(self.CONTENT)
        path = tmp_path / "rollout.jsonl.zst"
        for end in [4, 5, 6, 9, len(data) // 2, len(data) - 1]:
            path.write_bytes(data[:end])
            assert_failed(run("convert", path, "--output", output), path)
            assert files(output.parent) == {output.name: b"an earlier conversion\n"}

    def test_an_invalid_frame_is_an_error(self, tmp_path: Path, output: Path) -> None:
        path = tmp_path / "rollout.jsonl.zst"
        for data in (
            zstd_frames.compress(self.CONTENT) + b"something else",
            zstd_frames.MAGIC + b"\x00\x38" + b"\x07\x00\x00",
            zstd_frames.MAGIC + b"\xff" * 100,
        ):
            path.write_bytes(data)
            assert_failed(run("convert", path, "--output", output), path)
            assert files(output.parent) == {output.name: b"an earlier conversion\n"}

    def test_a_corrupted_file_never_crashes_it(self) -> None:
        recorded = (DATA / "0.169.0" / "compressed.jsonl.zst").read_bytes()
        chance = random.Random(7)
        for _ in range(50):
            data = bytearray(recorded)
            data[chance.randrange(4, len(data))] ^= 1 << chance.randrange(8)
            assert run("convert", "-", stdin=bytes(data)).status in (0, 1)


@pytest.mark.not_emulated("the emulator's memory counts")
class TestMemory:
    """Memory depends on the longest line only."""

    def peak(self, *arguments: str | Path) -> tuple[int, int]:
        """Returns the exit status and the peak memory in bytes."""
        done = subprocess.run(
            [sys.executable, "-S", "-E", Path(__file__).parent / "support" / "peak_memory.py", program(), *arguments],
            capture_output=True,
            check=True,
            timeout=120,
        )
        status, kib = done.stdout.split()
        return int(status), int(kib) * 1024

    def test_a_long_rollout_takes_little_memory(self, large_files: Path) -> None:
        path = large_files / "rollout.jsonl"
        some = turn().call().output(output="x" * 60_000).usage().assistant("done").usage().complete().data
        with path.open("wb") as file:
            for _ in range(1000):
                file.write(some)
        status, peak = self.peak("convert", path, "--output", large_files / "out")
        assert status == 0
        assert peak < 48 * MIB

    @pytest.mark.slow
    def test_a_line_of_500_mb_is_held_once(self, large_files: Path) -> None:
        path, output = large_files / "rollout.jsonl", large_files / "out"
        length = 500_000_000
        before, after = Rollout().user("X", at=0).data.split(b"X")
        with path.open("wb") as file:
            file.write(before)
            for _ in range(length // 1_000_000):
                file.write(b"0123456789" * 100_000)
            file.write(after + Rollout().user("short", at=1000).data)
        status, peak = self.peak("convert", path, "--output", output)
        assert status == 0
        assert peak <= length + 48 * MIB
        with output.open("rb") as file:
            header, long, short = file
        assert b'"header"' in header
        assert length < len(long) < length + 1000
        assert json.loads(short)["message"] == "short"

    def test_a_compression_bomb_of_blank_lines_takes_little_memory(self, large_files: Path) -> None:
        path, output = large_files / "rollout.jsonl.zst", large_files / "out"
        long_lines = [zstd_frames.repeated(b" "), zstd_frames.raw(b"\n")] * 8064
        path.write_bytes(zstd_frames.frame(long_lines + [zstd_frames.repeated(b"\n")] * 128))
        status, peak = self.peak("convert", path, "--output", output)
        assert status == 1
        assert not output.exists()
        assert peak < 64 * MIB

    def test_a_compression_bomb_of_one_line_takes_little_memory(self, large_files: Path) -> None:
        path, output = large_files / "rollout.jsonl.zst", large_files / "out"
        path.write_bytes(zstd_frames.frame([zstd_frames.repeated(b"\0")] * 8192))
        status, peak = self.peak("convert", path, "--max-line", "1000000", "--output", output)
        assert status == 1
        assert not output.exists()
        assert peak < 64 * MIB

    def test_a_frame_with_a_window_of_2_gb_takes_little_memory(self, large_files: Path) -> None:
        path = large_files / "rollout.jsonl.zst"
        data = zstd_frames.compress(turn().data)
        path.write_bytes(data[:5] + b"\xa8" + data[6:])
        status, peak = self.peak("convert", path, "--output", large_files / "out")
        assert status in (0, 1)
        assert peak < 256 * MIB


class TestFiles:
    """Inputs that cannot be read and outputs that cannot be written."""

    def test_a_missing_file_is_an_error(self, tmp_path: Path, output: Path) -> None:
        assert_failed(run("convert", tmp_path / "none.jsonl", "--output", output), tmp_path / "none.jsonl")
        assert files(output.parent) == {output.name: b"an earlier conversion\n"}

    def test_a_directory_is_an_error(self, tmp_path: Path, output: Path) -> None:
        assert_failed(run("convert", tmp_path, "--output", output), tmp_path)
        assert files(output.parent) == {output.name: b"an earlier conversion\n"}

    def test_an_unreadable_file_is_an_error(self, open_to_all: Path) -> None:
        path = open_to_all / "rollout.jsonl"
        path.write_bytes(turn().data)
        path.chmod(0)
        assert_failed(run_as_nobody(open_to_all, "convert", path), path, "ermission")

    def test_an_unwritable_folder_is_named(self, open_to_all: Path) -> None:
        folder = open_to_all / "out"
        folder.mkdir(0o555)
        path = folder / "common.jsonl"
        conversion = run_as_nobody(open_to_all, "convert", "-", "--output", path, stdin=turn().data)
        assert_failed(conversion, path, "ermission", f"{folder} is not writable")
        assert files(folder) == {}

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "none" / "common.jsonl"
        folder = path.parent
        assert_failed(run("convert", "-", "--output", path, stdin=turn().data), path, f"there is no folder {folder}")
        (tmp_path / "link").symlink_to(path)
        linked = run("convert", "-", "--output", tmp_path / "link", stdin=turn().data)
        assert_failed(linked, tmp_path / "link", f"mkdir -p {folder}")
        assert [path.name for path in tmp_path.iterdir()] == ["link"]

    def test_a_folder_as_output_is_an_error(self, tmp_path: Path) -> None:
        assert_failed(run("convert", "-", "--output", tmp_path, stdin=turn().data), tmp_path)
        assert files(tmp_path) == {}

    @pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
    def test_standard_output_can_be_named(self, tmp_path: Path, name: str) -> None:
        """A file that the shell has opened is written at its current position, and not replaced."""
        path = tmp_path / "out"
        with path.open("wb", buffering=0) as out:
            out.write(b"before\n")
            command: list[str | Path] = [program(), "convert", "-", "--output", name]
            subprocess.run(command, input=turn().data, stdout=out, stderr=subprocess.PIPE, check=True, timeout=60)
            out.write(b"after\n")
        assert files(tmp_path) == {"out": b"before\n" + convert(turn()).stdout + b"after\n"}

    def test_the_target_of_a_link_is_created(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("target")
        assert run("convert", "-", "--output", tmp_path / "link", stdin=turn().data).status == 0
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target").read_bytes() == convert(turn()).stdout

    def test_a_loop_of_links_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "one").symlink_to("other")
        (tmp_path / "other").symlink_to("one")
        assert_failed(
            run("convert", "-", "--output", tmp_path / "one", stdin=turn().data), tmp_path / "one", "ymbolic links"
        )
        assert all(path.is_symlink() for path in tmp_path.iterdir())

    def test_stdout_on_a_full_disk_is_an_error(self) -> None:
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [program(), "convert", "-"], input=turn().data, stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert_failed(Completed(done.returncode, b"", done.stderr.decode()), "standard output")

    def test_an_output_on_a_full_disk_is_unchanged(self, output: Path) -> None:
        data = b"".join(Rollout().user("x" * 1000, at=at).data for at in range(1000))
        conversion = run(
            "convert",
            "-",
            "--output",
            output,
            stdin=data,
            # Python ignores SIGXFSZ. The program inherits that, so its write fails as on a full disk.
            restore_signals=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        )
        assert_failed(conversion, output, f"{output} is unchanged")
        assert files(output.parent) == {output.name: b"an earlier conversion\n"}

    def test_an_error_names_the_state_of_the_output(self, output: Path) -> None:
        data = zstd_frames.compress(turn().data)[:-1]
        assert_failed(run("convert", "-", "--output", output, stdin=data), f"{output} is unchanged")
        output.unlink()
        assert_failed(run("convert", "-", "--output", output, stdin=data), f"{output} was not created")

    def test_a_missing_temporary_folder_is_named(self, tmp_path: Path, output: Path) -> None:
        folder = tmp_path / "none"
        data = turn().call().data + Rollout().output(output="x" * 9 * MIB).data
        environment = {**os.environ, "TMPDIR": str(folder)}
        conversion = run("convert", "-", "--output", output, stdin=data, env=environment)
        assert_failed(conversion, f"temporary folder {folder}:", "TMPDIR=", f"{output} is unchanged")
        assert f"cannot write {output}" not in conversion.stderr

    def test_messages_escape_control_characters(self) -> None:
        conversion = run("convert", "a\nb\x1b[31m\u202e")
        assert_failed(conversion, r"a\nb\u{1b}[31m")
        assert conversion.stderr.count("\n") == 2, "one line for the message, and one for the hint"

    def test_paths_may_be_invalid_utf_8(self, tmp_path: Path) -> None:
        source, target = (os.fsencode(tmp_path) + name for name in (b"/in\xff", b"/out\xfe"))
        Path(os.fsdecode(source)).write_bytes(turn().data)
        assert run("convert", os.fsdecode(source), "--output", os.fsdecode(target)).status == 0
        assert Path(os.fsdecode(target)).read_bytes() == convert(turn()).stdout

    def test_named_pipes_are_read_and_written(self, tmp_path: Path) -> None:
        source, target = tmp_path / "in", tmp_path / "out"
        os.mkfifo(source)
        os.mkfifo(target)
        with subprocess.Popen([program(), "convert", source, "--output", target], stderr=subprocess.PIPE) as process:
            source.write_bytes(turn().data)
            assert target.read_bytes() == convert(turn()).stdout
        assert process.returncode == 0
        assert source.is_fifo()
        assert target.is_fifo()

    @pytest.mark.parametrize("link", [None, os.symlink, os.link], ids=["same", "symlink", "hard link"])
    def test_the_input_can_be_the_output_or_is_unchanged(
        self, tmp_path: Path, link: Callable[[Path, Path], None] | None
    ) -> None:
        rollout = turn().assistant("done").usage()
        source = tmp_path / "rollout.jsonl"
        source.write_bytes(rollout.data)
        target = source
        if link:
            target = tmp_path / "link.jsonl"
            link(source, target)
        conversion = run("convert", source, "--output", target)
        if conversion.status == 0:
            assert target.read_bytes() == convert(rollout).stdout
            assert source.read_bytes() in (rollout.data, convert(rollout).stdout)
        else:
            assert_failed(conversion, target)
            assert source.read_bytes() == target.read_bytes() == rollout.data
        assert set(files(tmp_path)) == {source.name, target.name}

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
    def test_the_owner_and_mode_of_the_output_are_kept(self, output: Path) -> None:
        os.chown(output, NOBODY, NOBODY)
        output.chmod(0o600)
        assert run("convert", "-", "--output", output, stdin=turn().data).status == 0
        status = output.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (NOBODY, NOBODY, 0o600)
        assert files(output.parent) == {output.name: convert(turn()).stdout}

    def test_appending_to_the_input_is_refused(self, tmp_path: Path) -> None:
        """The program would read its own output without end."""
        path = tmp_path / "rollout.jsonl"
        path.write_bytes(turn().data)
        for name in (path, "-"):
            with path.open("rb") as source, path.open("ab") as out:
                done = subprocess.run(
                    [program(), "convert", name], stdin=source, stdout=out, stderr=subprocess.PIPE, timeout=60
                )
            assert_failed(Completed(done.returncode, b"", done.stderr.decode()), "same file")
            assert path.read_bytes() == turn().data

    def test_the_output_is_replaced_without_temporary_files(self, output: Path) -> None:
        conversion = run("convert", "-", "--output", output, stdin=turn().data)
        assert conversion.status == 0
        assert files(output.parent) == {output.name: convert(turn()).stdout}


class TestStandardStreams:
    """Standard streams that are closed, full, or set up by another program."""

    def in_shell(self, script: str, *arguments: str | Path) -> Completed:
        """Runs a shell script with the program as "$0"."""
        done = subprocess.run(["sh", "-c", script, program(), *arguments], capture_output=True, timeout=60)
        return Completed(done.returncode, done.stdout, done.stderr.decode())

    def test_a_closed_output_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "rollout.jsonl"
        path.write_bytes(turn().data)
        assert_failed(self.in_shell('"$0" convert "$1" >&-', path), "standard output", "closed")
        assert_failed(self.in_shell('"$0" convert "$1" --output /dev/stdout >&-', path), "/dev/stdout", "closed")
        assert self.in_shell('"$0" convert "$1" --output "$2" >&- <&- 2>&-', path, tmp_path / "out").status == 0
        assert (tmp_path / "out").read_bytes() == convert(turn()).stdout

    def test_a_closed_input_is_an_error(self, output: Path) -> None:
        assert_failed(self.in_shell('"$0" convert - --output "$1" <&-', output), "standard input", "closed")
        assert files(output.parent) == {output.name: b"an earlier conversion\n"}

    def test_the_exit_status_does_not_depend_on_stderr(self) -> None:
        assert self.in_shell('"$0" convert no-such-file 2>&-').status == 1
        assert self.in_shell('"$0" convert - </dev/null 2>&-').status == 0

    @pytest.mark.parametrize("arguments", ["--help", "convert --version"])
    def test_help_that_cannot_be_written_is_an_error(self, arguments: str) -> None:
        assert self.in_shell(f'"$0" {arguments} >/dev/full').status == 1

    def test_a_hyphen_as_output_is_standard_output(self, tmp_path: Path) -> None:
        conversion = run("convert", "-", "--output", "-", stdin=turn().data, cwd=tmp_path)
        assert (conversion.status, conversion.stdout) == (0, convert(turn()).stdout)
        assert files(tmp_path) == {}

    def test_non_blocking_streams_are_waited_for(self) -> None:
        """Another process that shares a pipe can make it non-blocking."""
        data = b"".join(Rollout().user("x" * 1000, at=at).data for at in range(3000))
        (source, feed), (drain, out) = os.pipe(), os.pipe()

        def feed_all() -> None:
            with open(feed, "wb") as file:
                file.write(data)

        os.set_blocking(source, False)
        os.set_blocking(out, False)
        command: list[str | Path] = [program(), "convert", "-", "--verbose"]
        with subprocess.Popen(command, stdin=source, stdout=out, stderr=subprocess.PIPE) as process:
            os.close(source)
            os.close(out)
            time.sleep(0.1)
            feeder = threading.Thread(target=feed_all)
            feeder.start()
            time.sleep(0.1)
            with open(drain, "rb") as file:
                converted = file.read()
            feeder.join()
            assert process.stderr
            assert b"3000 lines read" in process.stderr.read()
        assert process.returncode == 0
        assert converted == convert(data).stdout


class TestSignals:
    """Signals that end the program."""

    def test_a_closed_pipe_ends_it_quietly(self, tmp_path: Path) -> None:
        path = tmp_path / "rollout.jsonl"
        path.write_bytes(b"".join(Rollout().user("x" * 1000, at=at).data for at in range(5000)))
        with subprocess.Popen([program(), "convert", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.read(10) == b'{"type":"h'
            process.stdout.close()
            assert process.stderr
            assert process.stderr.read() == b""
        assert process.returncode == -signal.SIGPIPE

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
    def test_an_interrupt_leaves_no_partial_file(self, output: Path, number: signal.Signals) -> None:
        some = b"".join(Rollout().user("x" * 1000, at=at).data for at in range(2000))
        process = subprocess.Popen(
            [program(), "convert", "-", "--output", output], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with process:
            assert process.stdin
            process.stdin.write(some)
            process.stdin.flush()
            time.sleep(0.2)
            process.send_signal(number)
            try:
                assert process.wait(10) != 0
            finally:
                process.kill()
        assert files(output.parent) == {output.name: b"an earlier conversion\n"}

    @pytest.mark.skipif(not shutil.which("strace"), reason="needs strace to stop the program at a system call")
    @pytest.mark.not_emulated("strace sees the emulator's system calls")
    @pytest.mark.parametrize("name", ["HUP", "INT", "TERM"])
    def test_a_signal_waits_until_the_output_is_replaced(self, output: Path, name: str) -> None:
        """While the output is replaced its folder also has a temporary file, which must not remain."""
        tracing = ["strace", "-qq", "-o", os.devnull, "-e", "trace=linkat"]
        if subprocess.run([*tracing, "true"], capture_output=True).returncode != 0:
            pytest.skip("strace is not permitted here")
        inject = ["-e", f"inject=linkat:signal={name}:when=2"]
        command: list[str | Path] = [*tracing, *inject, program(), "convert", "-", "--output", output]
        done = subprocess.run(command, input=turn().data, capture_output=True, timeout=60)
        assert done.returncode == -getattr(signal, f"SIG{name}")
        assert files(output.parent) == {output.name: convert(turn()).stdout}


class TestUsage:
    """Command lines."""

    @pytest.mark.parametrize(
        "arguments",
        [
            ["convert"],
            ["convert", "-", "-"],
            ["convert", "-", "--unknown"],
            ["convert", "-", "--max-line", "many"],
            ["convert", "-", "--max-line", "-1"],
            ["convert", "-", "--output"],
            ["no-such-command"],
            [],
        ],
        ids=" ".join,
    )
    def test_invalid_arguments_are_refused(self, arguments: list[str]) -> None:
        conversion = run(*arguments)
        assert (conversion.status, conversion.stdout) == (2, b"")
        assert conversion.stderr

    @pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"], ["--version"], ["convert", "--version"]])
    def test_help_and_version_are_printed(self, arguments: list[str]) -> None:
        conversion = run(*arguments)
        assert (conversion.status, conversion.stderr) == (0, "")
        assert conversion.stdout
