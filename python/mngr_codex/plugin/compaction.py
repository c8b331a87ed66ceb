"""Compacts the context of an idle agent with Codex's ``/compact``, for `mngr autocompact`.

mngr compacts an agent at most once in each period in which it is idle. A period is named by its beginning, which is in
the status file. A turn that does nothing but compact begins no other period. The beginning of a compacted period is
recorded even if the compaction fails, so that it is not tried again and again.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import MngrError, SendFailureKind, SendMessageError
from imbue.mngr.utils.polling import poll_until
from loguru import logger

from mngr_codex.plugin import paths, status_file

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent, SendKeysAgent

    from mngr_codex.plugin.status_file import Status

CACHE_TTL_MINUTES = 30
"""How long the model provider keeps a prompt. OpenAI removes most after 5 to 10 minutes without use, and all after an
hour at the latest, or after a day with `prompt_cache_retention`, which Codex does not set."""
_COMMAND = "/compact"
_STARTED_SECONDS = 10.0
_READ_SECONDS = 10.0


def read(agent: BaseAgent[Any]) -> tuple[Status | None, datetime | None]:
    """Returns an agent's status, and the beginning of the last period in which it was compacted. Reads once."""
    state_dir = agent._get_agent_dir()
    if agent.host.is_local:
        try:
            compacted = (state_dir / paths.COMPACTED).read_text(errors="replace")
        except OSError:
            compacted = ""
        return status_file.read(state_dir), status_file.moment(compacted.strip())
    files = [shlex.quote(str(state_dir / path)) for path in (paths.COMPACTED, paths.STATUS)]
    command = f'echo "$(head -n 1 {files[0]} 2>/dev/null)"; cat {files[1]} 2>/dev/null || :'
    result = agent.host.execute_idempotent_command(command, timeout_seconds=_READ_SECONDS)
    compacted, _, status = result.stdout.partition("\n")
    return status_file.parse(status), status_file.moment(compacted.strip())


def idle_since(status: Status | None, compacted: datetime | None) -> datetime | None:
    """Returns when an agent became idle; None if it is busy, has ended, or was compacted since then.

    Args:
        status: The agent's status. It does not show whether there is a dialog; the terminal then refuses the command.
        compacted: The beginning of the last period in which the agent was compacted.
    """
    if status is None or status.state != "WAITING" or status.waiting_reason in ("PERMISSIONS", "QUESTION"):
        return None
    idle = status_file.moment(status.idle_since)
    if idle is None or (compacted is not None and compacted >= idle):
        return None
    last = status_file.moment((status.last_compaction or {}).get("at"))
    return None if last is not None and last > idle else idle


def compact(agent: SendKeysAgent[Any], period: datetime | None) -> None:
    """Makes Codex compact, and waits until it has begun. The caller must hold the agent's message lock.

    Args:
        agent: The agent.
        period: When the agent became idle, which is recorded as compacted; None if it is not idle.

    Raises:
        SendMessageError: The command could not be sent, or Codex did not begin.
    """
    before = status_file.read_on_host(agent.host, agent._get_agent_dir())
    try:
        agent._send_message_holding_lock(_COMMAND)
        if before is not None:
            _await_start(agent, before)
    finally:
        if period is not None:
            _record(agent, period)


def _await_start(agent: BaseAgent[Any], before: Status) -> None:
    def has_started() -> bool:
        now = status_file.read_on_host(agent.host, agent._get_agent_dir())
        return now is not None and (
            now.state == "RUNNING"
            # It may already be over.
            or now.last_compaction != before.last_compaction
            or now.last_error != before.last_error
        )

    if not poll_until(has_started, timeout=_STARTED_SECONDS, poll_interval=0.1 if agent.host.is_local else 0.5):
        name = str(agent.name)
        reason = (
            f"{_COMMAND} was sent, but Codex did not begin to compact within {_STARTED_SECONDS:.0f} s\n"
            f"hint: check it with `mngr connect {name}`"
        )
        raise SendMessageError(name, reason, SendFailureKind.SUBMISSION_UNCONFIRMED)


def _record(agent: BaseAgent[Any], period: datetime) -> None:
    file = agent._get_agent_dir() / paths.COMPACTED
    try:
        agent.host.write_text_file(file, f"{period.astimezone(UTC).isoformat(timespec='milliseconds')}\n")
    except (OSError, MngrError) as error:
        logger.warning("cannot record in {} that agent {} was compacted: {}", file, agent.name, error)
