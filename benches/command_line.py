"""What the benches' command lines share: options, words to who waits, the run and its stored results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from measure import RunError

BENCHES = Path(__file__).resolve().parent
PUBLISHED_PYTHON_VARIABLE = "MNGR_CODEX_PUBLISHED_PYTHON"


def say(text: str) -> None:
    """Tell who waits, on stderr."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def progress(what: str, number: int, rounds: int) -> None:
    """Say which round begins, at most about ten times per measurement."""
    if number % max(1, rounds // 10) == 0:
        say(f"{what}: round {number + 1} of {rounds}")


def parser(description: str | None, *, has_program: bool = True) -> argparse.ArgumentParser:
    """Return a parser that knows `--results`, and `--program` where the bench runs one of itself."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if has_program:
        beside = Path(sys.executable).parent / "mngr-codex"
        made.add_argument("--program", type=Path, default=beside, help="the program (default: beside this Python)")
    made.add_argument("--results", type=Path, default=BENCHES / "results", help="where the results are stored")
    return made


def is_program(path: Path) -> bool:
    """Whether the program is there; says so if not."""
    if path.is_file():
        return True
    say(f"no program at {path}: install the project into this Python, or name one with --program")
    return False


def succeeds(bench: Callable[[], None]) -> bool:
    """Run a bench; says what failed, if it did."""
    try:
        bench()
    except (RunError, OSError) as error:
        say(str(error))
        return False
    return True
