"""The state of an agent, why it waits, and the fields of a listing, on mngr's real local host with a real tmux."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.agents.base_agent import BaseAgent
from imbue.mngr.errors import HostConnectionError
from imbue.mngr.hosts.tmux import AGENT_ID_OPTION

from mngr_codex.plugin import agent as agent_module
from mngr_codex.plugin import listing, paths
from mngr_codex.plugin.agent import CodexAgent
from tests.support.machine import until

AGENT_ID = f"agent-{7:032x}"
COMPOSER = "\x1b[1m›\x1b[0m \x1b[2mAsk Codex\x1b[0m\n"
LOGIN = "  Welcome to Codex, OpenAI's command-line coding agent\n"
STATUS = {
    "version": 1,
    "state": "WAITING",
    "since": "2026-01-05T10:00:02.000Z",
    "waiting_reason": "END_OF_TURN",
    "session_id": "01a216be-b0ac-7de1-b797-a17b3106c1df",
    "model": "gpt-5.5",
    "turn_since": None,
    "idle_since": "2026-01-05T10:00:00.000Z",
    "context_tokens": 1234,
    "tokens": {"input": 9, "cached_input": 5, "output": 4, "reasoning_output": 2},
    "last_compaction": {"at": "2026-01-05T10:00:02.000Z", "trigger": "manual"},
    "last_error": None,
}


class Terminal:
    """The agent's terminal in its own tmux server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown = folder / "shown"
        shutil.copy("/bin/sleep", folder / "codex")
        shutil.copy("/bin/sleep", folder / "editor")

    def tmux(self, *arguments: str) -> str:
        return subprocess.run(["tmux", *arguments], capture_output=True, text=True, check=True).stdout

    def start(
        self, program: str = "codex", *, shows: str = COMPOSER, session: str = "mngr-t", window: str = "agent"
    ) -> None:
        """Starts a program in the terminal, which shows a text."""
        self.shown.write_text(shows)
        run = self.folder / "run"
        run.write_text(f"cat {self.shown}\nexec {self.folder / program} 100\n" if program else "read x\n")
        self.tmux("new-session", "-d", "-s", session, "-n", window, "sh", str(run))
        shown = ["list-panes", "-s", "-t", f"={session}:", "-F", "#{pane_current_command}"]
        until(lambda: self.tmux(*shown).strip() == (program or "sh"), description=program or "sh", seconds=10)

    def identify(self, session: str = "mngr-t") -> None:
        """Marks the session as the agent's, as mngr does."""
        self.tmux("set-option", "-t", f"={session}:", AGENT_ID_OPTION, AGENT_ID)


@pytest.fixture
def terminal(home: Path, tmp_path: Path) -> Iterator[Terminal]:
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed (apt install tmux)")
    yield Terminal(tmp_path)
    subprocess.run(["tmux", "kill-server"], capture_output=True)


@pytest.fixture
def state_dir(host: Any, tmp_path: Path) -> Path:
    """The state directory of an agent."""
    state_dir = Path(host.host_dir) / "agents" / AGENT_ID
    (state_dir / paths.CODEX_HOME).mkdir(parents=True)
    data = {"id": AGENT_ID, "name": "t", "type": "codex", "work_dir": str(tmp_path), "command": "codex"}
    (state_dir / "data.json").write_text(json.dumps({**data, "create_time": "2026-01-01T00:00:00+00:00"}))
    return state_dir


