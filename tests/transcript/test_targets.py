"""What TARGET of `transcript` and `convert` names: paths, standard input, agents, sessions."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import zstd_frames
from tests.support.codex_home import CodexHome
from tests.support.followed_agent import FollowedAgent, append_lines
from tests.support.program import Completed, header_id, run
from tests.support.recordings import DATA, session_meta
from tests.support.rollout_builder import Rollout, uuid7
from tests.support.rule_based_model import Model
from tests.support.transcript_records import HEADER, State, step

sys.path.append(str(Path(__file__).parents[2] / "demo"))

from demo import configuration

COMMANDS = ("transcript", "convert")


def followed(host_dir: Path, name: str, text: str) -> FollowedAgent:
    """An agent of mngr with one session, in which the user says a text."""
    agent = FollowedAgent(host_dir / "agents")
    rollout = Rollout().meta().started().context().user(text).assistant("Well.").usage().complete()
    append_lines(agent.make_current("1"), (line + b"\n" for line in rollout.lines))
    agent.run_once()
    (agent.state / "data.json").write_text(json.dumps({"id": agent.state.name, "name": name, "type": "codex"}))
    return agent


def users_text(done: Completed) -> list[str]:
    """What the user says in a transcript."""
    assert done.status == 0, done.stderr
    return [each["message"] for each in done.steps if each["source"] == "user"]


def read(command: str, *arguments: str | Path, **options: Any) -> list[str]:
    """What the user says in the transcript that a command prints."""
    form = ("--format", "jsonl") if command == "transcript" else ()
    return users_text(run(command, *arguments, *form, **options))


def refused(status: int, command: str, *arguments: str | Path, **options: Any) -> str:
    """Runs a command that fails, and returns its message."""
    done = run(command, *arguments, **options)
    assert (done.status, done.stdout) == (status, b""), done.stderr
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS)
class TestBoth:
    def test_a_session_is_named_by_its_id_or_its_beginning(self, command: str, home: CodexHome) -> None:
        home.add(uuid7(0x1000), "first")
        home.add(uuid7(0x2000), "second")
        for name in (uuid7(0x1000), uuid7(0x1000)[:10], uuid7(0x1000)[:10].upper()):
            assert read(command, name) == ["first"]

    def test_an_ambiguous_beginning_lists_the_sessions(self, command: str, home: CodexHome) -> None:
        home.add(uuid7(0x1000), "first \x1b[31m", cwd="/one")
        home.add(uuid7(0x2000), "second", cwd="/two")
        message = refused(1, command, uuid7(0)[:8])
        rows = [line.split() for line in message.splitlines()[1:3]]
        assert [row[0] for row in rows] == [uuid7(0x2000), uuid7(0x1000)]
        assert "/two" in rows[0] and "second" in rows[0] and "/one" in rows[1]
        assert "\x1b" not in message and "hint: give more of the id" in message

    def test_an_error_names_everything_that_was_tried(self, command: str, home: CodexHome, host_dir: Path) -> None:
        message = refused(1, command, "01a2")
        for tried in ("no such file", str(host_dir / "agents"), str(home.folder), "hint: "):
            assert tried in message
        assert "no session id begins with it (at least 4 hexadecimal digits)" in refused(1, command, "fix-that")

    def test_the_help_names_common_transcripts_only_where_they_are_read(self, command: str) -> None:
        shown = run(command, "--help").stdout.decode().partition("[TARGET]\n")[2].partition("Options:")[0]
        assert ("a common transcript" in shown) == (command == "transcript")
        assert "the name or id of" in shown and "`latest`" in shown

    def test_the_latest_session_is_the_one_changed_last(self, command: str, home: CodexHome) -> None:
        home.add(uuid7(2), "newer", created="2026-02-01T00-00-00", cwd="/other")
        home.add(uuid7(1), "resumed")
        home.add(uuid7(3), "child", source={"subagent": {"thread_spawn": {}}})
        home.add(uuid7(4), "archived", archived=True)
        assert read(command, "latest") == ["resumed"]
        assert read(command, uuid7(3)) == ["child"]
        assert read(command, uuid7(4)) == ["archived"]

    def test_a_pipe_is_no_session(self, command: str, home: CodexHome) -> None:
        pipe = home.add(uuid7(0x3000), "newest")
        pipe.unlink()
        os.mkfifo(pipe)
        os.mkfifo(home.folder / "session_index.jsonl")
        linked = home.add(uuid7(0x1000), "linked")
        linked.symlink_to(linked.rename(home.folder / "elsewhere"))
        home.add(uuid7(0x2000), "other")
        assert read(command, uuid7(0x1000)) == ["linked"]
        assert read(command, "latest") == ["other"]
        assert "the ids of 2 sessions" in refused(1, command, uuid7(0)[:8])

    def test_a_state_directory_of_hooks_names_the_rollout(self, command: str, home: CodexHome, tmp_path: Path) -> None:
        rollout = home.add(uuid7(1), "hello")
        payload = {"session_id": uuid7(1), "turn_id": uuid7(2), "cwd": "/work", "transcript_path": str(rollout)}
        for event in ("session-start", "user-prompt-submit"):
            stdin = json.dumps(payload).encode()
            assert run("hook", event, "--state-dir", tmp_path / "states/{session_id}", stdin=stdin).status == 0
        assert read(command, tmp_path / "states" / uuid7(1)) == ["hello"]

    def test_the_latest_session_of_a_folder(self, command: str, home: CodexHome, tmp_path: Path) -> None:
        (tmp_path / "project").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "project")
        home.add(uuid7(1), "here", cwd=str(tmp_path / "project"))
        home.add(uuid7(2), "there", cwd=str(tmp_path))
        assert read(command, "latest", "--cwd", cwd=tmp_path / "project") == ["here"]
        assert read(command, "latest", "--cwd", tmp_path / "link") == ["here"]
        assert "no such folder" in refused(1, command, "latest", f"--cwd={tmp_path / 'none'}")
        (tmp_path / "empty").mkdir()
        message = refused(1, command, "latest", "--cwd", tmp_path / "empty")
        assert "cannot find a session that was started in" in message and str(home.folder) in message

    def test_other_homes_can_be_searched(self, command: str, home: CodexHome, tmp_path: Path) -> None:
        home.add(uuid7(1), "own")
        other = CodexHome(tmp_path / "other")
        other.add(uuid7(2), "other")
        option = ("--codex-home", other.folder)
        assert read(command, "latest", *option) == ["other"]
        refused(1, command, uuid7(1), *option)
        assert read(command, uuid7(1), *option, "--codex-home", home.folder) == ["own"]
        assert "no such folder" in refused(1, command, "latest", "--codex-home", tmp_path / "none")

    def test_the_home_of_the_user_is_searched_by_default(
        self, command: str, home: CodexHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("CODEX_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        CodexHome(tmp_path / ".codex").add(uuid7(1), "mine")
        assert read(command, "latest") == ["mine"]

    def test_sessions_of_agents_are_found_by_id(self, command: str, home: CodexHome, host_dir: Path) -> None:
        home.add(uuid7(1), "own")
        of_agent = CodexHome(host_dir / "agents/agent-1/plugin/codex/home")
        of_agent.add(uuid7(2), "of an agent")
        of_destroyed = CodexHome(host_dir / "preserved/bob--agent-2/plugin/codex/home")
        of_destroyed.add(uuid7(3), "of a destroyed agent")
        assert read(command, uuid7(2)) == ["of an agent"]
        assert read(command, uuid7(3)) == ["of a destroyed agent"]
        assert read(command, "latest") == ["own"]
        os.utime(of_agent.add(uuid7(4), "last"))
        assert read(command, "latest", "--agents") == ["last"]

    def test_of_copies_the_longest_is_the_session(self, command: str, home: CodexHome, host_dir: Path) -> None:
        path = home.add(uuid7(1), "hello")
        copy = CodexHome(host_dir / "agents/agent-1/plugin/codex/home").add(uuid7(1), "hello")
        with copy.open("ab") as file:
            file.write(Rollout().user("and on").data)
        assert read(command, uuid7(1)) == ["hello", "and on"]
        with path.open("ab") as file:
            file.write(Rollout().user("elsewhere").data)
        message = refused(1, command, uuid7(1))
        assert str(path) in message and str(copy) in message and "hint: pass the path" in message

    def test_the_current_rollout_of_a_session_is_read(self, command: str, home: CodexHome) -> None:
        first = home.add(uuid7(1), "before")
        second = home.add(uuid7(1), "after going back", created="2026-02-01T00-00-00", suffix=f"_{uuid7(9)}.jsonl")
        done = run(command, uuid7(1), *(("--format", "jsonl") if command == "transcript" else ()))
        assert users_text(done) == ["after going back"]
        assert "has 2 rollouts" in done.stderr and str(first) in done.stderr and str(second) in done.stderr
        assert "rollouts" not in run(command, first).stderr

    def test_a_compressed_session_is_read_unless_a_plain_one_exists(self, command: str, home: CodexHome) -> None:
        home.add(uuid7(1), "compressed", suffix=".jsonl.zst")
        assert read(command, uuid7(1)) == read(command, "latest") == ["compressed"]
        home.add(uuid7(1), "plain")
        assert read(command, uuid7(1)) == read(command, "latest") == ["plain"]

    def test_paths_and_agents_come_first(self, command: str, home: CodexHome, host_dir: Path, tmp_path: Path) -> None:
        beginning = uuid7(1)[:8]
        home.add(uuid7(1), "a session")
        followed(host_dir, beginning, "an agent")
        assert read(command, beginning, cwd=tmp_path) == ["an agent"]
        (tmp_path / beginning).write_bytes(Rollout().user("a file").data)
        (tmp_path / "latest").write_bytes(Rollout().user("a file").data)
        for name in (beginning, "latest"):
            assert read(command, name, cwd=tmp_path) == ["a file"]

    def test_a_folder_of_no_interest_does_not_hide_a_session(
        self, command: str, home: CodexHome, tmp_path: Path
    ) -> None:
        home.add(uuid7(1), "a session")
        for name in (uuid7(1)[:8], "latest"):
            (tmp_path / name).mkdir()
            assert read(command, name, cwd=tmp_path) == ["a session"]

    def test_without_a_terminal_a_target_is_needed(self, command: str, home: CodexHome) -> None:
        home.add(uuid7(1), "a session")
        message = refused(2, command)
        assert "no TARGET given\nhint: " in message and "latest" in message

    @pytest.mark.parametrize("option", ["--cwd", "--agents"])
    def test_options_for_the_latest_session_are_refused_with_others(
        self, command: str, home: CodexHome, option: str
    ) -> None:
        assert f"{option} needs `latest`" in refused(2, command, "fix-it", option)

    def test_standard_input_is_read(self, command: str, home: CodexHome) -> None:
        rollout = Rollout().meta().started().context().user("hi")
        assert read(command, "-", stdin=rollout.data) == ["hi"]
        packed = zstd_frames.frame([zstd_frames.raw(rollout.data)])
        assert read(command, "-", stdin=packed) == ["hi"]
        message = refused(1, command, "-", stdin=b'{"a":1}\n')
        assert "standard input" in message and "neither" in message

    def test_a_missing_file_is_an_error(self, command: str, home: CodexHome, tmp_path: Path) -> None:
        message = refused(1, command, tmp_path / "none.jsonl")
        assert message.startswith(f"mngr-codex: cannot read {tmp_path}/none.jsonl: no such file\nhint: ")


class TestTranscript:
    def test_standard_input_can_be_a_transcript(self) -> None:
        lines = "".join(f"{line}\n" for line in (HEADER, step("one"), step("two"))).encode()
        assert read("transcript", "-", "--tail", "1", stdin=lines) == ["two"]
        assert run("transcript", "-", stdin=b"").status == 0
        assert "only blank lines" in refused(1, "transcript", "-", stdin=b"\n")

    def test_every_form_of_standard_input_is_that_of_a_file(self) -> None:
        path = DATA / "0.171.0/spawn2.jsonl"
        for options in (["--tail", "3"], ["--format", "atif"], ["--role", "user"], ["--format", "json"]):
            of_stdin = run("transcript", "-", *options, stdin=path.read_bytes())
            assert (of_stdin.status, of_stdin.stdout) == (0, run("transcript", path, *options).stdout)

    def test_standard_input_is_not_followed(self) -> None:
        assert "--follow needs" in refused(2, "transcript", "-", "--follow")

    def test_a_count_must_be_a_number(self) -> None:
        assert "expected a number of records" in refused(2, "transcript", "x", "--tail", "x")
        assert "expected a number of records, at least 1" in refused(2, "transcript", "x", "--head", "0")

    def test_recorded_sessions_are_found(self, home: CodexHome) -> None:
        for path in (DATA / "0.171.0/plain.jsonl", DATA / "0.64.0/calls.jsonl"):
            session = session_meta(path)["id"]
            home.add(session, "").write_bytes(path.read_bytes())
            assert run("transcript", session).stdout == run("transcript", path).stdout


def test_sessions_of_the_real_codex_are_found(home: CodexHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was resumed last is the latest one, although another one was started later."""
    codex = os.environ.get("MNGR_CODEX_CODEX")
    if not codex:
        pytest.skip("MNGR_CODEX_CODEX is not set (`make test` sets it)")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    home.folder.mkdir()
    folders = [tmp_path / "one", tmp_path / "two"]
    with Model() as model:
        (home.folder / "config.toml").write_text(configuration(model.base_url))

        def execute(folder: Path, *words: str) -> None:
            folder.mkdir(exist_ok=True)
            command = [codex, "exec", "--skip-git-repo-check", *words]
            subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)

        for folder in folders:
            execute(folder, f"Hello from {folder.name}.")
        one, two = (read("convert", "latest", "--cwd", folder) for folder in folders)
        assert (one, two) == (["Hello from one."], ["Hello from two."])
        assert read("convert", "latest") == two
        [path] = [path for path in home.folder.rglob("rollout-*.jsonl") if b"Hello from one." in path.read_bytes()]
        session = session_meta(path)["id"]
        execute(folders[0], "resume", session, "Go on.")
    assert read("convert", "latest") == read("convert", session) == [*one, "Go on."]


