"""The checks of the doctor that its documentation lists."""

from tests.support.recordings import DATA

DOCS = DATA.parents[1] / "docs/doctor.md"


def documented_checks(before_table: str) -> set[str]:
    """Returns the checks in the first table after a line that begins with this text."""
    lines = iter(DOCS.read_text().splitlines())
    found: set[str] = set()
    assert any(line.startswith(before_table) for line in lines), before_table
    for line in lines:
        if line.startswith(("| check", "|---")):
            continue
        if line.startswith("| "):
            found.update(line.split("|")[1].strip().split(", "))
        elif found:
            break
    return found
