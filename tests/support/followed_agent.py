"""An agent whose rollouts are followed."""

import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.support.fake_agent import Agent
from tests.support.program import Completed, program, run


class FollowedAgent:
    """A fake agent, its current rollouts, and the transcripts that `watch` creates from them."""

    def __init__(self, folder: Path) -> None:
        self.agent = Agent(folder)
        self.state = self.agent.state

    def make_current(self, name: str) -> Path:
        """Makes a rollout current, as the root's hooks do, and returns its path."""
        rollout = self.agent.home / f"sessions/2026/11/22/rollout-{name}.jsonl"
        rollout.parent.mkdir(parents=True, exist_ok=True)
        with (self.state / "codex_transcript_paths").open("a") as paths:
            paths.write(f"{rollout}\n")
        return rollout

    @property
    def raw(self) -> bytes:
        return _read(self.state / "logs/codex_transcript/events.jsonl")

    @property
    def common(self) -> bytes:
        return _read(self.state / "events/codex/common_transcript/events.jsonl")

    def run_once(self, *options: str) -> Completed:
        """Runs `watch --once`, which must succeed."""
        done = run("watch", "--once", *options, "--state-dir", self.state)
        assert (done.status, done.stdout, done.stderr) == (0, b"", ""), done
        return done

    def watch(self, *options: str, missing_call: str | None = None) -> "subprocess.Popen[bytes]":
        """Starts a watcher; `missing_call` is a system call that fails as if the kernel did not have it."""
        command: list[str | Path] = [program(), "watch", *options, "--state-dir", self.state]
        if missing_call is not None:
            injected = f"inject={missing_call}:error=ENOSYS"
            strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={missing_call}", "-e", injected]
            command = [*strace, *command]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def converted(self, *options: str) -> bytes:
        """Returns the output of `convert` for the raw transcript."""
        return run("convert", "-", "--agent-id", self.state.name, *options, stdin=self.raw).stdout


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def append_lines(rollout: Path, lines: Iterable[bytes]) -> None:
    with rollout.open("ab") as file:
        file.write(b"".join(lines))


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Polls until the condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"timed out after {seconds} s"
        time.sleep(0.005)
