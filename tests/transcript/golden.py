"""The human-readable form of some recordings, kept as text in ``golden/``.

    MNGR_CODEX_PROGRAM=target/debug/mngr-codex python -m tests.transcript.golden

writes the files again after an intended change. Look at the differences before you commit them.
"""

import os
import re
from pathlib import Path

from tests.support.program import run
from tests.support.recordings import DATA

FOLDER = Path(__file__).with_name("golden")

#: An interrupted turn, a subagent, a patch, code mode, reasoning, a compaction, code mode in a subagent.
RECORDINGS = (
    "0.138.0/tui_esc_tool",
    "0.147.0/v2_spawn",
    "0.163.0/tools",
    "0.163.0/code_mode",
    "0.169.0/reasoning",
    "0.169.0/tui_compact",
    "0.171.0/code_spawn.child1",
)

#: A rule instead of a name, because a machine may lack the files of zones.
ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"

FORMS = {"txt": ("--color=never",), "color.txt": ("--color=always",)}


def golden_files() -> list[tuple[Path, Path, tuple[str, ...]]]:
    """Returns each file with its recording and the options of the program."""
    return [
        (FOLDER / f"{name.replace('/', '-')}.{ending}", DATA / f"{name}.jsonl", options)
        for name in RECORDINGS
        for ending, options in FORMS.items()
    ]


def human_form(recording: Path, options: tuple[str, ...]) -> str:
    """Returns what the program prints. Colors are shown as ``{1;36}`` and ``{}``, so that the files can be read."""
    done = run("transcript", recording, *options, env={**os.environ, "TZ": ZONE})
    assert (done.status, done.stderr) == (0, ""), done
    return re.sub(r"\x1b\[(?:0m|([\d;]+)m)", r"{\1}", done.stdout.decode())


if __name__ == "__main__":
    for file, recording, options in golden_files():
        file.write_text(human_form(recording, options), encoding="utf-8")
