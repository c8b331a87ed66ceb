"""Sends messages and waits for Codex on hosts that cannot run the program, with the means of mngr.

mngr types the text and presses Enter. If the line to the host breaks in between, a message can be lost or arrive twice.
Before that, the terminal is checked as the program would check it.
"""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from imbue.mngr.agents.tui_utils import build_changed_token_probe
from imbue.mngr.errors import AgentStartError, MessageDeliveredButBlockedError, SendFailureKind, SendMessageError
from imbue.mngr.utils.polling import poll_until

from mngr_codex import _core
from mngr_codex.plugin import paths
from mngr_codex.plugin.messages import refusals
from mngr_codex.plugin.messages.screen import read_screen

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent
    from imbue.mngr.agents.tui_utils import SubmissionEvidenceProbe

# While Codex starts, the row can contain anything for a moment; only a row that persists is a draft.
_DRAFT_SECONDS = 3.0
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.5


def as_typed(message: str) -> str:
    """Returns a message so that Codex neither runs nor completes it when it is typed."""
    return _core.typed_message(message.encode("utf-8", "replace").decode())


def await_composer(agent: BaseAgent[Any], target: str) -> None:
    """Waits until the composer is empty.

    Args:
        agent: The agent.
        target: Its tmux pane.

    Raises:
        SendMessageError: There is a dialog, a shell or a draft, or Codex does not become ready.
    """
    screen = read_screen(agent, target)
    begun = time.monotonic()

    def is_settled() -> bool:
        nonlocal screen
        screen = read_screen(agent, target)
        is_draft = screen.view == "draft" and time.monotonic() - begun > _DRAFT_SECONDS
        return screen.view == "empty" or screen.showing is not None or is_draft

    if screen.view != "empty" and screen.showing is None:
        poll_until(is_settled, timeout=_READY_SECONDS, poll_interval=_POLL_SECONDS)
    if screen.showing is not None:
        raise refusals.blocked(agent, screen.view, screen.showing)
    if screen.view == "shell":
        raise refusals.exited(str(agent.name), screen.last_output)
    if screen.view == "draft":
        raise refusals.draft(agent, screen.row or "")
    if screen.view != "empty":
        raise refusals.not_ready(str(agent.name), _READY_SECONDS)


def evidence(agent: BaseAgent[Any]) -> SubmissionEvidenceProbe:
    """Returns the evidence that Codex has recorded a message: another line with the user's role in a rollout."""
    sessions = shlex.quote(str(agent._get_agent_dir() / paths.SESSIONS))
    find = f"find -H {sessions} -name 'rollout-*.jsonl' -exec cat {{}} + 2>/dev/null"
    return build_changed_token_probe("rollout", f'{find} | grep -acF \'"role":"user"\'')


def check_after(agent: BaseAgent[Any], target: str) -> None:
    """Checks whether a command that was sent has opened a dialog.

    Another message opens none itself: a dialog after it belongs to its turn.

    Args:
        agent: The agent.
        target: Its tmux pane.

    Raises:
        MessageDeliveredButBlockedError: It has.
    """
    showing = read_screen(agent, target).showing
    if showing is not None:
        name = str(agent.name)
        reason = f"the command opened {showing}\nhint: answer it with `mngr connect {name}`"
        raise MessageDeliveredButBlockedError(name, reason, SendFailureKind.INPUT_BLOCKED)


def await_start(agent: BaseAgent[Any], seconds: float) -> bool:
    """Waits until Codex has opened its session, or shows a dialog; returns False if that takes longer.

    Args:
        agent: The agent.
        seconds: How long to wait.

    Raises:
        AgentStartError: Codex exited, or its terminal does not exist.
    """
    name = str(agent.name)
    started = agent._get_agent_dir() / paths.STARTED
    watch, begun = _core.StartWatch(), time.monotonic()
    result = None
    try:
        target = agent._send_target_arg(agent.tmux_target)
        screen = read_screen(agent, target)

        def is_settled() -> bool:
            nonlocal screen, result
            screen = read_screen(agent, target)
            was_launched = screen.view == "shell" and agent.host.path_exists(started)
            result = watch.add(screen, time.monotonic() - begun, was_launched)
            return result is not None

        poll_until(is_settled, timeout=seconds, poll_interval=_POLL_SECONDS)
    except SendMessageError as error:
        raise AgentStartError(name, error.reason) from error
    if result == "exited":
        raise AgentStartError(name, refusals.exit_reason(screen.last_output))
    return result == "started"
