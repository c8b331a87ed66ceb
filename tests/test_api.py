"""The Python API: conversion, errors, threads, and Ctrl-C."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import mngr_codex
from tests.support import zstd_frames
from tests.support.program import NOBODY, convert, convert_file, header_id, parse_records
from tests.support.python_scripts import interrupt_python
from tests.support.recordings import DATA, all_recordings, name
from tests.support.rollout_builder import Rollout, turn


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rollout.jsonl"
    rollout = turn().line("world_state", {}).line("world_state", {}).raw("not json").assistant("done")
    path.write_bytes(rollout.data)
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A small file whose conversion takes many seconds: 64 GiB of blank lines, compressed."""
    path = tmp_path / "endless.jsonl.zst"
    path.write_bytes(zstd_frames.frame([zstd_frames.repeated(b" "), zstd_frames.raw(b"\n")] * (8192 * 64)))
    return path


@pytest.mark.parametrize("path", all_recordings(), ids=name)
def test_the_output_equals_that_of_the_program(tmp_path: Path, path: Path) -> None:
    output = tmp_path / "common.jsonl"
    mngr_codex.convert(path, output, agent_id="agent-1")
    assert output.read_bytes() == convert_file(path, "--agent-id", "agent-1").stdout
    mngr_codex.convert(path, output, partial=True)
    assert output.read_bytes() == convert_file(path, "--partial").stdout


def test_the_summary_equals_that_of_the_program(source: Path, tmp_path: Path) -> None:
    summary = mngr_codex.convert(source, tmp_path / "common.jsonl")
    of_program = convert_file(source).summary
    assert isinstance(summary, mngr_codex.ConversionSummary)
    assert (summary.lines, summary.records, summary.malformed) == (8, 3, 1)
    assert summary.skipped == of_program.skipped
    assert summary.skipped["world_state"] == 2
    assert (summary.lines, summary.records) == (of_program.lines, of_program.records)


