"""Reading files of a Codex home on the agent's host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imbue.mngr.interfaces.host import OnlineHostInterface


def read_text(host: OnlineHostInterface, path: str) -> str | None:
    """Returns the text of a file without its byte order mark, which Codex ignores as well.

    Returns:
        The text, or None if the file does not exist.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: The file is not UTF-8.
    """
    try:
        return host.read_text_file(Path(path)).removeprefix("\ufeff")
    except FileNotFoundError:
        return None