@pytest.fixture
def commands(host: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that were run on the host."""
    ran: list[str] = []
    run = type(host).execute_idempotent_command

    def record(self: Any, command: str, **options: Any) -> Any:
        ran.append(command)
        return run(self, command, **options)

    monkeypatch.setattr(type(host), "execute_idempotent_command", record)
    return ran


@pytest.fixture
def agent(host: Any, state_dir: Path, terminal: Terminal) -> CodexAgent:
    (agent,) = host.get_agents()
    assert isinstance(agent, CodexAgent)
    return agent


def write_status(state_dir: Path, **changed: Any) -> None:
    (state_dir / paths.STATUS).write_text(json.dumps(STATUS | changed) + "\n")


def fields(agent: CodexAgent, order: int = 1) -> dict[str, Any]:
    """Returns the fields as mngr's listing has them. The order is -1 if mngr asks for the last one first."""
    generators = list(listing.field_generators().items())[::order]
    made = {name: generate(agent, agent.host) for name, generate in generators}
    return {name: value for name, value in made.items() if value is not None}


def seen(agent: CodexAgent) -> tuple[str, str | None]:
    """Returns the state and the waiting reason of a listing, which must agree with mngr's own probe."""
    reason = fields(agent).get("waiting_reason")
    listed = agent.probe_lifecycle()
    assert agent.probe_lifecycle() == listed == BaseAgent.probe_lifecycle(agent)
    assert agent.get_lifecycle_state() is listed.state
    return listed.state.value, reason


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ((), ("WAITING", "END_OF_TURN")),
        ((paths.ACTIVE,), ("RUNNING", None)),
        ((paths.PERMISSIONS_WAITING,), ("WAITING", "PERMISSIONS")),
        ((paths.ACTIVE, paths.QUESTION_WAITING), ("WAITING", "QUESTION")),
    ],
)
def test_the_state_and_the_reason(
    agent: CodexAgent, terminal: Terminal, state_dir: Path, present: tuple[str, ...], expected: tuple[str, str | None]
) -> None:
    for marker in present:
        (state_dir / marker).touch()
    terminal.start()
    terminal.identify()
    assert seen(agent) == expected


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (LOGIN, "LOGIN"),
        ("  Implement this plan?\n\n› 1. Yes\n  2. No\n\n  press enter to confirm or esc to go back\n", "QUESTION"),
        ("\x1b[31mé \x1b[0m\n" + COMPOSER, "END_OF_TURN"),
    ],
)
def test_the_terminal_shows_the_reason(agent: CodexAgent, terminal: Terminal, shown: str, reason: str) -> None:
    terminal.start(shows=shown)
    assert seen(agent) == ("WAITING", reason)
    # A user has split the window.
    terminal.tmux("split-window", "-t", "=mngr-t:agent", "cat")
    assert seen(agent) == ("WAITING", reason)


def test_an_ended_agent_has_no_reason(agent: CodexAgent, terminal: Terminal) -> None:
    assert seen(agent) == ("STOPPED", None)
    terminal.start(session="mngr-other")
    assert seen(agent) == ("STOPPED", None)
    terminal.start(program="")
    assert seen(agent) == ("DONE", None)
    terminal.tmux("kill-session", "-t", "=mngr-t")
    terminal.start("editor")
    assert seen(agent) == ("REPLACED", None)


def test_a_dead_pane_is_an_ended_agent(agent: CodexAgent, terminal: Terminal) -> None:
    terminal.start()
    terminal.tmux("set-option", "-t", "=mngr-t:", "remain-on-exit", "on")
    terminal.tmux("respawn-pane", "-k", "-t", "=mngr-t:agent", "true")
    until(lambda: terminal.tmux("list-panes", "-aF", "#{pane_dead}").strip() == "1", description="the end", seconds=10)
    assert seen(agent) == ("DONE", None)


def test_a_session_is_found_by_its_id(agent: CodexAgent, terminal: Terminal) -> None:
    """mngr renames a session before it records the agent's other name."""
    terminal.start(session="mngr-renamed")
    terminal.identify("mngr-renamed")
    assert seen(agent) == ("WAITING", "END_OF_TURN")
    # The id counts if another session has the name.
    terminal.start(program="", session="mngr-t")
    assert seen(agent) == ("WAITING", "END_OF_TURN")


def test_the_window_of_an_older_mngr_gets_its_name(agent: CodexAgent, terminal: Terminal) -> None:
    terminal.start(window="codex")
    assert agent.probe_lifecycle().state.value == "WAITING"
    assert terminal.tmux("list-windows", "-t", "=mngr-t", "-F", "#{window_name}") == "agent\n"
    assert seen(agent) == ("WAITING", "END_OF_TURN")


