"""The scripts that mngr runs to bring an agent's transcripts up to date. mngr prescribes their names."""

from __future__ import annotations

import importlib.resources


def raw_transcript_script() -> dict[str, str]:
    """Returns the script for the raw transcript by its file name."""
    return _read("stream_transcript.sh")


def common_transcript_script() -> dict[str, str]:
    """Returns the script for the common transcript by its file name."""
    return _read("common_transcript.sh")


def _read(name: str) -> dict[str, str]:
    folder = importlib.resources.files("mngr_codex") / "commands"
    return {name: (folder / name).read_text(encoding="utf-8")}
