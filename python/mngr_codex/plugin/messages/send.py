"""Messages to a running codex: typed into its composer, and known to have arrived by what codex wrote.

A message goes where the composer is and nowhere else: never into a dialog, a shell, or a draft of the user's. It has
arrived when the rollout holds it, which codex writes when it takes a message in. While a turn runs that is between two
requests to the model; until then codex shows that it holds the message.

How the composer looks was seen on 0.138 to 0.169.
"""

from __future__ import annotations

import importlib.resources
import json
import re
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imbue.mngr.agents.base_agent import build_clear_pane_modes_tmux_subcommand
from imbue.mngr.errors import AgentStartError, MessageDeliveredButBlockedError, SendFailureKind, SendMessageError
from imbue.mngr.hosts.common import SHELL_COMMANDS
from imbue.mngr.utils.polling import poll_until
from loguru import logger

from mngr_codex.plugin import markers, paths

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent

READY_SECONDS = 30.0
COMMAND_SECONDS = 5
_SHOWN_SECONDS = 10
# A draft is one that stays: while codex starts, the row may be anything for a moment.
_DRAFT_SECONDS = 3.0
_LONGEST_PATTERN = 400
_HEAD_LENGTH = 20
_MESSAGE_FILE = "plugin/codex/message"

# Where a message begins with `!`, codex would run the rest as a command of the user's, outside sandbox and approvals. A
# character without width in front keeps it a message.
_KEEPS_TEXT = "\u2060"

_STYLE = re.compile(r"\x1b\[[0-9;:]*m")
_ROW = re.compile(r"^(?:\x1b\[[0-9;:]*m)*[›!](?:\x1b\[[0-9;:]*m)* ")
# What nobody typed is dim: a hint at what could be typed.
_HINT = re.compile(r"^(?:\x1b\[[0-9;:]*m)*›(?:\x1b\[[0-9;:]*m)* (?:\x1b\[[0-9;:]*m)*?\x1b\[(?:[0-9;:]*;)?2m")
_CHOICE = re.compile(r"^› \d+\. ")
# What stands at the end of a dialog: which keys it takes. An extended regular expression for grep as well.
_HINTS = (
    "enter (select|save|details|edit|resume)|(enter|esc) to (confirm|go back|cancel|close|select|save|exit)"
    "|esc (back|cancel|close|exit|save)|(^| )q (close|to quit)"
)
# A dialog that stands above the composer covers the conversation in part: a choice, its keys not far below it.
_CHOICE_BESIDE = re.compile(r"› \d+\. ")
_MOST_CHOICES = 16
_HINTS_BESIDE = "(^| )(enter|space) [a-z]+( · [^·]+)* · esc [a-z/]+ *$"
# Below the composer of what `/side` and `/btw` open.
_SIDE_FOOTER = "Side from main thread"
# With it codex begins.
_BANNER = ">_ OpenAI Codex"

SIDE = "a side conversation"
"""What :attr:`Screen.dialog` calls what ``/side`` and ``/btw`` open."""

LOGIN = "its login"
"""What :attr:`Screen.dialog` calls codex's login."""

# What codex's login begins with, whatever it asks there; it has no composer.
_WELCOME = "Welcome to Codex, OpenAI's"
# Codex without a login shows its composer for a moment, and then its login, where Enter would begin one.
_LOGIN_SECONDS = 3.0
# Codex runs the hook before it asks for an approval.
_QUESTION_SECONDS = 1.5
# A last word that codex completes: a file, a skill.
_COMPLETED = re.compile(r"(?:^|\s)[@$]\S*\Z")
# What codex takes for a command of its own, or says that it knows none of that name.
_SLASH_COMMAND = re.compile(r"/[^\s/]+(?=\s|$)")
# The path of an image, which codex attaches in place of the text.
_IMAGE = re.compile(r".*\.(?:png|jpe?g|gif|webp|bmp)['\"]?", re.IGNORECASE)
# Escape sequences end a paste, and what follows would be keys.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_DIALOGS = (
    ("Hooks need review", "its review of hooks"),
    ("Would you like to", "a question for approval"),
    ("Do you trust", "its question whether to trust the folder"),
    ("Meet GPT", "its question about a newer model"),
    ("Try new model", "its question about a newer model"),
    ("Update available", "its offer of an update"),
)


