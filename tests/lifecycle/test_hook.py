"""`mngr-codex hook` exits with 0 and prints nothing whatever its input, so that it never disturbs Codex."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_agent import STATE_DIR_VARIABLE, Agent
from tests.support.folder_snapshot import snapshot
from tests.support.program import NOBODY, program, run, run_as_nobody

MIB = 2**20

EVENTS = [
    "session-start", "session-end", "user-prompt-submit", "pre-model-request", "post-model-request", "pre-tool-use",
    "permission-request", "post-tool-use", "pre-compact", "post-compact", "subagent-start", "subagent-stop", "stop",
    "interrupt",
]  # fmt: skip


def assert_silent(done: Any) -> None:
    """Checks that a hook exited with 0 and printed nothing."""
    status = done.returncode if isinstance(done, subprocess.CompletedProcess) else done.status
    assert (status, done.stdout) == (0, b""), done


@pytest.fixture
def prompted(agent: Agent) -> Agent:
    """An agent with a root turn for which no hook has run yet."""
    agent.begin_turn()
    return agent


class TestArguments:
    """Command lines."""

    @pytest.mark.parametrize(
        "arguments",
        [
            ["no-such-event"], ["UserPromptSubmit"], [""], ["\udcff"], ["help"], [],
            ["--no-such-option"], ["-x"], ["stop", "--no-such-option"], ["stop", "stop"], ["stop", "--state-dir"],
            ["--state-dir"], ["--", "--help"],
        ],
        ids=repr,
    )  # fmt: skip
    def test_an_invalid_command_line_changes_nothing(self, prompted: Agent, arguments: list[str]) -> None:
        """Only stderr may have a message."""
        done = run("hook", *arguments, stdin=prompted.payload("user-prompt-submit"), env=prompted.environment())
        assert_silent(done)
        assert "panicked" not in done.stderr
        assert prompted.files() == {}

    @pytest.mark.parametrize("name", ["Stop", "no-such-event", "", "x" * 10_000])
    def test_an_unknown_event_is_logged(self, prompted: Agent, name: str) -> None:
        """The message lists the known events."""
        run("hook", name, stdin=prompted.payload("stop"), env=prompted.environment())
        prompted.assert_logged(f"hook {name[:80]}:", "no such event", "subagent-stop")

    @pytest.mark.parametrize("arguments", [["--help"], ["stop", "--help"], ["-h"]], ids=" ".join)
    def test_help(self, arguments: list[str]) -> None:
        done = run("hook", *arguments)
        assert (done.status, done.stderr) == (0, "")
        assert b"Usage: mngr-codex hook" in done.stdout

    def test_version(self) -> None:
        assert run("hook", "--version").stdout == run("--version").stdout.replace(b"mngr-codex ", b"mngr-codex-hook ")

    @pytest.mark.parametrize("event", EVENTS)
    def test_every_known_event_is_accepted(self, prompted: Agent, event: str) -> None:
        if event.startswith("subagent"):
            prompted.child_hook(event, prompted.new_id(), prompted.new_id())
        else:
            prompted.hook(event)
        assert prompted.log == []

    def test_the_state_dir_option_overrides_the_environment(self, prompted: Agent, tmp_path: Path) -> None:
        other = Agent(tmp_path / "other")
        payload = prompted.payload("user-prompt-submit")
        assert_silent(
            run("hook", "user-prompt-submit", "--state-dir", other.state, stdin=payload, env=prompted.environment())
        )
        assert (other.is_active, prompted.is_active) == (True, False)


class TestPayload:
    """Payloads on standard input, from Codex or any other program."""

    @pytest.mark.parametrize(
        "payload",
        [
            b"", b"\n", b"{", b"null", b"[]", b'"text"', b"{}x", b'{"session_id":', b'{"a":1,}', b"\0" * 100,
            b"\xff\xfe{}", b'{"session_id":"\x00"}', b"[" * 100_000, b'{"a":' * 100_000, b"{" * MIB, b'"' * MIB,
            b'{"session_id":"' + b"x" * MIB,
        ],
        ids=lambda payload: repr(payload[:20]),
    )  # fmt: skip
    @pytest.mark.parametrize("event", ["user-prompt-submit", "subagent-start"])
    def test_a_payload_that_is_not_an_object_is_only_logged(self, agent: Agent, event: str, payload: bytes) -> None:
        agent.run_hook(event, payload)
        agent.assert_logged(f"hook {event}", "payload")
        assert agent.files() == {}

    @pytest.mark.parametrize("payload", [b"{}", b'{"session_id":null}', b'{"session_id":7}', b'{"session_id":""}'])
    def test_a_payload_without_a_session_is_only_logged(self, agent: Agent, payload: bytes) -> None:
        agent.run_hook("user-prompt-submit", payload)
        agent.assert_logged("session_id")
        assert agent.files() == {}

    @pytest.mark.parametrize("value", [None, 7, True, {"a": ["b"]}, ["x"] * 1000], ids=lambda value: str(value)[:10])
    def test_members_of_the_wrong_type_are_ignored(self, prompted: Agent, value: object) -> None:
        prompted.hook("user-prompt-submit", transcript_path=value, turn_id=value, prompt=value, agent_id=None)
        assert prompted.is_active
        assert prompted.rollouts == []

    def test_members_inside_a_prompt_are_ignored(self, prompted: Agent) -> None:
        prompt = '","session_id":"other","agent_id":"other","x":{"session_id":"other"}'
        prompted.hook("user-prompt-submit", prompt=prompt, more={"session_id": "other", "agent_id": "other"})
        assert prompted.state_file("codex_root_session") == prompted.session_id
        assert prompted.subagents == set()

    def test_escaped_names_and_values_are_read(self, prompted: Agent) -> None:
        text = prompted.payload("user-prompt-submit").decode()
        escaped = text.replace('"session_id"', '"\\u0073ession_id"').replace("rollout-", "\\u0072ollout-")
        prompted.run_hook("user-prompt-submit", escaped.encode())
        assert prompted.state_file("codex_root_session") == prompted.session_id
        assert prompted.rollouts == [str(prompted.rollout)]

    def test_members_may_be_large_and_in_any_order(self, prompted: Agent) -> None:
        members = json.loads(prompted.payload("user-prompt-submit"))
        payload = json.dumps({"prompt": '\\"\n' * MIB, **members, "deep": [[{"a": "b" * MIB}]]}).encode()
        prompted.run_hook("user-prompt-submit", payload)
        assert prompted.is_active
        assert prompted.rollouts == [str(prompted.rollout)]
        assert prompted.log == []

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to measure peak memory")
    @pytest.mark.not_emulated("the emulator's memory counts")
    def test_a_prompt_of_1_gb_takes_little_memory(self, prompted: Agent) -> None:
        head, tail = prompted.payload("user-prompt-submit", prompt="@").split(b"@")
        text = ('x\u00e9\\n\\"' * (MIB // 7)).encode()
        command: list[str | Path] = [program(), "hook", "user-prompt-submit"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=prompted.environment(), bufsize=0) as process:
            assert process.stdin
            for part in [head, *[text] * 1024, tail]:
                process.stdin.write(part)
            status = Path(f"/proc/{process.pid}/status").read_text()
            process.stdin.close()
        assert process.returncode == 0
        (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        assert int(peak) * 1024 <= 8 * MIB
        assert prompted.state_file("codex_root_session") == prompted.session_id
        assert prompted.is_active


class TestStreams:
    """Standard streams that are closed, full, or set up by another program."""

    def in_shell(self, script: str, agent: Agent) -> subprocess.CompletedProcess[bytes]:
        """Runs a shell script with the program as "$0" and a prompt's payload on standard input."""
        payload = agent.payload("user-prompt-submit")
        command: list[str | Path] = ["sh", "-c", script, program()]
        return subprocess.run(command, input=payload, capture_output=True, env=agent.environment(), timeout=60)

    @pytest.mark.parametrize("source", ["<&-", "</", "<.", "</dev/null", "0>/dev/null"])
    def test_missing_input_is_only_logged(self, prompted: Agent, source: str) -> None:
        assert_silent(self.in_shell(f'"$0" hook user-prompt-submit {source}', prompted))
        prompted.assert_logged("hook user-prompt-submit")
        assert prompted.files() == {}

    @pytest.mark.parametrize("target", [">&-", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full", "1</dev/null"])
    def test_a_hook_works_without_an_output(self, prompted: Agent, target: str) -> None:
        assert_silent(self.in_shell(f'"$0" hook user-prompt-submit {target}', prompted))
        assert prompted.is_active
        assert prompted.log == []

    @pytest.mark.parametrize("target", ["2>&-", "2>/dev/full", ">/dev/full 2>/dev/full", ">&-"])
    @pytest.mark.parametrize("arguments", ["--bad-option", "--help", ""])
    def test_messages_that_cannot_be_written_are_dropped(self, prompted: Agent, arguments: str, target: str) -> None:
        assert self.in_shell(f'"$0" hook {arguments} {target}', prompted).returncode == 0

    def test_closed_standard_streams_damage_no_file(self, prompted: Agent) -> None:
        """The files that the program opens get the descriptors 0 to 2, and must not receive its messages."""
        assert_silent(self.in_shell('"$0" hook user-prompt-submit <&- >&- 2>&-', prompted))
        assert prompted.files() == {}

    def test_a_non_blocking_pipe_is_waited_for(self, prompted: Agent) -> None:
        """Another process that shares the pipe can make it non-blocking."""
        source, feed = os.pipe()
        os.set_blocking(source, False)
        payload = prompted.payload("user-prompt-submit")
        with subprocess.Popen(
            [program(), "hook", "user-prompt-submit"], stdin=source, env=prompted.environment()
        ) as process:
            os.close(source)
            for part in (payload[:10], payload[10:]):
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.1)
                os.write(feed, part)
            os.close(feed)
        assert process.returncode == 0
        assert prompted.is_active

    def test_the_payload_can_be_a_file_or_arrive_in_pieces(self, prompted: Agent, tmp_path: Path) -> None:
        path = tmp_path / "payload"
        path.write_bytes(prompted.payload("user-prompt-submit"))
        with path.open("rb") as source:
            command: list[str | Path] = [program(), "hook", "user-prompt-submit"]
            assert_silent(
                subprocess.run(command, stdin=source, capture_output=True, env=prompted.environment(), timeout=60)
            )
        assert prompted.is_active
        drip = 'for part in 1 2 3; do printf \'{"a\'; sleep 0.05; done | "$0" hook stop'
        assert_silent(self.in_shell(drip, prompted))
        prompted.assert_logged("hook stop", "JSON")


class TestStateDir:
    """State directories that are missing, damaged or not writable."""

    @pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
    def test_a_hook_without_a_state_dir_does_nothing(self, prompted: Agent, value: str | None, tmp_path: Path) -> None:
        """It does not use its working directory instead."""
        environment = {key: it for key, it in os.environ.items() if key != STATE_DIR_VARIABLE}
        environment |= {} if value is None else {STATE_DIR_VARIABLE: value}
        work = tmp_path / "work"
        work.mkdir()
        payload = prompted.payload("user-prompt-submit")
        assert_silent(run("hook", "user-prompt-submit", stdin=payload, env=environment, cwd=work))
        assert list(work.iterdir()) == []
        assert_silent(run("hook", "user-prompt-submit", "--state-dir", "", stdin=payload, env=environment, cwd=work))
        assert list(work.iterdir()) == []

    def test_a_missing_state_dir_is_not_created(self, prompted: Agent) -> None:
        """An agent that was destroyed must not reappear."""
        shutil.rmtree(prompted.state)
        prompted.hook("user-prompt-submit")
        assert not prompted.state.exists()

    def test_a_file_instead_of_the_state_dir_is_not_touched(self, prompted: Agent) -> None:
        prompted.state.rmdir()
        prompted.state.write_bytes(b"mine")
        prompted.hook("user-prompt-submit")
        assert prompted.state.read_bytes() == b"mine"

    @pytest.mark.parametrize("name", ["plugin", "plugin/mngr_codex/lifecycle", "active", "codex_subagents", "events"])
    def test_a_folder_instead_of_a_file_fails_no_hook(self, prompted: Agent, name: str) -> None:
        """Nor does a file instead of a folder."""
        path = prompted.state / name
        if name in ("plugin", "codex_subagents", "events"):
            path.write_bytes(b"mine")
        else:
            path.mkdir(parents=True)
        prompted.hook("user-prompt-submit")
        prompted.child_hook("subagent-start", prompted.new_id(), prompted.new_id())
        prompted.run_hook("stop", b"no JSON")

    def test_the_next_hook_writes_what_could_not_be_written(self, prompted: Agent) -> None:
        (prompted.state / "codex_root_active").mkdir()
        prompted.hook("user-prompt-submit")
        prompted.assert_logged("codex_root_active")
        (prompted.state / "codex_root_active").rmdir()
        prompted.hook("pre-tool-use")
        assert prompted.is_active
        assert prompted.turn_id in (prompted.state_file("codex_root_active") or "")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as another user")
    @pytest.mark.parametrize("mode", [0o755, 0o555, 0], ids=oct)
    def test_a_state_dir_of_another_user_is_not_touched(self, open_to_all: Path, mode: int) -> None:
        agent = Agent(open_to_all / "agent")
        agent.folder.chmod(0o755)
        agent.begin_turn()
        agent.state.chmod(mode)
        payload = agent.payload("user-prompt-submit")
        assert_silent(run_as_nobody(open_to_all, "hook", "user-prompt-submit", stdin=payload, env=agent.environment()))
        assert list(agent.state.iterdir()) == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as another user")
    def test_a_read_only_state_dir_is_not_touched(self, open_to_all: Path) -> None:
        """The user owns it, and an earlier hook has written to it."""
        agent = Agent(open_to_all / "agent")
        agent.begin_turn()
        agent.hook("user-prompt-submit")
        before = agent.files()
        for path in [agent.folder, agent.state, *agent.state.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert_silent(run_as_nobody(open_to_all, "hook", "stop", stdin=agent.payload("stop"), env=agent.environment()))
        assert agent.files() == before


@pytest.fixture
def small_disk() -> list[str]:
    """The start of a command that runs a script in its own mount namespace, with a disk of 64 KiB at /mnt."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc"]
    mount = "mount -t tmpfs -o size=64k tmpfs /mnt"
    tried = shutil.which("unshare") and subprocess.run([*command, mount], capture_output=True)
    if not tried or tried.returncode != 0:
        pytest.skip(f"cannot mount a disk: {tried.stderr.decode() if tried else 'unshare is not installed'}")
    return [*command, f'{mount}; eval "$SCRIPT"', str(program())]


class TestFullDisk:
    """A state directory on a full disk."""

    def run(self, small_disk: list[str], agent: Agent, script: str) -> subprocess.CompletedProcess[str]:
        """Runs a shell script on the small disk. `$0` is the program, `hook` runs a hook, `fill` fills the disk."""
        with tempfile.TemporaryDirectory() as name:
            for event in ["user-prompt-submit", "pre-tool-use", "stop"]:
                Path(name, event).write_bytes(agent.payload(event))
            functions = f"""
                hook() {{ "$0" hook "$1" <{name}/"$1" || echo "status $?"; }}
                fill() {{ cat /dev/zero >/mnt/zeros 2>/dev/null || true; }}
                """
            environment = {**os.environ, "SCRIPT": functions + script, STATE_DIR_VARIABLE: "/mnt"}
            return subprocess.run(small_disk, env=environment, capture_output=True, text=True, timeout=60)

    def test_hooks_succeed_on_a_full_disk(self, small_disk: list[str], prompted: Agent) -> None:
        done = self.run(small_disk, prompted, "fill; hook user-prompt-submit; hook stop")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr

    def test_the_next_hook_writes_what_did_not_fit(self, small_disk: list[str], prompted: Agent) -> None:
        script = "fill; hook user-prompt-submit; rm /mnt/zeros; hook pre-tool-use; cd /mnt; ls; cat codex_root_active"
        done = self.run(small_disk, prompted, script)
        assert done.returncode == 0, done.stderr
        assert "active" in done.stdout.split()
        assert prompted.turn_id in done.stdout

    def test_a_turn_can_end_on_a_full_disk(self, small_disk: list[str], prompted: Agent) -> None:
        """Either its end needs no space, or a later hook completes it."""
        script = "hook user-prompt-submit; fill; hook stop; rm /mnt/zeros; ls /mnt; hook stop; test ! -e /mnt/active"
        done = self.run(small_disk, prompted, script)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert "status" not in done.stdout


class TestMaliciousIds:
    """Ids that are not plain file names are never used as paths."""

    MALICIOUS = (
        "../../x", "../x", "a/b", "/", "/etc/x", ".", "..", "a\0b", "\0", "x" * 256, "x" * 5000, "\u00e9" * 128,
        "a\\b", "a\nb", "\u001b[31m", 'a"b',
    )  # fmt: skip

    @pytest.mark.parametrize("id_", [*MALICIOUS, ""], ids=lambda id_: ascii(id_)[:20])
    @pytest.mark.parametrize("member", ["session_id", "agent_id"])
    def test_an_id_that_is_no_file_name_is_only_logged(self, prompted: Agent, member: str, id_: str) -> None:
        """No other file is written, inside or outside of the state directory."""
        prompted.hook("user-prompt-submit")
        prompted.child_hook("subagent-start", prompted.new_id(), prompted.new_id())
        before = snapshot(prompted.folder)
        for number, event in enumerate(EVENTS):
            prompted.hook(event, **{member: id_})
            assert len(prompted.log) == number + 1
            prompted.assert_logged(f"hook {event}", member)
        after = snapshot(prompted.folder)
        assert {name: after[name] for name in after if not name.startswith("state/events")} == before
        assert b"\n" not in (prompted.state_file("codex_root_session") or "").encode()

    @pytest.mark.parametrize("id_", ["\u00e9\U0001f600", "\u202e", "a b", "-rf", "*", "x" * 255, "CON", "..."])
    def test_an_unusual_file_name_is_a_valid_id(self, prompted: Agent, id_: str) -> None:
        prompted.hook("user-prompt-submit")
        prompted.child_hook("subagent-start", id_, prompted.new_id())
        assert prompted.subagents == {id_}
        prompted.marker("show")
        prompted.marker("recompute")
        assert prompted.subagents == {id_}
        prompted.child_hook("subagent-stop", id_, prompted.new_id())
        assert prompted.subagents == set()

    @pytest.mark.parametrize("id_", MALICIOUS, ids=lambda id_: ascii(id_)[:20])
    def test_turn_ids_are_never_used_as_paths(self, prompted: Agent, id_: str) -> None:
        """They are only written into files, which remain valid JSON."""
        prompted.hook("user-prompt-submit", turn_id=id_)
        prompted.child_hook("subagent-start", "child", id_)
        for name in ["codex_root_active", "codex_subagents/child"]:
            text = prompted.state_file(name)
            assert text is None or json.loads(text)["turn_id"] == id_
        assert {name for name in prompted.files() if "/" in name} <= {"codex_subagents/child"}

    @pytest.mark.parametrize(
        "path",
        ["relative.jsonl", "", "/a\nb.jsonl", "/a\0b.jsonl", "/" + "x" * 5000, "/dev/zero", "/", "/a\ud800b"],
        ids=lambda path: ascii(path)[:20],
    )
    def test_unusable_rollout_paths_do_no_harm(self, prompted: Agent, path: str) -> None:
        """A path that does not fit on a line is skipped; one that cannot be read is only listed."""
        prompted.hook("user-prompt-submit", transcript_path=path)
        prompted.hook("stop", transcript_path=path)
        assert len(prompted.rollouts) <= 1
        assert all(line.startswith("/") for line in prompted.rollouts)
        assert not prompted.is_active
