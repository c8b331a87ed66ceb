"""What mngr lists of an agent whose host cannot be reached, for a provider that keeps copies of agents' data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.agents.tui_agent import InteractiveTuiAgent
from imbue.mngr.errors import HostConnectionError, SendMessageError
from imbue.mngr.interfaces.provider_instance import ProviderInstanceInterface, _compute_plugin_fields
from imbue.mngr.primitives import AgentId, AgentName, DiscoveredAgent, HostId, ProviderInstanceName

from mngr_codex.plugin import listing, paths
from mngr_codex.plugin.agent import CodexAgent

HOST_ID = HostId.generate()
KNOWN = {
    "session_id": "01a216be-b0ac-7de1-b797-a17b3106c1df",
    "model": "gpt-5.5",
    "context_tokens": 1234,
    "tokens": {"input": 9, "cached_input": 5, "output": 4, "reasoning_output": 2},
    "last_error": {"at": "2026-01-05T10:00:00.000Z", "message": "no"},
}


class Provider:
    """A provider that keeps copies."""

    def __init__(self) -> None:
        self.copies: list[dict[str, Any]] = []

    def persist_agent_data(self, _: HostId, data: Mapping[str, object]) -> None:
        self.copies.append(dict(data))


class ForgetfulProvider:
    """A provider that keeps no copies, as those of mngr itself."""

    persist_agent_data = ProviderInstanceInterface.persist_agent_data


class Host:
    """An online host other than this machine. It counts what is done on it."""

    is_local = False

    def __init__(self, provider: Any) -> None:
        self.provider_instance = provider
        self.calls: list[str] = []

    def execute_idempotent_command(self, command: str, timeout_seconds: float) -> Any:
        self.calls.append(command)
        ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=timeout_seconds)
        return SimpleNamespace(success=ran.returncode == 0, stdout=ran.stdout, stderr=ran.stderr)

    def read_text_file(self, path: Path) -> str:
        self.calls.append(f"read {path.name}")
        return path.read_text()

    def write_file(self, path: Path, content: bytes, is_atomic: bool) -> None:
        assert is_atomic
        self.calls.append(f"write {path.name}")
        path.write_bytes(content)

    def save_agent_data(self, _: AgentId, data: Mapping[str, object]) -> None:
        self.provider_instance.persist_agent_data(HOST_ID, data)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CodexAgent:
    monkeypatch.setattr(CodexAgent, "_get_agent_dir", lambda _: tmp_path)
    monkeypatch.setattr(InteractiveTuiAgent, "send_message", lambda *_: None)
    (tmp_path / paths.STATUS).parent.mkdir(parents=True)
    agent_id = AgentId.generate()
    (tmp_path / "data.json").write_text(json.dumps({"id": str(agent_id), "name": "t", "plugin": {"other": {"a": 1}}}))
    write(tmp_path)
    return CodexAgent.model_construct(id=agent_id, name=AgentName("t"), host=Host(Provider()))


def write(state_dir: Path, **changed: Any) -> None:
    (state_dir / paths.STATUS).write_text(json.dumps({"version": 1, "state": "WAITING", **KNOWN, **changed}))


def listed(data: dict[str, Any], agent: CodexAgent) -> dict[str, Any]:
    """Returns the plugin's fields that mngr lists if the agent's host is unreachable."""
    reference = DiscoveredAgent(
        host_id=HOST_ID,
        agent_id=agent.id,
        agent_name=agent.name,
        provider_name=ProviderInstanceName("there"),
        certified_data=data,
    )
    host: Any = None
    computed = _compute_plugin_fields({"codex": listing.offline_field_generators()}, reference, host)
    fields: dict[str, Any] = computed.get("codex", {})
    return fields


def test_the_fields_are_stored_with_the_messages(agent: CodexAgent, tmp_path: Path) -> None:
    agent.send_message("Hello.")
    provider: Any = agent.host.provider_instance  # type: ignore[attr-defined]
    (copy,) = provider.copies
    assert listed(copy, agent) == KNOWN
    assert copy["plugin"]["other"] == {"a": 1}
    # Nothing is written if nothing has changed.
    agent.send_message("Hello again.")
    assert len(provider.copies) == 1
    write(tmp_path, last_error=None, context_tokens=99)
    agent.send_message("And now?")
    assert listed(provider.copies[-1], agent) == {
        name: value for name, value in KNOWN.items() if name != "last_error"
    } | {"context_tokens": 99}


def test_nothing_is_read_if_the_provider_keeps_no_copies(agent: CodexAgent) -> None:
    host = Host(ForgetfulProvider())
    agent.host = host  # type: ignore[assignment]
    agent.send_message("Hello.")
    assert host.calls == []


def test_a_failure_is_not_the_messages(agent: CodexAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HostConnectionError("gone")

    monkeypatch.setattr(Host, "execute_idempotent_command", fail)
    agent.send_message("Hello.")
    monkeypatch.undo()


def test_nothing_is_stored_after_a_message_that_failed(agent: CodexAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise SendMessageError("t", "no")

    monkeypatch.setattr(InteractiveTuiAgent, "send_message", fail)
    with pytest.raises(SendMessageError):
        agent.send_message("Hello.")
    assert agent.host.calls == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("data", [{}, {"plugin": None}, {"plugin": {"codex": 3}}, {"plugin": {"codex": {"x": 1}}}])
def test_an_agent_of_which_nothing_is_known(agent: CodexAgent, data: dict[str, Any]) -> None:
    assert listed(data, agent) == {}
