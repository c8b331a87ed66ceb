"""What Codex's terminal shows: whether it is starting, ready for a message, or showing a dialog.

The screens were seen on 0.138 to 0.171.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import SendFailureKind, SendMessageError
from imbue.mngr.hosts.common import SHELL_COMMANDS

from mngr_codex.plugin import markers

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

_STYLE = re.compile(r"\x1b\[[0-9;:]*m")
_ROW = re.compile(r"^(?:\x1b\[[0-9;:]*m)*[›!](?:\x1b\[[0-9;:]*m)* ")
# The placeholder of an empty composer is dim.
_PLACEHOLDER = re.compile(r"^(?:\x1b\[[0-9;:]*m)*›(?:\x1b\[[0-9;:]*m)* (?:\x1b\[[0-9;:]*m)*?\x1b\[(?:[0-9;:]*;)?2m")
_CHOICE = re.compile(r"^› \d+\. ")
KEY_HINTS = (
    "enter (select|save|details|edit|resume)|(enter|esc) to (confirm|go back|cancel|close|select|save|exit|submit)"
    "|esc (back|cancel|close|exit|save)|(^| )q (close|to quit)"
)
"""The last line of a dialog, which lists its keys. Valid as an extended regular expression for grep as well."""
# A dialog above the composer covers part of the conversation: a choice with the list of keys a few lines below it.
_CHOICE_ABOVE_COMPOSER = re.compile(r"› \d+\. ")
_MAXIMUM_DIALOG_LINES = 16
KEY_HINTS_ABOVE_COMPOSER = "(^| )(enter|space) [a-z]+( · [^·]+)* · esc [a-z/]+ *$"
"""The list of keys of a dialog above the composer, as a regular expression for grep as well."""
# Below the composer of the conversations that `/side` and `/btw` open.
_SIDE_FOOTER = "Side from main thread"
# The first line that Codex prints.
_BANNER = ">_ OpenAI Codex"
_LOADING = re.compile(r"(?:^|: ) *loading\b|^ *Resuming session…$")
# The key hints below the composer.
_FOOTER_HINTS = re.compile(r"\? for shortcuts|← for agents|·")

SIDE = "a side conversation"
"""The value of :attr:`Screen.dialog` for the conversations that ``/side`` and ``/btw`` open."""

LOGIN = "its login screen"
"""The value of :attr:`Screen.dialog` for Codex's login."""

REVIEW = "its hook review"
"""The value of :attr:`Screen.dialog` for the review of new or edited hooks."""

WELCOME = "Welcome to Codex, OpenAI's"
"""The beginning of Codex's login screen, which has no composer."""

_DIALOGS = (
    ("Hooks need review", REVIEW),
    ("Would you like to", "an approval request"),
    ("enter to submit answer", "a question"),
    ("Do you trust", "a question whether to trust the directory"),
    ("Meet GPT", "a question about a newer model"),
    ("Try new model", "a question about a newer model"),
    ("Update available", "an update prompt"),
    ("Implement this plan?", "a question about its plan"),
)
_WAITING_REASONS = {
    LOGIN: markers.LOGIN,
    "an approval request": markers.PERMISSIONS,
    "a question": markers.QUESTION,
    "a question about its plan": markers.QUESTION,
}
"""The waiting reasons of dialogs that are not just in the way of a message."""


