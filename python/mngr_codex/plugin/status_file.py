"""The status of an agent, as the native program writes it at each change.

The file can be missing, or written by another version of the program. A member that is missing or has an unexpected
value counts as unknown, so reading the file never fails.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin import paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

_READ_SECONDS = 10.0
_VERSION = 1
_STATES = ("RUNNING", "WAITING", "UNKNOWN", "ENDED")
_REASONS = ("PERMISSIONS", "QUESTION", "END_OF_TURN")
_TRIGGERS = ("manual", "auto")
_TOKENS = ("input", "cached_input", "output", "reasoning_output")
_SESSION_ID = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True, kw_only=True)
class Status:
    """The content of a status file. A value is None if it is unknown or does not apply.

    Times are ISO 8601 in UTC.
    """

    state: str | None = None
    """``RUNNING``, ``WAITING``, ``UNKNOWN`` (no hook has run yet) or ``ENDED`` (Codex has exited)."""
    since: str | None = None
    """When this state began."""
    waiting_reason: str | None = None
    """``PERMISSIONS``, ``QUESTION`` or ``END_OF_TURN``."""
    session_id: str | None = None
    """The id of the session, as ``codex resume`` takes it."""
    model: str | None = None
    """The model of the latest turn."""
    turn_since: str | None = None
    """When the running turn began."""
    idle_since: str | None = None
    """When the agent became idle. A compaction does not change it."""
    context_tokens: int | None = None
    """The size of the context in tokens, if a request has shown it since the last compaction."""
    tokens: dict[str, int] | None = None
    """The tokens of the whole session: ``input``, ``cached_input``, ``output`` and ``reasoning_output``."""
    last_compaction: dict[str, str | None] | None = None
    """The last compaction: its time (``at``) and its ``trigger``, ``manual``, ``auto`` or None."""
    last_error: dict[str, str] | None = None
    """Why the latest turn failed: the time (``at``) and the ``message``."""


def parse(text: str) -> Status | None:
    """Returns the content of a status file; None if it has another version.

    Args:
        text: The content of the file. An empty one counts as a missing file.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        return None

    def member[T](name: str, valid: Callable[[Any], T | None]) -> T | None:
        value = content.get(name)
        return None if value is None else valid(value)

    return Status(
        state=member("state", _one_of(_STATES)),
        since=member("since", _time),
        waiting_reason=member("waiting_reason", _one_of(_REASONS)),
        session_id=member("session_id", valid_session_id),
        model=member("model", _text),
        turn_since=member("turn_since", _time),
        idle_since=member("idle_since", _time),
        context_tokens=member("context_tokens", _count),
        tokens=member("tokens", _tokens),
        last_compaction=member("last_compaction", _compaction),
        last_error=member("last_error", _error),
    )


def read(state_dir: Path) -> Status | None:
    """Returns the status of an agent on this machine; None if there is no valid file.

    Args:
        state_dir: The agent's state directory.
    """
    try:
        return parse((state_dir / paths.STATUS).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def read_on_host(host: OnlineHostInterface, state_dir: Path) -> Status | None:
    """Returns the status of an agent on any host; None if there is no valid file.

    Args:
        host: The agent's host.
        state_dir: The agent's state directory there.

    Raises:
        HostConnectionError: The host cannot be reached.
    """
    if host.is_local:
        return read(state_dir)
    result = host.execute_idempotent_command(
        f"cat {shlex.quote(str(state_dir / paths.STATUS))}", timeout_seconds=_READ_SECONDS
    )
    return parse(result.stdout) if result.success else None


def moment(time: str | None) -> datetime | None:
    """Returns one of the file's times in UTC; None if it is None or invalid."""
    try:
        parsed = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return None if parsed.tzinfo is None else parsed.astimezone(UTC)


def valid_session_id(value: Any) -> str | None:
    """Returns a value if it is the id of a session, as ``codex resume`` takes it; otherwise None."""
    return value if isinstance(value, str) and _SESSION_ID.fullmatch(value) else None


def _one_of(values: tuple[str, ...]) -> Callable[[Any], str | None]:
    return lambda value: value if isinstance(value, str) and value in values else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: Any) -> str | None:
    return value if isinstance(value, str) and moment(value) is not None else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _tokens(value: Any) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None
    counts = {name: count for name in _TOKENS if (count := _count(value.get(name))) is not None}
    return counts if len(counts) == len(_TOKENS) else None


def _compaction(value: Any) -> dict[str, str | None] | None:
    at = _time(value.get("at")) if isinstance(value, dict) else None
    return None if at is None else {"at": at, "trigger": _one_of(_TRIGGERS)(value.get("trigger"))}


def _error(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    at, message = _time(value.get("at")), _text(value.get("message"))
    return None if at is None or message is None else {"at": at, "message": message}
