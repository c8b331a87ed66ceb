"""A fake agent: a state directory, and the hooks and rollouts that Codex would run and write for it."""

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.program import Completed, program, run

STATE_DIR_VARIABLE = "MNGR_AGENT_STATE_DIR"


#: An event and its payload.
type Hook = tuple[str, bytes]


class Ids:
    """Generates ids as Codex does: version 7 UUIDs, each greater than the previous one."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        return f"01a20218-{self._count:04x}-7000-8000-0123456789ab"


class Agent:
    """An agent's state directory, and the hooks and commands that a test runs for it.

    Hooks belong to the session of the latest `begin_session` and the root turn of the latest `begin_turn`.
    """

    def __init__(self, folder: Path, state: str = "state") -> None:
        """Creates an agent.

        Args:
            folder: The folder of all its files.
            state: The path of the state directory in `folder`. Those of mngr's agents are in a folder `agents`.
        """
        self.folder = folder
        self.state = folder / state
        self.state.mkdir(parents=True)
        self.home = folder / "codex"
        self.new_id = Ids()
        self.turn_id = ""
        self.begin_session()

    def begin_session(self, file: str | None = None) -> None:
        """Begins another session of Codex."""
        self.session_id = self.new_id()
        self.rollout = self.rollout_path(file or self.session_id)

    def begin_turn(self) -> str:
        """Begins another root turn, for which no hook has run and no line was written yet."""
        self.turn_id = self.new_id()
        return self.turn_id

    def rollout_path(self, thread: str) -> Path:
        """Returns the path of a thread's rollout, which may not exist yet."""
        return self.home / f"sessions/2026/11/22/rollout-2026-11-22T07-11-32-{thread}.jsonl"

    def payload(self, event: str, **members: Any) -> bytes:
        """Returns the payload of a hook. `members` override the usual ones; `None` omits a member."""
        payload = {
            "session_id": self.session_id,
            "turn_id": self.turn_id,
            "transcript_path": str(self.rollout),
            "cwd": str(self.folder),
            "hook_event_name": "".join(word.capitalize() for word in event.split("-")),
            **members,
        }
        present = {key: value for key, value in payload.items() if value is not None}
        return json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    def child_payload(self, event: str, agent: str, turn: str, **members: Any) -> bytes:
        """Returns the payload of a subagent's hook."""
        rollout = str(self.rollout_path(agent))
        paths = {"transcript_path": rollout}
        if event == "subagent-stop":
            paths = {"agent_transcript_path": rollout}
        return self.payload(event, **{"agent_id": agent, "agent_type": "default", "turn_id": turn, **paths, **members})

    def environment(self) -> dict[str, str]:
        return {**os.environ, STATE_DIR_VARIABLE: str(self.state)}

    def run_hook(self, event: str, payload: bytes, **options: Any) -> None:
        """Runs a hook, which must exit with 0 and print nothing, whatever its payload."""
        done = run("hook", event, stdin=payload, env=self.environment(), **options)
        assert (done.status, done.stdout, done.stderr) == (0, b"", ""), done

    def hook(self, event: str, **members: Any) -> None:
        """Runs a hook of the root turn."""
        self.run_hook(event, self.payload(event, **members))

    def child_hook(self, event: str, agent: str, turn: str, **members: Any) -> None:
        """Runs a hook of a subagent's turn."""
        self.run_hook(event, self.child_payload(event, agent, turn, **members))

    def start_hook(self, event: str, payload: bytes) -> "subprocess.Popen[bytes]":
        """Starts a hook without waiting for it."""
        process = subprocess.Popen(
            [program(), "hook", event], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment()
        )
        assert process.stdin
        process.stdin.write(payload)
        process.stdin.close()
        return process

    def marker(self, command: str, *options: str) -> Completed:
        """Runs `mngr-codex marker`, which must succeed."""
        done = run("marker", command, *options, env=self.environment())
        assert (done.status, done.stderr) == (0, ""), done
        return done

    def report(self, command: str = "show") -> dict[str, Any]:
        """Returns the output of `marker --json`."""
        report: dict[str, Any] = json.loads(self.marker(command, "--json").stdout)
        return report

    def write_line(
        self, kind: str, turn: str, *, rollout: Path | None = None, line: str = "event_msg", **members: Any
    ) -> None:
        """Appends a line of a turn to a rollout, by default the root's. `members` are added to its payload."""
        rollout = rollout or self.rollout
        rollout.parent.mkdir(parents=True, exist_ok=True)
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        with rollout.open("ab") as file:
            record = {"timestamp": at, "type": line, "payload": {"type": kind, "turn_id": turn, **members}}
            file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the agent's state in this process."""
        with (self.state / "plugin/mngr_codex/lifecycle").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def is_active(self) -> bool:
        return (self.state / "active").exists()

    @property
    def is_approval_pending(self) -> bool:
        return (self.state / "permissions_waiting").exists()

    @property
    def is_question_open(self) -> bool:
        return (self.state / "question_waiting").exists()

    @property
    def subagents(self) -> set[str]:
        """The ids of the running subagents, by their files."""
        folder = self.state / "codex_subagents"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def state_file(self, name: str) -> str | None:
        """Returns the content of a file in the state directory, or `None` if it does not exist."""
        path = self.state / name
        return path.read_text() if path.exists() else None

    @property
    def rollouts(self) -> list[str]:
        """The root's rollouts, in the order in which they became current."""
        text = self.state_file("codex_transcript_paths") or ""
        assert not text or text.endswith("\n")
        return text.splitlines()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the agent's log."""
        path = self.state / "events/logs/mngr_codex/events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def assert_logged(self, *texts: str) -> None:
        """Checks that the last message of the log contains these texts."""
        assert self.log, "nothing was logged"
        for text in texts:
            assert text in self.log[-1]["message"]

    @property
    def status(self) -> dict[str, Any]:
        """The content of the status file."""
        status: dict[str, Any] = json.loads((self.state / "plugin/codex/status.json").read_bytes())
        return status

    @property
    def activity_log(self) -> Path:
        """The file of activity events on the agent's host."""
        return self.state.parent.parent / "events/mngr/activity/events.jsonl"

    @property
    def activity_events(self) -> list[dict[str, Any]]:
        """The activity events of all agents on the agent's host."""
        if not self.activity_log.exists():
            return []
        text = self.activity_log.read_text()
        assert text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    @property
    def private_files(self) -> set[str]:
        """The names of the files that only the program itself reads."""
        return {path.name for path in (self.state / "plugin/mngr_codex").iterdir()}

    def files(self) -> dict[str, bytes]:
        """Returns the marker files: all but transcripts, logs, the files of `plugin` and the activity file."""
        excluded = [self.state / folder for folder in ("plugin", "events", "logs", "activity")]
        found = (path for path in self.state.rglob("*") if path.is_file())
        kept = [path for path in found if not any(path.is_relative_to(folder) for folder in excluded)]
        return {str(path.relative_to(self.state)): path.read_bytes() for path in kept}
