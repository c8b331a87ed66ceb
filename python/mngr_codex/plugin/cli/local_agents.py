"""The agents of this machine, read from the files that mngr keeps of them: no provider is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class LocalAgent:
    """An agent of this machine."""

    state_dir: Path
    data: dict[str, Any]
    """What mngr has written down of it (``data.json``)."""

    @property
    def name(self) -> str | None:
        """Its name, which other agents may have as well."""
        return self._text("name")

    @property
    def id(self) -> str:
        """Its id, after which its state dir is called."""
        return self.state_dir.name

    @property
    def type(self) -> str | None:
        """Its type, as the user named it."""
        return self._text("type")

    @property
    def labels(self) -> dict[str, Any]:
        """Its labels."""
        labels = self.data.get("labels")
        return labels if isinstance(labels, dict) else {}

    def _text(self, member: str) -> str | None:
        value = self.data.get(member)
        return value if isinstance(value, str) else None


def read(host_dir: Path) -> Iterator[LocalAgent]:
    """Give the agents of a host dir of mngr's. Those whose files cannot be read are passed over, as mngr does it.

    Args:
        host_dir: Where mngr keeps what belongs to a host, as in ``~/.mngr``.
    """
    for file in host_dir.glob("agents/*/data.json"):
        try:
            data = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(data, dict):
            yield LocalAgent(file.parent, data)