@dataclass(frozen=True)
class Screen:
    """What codex's terminal shows, as far as messages need it."""

    is_codex: bool
    """Whether codex runs there, and no shell."""
    is_loading: bool
    row: str | None
    """The row of the composer, or of the choice that a dialog offers."""
    is_empty: bool
    """Whether nothing has been typed into the composer."""
    text: str
    """All of it, without styles."""

    @property
    def dialog(self) -> str | None:
        """What the dialog is that holds the terminal, or None if there is none."""
        if not self.is_codex:
            return None
        if self.row is None and _WELCOME in self.text:
            return LOGIN
        lines = [line for line in self.text.splitlines() if line.strip()]
        if _SIDE_FOOTER in "".join(lines[-1:]):
            return SIDE
        is_choice = self.row is not None and not self.is_empty and _CHOICE.match(self.row) is not None
        last = lines[-1:] if self.row is not None else lines[-3:]
        has_hints = not self.is_empty and any(re.search(_HINTS, line) for line in last)
        if is_choice or has_hints or re.search(_HINTS_BESIDE, _above_composer(self.text)):
            return next((name for phrase, name in _DIALOGS if phrase in self.text), "a choice to be made")
        return None

    @property
    def is_up(self) -> bool:
        """Whether codex has come up: with its composer, or with a dialog."""
        return (self.row is not None or self.dialog is not None) and not self.is_loading

    @property
    def is_ready(self) -> bool:
        """Whether a message can be typed."""
        return self.is_codex and not self.is_loading and self.is_empty and self.dialog is None

    @classmethod
    def of(cls, command: str, pane: str) -> Screen:
        """Reads a terminal.

        Args:
            command: The name of the process in its foreground.
            pane: What it shows, with styles.
        """
        text = _STYLE.sub("", pane)
        styled = next((line for line in reversed(pane.splitlines()) if _ROW.match(line)), None)
        return cls(
            is_codex=command not in SHELL_COMMANDS,
            is_loading=_is_loading(text.splitlines()),
            row=None if styled is None else _STYLE.sub("", styled).rstrip(),
            is_empty=styled is not None and _HINT.match(styled) is not None,
            text=text,
        )


def _above_composer(text: str) -> str:
    """The last line that is not blank above the composer, if a choice stands not far above it.

    The composer is the last row of its kind.
    """
    before = last = ""
    choice = -_MOST_CHOICES
    for number, line in enumerate(text.splitlines()):
        if line.startswith("›"):
            before = last if number - choice < _MOST_CHOICES else ""
        elif _CHOICE_BESIDE.search(line):
            choice = number
        if line.strip():
            last = line
    return before


def _is_loading(lines: list[str]) -> bool:
    """Whether codex, which shows its composer by then, still gets ready: below its name stands what it loads."""
    head = next((number for number, line in reversed([*enumerate(lines)]) if _BANNER in line), None)
    return head is not None and any(re.search(r"(?:^|: ) *loading\b", line) for line in lines[head + 1 : head + 5])


def look(agent: BaseAgent[Any], target: str) -> Screen:
    """Looks at the agent's terminal."""
    command = f"tmux -u display-message -p -t {target} '#{{pane_current_command}}' \\; capture-pane -e -p -t {target}"
    result = agent.host.execute_idempotent_command(command, timeout_seconds=agent.send_command_timeout_seconds)
    if not result.success:
        raise SendMessageError(
            str(agent.name), f"its terminal is gone: {result.stderr.strip()}", SendFailureKind.AGENT_UNREACHABLE
        )
    running, _, pane = result.stdout.partition("\n")
    running = running.strip()
    is_codex = running not in SHELL_COMMANDS or _is_script(agent, target)
    return Screen.of("codex" if is_codex else running, pane)


