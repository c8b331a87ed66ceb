"""The command and the files of an agent whose state directory was moved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.errors import HostConnectionError
from loguru import logger

from mngr_codex.plugin import launch, moved


class Host:
    """A host that must not be asked."""

    def __init__(self, *, is_local: bool = True) -> None:
        self.is_local = is_local

    def get_name(self) -> str:
        return "box"

    def get_provider_name(self) -> str:
        return "there"

    def read_text_file(self, _: Path) -> str:
        raise HostConnectionError("the host is away")


def adapted(state: str, command: str, host: Host | None = None) -> str:
    agent = SimpleNamespace(name="t", agent_type="mine", _get_agent_dir=lambda: Path(state))
    return moved.adapted_command(cast("Any", agent), cast("Any", host or Host()), command)


@pytest.mark.parametrize(
    "command",
    [
        "/h/agents/agent-1/commands/codex --model x",
        "'/h/agents/agent-1/commands/codex'",
        "codex --model x",
        "commands/codex",
        "env /h/agents/agent-2/commands/codex",
        "",
        "'not closed",
    ],
)
def test_other_commands_stay(command: str) -> None:
    assert adapted("/h/agents/agent-1", command) == command


@pytest.mark.parametrize("rest", ["", " --model x", " --mngr-codex-command 'a  b' \"$HOME\" # no comment"])
def test_the_path_of_the_launcher_is_replaced(rest: str) -> None:
    """The rest of the command stays as it is."""
    shown: list[str] = []
    handler = logger.add(shown.append, level="WARNING", format="{message}")
    for before in ("/h/agents/agent-2", "/an other/agents/agent-1"):
        command = launch.launch_command(Path(before), ()) + rest
        assert adapted("/my h/agents/agent-1", command) == f"'/my h/agents/agent-1/commands/codex'{rest}"
    logger.remove(handler)
    assert len(shown) == 2 and "the host is away" in shown[0] and "\nhint: " in shown[0]


@pytest.mark.parametrize(
    ("is_local", "hint"),
    [
        (True, "`mngr create t mine --reuse --update`"),
        (False, "`mngr clone t@box.there t-2@box.there --type mine`"),
    ],
)
def test_the_hint_can_be_pasted(is_local: bool, hint: str) -> None:
    """On another host mngr finds the agent, and does not create another one here."""
    shown: list[str] = []
    handler = logger.add(shown.append, level="WARNING", format="{message}")
    adapted("/h/agents/agent-1", "/h/agents/agent-2/commands/codex", Host(is_local=is_local))
    logger.remove(handler)
    assert hint in shown[0].partition("\nhint: ")[2]
