"""Waiting for a Codex that was started, with a script for the program on the agent's host."""

from __future__ import annotations

from typing import Any, cast

import pytest
from imbue.mngr.agents.base_agent import BaseAgent
from imbue.mngr.errors import AgentStartError, HostConnectionError

from mngr_codex.plugin import paths
from mngr_codex.plugin.messages import program as program_on_host
from mngr_codex.plugin.messages.startup import await_start
from tests.plugin.messages.fake_agent_on_host import Agent

EMPTY = "\x1b[1m›\x1b[0m \x1b[2mAsk Codex to do anything\x1b[0m\n\n  GPT-5.5 default · ~/work\n"


def start(agent: Agent) -> None:
    await_start(cast(BaseAgent[Any], agent), 4.0)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from loguru import logger

    texts: list[str] = []
    monkeypatch.setattr(logger, "warning", lambda text, *values: texts.append(text.format(*values)))
    return texts


def test_the_program_waits(agent: Agent, warnings: list[str]) -> None:
    agent.answers("started")
    start(agent)
    assert agent.arguments()[0] == "screen" and agent.option("--until") == "started"
    assert agent.option("--timeout") == "4" and agent.option("--target") == "%7"
    assert warnings == []


def test_a_codex_that_has_exited_is_an_error(agent: Agent) -> None:
    agent.answers("exited", terminal=["ERROR: no session"])
    with pytest.raises(AgentStartError, match=r"Codex has exited. Its terminal shows:\nERROR: no session$"):
        start(agent)
    agent.answers("no_terminal", terminal=["can't find pane"])
    with pytest.raises(AgentStartError, match="can't find pane"):
        start(agent)


def test_a_codex_that_is_not_ready_keeps_running(
    agent: Agent, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error would make mngr remove the agent."""
    agent.answers("not_ready")
    start(agent)
    (agent.folder / "status").write_text("1")
    start(agent)

    def fail(*_: object, **__: object) -> None:
        raise HostConnectionError("nobody listens")

    monkeypatch.setattr(program_on_host, "run_with_input", fail)
    start(agent)
    assert ["not ready after 4 s" in warnings[0], "status 1" in warnings[1], "nobody listens" in warnings[2]] == [
        True
    ] * 3


def test_a_host_without_the_program(agent: Agent, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from mngr_codex.plugin.host.program import Program

    monkeypatch.setattr(program_on_host, "program_for", lambda *_: Program(problem="none"))
    agent.program.unlink()
    (agent.folder / "screen").write_text(EMPTY)
    start(agent)
    assert warnings == []
    (agent.state / paths.STARTED).parent.mkdir(parents=True)
    (agent.state / paths.STARTED).touch()
    (agent.folder / "command").write_text("bash\n")
    (agent.folder / "screen").write_text("$ . launch_agent.sh\nERROR: no session\n$\n")
    monkeypatch.setattr("mngr_codex.plugin.messages.screen._runs_script", lambda *_: False)
    with pytest.raises(AgentStartError, match="ERROR: no session"):
        start(agent)
