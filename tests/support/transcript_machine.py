"""A machine whose agents consist of their files only, and which command handles ``mngr transcript`` there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.machine import CommandResult, MngrServer, run_mngr

TRANSCRIPT = "events/codex/common_transcript/events.jsonl"
#: What mngr's own command prints first in these tests.
BY_MNGR = "(mngr's own command)"
PROBE = f"""
import imbue.mngr.cli.transcript as mngrs
def announced(original=mngrs.setup_command_context, **arguments):
    print({BY_MNGR!r}, file=sys.stderr, flush=True)
    return original(**arguments)
mngrs.setup_command_context = announced
"""
#: Restores mngr's own command, as without the plugin.
WITHOUT_PLUGIN = "from imbue.mngr.cli.transcript import transcript\ncli.add_command(transcript)\n"


def write_agent(
    host_dir: Path, stream: bytes | None, *, agent_id: str, work_dir: Path, name: str = "t", **data: Any
) -> Path:
    """Creates the files of an agent, with a transcript if there is one, and returns its state directory."""
    state_dir = host_dir / "agents" / agent_id
    state_dir.mkdir(parents=True)
    known = {"id": agent_id, "name": name, "type": "codex", "command": "codex", "work_dir": str(work_dir)}
    times = {"create_time": "2026-11-22T07:00:00+00:00"}
    (state_dir / "data.json").write_text(json.dumps(known | times | data))
    if stream is not None:
        file = state_dir / TRANSCRIPT
        file.parent.mkdir(parents=True)
        file.write_bytes(stream)
    return state_dir


@dataclass
class TranscriptMachine:
    """A user's machine, on which mngr knows only the provider of this machine."""

    folder: Path
    server: MngrServer
    environment: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def __post_init__(self) -> None:
        self.profile.mkdir(parents=True)
        (self.host_dir / "config.toml").write_text('profile = "tests"\n')
        self.settings('enabled_backends = ["local"]')
        self.environment |= {
            "HOME": str(self.folder),
            "MNGR_HOST_DIR": str(self.host_dir),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
        }

    @property
    def host_dir(self) -> Path:
        """mngr's folder."""
        return self.folder / ".mngr"

    @property
    def profile(self) -> Path:
        """The folder of mngr's settings."""
        return self.host_dir / "profiles" / "tests"

    def settings(self, *lines: str) -> None:
        """Replaces mngr's settings."""
        (self.profile / "settings.toml").write_text("\n".join(lines) + "\n")

    def mngr(self, *arguments: str, prelude: str = "") -> CommandResult:
        """Runs an mngr command."""
        self.runs += 1
        outputs = self.folder / f"run-{self.runs}"
        environment = self.environment
        return run_mngr(
            self.server, self.folder, *arguments, environment=environment, outputs=outputs, prelude=PROBE + prelude
        )

    def by_program(self, *arguments: str, prelude: str = "") -> CommandResult:
        """Runs ``mngr transcript``, which the program must handle."""
        ran = self.mngr("transcript", *arguments, prelude=prelude)
        assert BY_MNGR not in ran.stderr, f"handled by mngr: {arguments}: {ran.stderr}"
        return ran

    def by_mngr(self, *arguments: str, prelude: str = "") -> CommandResult:
        """Runs ``mngr transcript``, which mngr must handle."""
        ran = self.mngr("transcript", *arguments, prelude=prelude)
        assert ran.stderr.count(BY_MNGR) == 1, f"not handled by mngr: {arguments}: {ran.stderr}"
        return ran

    def without_plugin(self, *arguments: str, prelude: str = "") -> CommandResult:
        """Runs mngr's own ``mngr transcript``."""
        return self.by_mngr(*arguments, prelude=WITHOUT_PLUGIN + prelude)
