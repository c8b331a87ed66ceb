"""Sending messages, with a fake tmux and a fake agent."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from imbue.mngr.agents.base_agent import BaseAgent
from imbue.mngr.errors import MngrError, SendMessageError

from mngr_codex.plugin import paths
from mngr_codex.plugin.messages.send import send

TMUX = """\
#!/bin/sh
screen() {
    if [ -e "$TEST/typed" ]; then printf '› %.20s\\n' "$(head -c 20 "$TEST/typed")"
    else printf '\\033[1m›\\033[0m \\033[2mAsk Codex\\033[0m\\n'; fi
}
case "$*" in
*load-buffer*) [ ! -e "$TEST/broken" ] || exit 1; cat "$TEST/state/$MESSAGE".* >"$TEST/typed" ;;
*display-message*capture-pane*)
    if [ -e "$TEST/no-pane" ]; then echo "can't find pane" >&2; exit 1; fi
    if [ -e "$TEST/exited" ]; then echo bash; cat "$TEST/exited"; else echo codex; screen; fi ;;
*capture-pane*) screen ;;
*display-message*) echo codex ;;
*Enter*) rm -f "$TEST/typed"; cat "$TEST/record" >>"$TEST/state/$SESSIONS/rollout-1.jsonl" ;;
esac
"""

LOGGED = """\
#!/bin/sh
printf '%s\\n' "$0 $*" >>"$TEST/arguments"
exec {program} "$@"
"""

SECRET = "xyzzy-plugh"
LIMIT = 128 * 1024
"""The maximum length of an argument on Linux, in bytes."""


class Host:
    """A host that records the commands and the files of a message."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.modes: list[int] = []
        self.written: list[Path] = []
        self.fails_to_write = False

    def path_exists(self, path: Path) -> bool:
        return path.exists()

    def write_file(self, path: Path, content: bytes, mode: str, is_atomic: bool) -> None:
        self.written.append(path)
        path.write_bytes(content[:5] if self.fails_to_write else content)
        if self.fails_to_write:
            raise MngrError("the connection was lost")
        path.chmod(int(mode, 8))
        self.modes.append(stat.S_IMODE(path.stat().st_mode))

    def execute_idempotent_command(self, command: str, timeout_seconds: float) -> Any:
        self.commands.append(command)
        ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=timeout_seconds)
        return SimpleNamespace(success=ran.returncode == 0, stdout=ran.stdout, stderr=ran.stderr)

    execute_stateful_command = execute_idempotent_command


class Agent:
    """An agent in the state directory ``state``."""

    name, id, tmux_target, send_command_timeout_seconds = "t", "agent-1", "t:0", 10.0
    _run_send_command = BaseAgent._run_send_command

    def __init__(self, state: Path) -> None:
        self.state, self.host = state, Host()

    def _get_agent_dir(self) -> Path:
        return self.state

    def _send_target_arg(self, target: str) -> str:
        return target

    def leftovers(self) -> list[Path]:
        """Returns the files in the agent's ``CODEX_HOME`` that contain a part of a message."""
        return [file for file in (self.state / paths.CODEX_HOME).iterdir() if file.is_file()]


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "state" / paths.SESSIONS).mkdir(parents=True)
    scripts = {name: LOGGED.format(program=shutil.which(name)) for name in ("grep", "awk", "sed", "tail", "cat")}
    for name, script in {"tmux": TMUX, **scripts}.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("TEST", str(tmp_path))
    monkeypatch.setenv("MESSAGE", paths.MESSAGE)
    monkeypatch.setenv("SESSIONS", paths.SESSIONS)
    return Agent(tmp_path / "state")


@pytest.fixture
def say(agent: Agent, tmp_path: Path) -> Callable[[str], None]:
    """Sends a message that Codex records."""

    def say(text: str) -> None:
        content = [{"type": "input_text", "text": text.strip()}]
        line = {"type": "response_item", "payload": {"type": "message", "role": "user", "content": content}}
        (tmp_path / "record").write_text(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")
        send(agent, text, 5.0)  # type: ignore[arg-type]

    return say


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET} and more",
        SECRET * 30_000,
        f"first line\n{SECRET} {SECRET}",
        f'it\'s "{SECRET}" $(touch made) `touch made` \\ ünïcödé',
        f"/{SECRET} as a command",
    ],
    ids=["word", "long word", "lines", "quotes", "command"],
)
def test_no_command_line_contains_the_text(
    agent: Agent, say: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    say(text)
    logged = (tmp_path / "arguments").read_text()
    assert "grep" in logged
    assert not any(SECRET in command or len(command) >= LIMIT for command in [*agent.host.commands, logged])
    assert agent.host.modes == [0o600, 0o600]
    assert agent.leftovers() == []
    assert not (tmp_path / "made").exists()


def test_a_failed_paste_leaves_no_file(agent: Agent, say: Callable[[str], None], tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(SendMessageError, match="tmux paste-buffer failed"):
        say(SECRET)
    assert agent.leftovers() == []


def test_a_failed_write_leaves_no_file(agent: Agent, say: Callable[[str], None]) -> None:
    agent.host.fails_to_write = True
    with pytest.raises(MngrError, match="the connection was lost"):
        say(SECRET)
    assert agent.leftovers() == []


def test_a_failed_removal_is_not_an_error(
    agent: Agent, say: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has arrived by then."""
    execute = agent.host.execute_idempotent_command

    def fail_to_remove(command: str, timeout_seconds: float) -> Any:
        if "; rm -f " in command:
            raise MngrError("the connection was lost")
        return execute(command, timeout_seconds)

    monkeypatch.setattr(agent.host, "execute_idempotent_command", fail_to_remove)
    say(SECRET)


def test_each_message_has_its_own_files(agent: Agent, say: Callable[[str], None]) -> None:
    """mngr has no lock for the messages to an agent on another host."""
    for text in ("one", "two and more"):
        say(text)
    assert len({*agent.host.written}) == 4


def test_only_old_files_of_other_messages_are_removed(agent: Agent, say: Callable[[str], None]) -> None:
    """Another message may be on its way. The files of a mngr that was killed stay until then."""
    names = [f"{path}.{name}" for path in (paths.MESSAGE_PARAMETERS, paths.MESSAGE) for name in ("new", "old")]
    for name in names:
        (agent.state / name).touch()
    say(SECRET)
    assert {*agent.leftovers()} == {agent.state / name for name in names}
    an_hour_ago = time.time() - 3600
    for name in names[1::2]:
        os.utime(agent.state / name, (an_hour_ago, an_hour_ago))
    say(f"{SECRET} again")
    assert {*agent.leftovers()} == {agent.state / name for name in names[::2]}


def test_errors_name_a_way_out(agent: Agent, say: Callable[[str], None], tmp_path: Path) -> None:
    with pytest.raises(SendMessageError, match=r"the message is empty\nhint: .*--message-file"):
        say(" \n")
    (tmp_path / "exited").write_text("$ . /a/launch_agent.sh\nERROR: no session\n$\n")
    with pytest.raises(SendMessageError, match=r"shows:\nERROR: no session\nhint: .*mngr start t --restart"):
        say("Fix it.")
    (tmp_path / "no-pane").touch()
    with pytest.raises(SendMessageError, match=r"can't find pane\nhint: .*mngr start t"):
        say("Fix it.")
