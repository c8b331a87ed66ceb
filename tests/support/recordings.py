"""The recorded rollouts that tests run over."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"

#: More recordings, where there are any: a folder that is no part of the project.
LAB = Path(os.environ.get("MNGR_CODEX_LAB_ROLLOUTS", DATA.parents[2] / "shared" / "lab" / "rollouts"))


def recordings(folder: Path = DATA) -> list[Path]:
    """Every rollout below a folder; the lab's hook logs are none."""
    return sorted(path for path in folder.rglob("*.jsonl") if not path.name.endswith(".hooks.jsonl"))


def all_recordings() -> list[Path]:
    """The test data, and of the lab's what is not among it."""
    data = {name(path): path for path in recordings()}
    lab = {name(path): path for path in recordings(LAB)} if LAB.is_dir() else {}
    return list((lab | data).values())


def name(path: Path) -> str:
    """How a recording is called in test output."""
    return f"{path.parent.name}/{path.stem}"


@cache
def lines_of(path: Path) -> tuple[bytes, ...]:
    """The lines of a recording, each with its newline."""
    return tuple(line + b"\n" for line in path.read_bytes().split(b"\n")[:-1])


def parse(line: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(line.decode(errors="replace"))
    return parsed


def session_meta(path: Path) -> dict[str, Any]:
    """The payload of a recording's first line."""
    payload: dict[str, Any] = parse(lines_of(path)[0])["payload"]
    return payload