def _is_script(agent: BaseAgent[Any], target: str) -> bool:
    """Whether another process than the pane's shell is in the foreground: codex may be a script that runs it."""
    pid = f"$(tmux display-message -p -t {target} '#{{pane_pid}}')"
    command = f"ps -o tpgid=,pgid= -p {pid}"
    result = agent.host.execute_idempotent_command(command, timeout_seconds=agent.send_command_timeout_seconds)
    groups = result.stdout.split()
    return result.success and len(groups) == 2 and groups[0] != groups[1]


def await_composer(
    agent: BaseAgent[Any], target: str, *, is_marked_as_asking: bool, seconds: float = READY_SECONDS
) -> None:
    """Waits until a message can be typed.

    Args:
        agent: The agent.
        target: Its terminal.
        is_marked_as_asking: Whether the marker of a question for approval is there. Either the question is about to
            open, or it was answered, and the command runs for which it was.
        seconds: How long it is waited for.

    Raises:
        SendMessageError: A dialog, a shell or a draft is in the way, or codex does not come up.
    """
    stays = _LOGIN_SECONDS if _lacks_login(agent) else 0.0
    if is_marked_as_asking:
        stays = max(stays, _QUESTION_SECONDS)
    screen = look(agent, target)
    begun = time.monotonic()

    def is_settled() -> bool:
        nonlocal screen
        screen = look(agent, target)
        is_typed_into = screen.is_codex and screen.is_up and time.monotonic() - begun > _DRAFT_SECONDS
        is_ready = screen.is_ready and time.monotonic() - begun >= stays
        return is_ready or screen.dialog is not None or is_typed_into

    if not ((screen.is_ready and stays == 0.0) or screen.dialog is not None):
        poll_until(is_settled, timeout=seconds, poll_interval=0.1)
    name = str(agent.name)
    if screen.dialog is not None:
        remedy = log_in(name) if screen.dialog == LOGIN else f"mngr connect {name}"
        what = "of which no rollout tells" if screen.dialog == SIDE else "which takes all input"
        raise SendMessageError(
            name,
            f"codex shows {screen.dialog}, {what}. {'Close' if screen.dialog == SIDE else 'Answer'} it with: {remedy}",
            SendFailureKind.INPUT_BLOCKED,
        )
    if screen.is_ready:
        return
    if not screen.is_codex:
        raise SendMessageError(
            name, f"codex has ended. Start it with: mngr start {name} --restart", SendFailureKind.AGENT_UNREACHABLE
        )
    if screen.row is not None and not screen.is_loading:
        raise SendMessageError(
            name,
            f"somebody has begun to type there: {screen.row[2:80]!r}. Send or delete that with: mngr connect {name}",
            SendFailureKind.INPUT_BLOCKED,
        )
    raise SendMessageError(name, f"codex is not ready after {seconds:.0f} s", SendFailureKind.NOT_READY)


def _lacks_login(agent: BaseAgent[Any]) -> bool:
    """Whether codex was just started without a login, and with settings by which it asks for one."""
    import tomllib

    from mngr_codex.plugin.home import build

    state_dir = agent._get_agent_dir()
    home, started = (shlex.quote(str(state_dir / path)) for path in (paths.CODEX_HOME, paths.STARTED))
    # Only a codex that was started a moment ago shows its composer before its login.
    command = f'[ -s {home}/auth.json ] || [ -z "$(find {started} -mmin -1)" ] || cat {home}/config.toml'
    config = agent.host.execute_idempotent_command(command, timeout_seconds=agent.send_command_timeout_seconds)
    if not (config.success and config.stdout):
        return False
    try:
        return build.needs_login(tomllib.loads(config.stdout))
    except tomllib.TOMLDecodeError:
        return False


def log_in(name: str) -> str:
    """What a user does about a missing login."""
    return f"codex login, then mngr stop {name} and mngr start {name}"


