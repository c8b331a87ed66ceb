"""Messages on hosts without the program, with a fake tmux."""

from __future__ import annotations

import subprocess
from typing import Any, cast

import pytest
from imbue.mngr.agents.base_agent import BaseAgent
from imbue.mngr.agents.tui_agent import InteractiveTuiAgent
from imbue.mngr.errors import AgentStartError, MessageDeliveredButBlockedError, SendFailureKind, SendMessageError

from mngr_codex.plugin import paths
from mngr_codex.plugin.agent import CodexAgent
from mngr_codex.plugin.messages import unaided
from tests.plugin.messages.fake_agent_on_host import Agent

EMPTY = "\x1b[1m›\x1b[0m \x1b[2mAsk Codex to do anything\x1b[0m\n"


def test_the_typed_text_is_neither_run_nor_completed() -> None:
    """The cases are tested in Rust."""
    assert unaided.as_typed("\x07!rm \ud800 @READ") == "\u2060!rm ? @READ "


@pytest.mark.parametrize(
    ("command", "screen", "kind", "words"),
    [
        ("codex", "  Would you like to run\n› 1. Yes", SendFailureKind.INPUT_BLOCKED, "an approval request"),
        ("codex", "  Welcome to Codex, OpenAI's", SendFailureKind.INPUT_BLOCKED, "codex login"),
        ("codex", "\x1b[1m›\x1b[0m a draft", SendFailureKind.INPUT_BLOCKED, "'a draft'"),
        ("bash", "$ . launch_agent.sh\nERROR: no\n$", SendFailureKind.AGENT_UNREACHABLE, "shows:\nERROR: no"),
        ("codex", "nothing yet", SendFailureKind.NOT_READY, "not ready"),
    ],
)
def test_nothing_is_typed_unless_the_composer_is_empty(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, command: str, screen: str, kind: SendFailureKind, words: str
) -> None:
    monkeypatch.setattr(unaided, "_READY_SECONDS", 1.0)
    monkeypatch.setattr(unaided, "_DRAFT_SECONDS", 0.5)
    monkeypatch.setattr("mngr_codex.plugin.messages.screen._runs_script", lambda *_: False)
    (agent.folder / "command").write_text(f"{command}\n")
    (agent.folder / "screen").write_text(screen)
    with pytest.raises(SendMessageError) as raised:
        unaided.await_composer(cast(BaseAgent[Any], agent), "%7")
    assert raised.value.kind is kind and words in raised.value.reason
    (agent.folder / "command").write_text("codex\n")
    (agent.folder / "screen").write_text(EMPTY)
    unaided.await_composer(cast(BaseAgent[Any], agent), "%7")


def test_a_command_that_opens_a_dialog(agent: Agent) -> None:
    (agent.folder / "screen").write_text(EMPTY)
    unaided.check_after(cast(BaseAgent[Any], agent), "%7")
    (agent.folder / "screen").write_text("  Select Model\n› 1. gpt-5.5\n")
    with pytest.raises(MessageDeliveredButBlockedError, match=r"opened a menu\nhint: answer it"):
        unaided.check_after(cast(BaseAgent[Any], agent), "%7")


@pytest.mark.parametrize(("text", "is_checked"), [("/model", True), ("Hello.", False), ("/tmp/x is a path", False)])
def test_a_dialog_after_another_message_belongs_to_its_turn(
    monkeypatch: pytest.MonkeyPatch, text: str, is_checked: bool
) -> None:
    typed, checked = list[str](), list[str]()
    monkeypatch.setattr(InteractiveTuiAgent, "_send_message_holding_lock", lambda _, text: typed.append(text))
    monkeypatch.setattr(CodexAgent, "tmux_target", "%7")
    monkeypatch.setattr(CodexAgent, "_send_target_arg", lambda _, target: target)
    monkeypatch.setattr(unaided, "check_after", lambda _, target: checked.append(target))
    codex = CodexAgent.model_construct()
    codex.send_unaided(text)
    codex._run_post_submit_dialog_check("%7")
    assert typed == [unaided.as_typed(text)]
    assert checked == (["%7"] if is_checked else [])


START = "\x1b[1m›\x1b[0m \x1b[2mAsk Codex\x1b[0m\n\n  GPT-5.5 default · ~/work\n"


@pytest.mark.parametrize(("command", "screen", "is_started"), [("codex", START, True), ("codex", "loading", False)])
def test_a_start_is_recognized(agent: Agent, command: str, screen: str, is_started: bool) -> None:
    (agent.folder / "command").write_text(f"{command}\n")
    (agent.folder / "screen").write_text(screen)
    assert unaided.await_start(cast(BaseAgent[Any], agent), 2.0) == is_started


def test_a_codex_that_has_exited_is_an_error(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mngr_codex.plugin.messages.screen._runs_script", lambda *_: False)
    (agent.folder / "command").write_text("bash\n")
    (agent.folder / "screen").write_text("$ . launch_agent.sh\nERROR: no\n$")
    # The shell before Codex was launched.
    assert not unaided.await_start(cast(BaseAgent[Any], agent), 1.0)
    started = agent.state / paths.STARTED
    started.parent.mkdir(parents=True, exist_ok=True)
    started.touch()
    with pytest.raises(AgentStartError, match=r"shows:\nERROR: no$"):
        unaided.await_start(cast(BaseAgent[Any], agent), 5.0)


def test_another_user_line_in_a_rollout_is_the_evidence(agent: Agent) -> None:
    probe = unaided.evidence(cast(BaseAgent[Any], agent))

    def shown(command: str) -> str:
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout.strip()

    assert shown(probe.baseline_command) == "0"
    rollout = agent.state / paths.SESSIONS / "2026/rollout-1.jsonl"
    rollout.parent.mkdir(parents=True)
    rollout.write_text('{"role":"developer"}\n')
    before = shown(probe.baseline_command)
    rollout.write_text(rollout.read_text() + '{"role":"user"}\n')
    assert before == "0" and shown(probe.poll_command) == "1"
