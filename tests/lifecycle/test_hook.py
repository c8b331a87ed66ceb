"""`mngr-codex hook`: whatever it gets, it ends with 0, prints nothing, and codex goes on."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_agent import VARIABLE, Agent
from tests.support.program import NOBODY, program, run, run_as_nobody

MIB = 2**20

EVENTS = [
    "session-start", "session-end", "user-prompt-submit", "pre-model-request", "post-model-request", "pre-tool-use",
    "permission-request", "post-tool-use", "pre-compact", "post-compact", "subagent-start", "subagent-stop", "stop",
    "interrupt",
]  # fmt: skip


def silent(done: Any) -> None:
    """It ended well, and has nothing to say to codex."""
    status = done.returncode if isinstance(done, subprocess.CompletedProcess) else done.status
    assert (status, done.stdout) == (0, b""), done


@pytest.fixture
def prompted(agent: Agent) -> Agent:
    """An agent with a turn of its root's that no hook has told of yet."""
    agent.turn()
    return agent


class TestArguments:
    """What the command line may hold."""

    @pytest.mark.parametrize(
        "arguments",
        [
            ["no-such-event"], ["UserPromptSubmit"], [""], ["\udcff"], ["help"], [],
            ["--no-such-option"], ["-x"], ["stop", "--no-such-option"], ["stop", "stop"], ["stop", "--state-dir"],
            ["--state-dir"], ["--", "--help"],
        ],
        ids=repr,
    )  # fmt: skip
    def test_no_event(self, prompted: Agent, arguments: list[str]) -> None:
        """Nothing happens; where the line cannot be understood, that is said on stderr."""
        done = run("hook", *arguments, stdin=prompted.payload("user-prompt-submit"), env=prompted.environment())
        silent(done)
        assert "panicked" not in done.stderr
        assert prompted.files() == {}

    @pytest.mark.parametrize("name", ["Stop", "no-such-event", "", "x" * 10_000])
    def test_an_event_that_there_is_not(self, prompted: Agent, name: str) -> None:
        """The log tells of it, and which there are."""
        run("hook", name, stdin=prompted.payload("stop"), env=prompted.environment())
        prompted.logged(f"hook {name[:80]}:", "no such event", "subagent-stop")

    @pytest.mark.parametrize("arguments", [["--help"], ["stop", "--help"], ["-h"]], ids=" ".join)
    def test_help(self, arguments: list[str]) -> None:
        done = run("hook", *arguments)
        assert (done.status, done.stderr) == (0, "")
        assert b"Usage: mngr-codex hook" in done.stdout

    def test_version(self) -> None:
        assert run("hook", "--version").stdout == run("--version").stdout.replace(b"mngr-codex ", b"mngr-codex-hook ")

    @pytest.mark.parametrize("event", EVENTS)
    def test_every_event(self, prompted: Agent, event: str) -> None:
        if event.startswith("subagent"):
            prompted.child_hook(event, prompted.new_id(), prompted.new_id())
        else:
            prompted.hook(event)
        assert prompted.log == []

    def test_a_named_state_dir(self, prompted: Agent, tmp_path: Path) -> None:
        """It goes before the one in the environment."""
        other = Agent(tmp_path / "other")
        payload = prompted.payload("user-prompt-submit")
        silent(run("hook", "user-prompt-submit", "--state-dir", other.state, stdin=payload, env=prompted.environment()))
        assert (other.is_active, prompted.is_active) == (True, False)