def await_start(agent: BaseAgent[Any], seconds: float) -> None:
    """Wait until codex has come up in a pane in which it was just started.

    Raises:
        AgentStartError: It ended at once, or does not come up; with what it said last.
    """
    state_dir = agent._get_agent_dir()
    target = agent._send_target_arg(agent.tmux_target)
    screen = look(agent, target)
    ended = 0

    def is_settled() -> bool:
        nonlocal screen, ended
        screen = look(agent, target)
        # Twice, as the shell is there for a moment between the launcher's first line and codex.
        is_over = not screen.is_codex and agent.host.path_exists(state_dir / paths.STARTED)
        ended = ended + 1 if is_over else 0
        return (screen.is_codex and screen.is_up) or ended > 2

    is_settled_at_last = poll_until(is_settled, timeout=seconds, poll_interval=0.1)
    if screen.is_codex and screen.is_up:
        return
    what = "codex ended at once" if is_settled_at_last else f"codex did not come up in {seconds:.0f} s"
    last = [line.rstrip() for line in screen.text.splitlines() if line.strip()][-12:]
    raise AgentStartError(str(agent.name), "\n".join([f"{what}. Its terminal shows:", *last]))


def cleaned(message: str) -> str:
    """A message as it can be typed: without control characters other than tabs and ends of lines."""
    text = message.encode("utf-8", "replace").decode()
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def rollout_pattern(text: str) -> str:
    """What a rollout's line has in it if it holds this message of the user's: its beginning, or all of a short one.

    Of an image that codex may attach in its place there is another one, on a line of its own.
    """
    if _IMAGE.fullmatch(text.strip()):
        return f'"text":"{json.dumps(text.strip(), ensure_ascii=False)[1:-1]}"\n"type":"input_image"'
    escaped = json.dumps(text.strip(), ensure_ascii=False)[1:-1]
    if len(escaped) <= _LONGEST_PATTERN:
        return f'"text":"{escaped}"'
    # No escape is cut in two: the longest is of six characters.
    shortened = re.match(r"(?:\\u[0-9a-f]{4}|\\.|[^\\])*", escaped[:_LONGEST_PATTERN])
    return f'"text":"{shortened[0] if shortened else ""}'


def send(agent: BaseAgent[Any], message: str, confirmation_seconds: float) -> None:
    """Delivers a message and makes sure that it arrived; the caller holds the agent's message lock.

    Raises:
        SendMessageError: It did not arrive, or it is not known that it did.
        MessageDeliveredButBlockedError: It was a command that opened a dialog.
    """
    text = cleaned(message)
    name = str(agent.name)
    if not text.strip():
        raise SendMessageError(name, "the message is empty")
    target = agent._send_target_arg(agent.tmux_target)
    is_marked_as_asking = markers.is_blocked(agent.host, agent._get_agent_dir())
    await_composer(agent, target, is_marked_as_asking=is_marked_as_asking)
    if text.lstrip().startswith("!"):
        text = _KEEPS_TEXT + text.lstrip()
    is_command = _SLASH_COMMAND.match(text) is not None
    if _COMPLETED.search(text) or re.fullmatch(r"/[^\s/]*", text):
        # Else Enter would take what codex offers for it, and not send the message.
        text += " "
    _paste(agent, target, text)
    outcome = _submit(agent, target, text, is_command, confirmation_seconds, is_answered=is_marked_as_asking)
    if outcome == "unrecognized":
        # No command of codex's, so it is meant for the model. The cursor is in front of the text, and with a space
        # there codex takes it as it stands.
        agent._run_send_command(f"tmux send-keys -t {target} Space", "tmux send-keys")
        is_command = False
        outcome = _submit(agent, target, text, is_command, confirmation_seconds, is_answered=is_marked_as_asking)
    _tell(agent, name, text, outcome, COMMAND_SECONDS if is_command else confirmation_seconds)
    if is_command and (dialog := look(agent, target).dialog) is not None:
        raise MessageDeliveredButBlockedError(
            name,
            f"{text.split()[0]} opened {dialog}. Answer it with: mngr connect {name}",
            SendFailureKind.INPUT_BLOCKED,
        )