class TestConvert:
    def test_an_agents_raw_transcript_is_converted(self, home: CodexHome, host_dir: Path) -> None:
        agent = followed(host_dir, "fix-it", "hi")
        for target in ("fix-it", agent.state.name, agent.state):
            done = run("convert", target)
            assert (done.status, done.stdout) == (0, agent.converted()), done.stderr
        assert run("convert", "fix-it", "--agent-id", "x").records[0]["event_id"] == header_id("x")

    def test_an_agent_without_a_transcript_is_an_error(self, state: State) -> None:
        assert "has not written a transcript yet" in refused(1, "convert", "fix-it")

    def test_the_summary_is_printed_on_request_and_if_a_line_is_malformed(self, tmp_path: Path) -> None:
        path = tmp_path / "r.jsonl"
        path.write_bytes(Rollout().user("hi").data)
        assert run("convert", path).stderr == ""
        for option in ("-v", "--verbose"):
            assert run("convert", path, option).summary.lines == 1
        path.write_bytes(Rollout().user("hi").raw("{").data)
        assert run("convert", path).summary.malformed == 1
        assert re.search(r"byte \d+", run("convert", path).stderr)

    def test_a_file_of_another_kind_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        for data, name, hint in (
            (b"\x1f\x8b\x08\x00\n\x00", "compressed by gzip", "gzip -dc"),
            ('{"a":1}\n'.encode("utf-32"), "UTF-32 text", "iconv -f UTF-32"),
            ('{"a":1}\n'.encode("utf-16"), "UTF-16 text", "iconv -f UTF-16"),
        ):
            path.write_bytes(data)
            for command in COMMANDS:
                message = refused(1, command, path)
                assert name in message and hint in message
