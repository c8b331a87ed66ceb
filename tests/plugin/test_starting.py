"""Errors of agents that did not start."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from imbue.mngr.agents.tui_agent import InteractiveTuiAgent
from imbue.mngr.errors import AgentStartError, MngrError
from imbue.mngr.primitives import AgentId, CommandString

from mngr_codex.plugin import starting
from mngr_codex.plugin.agent import CodexAgent
from mngr_codex.plugin.messages import startup


@pytest.fixture
def agent() -> CodexAgent:
    host = SimpleNamespace(host_dir=Path("/nowhere"), execute_idempotent_command=lambda *_, **__: None)
    return CodexAgent.model_construct(name="t", id=AgentId.generate(), host=host)


def run(*bodies: Any, command: str = "create") -> None:
    """Runs functions in an mngr command."""

    @click.command(command)
    def body() -> None:
        for each in bodies:
            each()

    body.main([], standalone_mode=False)


def start(agent: CodexAgent) -> None:
    agent.wait_for_ready_signal(is_readiness_awaited=True, start_action=lambda: None)


@pytest.mark.parametrize("problem", [AgentStartError("t", "it exited"), KeyboardInterrupt()])
def test_an_error_removes_only_an_agent_that_the_command_has_made(
    agent: CodexAgent, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    """mngr destroys the agent and removes its worktree after an AgentStartError."""

    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(startup, "await_start", fail)
    with pytest.raises(AgentStartError):
        start(agent)
    agent._has_earlier_work = True
    ended: list[bool] = []
    with pytest.raises(AgentStartError, match="nothing was deleted"):
        run(lambda: start(agent), lambda: ended.append(True))
    assert ended == [True]


def test_an_agent_that_was_started_again_is_checked_when_start_ends(
    agent: CodexAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    monkeypatch.setattr(CodexAgent, "_start_error", lambda self: checked.append(str(self.name)))

    def upgrade() -> None:
        assert str(agent.upgrade_stored_command(CommandString("command"))) == "command"

    monkeypatch.setattr(InteractiveTuiAgent, "get_resume_message", lambda _: "Go on.")
    run(upgrade, agent.get_resume_message, lambda: checked.append("end"), command="start")
    assert checked == ["end", "t"]
    run(agent.get_resume_message, command="start")
    assert checked == ["end", "t", "t"]
    run(upgrade, command="message")
    upgrade()
    assert checked == ["end", "t", "t"]


def test_all_errors_are_reported_but_never_replace_an_error_of_the_command() -> None:
    def check(reason: str) -> Any:
        return lambda: starting.check_at_end(lambda: AgentStartError("t", reason), key=AgentId.generate())

    with pytest.raises(MngrError, match=r"(?s)first.*second"):
        run(check("first"), check("second"))

    def fail() -> None:
        raise OSError("the command's")

    with pytest.raises(OSError, match="the command's"):
        run(check("first"), fail)
    run(lambda: starting.check_at_end(lambda: None, key=AgentId.generate()))
