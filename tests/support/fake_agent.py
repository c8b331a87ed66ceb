"""An agent made up for a test: its state dir, and a codex that runs its hooks and writes its rollouts."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.support.program import Conversion, program, run

VARIABLE = "MNGR_AGENT_STATE_DIR"


class Ids:
    """Ids of codex's form (UUIDs of version 7), each later than the one before."""

    def __init__(self) -> None:
        self._given = 0

    def __call__(self) -> str:
        self._given += 1
        return f"01a20218-{self._given:04x}-7000-8000-0123456789ab"


class Agent:
    """A state dir with the hooks and commands that are run for it.

    The root's session and rollout are those of the latest `session`; its turn is that of the latest `turn`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir(parents=True)
        self.home = folder / "codex"
        self.new_id = Ids()
        self.turn_id = ""
        self.session()

    def session(self, file: str | None = None) -> None:
        """Has codex begin another session."""
        self.session_id = self.new_id()
        self.rollout = self.rollout_of(file or self.session_id)

    def turn(self) -> str:
        """Has codex begin another turn of the root; nobody is told yet."""
        self.turn_id = self.new_id()
        return self.turn_id

    def rollout_of(self, thread: str) -> Path:
        """Where the rollout of a thread stands, once it is written."""
        return self.home / f"sessions/2026/11/22/rollout-2026-11-22T07-11-32-{thread}.jsonl"

    def payload(self, event: str, **members: Any) -> bytes:
        """What codex hands to a hook; `members` come instead of the usual ones, None leaves one out."""
        whole = {
            "session_id": self.session_id,
            "turn_id": self.turn_id,
            "transcript_path": str(self.rollout),
            "cwd": str(self.folder),
            "hook_event_name": "".join(word.capitalize() for word in event.split("-")),
            **members,
        }
        present = {key: value for key, value in whole.items() if value is not None}
        return json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    def child(self, event: str, agent: str, turn: str, **members: Any) -> bytes:
        """What codex hands to a hook of a subagent."""
        rollout = str(self.rollout_of(agent))
        paths = {"transcript_path": rollout}
        if event == "subagent-stop":
            paths = {"agent_transcript_path": rollout}
        return self.payload(event, **{"agent_id": agent, "agent_type": "default", "turn_id": turn, **paths, **members})

    def environment(self) -> dict[str, str]:
        return {**os.environ, VARIABLE: str(self.state)}

    def hook_with(self, event: str, payload: bytes, **options: Any) -> None:
        """Runs a hook; whatever it is given, it ends well and says nothing."""
        done = run("hook", event, stdin=payload, env=self.environment(), **options)
        assert (done.status, done.stdout, done.stderr) == (0, b"", ""), done

    def hook(self, event: str, **members: Any) -> None:
        """Runs a hook of the root's turn."""
        self.hook_with(event, self.payload(event, **members))

    def child_hook(self, event: str, agent: str, turn: str, **members: Any) -> None:
        """Runs a hook of a subagent's turn."""
        self.hook_with(event, self.child(event, agent, turn, **members))

    def start_hook(self, event: str, payload: bytes) -> "subprocess.Popen[bytes]":
        """Starts a hook, and does not wait for it."""
        process = subprocess.Popen(
            [program(), "hook", event], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment()
        )
        assert process.stdin
        process.stdin.write(payload)
        process.stdin.close()
        return process

    def marker(self, command: str, *options: str) -> Conversion:
        """Runs `mngr-codex marker`, and expects that to work."""
        done = run("marker", command, *options, env=self.environment())
        assert (done.status, done.stderr) == (0, ""), done
        return done

    def report(self, command: str = "show") -> dict[str, Any]:
        """What `marker` says, as JSON."""
        report: dict[str, Any] = json.loads(self.marker(command, "--json").stdout)
        return report

    def write(self, kind: str, turn: str, *, rollout: Path | None = None, line: str = "event_msg") -> None:
        """Appends a line of a turn to a rollout, the root's if none is named."""
        rollout = rollout or self.rollout
        rollout.parent.mkdir(parents=True, exist_ok=True)
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        with rollout.open("ab") as file:
            record = {"timestamp": at, "type": line, "payload": {"type": kind, "turn_id": turn}}
            file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    @property
    def is_active(self) -> bool:
        return (self.state / "active").exists()

    @property
    def is_asking(self) -> bool:
        return (self.state / "permissions_waiting").exists()

    @property
    def subagents(self) -> set[str]:
        """The subagents in flight, by their files."""
        folder = self.state / "codex_subagents"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def pointer(self, name: str) -> str | None:
        """What a file in the state dir holds; None where there is none."""
        path = self.state / name
        return path.read_text() if path.exists() else None

    @property
    def rollouts(self) -> list[str]:
        """The root's rollouts in the order in which they became current."""
        text = self.pointer("codex_transcript_paths") or ""
        assert not text or text.endswith("\n")
        return text.splitlines()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the agent's log."""
        path = self.state / "events/logs/mngr_codex/events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def logged(self, *told: str) -> None:
        """The last line of the log tells what it should."""
        assert self.log, "nothing was logged"
        for text in told:
            assert text in self.log[-1]["message"]

    @property
    def own_files(self) -> set[str]:
        """The names of what is the program's alone."""
        return {path.name for path in (self.state / "plugin/mngr_codex").iterdir()}

    def files(self) -> dict[str, bytes]:
        """What the state dir holds for others: everything but transcripts, logs and what is the program's alone."""
        ours = (self.state / "plugin", self.state / "events", self.state / "logs")
        found = (path for path in self.state.rglob("*") if path.is_file())
        kept = [path for path in found if not any(path.is_relative_to(folder) for folder in ours)]
        return {str(path.relative_to(self.state)): path.read_bytes() for path in kept}
