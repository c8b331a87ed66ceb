"""An agent on mngr's real local host, whose program and tmux are scripts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from imbue.mngr.agents.base_agent import BaseAgent
from imbue.mngr.hosts.tmux import TmuxWindowTarget

from mngr_codex.plugin import paths

PROGRAM = """\
#!/bin/sh
printf '%s\\n' "$@" >"{folder}/arguments"
cat >"{folder}/input"
[ ! -e "{folder}/status" ] || exit "$(cat "{folder}/status")"
cat "{folder}/answer"
"""

TMUX = """\
#!/bin/sh
case "$*" in
*show-options*) cat "{folder}/pane-id" ;;
*display-message*capture-pane*)
    [ -e "{folder}/screen" ] || {{ echo "can't find pane" >&2; exit 1; }}
    cat "{folder}/command" "{folder}/screen" ;;
esac
"""


class Agent:
    """The agent. Its program answers with the file `answer`, or exits with the number in the file `status`."""

    name, id, send_command_timeout_seconds = "t", "agent-1", 10.0
    tmux_target = TmuxWindowTarget(session_name="mngr-t", window="agent")
    agent_config = SimpleNamespace(program_wheels=None, command="/opt/codex")
    record_message_delivery_event = BaseAgent.record_message_delivery_event

    def __init__(self, host: Any, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.state = folder / "state with a space"
        self.program = self.state / paths.PROGRAM
        self.program.parent.mkdir(parents=True)
        self.install(PROGRAM)
        tmux = folder / "bin/tmux"
        tmux.parent.mkdir()
        tmux.write_text(TMUX.format(folder=folder))
        tmux.chmod(0o755)
        (folder / "command").write_text("codex\n")
        (folder / "pane-id").write_text("%7\n")

    def install(self, script: str) -> None:
        """Writes the program."""
        self.program.write_text(script.format(folder=self.folder))
        self.program.chmod(0o755)

    def answers(self, outcome: str, **members: Any) -> None:
        """Determines the program's answer."""
        (self.folder / "answer").write_text(json.dumps({"version": 1, "outcome": outcome, **members}) + "\n")

    def arguments(self) -> list[str]:
        """Returns the arguments of the program's last run."""
        return (self.folder / "arguments").read_text().splitlines()

    def option(self, name: str) -> str:
        """Returns an option of the program's last run."""
        arguments = self.arguments()
        return arguments[arguments.index(name) + 1]

    def events(self) -> list[str]:
        """Returns the types of the recorded events about messages."""
        file = self.state / "events/messages/events.jsonl"
        return [json.loads(line)["type"] for line in file.read_text().splitlines()] if file.exists() else []

    def _get_agent_dir(self) -> Path:
        return self.state

    def _send_target_arg(self, target: object) -> str:
        return str(target)