def _tell(agent: BaseAgent[Any], name: str, text: str, outcome: str, seconds: float) -> None:
    match outcome:
        case "arrived" | "taken":
            logger.debug("Message to agent {} arrived ({})", name, outcome)
        case "queued":
            logger.warning(
                "Codex holds the message to agent {}, and takes it when the call that runs has ended: {!r}",
                name,
                text[:80],
            )
            agent.record_message_delivery_event("message_queued", f"codex holds it after {seconds:.0f} s")
        case "blocked":
            raise SendMessageError(
                name,
                "a dialog opened before the message was sent, so it was not; it may still stand in the composer. "
                f"Answer the dialog with: mngr connect {name}",
                SendFailureKind.INPUT_BLOCKED,
            )
        case "login":
            raise SendMessageError(
                name,
                f"codex shows its login, and did not take the message. Answer it with: {log_in(name)}",
                SendFailureKind.INPUT_BLOCKED,
            )
        case "ended":
            raise SendMessageError(
                name,
                f"codex ended when the message was sent. Start it with: mngr start {name} --restart",
                SendFailureKind.AGENT_UNREACHABLE,
            )
        case "unseen":
            raise SendMessageError(name, "the terminal did not take the message", SendFailureKind.NOT_READY)
        case "refused":
            raise SendMessageError(
                name, f"codex refused {text.split()[0]} while a turn runs", SendFailureKind.NOT_READY
            )
        case _:
            raise SendMessageError(
                name,
                f"the message was sent, but in {seconds:.0f} s no rollout of codex's has it ({outcome})",
                SendFailureKind.SUBMISSION_UNCONFIRMED,
            )


def _paste(agent: BaseAgent[Any], target: str, text: str) -> None:
    """Types the text, as one paste, so that an end of line in it is none of the user's Enter."""
    file = agent._get_agent_dir() / _MESSAGE_FILE
    quoted_file = shlex.quote(str(file))
    buffer = shlex.quote(f"mngr-codex-{agent.id}")
    agent.host.write_file(file, text.encode(), mode="0600")
    try:
        agent._run_send_command(
            f"tmux load-buffer -b {buffer} {quoted_file} \\; {build_clear_pane_modes_tmux_subcommand(target)} \\; "
            f"paste-buffer -p -d -b {buffer} -t {target}",
            "tmux paste-buffer",
        )
    finally:
        agent.host.execute_idempotent_command(
            f"rm -f {quoted_file}", timeout_seconds=agent.send_command_timeout_seconds
        )


def _submit(
    agent: BaseAgent[Any], target: str, text: str, is_command: bool, seconds: float, *, is_answered: bool
) -> str:
    """Presses Enter and gives what became of the message, in one command on the host.

    Args:
        agent: The agent.
        target: Its terminal.
        text: The message.
        is_command: Whether it may be a command of codex's.
        seconds: How long it is waited for.
        is_answered: Whether a question for approval was open and is no more, though its marker is still there.
    """
    state_dir = agent._get_agent_dir()
    window = COMMAND_SECONDS if is_command else int(seconds)
    first = text.strip().splitlines()[0].replace("\t", " ").strip()
    variables = {
        "LC_ALL": "C",
        "target": shlex.split(target)[0],
        "home": str(state_dir / paths.CODEX_HOME),
        "permissions": "" if is_answered else str(state_dir / paths.PERMISSIONS_WAITING),
        "patterns": rollout_pattern(text),
        "welcome": _WELCOME,
        "hints": _HINTS,
        "hints_beside": _HINTS_BESIDE,
        "ending": text.rstrip().splitlines()[-1].strip()[-200:],
        "command": text.split()[0],
        "head": first[:_HEAD_LENGTH],
        "is_head_cut": "1" if len(first) > _HEAD_LENGTH else "0",
        "is_command": "1" if is_command else "0",
        "shown_seconds": str(_SHOWN_SECONDS),
        "seconds": str(window),
        "keys": str(min(2 * text.count("\n") + 2, 500)),
    }
    script = (importlib.resources.files("mngr_codex.plugin.messages") / "press_enter.sh").read_text(encoding="utf-8")
    words = ["env", *(f"{name}={value}" for name, value in variables.items()), "bash", "-c", script]
    result = agent.host.execute_stateful_command(shlex.join(words), timeout_seconds=window + _SHOWN_SECONDS + 10.0)
    lines = result.stdout.split()
    return lines[-1] if lines else f"no answer: {result.stderr.strip()[-200:]}"
