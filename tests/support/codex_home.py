"""A Codex home with handmade sessions."""

import json
import os
import time
from pathlib import Path

from tests.support import zstd_frames
from tests.support.rollout_builder import Rollout


class CodexHome:
    """A Codex home. Each session that is added was changed a minute later than the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sessions = 0
        self._start = time.time() - 3600

    def add(
        self,
        session: str,
        text: str,
        *,
        cwd: str = "/work",
        created: str = "2026-01-31T12-34-56",
        suffix: str = ".jsonl",
        archived: bool = False,
        source: object = "cli",
    ) -> Path:
        """Writes a session in which the user says a text."""
        day = self.folder / ("archived_sessions" if archived else "sessions/" + created[:10].replace("-", "/"))
        day.mkdir(parents=True, exist_ok=True)
        path = day / f"rollout-{created}-{session}{suffix}"
        data = Rollout().meta(session, cwd=cwd, source=source).started().context().user(text).data
        path.write_bytes(zstd_frames.frame([zstd_frames.raw(data)]) if suffix.endswith(".zst") else data)
        self._sessions += 1
        os.utime(path, (self._start + 60 * self._sessions,) * 2)
        return path

    def name(self, session: str, name: str) -> None:
        """Gives a session a name, as the user does in Codex."""
        with (self.folder / "session_index.jsonl").open("a") as index:
            index.write(json.dumps({"id": session, "thread_name": name}) + "\n")