class TestPayload:
    """What codex, or whoever, may write on standard input."""

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
    def test_no_object(self, agent: Agent, event: str, payload: bytes) -> None:
        """The log tells of it, and nothing else happens."""
        agent.hook_with(event, payload)
        agent.logged(f"hook {event}", "payload")
        assert agent.files() == {}

    @pytest.mark.parametrize("payload", [b"{}", b'{"session_id":null}', b'{"session_id":7}', b'{"session_id":""}'])
    def test_no_session(self, agent: Agent, payload: bytes) -> None:
        """An event of nobody is none of the root's."""
        agent.hook_with("user-prompt-submit", payload)
        agent.logged("session_id")
        assert agent.files() == {}

    @pytest.mark.parametrize("value", [None, 7, True, {"a": ["b"]}, ["x"] * 1000], ids=lambda value: str(value)[:10])
    def test_members_of_another_type(self, prompted: Agent, value: object) -> None:
        """Paths and turns of another type are as if they were not there."""
        prompted.hook("user-prompt-submit", transcript_path=value, turn_id=value, prompt=value, agent_id=None)
        assert prompted.is_active
        assert prompted.rollouts == []

    def test_text_in_a_prompt_is_no_member(self, prompted: Agent) -> None:
        prompt = '","session_id":"evil","agent_id":"evil","x":{"session_id":"evil"}'
        prompted.hook("user-prompt-submit", prompt=prompt, more={"session_id": "evil", "agent_id": "evil"})
        assert prompted.pointer("codex_root_session") == prompted.session_id
        assert prompted.subagents == set()

    def test_escaped_members(self, prompted: Agent) -> None:
        text = prompted.payload("user-prompt-submit").decode()
        escaped = text.replace('"session_id"', '"\\u0073ession_id"').replace("rollout-", "\\u0072ollout-")
        prompted.hook_with("user-prompt-submit", escaped.encode())
        assert prompted.pointer("codex_root_session") == prompted.session_id
        assert prompted.rollouts == [str(prompted.rollout)]

    def test_any_size_and_order(self, prompted: Agent) -> None:
        """Long texts before and behind what is wanted."""
        members = json.loads(prompted.payload("user-prompt-submit"))
        payload = json.dumps({"prompt": '\\"\n' * MIB, **members, "deep": [[{"a": "b" * MIB}]]}).encode()
        prompted.hook_with("user-prompt-submit", payload)
        assert prompted.is_active
        assert prompted.rollouts == [str(prompted.rollout)]
        assert prompted.log == []

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to tell a program's peak memory")
    def test_a_prompt_of_1_gb(self, prompted: Agent) -> None:
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
        assert prompted.pointer("codex_root_session") == prompted.session_id
        assert prompted.is_active


