"""`mngr-codex transcript`: targets, selection of records, and messages if there is nothing to show."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.support import zstd_frames
from tests.support.program import Completed, convert_file, parse_records, program, run
from tests.support.recordings import DATA, all_recordings, name
from tests.support.rollout_builder import Rollout, uuid7
from tests.support.transcript_records import HEADER, State, observation, step

ROLLOUT = DATA / "0.169.0" / "tools.jsonl"


def shown(*arguments: str | Path) -> Completed:
    """Runs `transcript`, which must succeed without messages."""
    done = run("transcript", *arguments)
    assert (done.status, done.stderr) == (0, "")
    return done


def messages(done: Completed) -> list[str]:
    return [record["message"] for record in parse_records(done.stdout) if "message" in record]


class TestTarget:
    """Targets: agents, folders and files."""

    def test_an_agent_is_found_by_name_id_and_folder(self, state: State) -> None:
        content = state.transcript.read_bytes()
        for target in ("fix-it", "agent-1", state.folder, state.transcript, state.transcript.parent):
            assert shown(target, "--format", "jsonl").stdout == content

    def test_agents_of_the_same_name_are_listed(self, state: State, host_dir: Path) -> None:
        other = State(host_dir, identity="agent-2")
        done = run("transcript", "fix-it")
        assert (done.status, done.stdout) == (1, b"")
        assert str(state.folder) in done.stderr and str(other.folder) in done.stderr

    def test_an_unknown_agent_is_an_error(self, state: State, host_dir: Path) -> None:
        done = run("transcript", "nobody")
        assert (done.status, done.stdout) == (1, b"")
        assert "nobody" in done.stderr and "mngr list" in done.stderr and str(host_dir) in done.stderr

    def test_a_destroyed_agents_transcript_is_shown(self, state: State, host_dir: Path) -> None:
        kept = host_dir / "preserved" / "fix-it--agent-1"
        kept.parent.mkdir()
        state.folder.rename(kept)
        done = run("transcript", "fix-it")
        assert done.status == 1 and str(kept) in done.stderr
        assert messages(shown(kept, "--format", "jsonl")) == ["first", "second", "third"]

    def test_an_agent_without_a_transcript_is_an_error(self, state: State) -> None:
        state.transcript.unlink()
        done = run("transcript", "fix-it")
        assert (done.status, done.stdout) == (1, b"")
        assert str(state.transcript) in done.stderr and "--follow" in done.stderr

    @pytest.mark.parametrize("recording", all_recordings(), ids=name)
    def test_a_rollout_is_converted(self, recording: Path) -> None:
        records = parse_records(convert_file(recording).stdout)
        done = run("transcript", recording, "--format", "jsonl")
        assert parse_records(done.stdout)[1:] == records[1:]
        last = run("transcript", recording, "--format", "jsonl", "--tail", "2")
        assert parse_records(last.stdout) == records[-2:]
        assert last.stderr == done.stderr

    def test_a_compressed_rollout_is_converted(self, tmp_path: Path) -> None:
        packed = tmp_path / "whatever"
        packed.write_bytes(zstd_frames.frame([zstd_frames.raw(ROLLOUT.read_bytes())]))
        of_plain, of_packed = (shown(path, "--format", "jsonl").stdout for path in (ROLLOUT, packed))
        assert of_packed.splitlines()[1:] == of_plain.splitlines()[1:]

    def test_a_truncated_compressed_rollout_is_shown_up_to_its_end(self, tmp_path: Path) -> None:
        lines = ROLLOUT.read_bytes().splitlines(keepends=True)
        frames = [zstd_frames.frame([zstd_frames.raw(b"".join(part))]) for part in (lines[:-1], lines[-1:])]
        packed = tmp_path / "rollout.jsonl.zst"
        packed.write_bytes(b"".join(frames)[:-1])
        done = run("transcript", packed, "--format", "jsonl")
        assert done.status == 1 and "damaged or cut short" in done.stderr
        cut = tmp_path / "cut.jsonl"
        cut.write_bytes(b"".join(lines[:-1]))
        assert done.stdout.splitlines()[1:] == shown(cut, "--format", "jsonl").stdout.splitlines()[1:]

    def test_a_compressed_transcript_is_refused(self, state: State, tmp_path: Path) -> None:
        packed = tmp_path / "events.jsonl.zst"
        packed.write_bytes(zstd_frames.frame([zstd_frames.raw(state.transcript.read_bytes())]))
        for form in ("human", "jsonl", "json", "atif"):
            done = run("transcript", packed, "--format", form)
            assert (done.status, done.stdout) == (1, b"")
            assert "decompress it" in done.stderr

    def test_a_folder_of_raw_lines_is_converted(self, tmp_path: Path) -> None:
        (tmp_path / "events.jsonl").write_bytes(ROLLOUT.read_bytes())
        for form in ("human", "jsonl"):
            of_folder, of_file = (shown(path, "--format", form) for path in (tmp_path, tmp_path / "events.jsonl"))
            assert of_folder == of_file

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"\x89PNG\n" * 99, "no line contains a JSON object"),
            (b'{"a":1}\n', "neither a rollout nor"),
            (b'{"type":"turn.started"}\n', "codex exec --json"),
            (b'{"session_id":"1","ts":1,"text":"hi"}\n', "history"),
            (b" \n\n", "only blank lines"),
        ],
    )
    def test_any_other_file_is_refused(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "file"
        path.write_bytes(content)
        done = run("transcript", path)
        assert (done.status, done.stdout) == (1, b"")
        assert str(path) in done.stderr and message in done.stderr

    @pytest.mark.parametrize("options", [(), ("--tail", "3"), ("--format", "jsonl")])
    def test_a_rollout_of_events_says_that_it_has_no_messages(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        path = tmp_path / "rollout.jsonl"
        path.write_bytes(Rollout().started().event("user_message", message="hi").data)
        done = run("transcript", path, *options)
        assert (done.status, done.stdout) == (0, b"")
        assert done.stderr.count("no messages") == 1 and "only events" in done.stderr

    def test_an_empty_file_is_an_empty_transcript(self, tmp_path: Path) -> None:
        (tmp_path / "events.jsonl").touch()
        assert shown(tmp_path / "events.jsonl", "--format", "jsonl").stdout == b""
        assert json.loads(shown(tmp_path / "events.jsonl", "--format", "json").stdout) == []

    def test_a_pipe_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        """The program reads a target twice, which a pipe does not allow."""
        os.mkfifo(tmp_path / "pipe")
        for target in (tmp_path / "pipe", Path("/dev/null")):
            done = run("transcript", target)
            assert (done.status, done.stdout) == (1, b"")
            assert str(target) in done.stderr and "pass `-`" in done.stderr

    def test_a_missing_path_is_an_error(self, tmp_path: Path) -> None:
        done = run("transcript", tmp_path / "none")
        assert done.status == 1
        assert done.stderr.startswith(f"mngr-codex: cannot read {tmp_path / 'none'}: no such file\nhint: ")

    def test_control_characters_in_a_path_are_escaped(self, tmp_path: Path) -> None:
        done = run("transcript", tmp_path / "a\x1b[31mb")
        assert done.status == 1 and "\x1b" not in done.stderr


class TestChoice:
    """Which records are shown."""

    def test_records_are_selected_by_role_and_position(self, state: State) -> None:
        def chosen(*options: str) -> list[str]:
            return messages(shown("fix-it", "--format", "jsonl", *options))

        assert chosen("--role", "user") == ["first", "third"]
        assert chosen("--role", "user", "--role", "agent") == ["first", "second", "third"]
        assert chosen("--role", "user", "--tail", "1") == ["third"]
        assert chosen("--role", "user", "--head", "1") == ["first"]
        assert chosen("--tail", "2") == ["second", "third"]
        # The header counts as a record.
        assert chosen("--head", "2") == ["first"]

    def test_a_role_without_records_is_reported(self, state: State) -> None:
        done = run("transcript", "fix-it", "--format", "jsonl", "--role", "tool")
        assert (done.status, done.stdout) == (0, b"")
        assert "role tool" in done.stderr

    def test_an_empty_transcript_is_reported_to_humans_only(self, state: State) -> None:
        state.write(HEADER)
        done = run("transcript", "fix-it")
        assert (done.status, done.stdout) == (0, b"") and "this session has no messages yet" in done.stderr
        assert run("transcript", "fix-it", "--format", "json").stderr == ""

    def test_a_session_without_messages_is_named(self, tmp_path: Path) -> None:
        rollout = tmp_path / "rollout.jsonl"
        rollout.write_bytes(Rollout().meta(uuid7(1), cwd="/work").data)
        assert f"session {uuid7(1)} in /work has no messages yet" in run("transcript", rollout).stderr

    def test_rotated_parts_come_first(self, state: State) -> None:
        state.transcript.rename(state.transcript.with_name("events.jsonl.20260101000000000001"))
        state.write(step("fourth"))
        assert messages(shown("fix-it", "--format", "jsonl")) == ["first", "second", "third", "fourth"]
        assert messages(shown("fix-it", "--format", "jsonl", "--tail", "2")) == ["third", "fourth"]
        assert messages(shown(state.transcript, "--format", "jsonl")) == ["fourth"]

    def test_rotated_parts_without_a_final_newline_are_separate_lines(self, state: State) -> None:
        rotated = state.transcript.with_name("events.jsonl.20260101000000000001")
        rotated.write_bytes(state.transcript.read_bytes().rstrip(b"\n"))
        state.write(step("fourth"))
        for form in ("json", "jsonl"):
            done = shown("fix-it", "--format", form)
            records = json.loads(done.stdout) if form == "json" else parse_records(done.stdout)
            assert [record.get("message") for record in records][1:] == ["first", "second", "third", "fourth"]
        assert messages(shown("fix-it", "--format", "jsonl", "--tail", "2")) == ["third", "fourth"]

    def test_invalid_lines_do_not_count_for_the_tail(self, state: State) -> None:
        state.append("no JSON", "", step("fourth"))
        done = run("transcript", "fix-it", "--format", "jsonl", "--tail", "2")
        assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["third", "fourth"]
        assert "is not a JSON object" in done.stderr

    def test_the_tail_equals_the_last_records_for_lines_of_any_length(self, tmp_path: Path) -> None:
        chance = random.Random(7)
        lengths = [1, 2, 255, 4096, 65536, 70_000, 1_000_000, 20_000_000] + [chance.randrange(300) for _ in range(60)]
        chance.shuffle(lengths)
        lines = [step("x" * length, source=chance.choice(["user", "agent"])) for length in lengths]
        path = tmp_path / "events.jsonl"
        path.write_text("".join(line + chance.choice(["\n", "\r\n", "\n\n"]) for line in [HEADER, *lines]) + '{"torn')
        for count in (1, 2, 5, 20, 68):
            tail = shown(path, "--format", "json", "--tail", str(count)).stdout
            assert json.loads(tail) == [json.loads(line) for line in lines[-count:]]
            users = [line for line in lines if '"user"' in line[:200]]
            tail = shown(path, "--format", "json", "--tail", str(count), "--role", "user").stdout
            assert json.loads(tail) == [json.loads(line) for line in users[-count:]]

    def test_invalid_lines_are_reported_with_their_offset(self, state: State) -> None:
        before = state.transcript.stat().st_size
        state.append("no JSON", step("fourth"))
        done = run("transcript", "fix-it", "--format", "json")
        assert done.status == 0
        assert [record.get("message") for record in json.loads(done.stdout)][1:] == [
            "first",
            "second",
            "third",
            "fourth",
        ]
        assert f"{state.transcript}: the line at byte {before} is not a JSON object" in done.stderr

    def test_an_outdated_transcript_format_is_an_error(self, state: State) -> None:
        state.append('{"type":"tool_result","output":"x"}')
        done = run("transcript", "fix-it", "--format", "json")
        assert done.status == 1 and "not supported" in done.stderr and "raw transcript" in done.stderr


class TestUsage:
    """Invalid options, and outputs that cannot be written."""

    @pytest.mark.parametrize(
        "options",
        [
            ["t", "--head", "1", "--tail", "1"],
            ["t", "--head", "0"],
            ["t", "--tail", "0"],
            ["t", "--tail", "-1"],
            ["t", "--role", "nobody"],
            ["t", "--format", "xml"],
            ["t", "--format", "atif", "--tail", "1"],
            ["t", "--format", "atif", "--role", "user"],
            ["t", "--format", "json", "--follow"],
            ["t", "--follow", "--head", "1"],
            ["t", "--never"],
        ],
    )
    def test_invalid_options_are_refused(self, state: State, options: list[str]) -> None:
        done = run("transcript", *options)
        assert (done.status, done.stdout) == (2, b"")
        assert "--help" in done.stderr

    def test_help_lists_the_options(self) -> None:
        text = shown("--help").stdout.decode()
        assert "--as-mngr" not in text
        for option in ("--role", "--head", "--tail", "--full", "--follow", "--format", "--color", "--no-pager"):
            assert option in text

    @pytest.mark.parametrize("form", ["human", "json", "jsonl", "atif"])
    def test_a_full_disk_is_an_error(self, state: State, form: str) -> None:
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [program(), "transcript", "fix-it", "--format", form], stdout=full, stderr=subprocess.PIPE, timeout=60
            )
        assert done.returncode == 1
        assert b"standard output" in done.stderr and b"No space left" in done.stderr

    @pytest.mark.parametrize("form", ["human", "json", "jsonl", "atif"])
    def test_a_closed_pipe_ends_it_quietly(self, state: State, form: str) -> None:
        state.append(*[step("x" * 10_000) for _ in range(200)])
        command: list[str | Path] = [program(), "transcript", "fix-it", "--format", form]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout and process.stderr
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == -13


class TestDocument:
    """`--format atif`."""

    def test_a_document_has_the_agent_and_totals(self, state: State) -> None:
        document = json.loads(shown("fix-it", "--format", "atif").stdout)
        assert (document["session_id"], document["agent"]["name"]) == ("agent-1", "codex")
        assert [each["message"] for each in document["steps"]] == ["first", "second", "third"]
        assert document["final_metrics"]["total_steps"] == 3

    def test_a_rollout_can_be_a_document(self) -> None:
        document = json.loads(shown(ROLLOUT, "--format", "atif").stdout)
        steps = [record for record in convert_file(ROLLOUT).records if record["type"] == "step"]
        assert [each["message"] for each in document["steps"]] == [each["message"] for each in steps]

    def test_the_session_of_a_rollout_is_the_one_in_its_header(self, tmp_path: Path) -> None:
        named = tmp_path / "rollout-2026-01-31T12-34-56-019a-7b.jsonl"
        for rollout, expected in (
            (Rollout().meta().started().user("hi"), uuid7(1)),
            (Rollout().user("hi"), "019a-7b"),
        ):
            named.write_bytes(rollout.data)
            assert json.loads(shown(named, "--format", "atif").stdout)["session_id"] == expected

    def test_a_record_that_violates_the_schema_is_an_error(self, state: State) -> None:
        offset = state.transcript.stat().st_size
        state.append(step("fourth", tool_calls=[]))
        done = run("transcript", "fix-it", "--format", "atif")
        assert (done.status, done.stdout) == (1, b"")
        assert str(state.transcript) in done.stderr and f"byte {offset}" in done.stderr and "tool_calls" in done.stderr

    def test_unmatched_results_are_reported(self, state: State) -> None:
        state.append(observation({"source_call_id": "c9", "content": "x"}))
        done = run("transcript", "fix-it", "--format", "atif")
        assert done.status == 0 and "c9" in done.stderr
        assert "unmatched" in done.stdout.decode()
