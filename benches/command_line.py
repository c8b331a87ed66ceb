"""Options, progress messages and error handling shared by all benches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from measure import RunError

BENCHES = Path(__file__).resolve().parent
PUBLISHED_PYTHON_VARIABLE = "MNGR_CODEX_PUBLISHED_PYTHON"


def report(text: str) -> None:
    """Prints a message on standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def progress(label: str, number: int, rounds: int) -> None:
    """Prints the number of the next round, about ten times per measurement."""
    if number % max(1, rounds // 10) == 0:
        report(f"{label}: round {number + 1} of {rounds}")


def parser(description: str | None, *, has_program: bool = True) -> argparse.ArgumentParser:
    """Returns a parser with the option `--results`, and `--program` if `has_program`."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if has_program:
        default = Path(sys.executable).parent / "mngr-codex"
        result.add_argument("--program", type=Path, default=default, help="the program (default: next to this Python)")
    result.add_argument("--results", type=Path, default=BENCHES / "results", help="the folder for the results")
    return result


def is_program(path: Path) -> bool:
    """Returns whether the program exists, and prints an error if not."""
    if path.is_file():
        return True
    report(f"cannot find the program {path}\nhint: install the project into this Python, or use --program")
    return False


def succeeds(bench: Callable[[], None]) -> bool:
    """Runs a bench, and returns whether it succeeded. Prints the error if not."""
    try:
        bench()
    except (RunError, OSError) as error:
        report(str(error))
        return False
    return True
