"""Recorded rollouts of real Codex versions."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"

#: A folder of further recordings to test with, which is not part of the project; `None` if the variable is not set.
LAB = Path(folder) if (folder := os.environ.get("MNGR_CODEX_LAB_ROLLOUTS")) else None


def recordings(folder: Path = DATA) -> list[Path]:
    """Returns every rollout below a folder, without the hook logs."""
    return sorted(path for path in folder.rglob("*.jsonl") if not path.name.endswith(".hooks.jsonl"))


def all_recordings() -> list[Path]:
    """Returns the rollouts of the test data, and those of the lab that the test data does not have."""
    data = {name(path): path for path in recordings()}
    lab = {name(path): path for path in recordings(LAB)} if LAB else {}
    return list((lab | data).values())


def name(path: Path) -> str:
    """Returns the name of a recording in test output."""
    return f"{path.parent.name}/{path.stem}"


@cache
def lines_of(path: Path) -> tuple[bytes, ...]:
    """Returns the lines of a recording, each with its newline."""
    return tuple(line + b"\n" for line in path.read_bytes().split(b"\n")[:-1])


def parse(line: bytes) -> dict[str, Any]:
    """Parses a line, with invalid UTF-8 replaced."""
    parsed: dict[str, Any] = json.loads(line.decode(errors="replace"))
    return parsed


def session_meta(path: Path) -> dict[str, Any]:
    """Returns the payload of a recording's first line."""
    payload: dict[str, Any] = parse(lines_of(path)[0])["payload"]
    return payload
