"""The root's messages come as text while Codex runs, each exactly once."""

import shutil
import time
from pathlib import Path

import pytest

from tests.support import zstd_frames
from tests.support.fake_agent import Agent
from tests.support.program import run
from tests.support.rollout_builder import START_MS, Rollout
from tests.support.strace import TracedCommand


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class LiveAgent:
    """An agent whose Codex has just been started, with one root session."""

    def __init__(self, folder: Path) -> None:
        self.agent = Agent(folder)
        self.agent.home = self.agent.state / "plugin/codex/home"
        self.agent.begin_session()
        self.start()
        self.agent.begin_turn()
        self.agent.hook("user-prompt-submit")
        self.rollout = Rollout().meta(self.agent.session_id)
        self.agent.rollout.parent.mkdir(parents=True)

    def start(self) -> None:
        """Does what the launcher does before it starts Codex."""
        self.agent.marker("reset")

    def says(self, *texts: str) -> None:
        """Writes messages of the agent now."""
        for text in texts:
            self.rollout.assistant(text, at=now_ms() - START_MS)
        self.agent.rollout.write_bytes(self.rollout.data)

    def run_once(self) -> None:
        done = run("watch", "--once", "--state-dir", self.agent.state)
        assert (done.status, done.stdout, done.stderr) == (0, b"", ""), done

    @property
    def text(self) -> str:
        return (self.agent.state / "plugin/codex/live_output").read_text()


@pytest.fixture
def live(tmp_path: Path) -> LiveAgent:
    return LiveAgent(tmp_path)


def test_each_message_is_added_when_it_is_finished(live: LiveAgent) -> None:
    assert live.text == ""
    live.says("One.", "Two\nlines.")
    live.run_once()
    assert live.text == "One.\n\nTwo\nlines.\n\n"
    live.run_once()
    live.says("Three.")
    live.run_once()
    assert live.text == "One.\n\nTwo\nlines.\n\nThree.\n\n"


def test_messages_of_other_sessions_and_of_adopted_history_are_not_shown(live: LiveAgent) -> None:
    live.rollout.assistant("of another agent", at=0)
    child = live.agent.new_id()
    other = Rollout().meta(child).assistant("of a subagent", at=now_ms() - START_MS + 1000)
    live.agent.rollout_path(child).write_bytes(other.data)
    live.says("One.")
    live.run_once()
    assert live.text == "One.\n\n"


def test_another_root_session_continues(live: LiveAgent) -> None:
    live.says("One.")
    live.run_once()
    live.agent.hook("stop")
    live.agent.begin_session()
    live.agent.begin_turn()
    live.agent.hook("user-prompt-submit")
    live.rollout = Rollout().meta(live.agent.session_id)
    live.says("Two.")
    live.run_once()
    assert live.text == "One.\n\nTwo.\n\n"


def test_a_session_that_became_the_roots_late_is_complete(live: LiveAgent) -> None:
    other = live.agent.new_id()
    path = live.agent.rollout_path(other)
    path.write_bytes(Rollout().meta(other).assistant("early", at=now_ms() - START_MS).data)
    live.run_once()
    with (live.agent.state / "codex_transcript_paths").open("a") as paths:
        paths.write(f"{path}\n")
    live.run_once()
    assert live.text == "early\n\n"


def test_the_next_start_of_codex_begins_with_an_empty_file(live: LiveAgent) -> None:
    live.says("One.")
    live.run_once()
    live.start()
    assert live.text == ""
    live.run_once()
    live.says("Two.")
    live.run_once()
    assert live.text == "Two.\n\n"


@pytest.mark.parametrize("name", ["usage", "live_since"])
def test_a_lost_file_repeats_nothing(live: LiveAgent, name: str) -> None:
    live.says("One.", "Two.")
    live.run_once()
    (live.agent.state / "plugin/mngr_codex" / name).unlink()
    live.run_once()
    assert live.text == "One.\n\nTwo.\n\n"
    if name == "usage":
        live.says("Three.")
        live.run_once()
        assert live.text == "One.\n\nTwo.\n\nThree.\n\n"


def test_a_compressed_rollout_is_not_shown_again(live: LiveAgent) -> None:
    live.says("One.")
    live.run_once()
    live.says("Two.")
    path = live.agent.rollout
    path.with_name(f"{path.name}.zst").write_bytes(zstd_frames.compress(path.read_bytes()))
    path.unlink()
    live.run_once()
    assert live.text == "One.\n\nTwo.\n\n"


@pytest.mark.slow
def test_a_pass_that_is_killed_at_any_system_call(live: LiveAgent, tracing: None, tmp_path: Path) -> None:
    live.says("One.")
    live.run_once()
    live.says("Two.", "Three.")
    state, before = live.agent.state, tmp_path / "before"
    shutil.copytree(state, before)

    def restore() -> TracedCommand:
        shutil.rmtree(state)
        shutil.copytree(before, state)
        return TracedCommand(["watch", "--once", "--state-dir", str(state)], {})

    calls = list(restore().calls(tmp_path / "calls", "mngr_codex/usage"))
    expected = live.text
    assert expected == "One.\n\nTwo.\n\nThree.\n\n"
    for called, number in calls:
        restore().kill(called, number)
        assert expected.startswith(live.text)
        live.run_once()
        assert live.text == expected, (called, number)
