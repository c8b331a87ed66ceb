"""The text of errors about hosts."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """Returns what an error says, in one line.

    rsync's errors have several lines, and paramiko's errors about connections begin with the number None.
    """
    lines = (line.strip() for line in str(error).replace("[Errno None] ", "").splitlines())
    return "; ".join(filter(None, lines)) or type(error).__name__
