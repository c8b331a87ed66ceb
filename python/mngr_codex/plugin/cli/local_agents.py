"""The local agents, read from mngr's files without asking a provider."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class LocalAgent:
    """An agent on this machine."""

    state_dir: Path
    data: dict[str, Any]
    """The content of its ``data.json``."""
    others: tuple[Mapping[str, Any], ...] = ()
    """The ``data.json`` of the other agents on this machine, if they were read."""

    @property
    def name(self) -> str | None:
        """Its name, which need not be unique."""
        return self._text("name")

    @property
    def id(self) -> str:
        """Its id, which is the name of its state directory."""
        return self.state_dir.name

    @property
    def type(self) -> str | None:
        """Its agent type."""
        return self._text("type")

    def _text(self, member: str) -> str | None:
        value = self.data.get(member)
        return value if isinstance(value, str) else None


def read(host_dir: Path) -> Iterator[LocalAgent]:
    """Yields the agents in one of mngr's host directories. Like mngr, it skips agents whose files cannot be read.

    Args:
        host_dir: The directory with the data of a host, such as ``~/.mngr``.
    """
    for file in host_dir.glob("agents/*/data.json"):
        try:
            data = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            yield LocalAgent(file.parent, data)
