"""The TUI of the real Codex, in a tmux server that only the test uses."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SECONDS = 30


class Screen:
    """The screen of a terminal in tmux."""

    def __init__(self, session: str) -> None:
        self._session = session

    def text(self) -> str:
        return subprocess.run(
            ["tmux", "capture-pane", "-p", "-t", self._session], capture_output=True, text=True, check=True
        ).stdout

    def until(self, condition: Callable[[str], bool]) -> str:
        """Polls until the condition is true for the text on the screen, and returns the text."""
        end = time.monotonic() + SECONDS
        while not condition(text := self.text()):
            assert time.monotonic() < end, f"timed out after {SECONDS} s:\n{text}"
            time.sleep(0.05)
        return text

    def type(self, *keys: str) -> None:
        subprocess.run(["tmux", "send-keys", "-t", self._session, *keys], check=True)


@contextmanager
def tui(codex: str, folder: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Screen]:
    """Runs Codex in a folder until the block ends, with these additional environment variables."""
    assert os.environ.get("TMUX_TMPDIR"), "the user's own tmux server must not be used"
    session = f"tui-{time.monotonic_ns()}"
    variables = [f"{name}={value}" for name, value in environment.items()]
    subprocess.run(
        [
            *("tmux", "-f", "/dev/null", "new-session", "-d", "-s", session, "-x", "140", "-y", "45"),
            *("-c", str(folder), "env", *variables, codex, *arguments),
        ],
        check=True,
    )
    subprocess.run(["tmux", "set-option", "-t", session, "remain-on-exit", "on"], check=True)
    pid = int(
        subprocess.run(
            ["tmux", "list-panes", "-t", session, "-F", "#{pane_pid}"], capture_output=True, text=True, check=True
        ).stdout
    )
    try:
        yield Screen(session)
    finally:
        subprocess.run(["tmux", "kill-session", "-t", session], check=True)
        end = time.monotonic() + SECONDS
        while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
            time.sleep(0.02)