class TestStreams:
    """Standard streams as other programs leave them."""

    def in_shell(self, script: str, agent: Agent) -> subprocess.CompletedProcess[bytes]:
        """Runs a shell script in which "$0" is the program, and standard input a prompt's payload."""
        payload = agent.payload("user-prompt-submit")
        command: list[str | Path] = ["sh", "-c", script, program()]
        return subprocess.run(command, input=payload, capture_output=True, env=agent.environment(), timeout=60)

    @pytest.mark.parametrize("source", ["<&-", "</", "<.", "</dev/null", "0>/dev/null"])
    def test_no_input(self, prompted: Agent, source: str) -> None:
        silent(self.in_shell(f'"$0" hook user-prompt-submit {source}', prompted))
        prompted.logged("hook user-prompt-submit")
        assert prompted.files() == {}

    @pytest.mark.parametrize("target", [">&-", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full", "1</dev/null"])
    def test_no_output(self, prompted: Agent, target: str) -> None:
        silent(self.in_shell(f'"$0" hook user-prompt-submit {target}', prompted))
        assert prompted.is_active
        assert prompted.log == []

    @pytest.mark.parametrize("target", ["2>&-", "2>/dev/full", ">/dev/full 2>/dev/full", ">&-"])
    @pytest.mark.parametrize("arguments", ["--bad-option", "--help", ""])
    def test_messages_that_cannot_be_written(self, prompted: Agent, arguments: str, target: str) -> None:
        assert self.in_shell(f'"$0" hook {arguments} {target}', prompted).returncode == 0

    def test_nothing_open_at_all(self, prompted: Agent) -> None:
        """Files that it opens get the numbers of the standard streams then; nothing is written into them."""
        silent(self.in_shell('"$0" hook user-prompt-submit <&- >&- 2>&-', prompted))
        assert prompted.files() == {}

    def test_a_pipe_that_does_not_wait(self, prompted: Agent) -> None:
        """Another program can have set it so; what is not ready now is waited for."""
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

    def test_a_file_and_a_pipe_that_drips(self, prompted: Agent, tmp_path: Path) -> None:
        path = tmp_path / "payload"
        path.write_bytes(prompted.payload("user-prompt-submit"))
        with path.open("rb") as source:
            command: list[str | Path] = [program(), "hook", "user-prompt-submit"]
            silent(subprocess.run(command, stdin=source, capture_output=True, env=prompted.environment(), timeout=60))
        assert prompted.is_active
        drip = 'for part in 1 2 3; do printf \'{"a\'; sleep 0.05; done | "$0" hook stop'
        silent(self.in_shell(drip, prompted))
        prompted.logged("hook stop", "JSON")


class TestStateDir:
    """State dirs that are not as they should be."""

    @pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
    def test_none(self, prompted: Agent, value: str | None, tmp_path: Path) -> None:
        """It does nothing, not even where it stands."""
        environment = {key: it for key, it in os.environ.items() if key != VARIABLE}
        environment |= {} if value is None else {VARIABLE: value}
        work = tmp_path / "work"
        work.mkdir()
        payload = prompted.payload("user-prompt-submit")
        silent(run("hook", "user-prompt-submit", stdin=payload, env=environment, cwd=work))
        assert list(work.iterdir()) == []
        silent(run("hook", "user-prompt-submit", "--state-dir", "", stdin=payload, env=environment, cwd=work))
        assert list(work.iterdir()) == []

    def test_missing(self, prompted: Agent) -> None:
        """It is not made: an agent that was removed does not come back."""
        shutil.rmtree(prompted.state)
        prompted.hook("user-prompt-submit")
        assert not prompted.state.exists()

    def test_a_file(self, prompted: Agent) -> None:
        prompted.state.rmdir()
        prompted.state.write_bytes(b"mine")
        prompted.hook("user-prompt-submit")
        assert prompted.state.read_bytes() == b"mine"

    @pytest.mark.parametrize("name", ["plugin", "plugin/mngr_codex/lifecycle", "active", "codex_subagents", "events"])
    def test_something_else_in_a_file_s_place(self, prompted: Agent, name: str) -> None:
        """A folder where a file is to be, or a file where a folder is to be."""
        path = prompted.state / name
        if name in ("plugin", "codex_subagents", "events"):
            path.write_bytes(b"mine")
        else:
            path.mkdir(parents=True)
        prompted.hook("user-prompt-submit")
        prompted.child_hook("subagent-start", prompted.new_id(), prompted.new_id())
        prompted.hook_with("stop", b"no JSON")

    def test_what_was_in_the_way_is_made_up_for(self, prompted: Agent) -> None:
        """Once it is gone, the next event brings all the files."""
        (prompted.state / "codex_root_active").mkdir()
        prompted.hook("user-prompt-submit")
        prompted.logged("codex_root_active")
        (prompted.state / "codex_root_active").rmdir()
        prompted.hook("pre-tool-use")
        assert prompted.is_active
        assert prompted.turn_id in (prompted.pointer("codex_root_active") or "")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as another user")
    @pytest.mark.parametrize("mode", [0o755, 0o555, 0], ids=oct)
    def test_not_the_user_s(self, open_to_all: Path, mode: int) -> None:
        agent = Agent(open_to_all / "agent")
        agent.folder.chmod(0o755)
        agent.turn()
        agent.state.chmod(mode)
        payload = agent.payload("user-prompt-submit")
        silent(run_as_nobody(open_to_all, "hook", "user-prompt-submit", stdin=payload, env=agent.environment()))
        assert list(agent.state.iterdir()) == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a program as another user")
    def test_read_only(self, open_to_all: Path) -> None:
        """Of the user's own, and with what an earlier hook left."""
        agent = Agent(open_to_all / "agent")
        agent.turn()
        agent.hook("user-prompt-submit")
        before = agent.files()
        for path in [agent.folder, agent.state, *agent.state.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
            path.chmod(0o555 if path.is_dir() else 0o444)
        silent(run_as_nobody(open_to_all, "hook", "stop", stdin=agent.payload("stop"), env=agent.environment()))
        assert agent.files() == before


@pytest.fixture
def small_disk() -> list[str]:
    """The beginning of a command that runs the rest in a world of its own, with a disk of 64 KiB at /mnt."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc"]
    mount = "mount -t tmpfs -o size=64k tmpfs /mnt"
    tried = shutil.which("unshare") and subprocess.run([*command, mount], capture_output=True)
    if not tried or tried.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {tried.stderr.decode() if tried else 'there is no unshare'}")
    return [*command, f'{mount}; eval "$SCRIPT"', str(program())]


class TestFullDisk:
    """No room in the state dir."""

    def run(self, small_disk: list[str], agent: Agent, script: str) -> subprocess.CompletedProcess[str]:
        """Runs a shell script on the small disk; `$0` is the program, `hook` runs one of the agent's hooks."""
        with tempfile.TemporaryDirectory() as name:
            for event in ["user-prompt-submit", "pre-tool-use", "stop"]:
                Path(name, event).write_bytes(agent.payload(event))
            functions = f"""
                hook() {{ "$0" hook "$1" <{name}/"$1" || echo "status $?"; }}
                fill() {{ cat /dev/zero >/mnt/zeros 2>/dev/null || true; }}
                """
            environment = {**os.environ, "SCRIPT": functions + script, VARIABLE: "/mnt"}
            return subprocess.run(small_disk, env=environment, capture_output=True, text=True, timeout=60)

    def test_from_the_start(self, small_disk: list[str], prompted: Agent) -> None:
        done = self.run(small_disk, prompted, "fill; hook user-prompt-submit; hook stop")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr

    def test_all_is_made_up_for(self, small_disk: list[str], prompted: Agent) -> None:
        """What could not be written comes with the next event after there is room again."""
        script = "fill; hook user-prompt-submit; rm /mnt/zeros; hook pre-tool-use; cd /mnt; ls; cat codex_root_active"
        done = self.run(small_disk, prompted, script)
        assert done.returncode == 0, done.stderr
        assert "active" in done.stdout.split()
        assert prompted.turn_id in done.stdout

    def test_in_a_turn(self, small_disk: list[str], prompted: Agent) -> None:
        """A turn's end needs no room, or is made up for."""
        script = "hook user-prompt-submit; fill; hook stop; rm /mnt/zeros; ls /mnt; hook stop; test ! -e /mnt/active"
        done = self.run(small_disk, prompted, script)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert "status" not in done.stdout


class TestEvilIds:
    """Ids that are no plain names never become paths."""

    EVIL = (
        "../../x", "../x", "a/b", "/", "/etc/x", ".", "..", "a\0b", "\0", "x" * 256, "x" * 5000, "\u00e9" * 128,
        "a\\b", "a\nb", "\u001b[31m", 'a"b',
    )  # fmt: skip

    def everything(self, folder: Path) -> dict[str, bytes | None]:
        """All that stands below a folder."""
        paths = ((str(path.relative_to(folder)), path) for path in folder.rglob("*"))
        return {name: path.read_bytes() if path.is_file() else None for name, path in paths}

    @pytest.mark.parametrize("id_", [*EVIL, ""], ids=lambda id_: ascii(id_)[:20])
    @pytest.mark.parametrize("member", ["session_id", "agent_id"])
    def test_refused(self, prompted: Agent, member: str, id_: str) -> None:
        """No file but the log is made or touched, in the state dir or out of it."""
        prompted.hook("user-prompt-submit")
        prompted.child_hook("subagent-start", prompted.new_id(), prompted.new_id())
        before = self.everything(prompted.folder)
        for number, event in enumerate(EVENTS):
            prompted.hook(event, **{member: id_})
            assert len(prompted.log) == number + 1
            prompted.logged(f"hook {event}", member)
        after = self.everything(prompted.folder)
        assert {name: after[name] for name in after if not name.startswith("state/events")} == before
        assert b"\n" not in (prompted.pointer("codex_root_session") or "").encode()

    @pytest.mark.parametrize("id_", ["\u00e9\U0001f600", "\u202e", "a b", "-rf", "*", "x" * 255, "CON", "..."])
    def test_strange_but_plain(self, prompted: Agent, id_: str) -> None:
        prompted.hook("user-prompt-submit")
        prompted.child_hook("subagent-start", id_, prompted.new_id())
        assert prompted.subagents == {id_}
        prompted.marker("show")
        prompted.marker("recompute")
        assert prompted.subagents == {id_}
        prompted.child_hook("subagent-stop", id_, prompted.new_id())
        assert prompted.subagents == set()

    @pytest.mark.parametrize("id_", EVIL, ids=lambda id_: ascii(id_)[:20])
    def test_turns_are_no_paths(self, prompted: Agent, id_: str) -> None:
        """They stand in files, which stay valid JSON."""
        prompted.hook("user-prompt-submit", turn_id=id_)
        prompted.child_hook("subagent-start", "child", id_)
        for name in ["codex_root_active", "codex_subagents/child"]:
            text = prompted.pointer(name)
            assert text is None or json.loads(text)["turn_id"] == id_
        assert {name for name in prompted.files() if "/" in name} <= {"codex_subagents/child"}

    @pytest.mark.parametrize(
        "path",
        ["relative.jsonl", "", "/a\nb.jsonl", "/a\0b.jsonl", "/" + "x" * 5000, "/dev/zero", "/", "/a\ud800b"],
        ids=lambda path: ascii(path)[:20],
    )
    def test_paths_of_rollouts(self, prompted: Agent, path: str) -> None:
        """What cannot stand on a line is left out; what cannot be read is only named."""
        prompted.hook("user-prompt-submit", transcript_path=path)
        prompted.hook("stop", transcript_path=path)
        assert len(prompted.rollouts) <= 1
        assert all(line.startswith("/") for line in prompted.rollouts)
        assert not prompted.is_active