def test_paths_are_strings_or_path_like(source: Path, tmp_path: Path) -> None:
    mngr_codex.convert(str(source), str(tmp_path / "a"))
    mngr_codex.convert(source, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == convert_file(source).stdout
    assert list(mngr_codex.iter_records(str(source))) == list(mngr_codex.iter_records(source))


def test_options_are_keyword_only(source: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        mngr_codex.convert(source, tmp_path / "common.jsonl", "agent-1")  # type: ignore[call-arg]


def test_the_agent_id_determines_the_header(source: Path, tmp_path: Path) -> None:
    mngr_codex.convert(source, tmp_path / "common.jsonl", agent_id="é")
    assert parse_records((tmp_path / "common.jsonl").read_bytes())[0]["event_id"] == header_id("é")


def test_a_partial_conversion_holds_the_last_step(source: Path, tmp_path: Path) -> None:
    assert mngr_codex.convert(source, tmp_path / "common.jsonl", partial=True).records == 2


def test_iter_records_yields_the_records(source: Path) -> None:
    records = mngr_codex.iter_records(source)
    assert isinstance(records, Iterator)
    assert list(records) == convert_file(source).records


@pytest.mark.parametrize("recording", ["unicode", "tools", "v2_spawn_fork.child1", "imagegen", "mcp"])
def test_iter_records_yields_the_records_of_a_recording(recording: str) -> None:
    path = DATA / "0.169.0" / f"{recording}.jsonl"
    assert list(mngr_codex.iter_records(path)) == convert_file(path).records


def test_iter_records_yields_values_that_python_cannot_encode(tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl"
    path.write_bytes(
        turn()
        .call(arguments='{"a":"\\ud83d","n":123456789012345678901234567890,"f":1.5}')
        .output(output="a\x00b")
        .usage(2**70)
        .data
    )
    records = list(mngr_codex.iter_records(path))
    assert records == convert_file(path).records
    assert records[2]["tool_calls"][0]["arguments"] == {"a": "\ud83d", "n": 123456789012345678901234567890, "f": 1.5}


@pytest.mark.parametrize(
    "number",
    [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19, 10**300 + 7, int("7" * 4300)],
    ids=lambda number: f"{number:.3e}" if abs(number) < 10**300 else f"{number.bit_length()} bits",
)
@pytest.mark.parametrize("shape", ['{"n":%d}', '{"n":[%d]}', '{ "n": [0, %d ] }'])
def test_iter_records_keeps_integers_exact(tmp_path: Path, number: int, shape: str) -> None:
    path = tmp_path / "rollout.jsonl"
    path.write_bytes(turn().call(arguments=shape % number).user("next").data)
    [call] = [record for record in mngr_codex.iter_records(path) if "tool_calls" in record]
    assert call["tool_calls"][0]["arguments"] == json.loads(shape % number)


def test_iter_records_of_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert list(mngr_codex.iter_records(tmp_path / "empty")) == []


def test_iter_records_reads_lazily(endless: Path, tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl.zst"
    path.write_bytes(zstd_frames.compress(turn().user("next").data) + endless.read_bytes())
    began = time.monotonic()
    assert next(iter(mngr_codex.iter_records(path)))["type"] == "header"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("function", ["convert", "iter_records"])
class TestErrors:
    """Errors of both functions."""

    def call(self, function: str, source: Path) -> None:
        if function == "convert":
            mngr_codex.convert(source, source.with_name("common.jsonl"))
        else:
            list(mngr_codex.iter_records(source))

    def test_a_missing_file(self, function: str, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            self.call(function, tmp_path / "none.jsonl")
        assert str(tmp_path / "none.jsonl") in str(raised.value)

    def test_a_directory(self, function: str, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError) as raised:
            self.call(function, tmp_path)
        assert str(tmp_path) in str(raised.value)

    def test_an_unreadable_file(self, function: str, open_to_all: Path) -> None:
        path = open_to_all / "rollout.jsonl"
        path.write_bytes(turn().data)
        path.chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            with pytest.raises(PermissionError) as raised:
                self.call(function, path)
        finally:
            os.seteuid(user)
        assert str(path) in str(raised.value)

    def test_a_truncated_compressed_file(self, function: str, tmp_path: Path) -> None:
        path = tmp_path / "rollout.jsonl.zst"
        data = turn().data
        path.write_bytes(zstd_frames.compress(data)[:-5])
        with pytest.raises(ValueError, match=r"\d") as raised:
            self.call(function, path)
        assert str(path) in str(raised.value)
        assert not (tmp_path / "common.jsonl").exists()


def test_an_output_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        mngr_codex.convert(source, tmp_path / "none" / "common.jsonl")
    with pytest.raises(IsADirectoryError):
        mngr_codex.convert(source, tmp_path)


def test_a_missing_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rollout.jsonl"
    path.write_bytes(turn().call().data + Rollout().output(output="x" * 9 * 1024 * 1024).data)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="TMPDIR") as raised:
        mngr_codex.convert(path, tmp_path / "common.jsonl")
    assert raised.value.filename == str(tmp_path / "none")
    assert not (tmp_path / "common.jsonl").exists()


def test_a_compressed_file_whose_window_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl.zst"
    data = zstd_frames.compress(turn().data)
    path.write_bytes(data[:5] + b"\x70" + data[6:])
    with pytest.raises(ValueError, match="8 MiB; decompress it first") as raised:
        mngr_codex.convert(path, tmp_path / "common.jsonl")
    assert str(path) in str(raised.value)


def test_a_common_transcript_is_refused(source: Path, tmp_path: Path) -> None:
    transcript, output = tmp_path / "transcript.jsonl", tmp_path / "output.jsonl"
    mngr_codex.convert(source, transcript)
    for read in (lambda: mngr_codex.convert(transcript, output), lambda: list(mngr_codex.iter_records(transcript))):
        with pytest.raises(ValueError, match="already a common transcript"):
            read()
    assert not output.exists()


def test_malformed_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rollout.jsonl"
    path.write_bytes(b"\x00\xff\n" * 10 + Rollout().user("hi").data)
    assert mngr_codex.convert(path, tmp_path / "common.jsonl").malformed == 10


def test_other_threads_run_during_a_conversion(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl.zst"
    blank_lines = [zstd_frames.repeated(b" "), zstd_frames.raw(b"\n")] * 8192
    path.write_bytes(zstd_frames.frame([zstd_frames.raw(turn().data), *blank_lines]))
    done = threading.Event()
    ticks: list[float] = []

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    try:
        mngr_codex.convert(path, tmp_path / "common.jsonl")
    finally:
        took = time.monotonic() - began
        done.set()
        thread.join()
    during = [moment for moment in ticks if began < moment < began + took]
    assert took > 0.05, "the conversion was too short to measure"
    assert len(during) > 10
    assert max(after - before for before, after in pairwise(during)) < took / 2


def test_threads_can_convert_simultaneously(source: Path, tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=mngr_codex.convert, args=(source, tmp_path / f"common-{n}.jsonl")) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(tmp_path / f"common-{n}.jsonl").read_bytes() for n in range(8)} == {convert_file(source).stdout}


@pytest.mark.parametrize("call", ["convert(sys.argv[1], sys.argv[2])", "list(mngr_codex.iter_records(sys.argv[1]))"])
def test_ctrl_c_ends_a_conversion(endless: Path, tmp_path: Path, call: str) -> None:
    output = tmp_path / "out" / "common.jsonl"
    output.parent.mkdir()
    code = f"""
import sys, mngr_codex
from mngr_codex import convert
print("ready", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    assert interrupt_python(code, endless, output) == ("interrupted\n", "")
    assert list(output.parent.iterdir()) == []


def test_importing_it_imports_no_large_package() -> None:
    code = "import sys, mngr_codex; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    top = {module.partition(".")[0] for module in modules}
    assert "mngr_codex" in top
    assert not top & {"imbue", "pydantic", "pydantic_core", "click", "pluggy"}


def test_iter_records_reads_compressed_files(tmp_path: Path) -> None:
    path = tmp_path / "rollout"
    path.write_bytes(zstd_frames.compress(turn().data))
    assert list(mngr_codex.iter_records(path)) == convert(turn()).records


class TestTail:
    """`tail` returns the last records of a file, folder or agent."""

    @pytest.fixture
    def transcript(self, tmp_path: Path) -> Path:
        path = tmp_path / "transcript.jsonl"
        path.write_bytes(
            b'{"type":"header"}\n{"n": 12345678901234567890123}\n\n{"n":1.50}\r\nno JSON\n{"s":"\\ud800"}\n{"to'
        )
        return path

    @pytest.mark.parametrize("n", range(7))
    def test_it_returns_the_last_records(self, transcript: Path, n: int) -> None:
        all_records = [{"type": "header"}, {"n": 12345678901234567890123}, {"n": 1.5}, {"s": "\ud800"}]
        assert mngr_codex.tail(transcript, n) == (all_records[-n:] if n else [])
        assert mngr_codex.tail(str(transcript), n) == mngr_codex.tail(transcript, n)

    def test_a_complete_last_line_needs_no_newline(self, transcript: Path) -> None:
        transcript.write_bytes(transcript.read_bytes() + b'rn":0}')
        assert mngr_codex.tail(transcript, 1) == [{"torn": 0}]

    def test_invalid_utf_8_is_replaced(self, transcript: Path) -> None:
        transcript.write_bytes(b'{"type":"header"}\n{"s":"\xff\xe2\x82"}\n')
        assert mngr_codex.tail(transcript, 1) == [{"s": "\ufffd\ufffd"}]

    @pytest.mark.parametrize("recording", all_recordings(), ids=name)
    def test_a_rollout_is_converted(self, recording: Path) -> None:
        records = list(mngr_codex.iter_records(recording))
        assert mngr_codex.tail(recording, 2) == records[-2:]
        assert mngr_codex.tail(recording, len(records) + 1) == records

    def test_rotated_files_of_an_agent_are_included(self, tmp_path: Path, transcript: Path) -> None:
        folder = tmp_path / "agent-1/events/codex/common_transcript"
        folder.mkdir(parents=True)
        transcript.rename(folder / "events.jsonl.1")
        (folder / "events.jsonl").write_bytes(b'{"last":1}\n')
        assert mngr_codex.tail(tmp_path / "agent-1", 2) == [{"s": "\ud800"}, {"last": 1}]

    def test_errors(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as missing:
            mngr_codex.tail(tmp_path / "none", 1)
        assert missing.value.filename == str(tmp_path / "none")
        with pytest.raises(ValueError, match="no common transcript"):
            mngr_codex.tail(tmp_path, 1)
        (tmp_path / "data.json").write_text("{}")
        with pytest.raises(FileNotFoundError):
            mngr_codex.tail(tmp_path, 1)
        (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\x1a\n" * 20)
        with pytest.raises(ValueError, match="it is not a rollout, or is damaged completely"):
            mngr_codex.tail(tmp_path / "picture", 1)
        with pytest.raises(ValueError, match="n must not be negative: -1"):
            mngr_codex.tail(tmp_path / "picture", -1)