def test_an_unreachable_host_has_a_stopped_agent(agent: CodexAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HostConnectionError("gone")

    monkeypatch.setattr(type(agent.host), "execute_idempotent_command", fail)
    assert fields(agent) == {}
    assert agent.probe_lifecycle().state.value == "STOPPED"


def test_a_failed_command_is_mngrs_own_probe(agent: CodexAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example on a host that is too slow."""
    monkeypatch.setattr("mngr_codex.plugin.probe._SCRIPT", "exit 1")
    assert seen(agent) == ("STOPPED", None)


def test_a_listing_is_one_command(
    agent: CodexAgent, terminal: Terminal, state_dir: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.start()
    write_status(state_dir)
    commands.clear()
    assert fields(agent) == {
        name: value for name, value in STATUS.items() if value is not None and name not in ("version", "state")
    }
    assert agent.probe_lifecycle().state.value == "WAITING"
    assert len(commands) == 1
    # The next listing reads again, even if it uses the same object.
    write_status(state_dir, state="RUNNING", turn_since="2026-01-05T11:00:00.000Z", idle_since=None)
    (state_dir / paths.ACTIVE).touch()
    listed = fields(agent)
    assert listed["turn_since"] == "2026-01-05T11:00:00.000Z"
    assert not listed.keys() & {"idle_since", "waiting_reason"}
    assert agent.probe_lifecycle().state.value == "RUNNING"
    assert len(commands) == 2
    # mngr need not ask for the fields in this order.
    (state_dir / paths.ACTIVE).unlink()
    write_status(state_dir, model="other")
    assert fields(agent, order=-1)["model"] == "other"
    assert agent.probe_lifecycle().state.value == "WAITING"
    assert len(commands) == 3
    (state_dir / paths.ACTIVE).touch()
    # What was read is used for the state once, and only for a moment.
    agent.waiting_reason()
    (state_dir / paths.ACTIVE).unlink()
    assert agent.probe_lifecycle().state.value == "RUNNING"
    assert agent.probe_lifecycle().state.value == "WAITING"
    (state_dir / paths.ACTIVE).touch()
    agent.waiting_reason()
    (state_dir / paths.ACTIVE).unlink()
    monkeypatch.setattr(agent_module, "_RECENT_SECONDS", 0.0)
    assert agent.probe_lifecycle().state.value == "WAITING"


def test_the_status_of_a_codex_that_was_killed(agent: CodexAgent, state_dir: Path) -> None:
    """Its turn is over, although nothing has recorded that."""
    write_status(state_dir, state="RUNNING", turn_since="2026-01-05T11:00:00.000Z")
    assert fields(agent).keys() & {"since", "turn_since", "waiting_reason"} == set()
    write_status(state_dir, state="ENDED")
    assert fields(agent)["since"] == STATUS["since"]


@pytest.mark.parametrize("content", [None, "", "{", '{"version": 2, "model": "other"}'])
def test_agents_without_a_status(agent: CodexAgent, terminal: Terminal, state_dir: Path, content: str | None) -> None:
    """An older program wrote these files."""
    if content is not None:
        (state_dir / paths.STATUS).write_text(content)
    (state_dir / paths.ROOT_SESSION).write_text(str(STATUS["session_id"]))
    (state_dir / paths.ROOT_ACTIVE).write_text('{"turn_id":"01a216d6-302b-7002-a88d-e87b2a772a21"}')
    (state_dir / paths.CODEX_HOME / "config.toml").write_text('model = "m"\n')
    known = {"session_id": STATUS["session_id"], "model": "m"}
    assert fields(agent) == known
    (state_dir / paths.ACTIVE).touch()
    terminal.start()
    assert fields(agent) == known | {"turn_since": "2026-11-26T07:51:05.515+00:00"}


def test_before_the_first_turn_other_files_name_session_and_model(agent: CodexAgent, state_dir: Path) -> None:
    """An agent that continues a session has one before its first turn."""
    write_status(state_dir, session_id=None, model=None)
    (state_dir / paths.ROOT_SESSION).write_text("adopted")
    (state_dir / paths.CODEX_HOME / "config.toml").write_text('model = "m"\n')
    assert {fields(agent)[name] for name in ("session_id", "model")} == {"adopted", "m"}


def test_the_text_of_a_status_separates_nothing(agent: CodexAgent, terminal: Terminal, state_dir: Path) -> None:
    error = {"at": "2026-01-05T10:00:00.000Z", "message": "a\nmarkers active\n---\n\x1b[0m é \ud83d"}
    write_status(state_dir, last_error=error)
    terminal.start()
    assert seen(agent) == ("WAITING", "END_OF_TURN")
    assert fields(agent)["last_error"] == error
    (state_dir / paths.STATUS).write_bytes(b"\xff\x00\nmarkers active\n")
    assert seen(agent) == ("WAITING", "END_OF_TURN")
