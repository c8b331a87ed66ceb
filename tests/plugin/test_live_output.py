"""The live output of an agent, followed by mngr's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.agents.live_output_tail import tail_live_output
from imbue.mngr.interfaces.agent import SupportsLiveOutputMixin

from mngr_codex.plugin.agent import CodexAgent


def test_messages_are_followed(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CodexAgent, "_get_agent_dir", lambda _: tmp_path)
    agent = CodexAgent.model_construct()
    assert isinstance(agent, SupportsLiveOutputMixin)
    file = agent.get_live_output_path()
    assert file == tmp_path / "plugin/codex/live_output"
    file.parent.mkdir(parents=True)
    messages = iter(["First.\n\n", "Sécond.\n\n"])

    def is_finished() -> bool:
        """Appends the next message, and returns whether there is none."""
        message = next(messages, None)
        if message is not None:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(message)
        return message is None

    read = [*tail_live_output(host, file, agent.make_live_output_reader(), is_finished)]
    assert read == ["First.\n\n", "Sécond.\n\n"]