@dataclass(frozen=True)
class Screen:
    """The parts of Codex's screen that sending messages depends on."""

    is_codex: bool
    """Whether Codex runs there, and not a shell."""
    is_loading: bool
    row: str | None
    """The first row of the composer, or the selected choice of a dialog."""
    is_empty: bool
    """Whether the composer is empty."""
    text: str
    """The complete text without styles."""

    @property
    def dialog(self) -> str | None:
        """The dialog that takes all input, or None."""
        if not self.is_codex:
            return None
        if self.row is None and WELCOME in self.text:
            return LOGIN
        lines = [line for line in self.text.splitlines() if line.strip()]
        if _SIDE_FOOTER in "".join(lines[-1:]):
            return SIDE
        is_choice = self.row is not None and not self.is_empty and _CHOICE.match(self.row) is not None
        last = lines[-1:] if self.row is not None else lines[-3:]
        has_key_hints = not self.is_empty and any(re.search(KEY_HINTS, line) for line in last)
        if is_choice or has_key_hints or re.search(KEY_HINTS_ABOVE_COMPOSER, _line_above_composer(self.text)):
            return next((name for phrase, name in _DIALOGS if phrase in self.text), "a menu")
        return None

    @property
    def waiting_reason(self) -> str:
        """Why an agent with this screen waits if it is not in a turn."""
        return markers.END_OF_TURN if self.dialog is None else _WAITING_REASONS.get(self.dialog, markers.DIALOG)

    @property
    def is_started(self) -> bool:
        """Whether Codex shows its composer or a dialog."""
        return (self.row is not None or self.dialog is not None) and not self.is_loading

    @property
    def has_session_line(self) -> bool:
        """Whether the line with the model is below the composer. Codex shows it when it opens the session (0.163)."""
        lines = self.text.splitlines()
        row = max((number for number, line in enumerate(lines) if line.startswith("›")), default=None)
        below = "" if row is None else " ".join(lines[row + 1 :])
        return self.is_started and bool(_FOOTER_HINTS.sub("", below).strip())

    @property
    def is_ready(self) -> bool:
        """Whether a message can be typed."""
        return self.is_codex and not self.is_loading and self.is_empty and self.dialog is None

    @classmethod
    def parse(cls, command: str, pane: str) -> Screen:
        """Parses the content of a terminal.

        Args:
            command: The name of the process in its foreground.
            pane: The content, with styles.
        """
        text = _STYLE.sub("", pane)
        styled = next((line for line in reversed(pane.splitlines()) if _ROW.match(line)), None)
        return cls(
            is_codex=command not in SHELL_COMMANDS,
            is_loading=_is_loading(text.splitlines()),
            row=None if styled is None else _STYLE.sub("", styled).rstrip(),
            is_empty=styled is not None and _PLACEHOLDER.match(styled) is not None,
            text=text,
        )


def _line_above_composer(text: str) -> str:
    """Returns the last non-blank line above the composer if a choice is a few lines above it, or an empty string.

    The composer is the last row that begins like one.
    """
    before = last = ""
    choice = -_MAXIMUM_DIALOG_LINES
    for number, line in enumerate(text.splitlines()):
        if line.startswith("›"):
            before = last if number - choice < _MAXIMUM_DIALOG_LINES else ""
        elif _CHOICE_ABOVE_COMPOSER.search(line):
            choice = number
        if line.strip():
            last = line
    return before


def _is_loading(lines: list[str]) -> bool:
    """Returns whether Codex is still loading, although its composer is visible. The lines after its banner show it."""
    banner = next((number for number, line in reversed([*enumerate(lines)]) if _BANNER in line), None)
    return banner is not None and any(_LOADING.search(line) for line in lines[banner + 1 : banner + 5])


def read_screen(agent: BaseAgent[Any], target: str) -> Screen:
    """Reads an agent's terminal.

    Args:
        agent: The agent.
        target: Its tmux pane.

    Raises:
        SendMessageError: The terminal does not exist.
    """
    command = f"tmux -u display-message -p -t {target} '#{{pane_current_command}}' \\; capture-pane -e -p -t {target}"
    result = agent.host.execute_idempotent_command(command, timeout_seconds=agent.send_command_timeout_seconds)
    if not result.success:
        name = str(agent.name)
        reason = f"cannot read its terminal: {result.stderr.strip()}\nhint: start it with `mngr start {name}`"
        raise SendMessageError(name, reason, SendFailureKind.AGENT_UNREACHABLE)
    process, _, pane = result.stdout.partition("\n")
    process = process.strip()
    is_codex = process not in SHELL_COMMANDS or _runs_script(agent, target)
    return Screen.parse("codex" if is_codex else process, pane)


def _runs_script(agent: BaseAgent[Any], target: str) -> bool:
    """Returns whether the foreground process is not the pane's shell: a script may run Codex."""
    pid = f"$(tmux display-message -p -t {target} '#{{pane_pid}}')"
    command = f"ps -o tpgid=,pgid= -p {pid}"
    result = agent.host.execute_idempotent_command(command, timeout_seconds=agent.send_command_timeout_seconds)
    groups = result.stdout.split()
    return result.success and len(groups) == 2 and groups[0] != groups[1]
