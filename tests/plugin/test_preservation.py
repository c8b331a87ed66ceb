"""Agents that are about to be destroyed are stopped and brought up to date, whatever fails."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.errors import HostConnectionError
from loguru import logger

from mngr_codex import plugin
from mngr_codex.plugin import paths, preservation
from mngr_codex.plugin.agent import CodexAgent


class Host:
    """This machine, on which nothing is running, with an agent and one of another type."""

    def __init__(self, agent: CodexAgent, error: Exception | None) -> None:
        self.id = "host-1"
        self.agents = [agent, SimpleNamespace()]
        self.error = error
        self.done: list[str] = []

    def get_agents(self) -> list[Any]:
        return self.agents

    def stop_agents(self, ids: list[str]) -> None:
        self.done.append(f"stop {ids[0]}")

    def execute_idempotent_command(self, command: str, timeout_seconds: float) -> Any:
        self.done.append("pass")
        if self.error:
            raise self.error
        ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=timeout_seconds)
        return SimpleNamespace(success=ran.returncode == 0, stdout=ran.stdout, stderr=ran.stderr)


@pytest.fixture
def make_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """Creates hosts, whose agent has a program that a shell script stands for."""
    monkeypatch.setattr(CodexAgent, "_get_agent_dir", lambda _: tmp_path)
    monkeypatch.setattr(preservation, "OnlineHostInterface", Host)

    def make(script: str | None = 'echo "$MNGR_CONVERT_LOCK_TIMEOUT $*" >"$0.called"', error: Any = None) -> Host:
        if script is not None:
            program = tmp_path / paths.PROGRAM
            program.parent.mkdir()
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
        return Host(CodexAgent.model_construct(id="agent-1", name="t"), error)

    return make


@pytest.fixture
def warnings() -> Any:
    """The warnings of the test."""
    shown: list[str] = []
    handler = logger.add(shown.append, level="WARNING", format="{message}")
    yield shown
    logger.remove(handler)


def destroy(host: Host) -> None:
    """Calls the hook for all agents, as mngr does before it destroys each."""
    for agent in host.agents:
        plugin.on_before_agent_destroy(cast("Any", agent), cast("Any", host))


def destroy_host(host: Host) -> None:
    preservation.finish_on_host(cast("Any", host), CodexAgent)


@pytest.mark.parametrize("hook", [destroy, destroy_host])
def test_codex_is_stopped_and_then_measured_once(
    make_host: Callable[..., Host], tmp_path: Path, warnings: list[str], hook: Callable[[Host], None]
) -> None:
    host = make_host()
    hook(host)
    hook(host)
    assert host.done == ["stop agent-1", "pass"]
    called = (tmp_path / f"{paths.PROGRAM}.called").read_text()
    assert called == f"5 watch --once --final --state-dir {tmp_path}\n"
    assert not warnings


def test_an_agent_without_the_program_is_stopped(make_host: Callable[..., Host], warnings: list[str]) -> None:
    host = make_host(script=None)
    destroy(host)
    assert host.done == ["stop agent-1", "pass"] and not warnings


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"script": "echo broken >&2; exit 1"}, "broken"),
        ({"error": HostConnectionError("gone")}, "gone"),
        ({"error": OSError("no space left")}, "no space left"),
    ],
)
def test_a_failure_is_a_warning(
    make_host: Callable[..., Host], warnings: list[str], broken: dict[str, Any], reason: str
) -> None:
    """mngr would not destroy the agent after an error."""
    destroy(make_host(**broken))
    (warning,) = warnings
    assert "agent t" in warning and reason in warning


def test_a_host_that_is_not_running_is_left_alone() -> None:
    preservation.finish_on_host(cast("Any", SimpleNamespace()), CodexAgent)


def test_the_hooks_precede_those_of_other_plugins() -> None:
    for hook in (plugin.on_before_agent_destroy, plugin.on_before_host_destroy):
        assert vars(hook)["mngr_impl"]["tryfirst"]
