"""Runs an agent's transcript scripts as mngr does when it destroys the agent.

Request: {"host_dir", "agent_id", "scripts": {name: content}, "path"}. Answer: [[script, outcome, error]]. The scripts
are provisioned to mngr's path. Only the host is a fake: it runs mngr's commands on this machine, with "path" as their
PATH.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from imbue.mngr.api.preservation import flush_agent_transcript
from imbue.mngr.hosts.common import get_agent_state_dir_path
from imbue.mngr.interfaces.agent import HasCommonTranscriptMixin
from imbue.mngr.primitives import AgentId
from imbue.mngr.utils.env_utils import build_source_env_shell_commands


class Agent(HasCommonTranscriptMixin):
    is_common_transcript_enabled = True

    def __init__(self, name: str, scripts: dict[str, str]) -> None:
        self.id = AgentId(name)
        self._scripts = scripts

    def get_raw_transcript_scripts(self) -> dict[str, str]:
        return self._scripts

    def get_common_transcript_scripts(self) -> dict[str, str]:
        return self._scripts


class Host:
    def __init__(self, host_dir: Path, path: str) -> None:
        self.host_dir = host_dir
        self._path = path

    def path_exists(self, path: Path) -> bool:
        return path.exists()

    def build_source_env_prefix(self, agent: Agent) -> str:
        env = get_agent_state_dir_path(self.host_dir, agent.id) / "env"
        return " && ".join(build_source_env_shell_commands(self.host_dir / "env", env)) + " && "

    def execute_idempotent_command(self, command: str, timeout_seconds: float) -> Any:
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=timeout_seconds, env={"PATH": self._path}
        )
        return SimpleNamespace(success=done.returncode == 0, stdout=done.stdout, stderr=done.stderr)


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        agent = Agent(request["agent_id"], request["scripts"])
        host: Any = Host(Path(request["host_dir"]), request["path"])
        commands = get_agent_state_dir_path(host.host_dir, agent.id) / "commands"
        commands.mkdir(exist_ok=True)
        for name, content in request["scripts"].items():
            (commands / name).write_text(content)
        results = flush_agent_transcript(agent, host)  # type: ignore[arg-type]
        print(json.dumps([[one.script_name, one.outcome.value, one.error] for one in results]), flush=True)


if __name__ == "__main__":
    main()
