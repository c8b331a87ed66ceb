"""Waits until a message can be typed into Codex's composer."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import SendFailureKind, SendMessageError
from imbue.mngr.utils.polling import poll_until

from mngr_codex.plugin import paths
from mngr_codex.plugin.home.login import LoginPlace, login_hint, needs_login
from mngr_codex.plugin.messages import delivery
from mngr_codex.plugin.messages.screen import LOGIN, SIDE, Screen, read_screen
from mngr_codex.plugin.messages.startup import READY_SECONDS, last_output

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

# While Codex starts, the row can contain anything for a moment; only a row that persists is a draft.
_DRAFT_SECONDS = 3.0
# Without a login, Codex shows its composer for a moment before its login screen, where Enter would start a login.
_LOGIN_SECONDS = 3.0
# Codex runs the hook before it asks for an approval.
_APPROVAL_SECONDS = 1.5


def await_composer(
    agent: BaseAgent[Any], target: str, *, is_marked_as_asking: bool, seconds: float = READY_SECONDS
) -> None:
    """Waits until a message can be typed.

    Args:
        agent: The agent.
        target: Its tmux pane.
        is_marked_as_asking: Whether the marker of an approval request or of a question exists. Either it is about to
            appear, or it was answered and the approved command is running.
        seconds: How long to wait.

    Raises:
        SendMessageError: There is a dialog, a shell or a draft, or Codex does not become ready.
    """
    delay = _LOGIN_SECONDS if _lacks_login(agent) else 0.0
    if is_marked_as_asking:
        delay = max(delay, _APPROVAL_SECONDS)
    screen = read_screen(agent, target)
    begun = time.monotonic()

    def is_settled() -> bool:
        nonlocal screen
        screen = read_screen(agent, target)
        has_draft = screen.is_codex and screen.is_started and time.monotonic() - begun > _DRAFT_SECONDS
        is_ready = screen.is_ready and time.monotonic() - begun >= delay
        return is_ready or screen.dialog is not None or has_draft

    if not ((screen.is_ready and delay == 0.0) or screen.dialog is not None):
        poll_until(is_settled, timeout=seconds, poll_interval=0.1)
    if screen.dialog is not None or not screen.is_ready:
        if _has_draft(screen):
            delivery.record_draft(agent)
        raise _not_ready(agent, screen, seconds)


def _not_ready(agent: BaseAgent[Any], screen: Screen, seconds: float) -> SendMessageError:
    """Returns the error for a screen that cannot take a message."""
    name = str(agent.name)
    if screen.dialog == SIDE:
        reason = f"Codex is showing {SIDE}, which is not in the transcript\nhint: close it with `mngr connect {name}`"
        return SendMessageError(name, reason, SendFailureKind.INPUT_BLOCKED)
    if screen.dialog is not None:
        hint = f"answer it with `mngr connect {name}`"
        if screen.dialog == LOGIN:
            hint = login_hint(LoginPlace.of(agent.host), name)
        reason = f"Codex is showing {screen.dialog}, so it can't take messages\nhint: {hint}"
        return SendMessageError(name, reason, SendFailureKind.INPUT_BLOCKED)
    if not screen.is_codex:
        lines = ["Codex has exited. Its terminal shows:", *last_output(screen.text)]
        reason = "\n".join([*lines, f"hint: start it with `mngr start {name} --restart`"])
        return SendMessageError(name, reason, SendFailureKind.AGENT_UNREACHABLE)
    if _has_draft(screen):
        reason = (
            f"there is an unsent draft in the composer: {(screen.row or '')[2:80]!r}\n"
            f"hint: send or clear it with `mngr connect {name}`"
        )
        return SendMessageError(name, reason, SendFailureKind.INPUT_BLOCKED)
    return SendMessageError(
        name,
        f"Codex was not ready after {seconds:.0f} s\nhint: check its terminal with `mngr connect {name}`",
        SendFailureKind.NOT_READY,
    )


def _has_draft(screen: Screen) -> bool:
    """Returns whether a screen that cannot take a message shows text in its composer."""
    return screen.is_codex and screen.dialog is None and screen.row is not None and not screen.is_loading


def _lacks_login(agent: BaseAgent[Any]) -> bool:
    """Returns whether Codex was just started without a login that its settings require."""
    import tomllib

    state_dir = agent._get_agent_dir()
    home, started = (shlex.quote(str(state_dir / path)) for path in (paths.CODEX_HOME, paths.STARTED))
    # Only a Codex that was started a moment ago shows its composer before its login screen.
    command = f'[ -s {home}/auth.json ] || [ -z "$(find {started} -mmin -1)" ] || cat {home}/config.toml'
    config = agent.host.execute_idempotent_command(command, timeout_seconds=agent.send_command_timeout_seconds)
    if not (config.success and config.stdout):
        return False
    try:
        return needs_login(tomllib.loads(config.stdout))
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
