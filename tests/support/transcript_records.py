"""Handmade records of common transcripts, and agents with such a transcript."""

import json
from pathlib import Path
from typing import Any

HEADER = json.dumps(
    {"type": "header", "event_id": f"header-{'0a' * 16}", "emitter": "t", "schema_version": "ATIF-v1.7"},
    separators=(",", ":"),
)

_FRAMING = {"event_id": "e", "emitter": "t", "timestamp": "2026-01-01T12:30:00.000Z"}


def step(message: Any, *, source: str = "user", **members: Any) -> str:
    return json.dumps({"type": "step", **_FRAMING, "source": source, "message": message, **members})


def observation(*results: dict[str, Any]) -> str:
    return json.dumps({"type": "observation", **_FRAMING, "results": list(results)})


def call(number: int, **members: Any) -> dict[str, Any]:
    return {"tool_call_id": f"c{number}", "function_name": "f", "arguments": {"n": number}, **members}


class State:
    """An agent's state directory with a transcript."""

    def __init__(self, host_dir: Path, name: str = "fix-it", identity: str = "agent-1", kind: str = "codex") -> None:
        self.folder = host_dir / "agents" / identity
        self.transcript = self.folder / "events/codex/common_transcript/events.jsonl"
        self.transcript.parent.mkdir(parents=True)
        (self.folder / "data.json").write_text(json.dumps({"id": identity, "type": kind, "name": name}))

    def write(self, *lines: str) -> None:
        self.transcript.write_text("".join(f"{line}\n" for line in lines))

    def append(self, *lines: str) -> None:
        with self.transcript.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))
