"""Waits until a Codex that was just started is ready."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import AgentStartError, SendMessageError
from imbue.mngr.utils.polling import poll_until
from loguru import logger

from mngr_codex.plugin import paths
from mngr_codex.plugin.messages.screen import read_screen

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

READY_SECONDS = 30.0
"""How long Codex may take to start."""
# Codex shows its composer 0.3 s before it opens the session. The line that it then shows can be missing, because users
# can configure it.
_COMPOSER_SECONDS = 5.0
# Codex exits at most 0.1 s after this line if it cannot open the session. A busy machine needs longer for everything.
_SETTLED_SECONDS = 0.2
_SETTLED_SHARE = 0.25
_SHOWN_LINES = 12
_LAUNCH_SCRIPT = "launch_agent.sh"
"""The script that mngr runs in the terminal. The output of Codex follows, unless Codex has cleared the screen."""
# The last character is that of zsh themes.
_PROMPT = re.compile("[$#%>\u276f]$")


def await_start(agent: BaseAgent[Any], seconds: float) -> None:
    """Waits until Codex has opened its session, or shows a dialog, in a pane in which it was just started.

    Only warns if that takes longer: Codex is running, and its agent must not be removed.

    Args:
        agent: The agent.
        seconds: How long to wait.

    Raises:
        AgentStartError: Codex exited. The message contains its last output.
    """
    name = str(agent.name)
    started = agent._get_agent_dir() / paths.STARTED
    begun = time.monotonic()
    exits_seen = 0
    # When the composer appeared, and when Codex came to show that it is ready.
    composer_since: float | None = None
    ready_since: float | None = None
    try:
        target = agent._send_target_arg(agent.tmux_target)
        screen = read_screen(agent, target)

        def is_settled() -> bool:
            nonlocal screen, exits_seen, composer_since, ready_since
            screen = read_screen(agent, target)
            now = time.monotonic()
            if not (screen.is_codex and screen.is_started):
                composer_since = ready_since = None
                # Checked several times, since the pane shows a shell for a moment between the launcher's first line
                # and Codex.
                has_exited = not screen.is_codex and agent.host.path_exists(started)
                exits_seen = exits_seen + 1 if has_exited else 0
                return exits_seen > 2
            exits_seen = 0
            composer_since = composer_since or now
            if not (screen.has_session_line or screen.dialog is not None or now - composer_since > _COMPOSER_SECONDS):
                return False
            ready_since = ready_since or now
            return now - ready_since >= max(_SETTLED_SECONDS, _SETTLED_SHARE * (ready_since - begun))

        settled = poll_until(is_settled, timeout=seconds, poll_interval=0.1)
    except SendMessageError as error:
        raise AgentStartError(name, error.reason) from error
    if settled and not screen.is_codex:
        lines = ["Codex has exited. Its terminal shows:", *last_output(screen.text)]
        raise AgentStartError(name, "\n".join(lines))
    if not settled:
        logger.warning(
            "agent {} is running, but its Codex was not ready after {:.0f} s\nhint: check it with `mngr connect {}`",
            name,
            seconds,
            name,
        )


def restart_hint(name: str) -> str:
    """Returns the command that starts an agent again whose Codex has exited."""
    return f"fix that, then run `mngr start {name} --restart`"


def last_output(text: str) -> list[str]:
    """Returns the last lines that Codex printed before it exited, without the shell's prompt.

    Args:
        text: The content of the terminal, in which the shell shows its prompt again.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    launched = max((number for number, line in enumerate(lines) if _LAUNCH_SCRIPT in line), default=-1)
    lines = lines[launched + 1 :]
    if lines and _PROMPT.search(lines[-1]):
        lines.pop()
    return lines[-_SHOWN_LINES:]
