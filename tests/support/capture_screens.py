"""Captures what Codex's terminal shows in each situation that messages depend on, for the tests of the screen reader.

    python -m tests.support.capture_screens /path/to/codex tests/data/screens/0.163.0 [NAME…]

Runs the real Codex with a scripted model, in a tmux server and a home of its own. For each situation it writes
`NAME.txt`, the pane with its styles. `expected.json` has the view and the dialog of each. What a pane shows is known
from the keys that were pressed, so no reader of screens decides on it. A situation that a version does not have is left
out. With names of functions below, only their situations are captured.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.rule_based_model import Model, asked, calls, says

# isort: split
from scripted_model import Json, Response, shell_call

SECONDS = 20
# As mngr starts a session that nobody looks at.
SIZE = (200, 50)
# The temporary folder is named like this in the files, whose columns stay the same.
SHOWN_FOLDER = "/srv/lab/machine"
# Without them Codex would reach the network, or run turns in a server.
FEATURES = {"apps": False, "plugins": False, "daemon_auto_start": False}
QUESTION = {
    "id": "color",
    "header": "Color",
    "question": "Which color?",
    "options": [{"label": "Red", "description": "Like a rose."}, {"label": "Blue", "description": "Like the sky."}],
}

STYLE = re.compile(r"\x1b\[[0-9;:]*m")


class NotShownError(Exception):
    """This version of Codex does not show this."""


class Terminal:
    """A shell in tmux in which Codex runs."""

    def __init__(self, session: str) -> None:
        self._session = session

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def pane(self) -> str:
        """Returns the pane with its styles."""
        return self._tmux("capture-pane", "-e", "-p", "-t", self._session)

    def command(self) -> str:
        """Returns the name of the process in the foreground."""
        return self._tmux("display-message", "-p", "-t", self._session, "#{pane_current_command}").strip()

    def press(self, *keys: str) -> None:
        """Presses keys by their names."""
        self._tmux("send-keys", "-t", self._session, *keys)

    def type(self, text: str) -> None:
        """Types a text, and waits until it is shown."""
        self._tmux("send-keys", "-t", self._session, "-l", text)
        self.until(lambda shown: text in shown)
        # Codex takes an Enter right after other keys as part of a paste.
        time.sleep(0.3)

    def paste(self, text: str) -> None:
        """Pastes a text as mngr does."""
        subprocess.run(["tmux", "load-buffer", "-b", "pasted", "-"], input=text, text=True, check=True)
        self._tmux("paste-buffer", "-p", "-d", "-b", "pasted", "-t", self._session)

    def until(self, condition: Callable[[str], bool], seconds: float = SECONDS) -> str:
        """Polls until a condition is true for the text, and returns the pane with its styles at that time."""
        end = time.monotonic() + seconds
        while True:
            pane = self.pane()
            text = STYLE.sub("", pane)
            if condition(text):
                return pane
            if time.monotonic() > end:
                raise NotShownError(text)
            time.sleep(0.01)

    def settled(self, condition: Callable[[str], bool], seconds: float = SECONDS) -> str:
        """Waits until a condition is true, and the pane has not changed for a moment."""
        end = time.monotonic() + seconds
        while True:
            self.until(condition, seconds=max(end - time.monotonic(), 0.1))
            before = self._still()
            time.sleep(0.5)
            if self._still() == before:
                return self.until(condition, seconds=0.1)

    def _still(self) -> str:
        """Returns the text without the animated picture."""
        return re.sub(r"[\u2800-\u28ff ]+", " ", STYLE.sub("", self.pane()))

    def clear(self) -> None:
        """Deletes the text in the composer."""
        for key in ("C-e", "C-u", "C-k"):
            self._tmux("send-keys", "-t", self._session, "-N", "20", key)
            time.sleep(0.5)


class Capture:
    """One run of the script."""

    def __init__(self, codex: Path, output: Path, folder: Path, model: Model) -> None:
        self.codex = codex
        self.output = output
        self.folder = folder
        self.model = model
        self._homes = 0
        output.mkdir(parents=True, exist_ok=True)
        self._index = output / "expected.json"
        self.expected: dict[str, Any] = json.loads(self._index.read_text()) if self._index.exists() else {}

    def write(self, name: str, terminal: Terminal, pane: str, *, view: str, dialog: str | None = None) -> None:
        """Writes a pane with what it shows."""
        shown = pane.replace(str(self.folder), SHOWN_FOLDER)
        assert "mc-" not in shown and "root@" not in shown, shown
        # The rows below the content are blank.
        (self.output / f"{name}.txt").write_text(shown.rstrip("\n") + "\n")
        command = terminal.command()
        self.expected[name] = {"command": command, "view": view, "dialog": dialog}
        self._index.write_text(json.dumps(dict(sorted(self.expected.items())), indent=2) + "\n")

    @contextmanager
    def shell(
        self,
        *,
        is_logged_in: bool = True,
        is_trusted: bool = True,
        size: tuple[int, int] = SIZE,
        files: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Iterator[Terminal]:
        """Runs a shell in a repository, with a new home whose Codex has these settings."""
        import tomlkit

        self._homes += 1
        home = self.folder / f"home{self._homes}"
        work, codex_home = home / "work", home / ".codex"
        for each in (work, codex_home):
            each.mkdir(parents=True)
        (work / "README.md").write_text("# A repository\n")
        subprocess.run(["git", "init", "-q", "-b", "main"], cwd=work, check=True)
        provider = {
            "name": "scripted",
            "base_url": self.model.base_url,
            "wire_api": "responses",
            "requires_openai_auth": not is_logged_in,
            "request_max_retries": 0,
            "stream_max_retries": 0,
        }
        config: dict[str, Any] = {
            # It opens no dialog about newer models.
            "model": "gpt-5.4",
            "model_provider": "scripted",
            "approval_policy": "never",
            "sandbox_mode": "danger-full-access",
            "check_for_update_on_startup": False,
            "model_providers": {"scripted": provider},
            "analytics": {"enabled": False},
            "features": FEATURES,
        }
        if is_trusted:
            config["projects"] = {str(work): {"trust_level": "trusted"}}
        (codex_home / "config.toml").write_text(
            tomlkit.dumps({name: value for name, value in {**config, **settings}.items() if value is not None})
        )
        for name, content in (files or {}).items():
            (codex_home / name).write_text(content)
        environment = {
            "HOME": str(home),
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PS1": "$ ",
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
            "NO_PROXY": "127.0.0.1,localhost",
        }
        codex = home / "codex"
        codex.write_text(f'#!/bin/sh\nexec "{self.codex}" "$@"\n')
        codex.chmod(0o755)
        session = f"screens-{self._homes}"
        width, height = map(str, size)
        variables = [f"{name}={value}" for name, value in environment.items()]
        shell = ["env", "-i", *variables, "bash", "--norc", "--noprofile"]
        tmux = ["tmux", "-f", "/dev/null", "new-session", "-d", "-s", session, "-x", width, "-y", height]
        subprocess.run([*tmux, "-c", str(work), *shell], check=True)
        try:
            yield Terminal(session)
        finally:
            subprocess.run(["tmux", "kill-session", "-t", session], check=True)

    def start(self, terminal: Terminal, *arguments: str) -> None:
        """Starts Codex."""
        terminal.press("-l", " ".join(["clear; ~/codex", *arguments]))
        terminal.press("Enter")

    @contextmanager
    def codex_tui(self, **options: Any) -> Iterator[Terminal]:
        """Runs a shell with a Codex that is ready."""
        with self.shell(**options) as terminal:
            self.start(terminal)
            if "Use existing model" in terminal.settled(is_started):
                # Older versions ask about a newer model at each start.
                terminal.press("Down")
                time.sleep(0.3)
                terminal.press("Enter")
            terminal.settled(is_ready)
            yield terminal


def is_started(text: str) -> bool:
    """Whether Codex shows its composer, or asks about a newer model."""
    return "Use existing model" in text or is_ready(text)


def is_ready(text: str) -> bool:
    """Whether Codex shows its composer, and the model below it."""
    rows = [number for number, line in enumerate(text.splitlines()) if line.startswith("›")]
    return bool(rows) and "gpt-5" in "\n".join(text.splitlines()[rows[-1] + 1 :]).lower()


def then(call: Callable[[Json], Response], answer: str) -> Callable[[Json], Response]:
    """Returns an answer that calls a tool, and says something when it has the output."""

    def respond(request: Json) -> Response:
        if asked(request).startswith("Generate a concise"):
            return says("A title")
        return says(answer) if any("output" in item for item in request["input"]) else call(request)

    return respond


def loading(capture: Capture) -> None:
    with capture.shell() as terminal:
        capture.start(terminal)
        pane = terminal.until(lambda text: "›" in text and "loading" in text, seconds=10)
        capture.write("loading", terminal, pane, view="loading")


def drafts(capture: Capture) -> None:
    with capture.codex_tui() as terminal:
        capture.write("empty", terminal, terminal.pane(), view="empty")
        terminal.type("I was about to say")
        capture.write("draft", terminal, terminal.settled(lambda text: "about to" in text), view="draft")
        terminal.clear()
        terminal.until(lambda text: "about to" not in text)
        terminal.paste("first line\nsecond line\n\nfourth line")
        pane = terminal.settled(lambda text: "fourth line" in text)
        capture.write("draft_of_several_lines", terminal, pane, view="draft")
        terminal.clear()
        terminal.until(lambda text: "first line" not in text)
        terminal.paste("a long line\n" * 200)
        pane = terminal.settled(lambda text: "a long line" in text or "Pasted" in text)
        capture.write("draft_of_many_lines", terminal, pane, view="draft")


def completions(capture: Capture) -> None:
    with capture.codex_tui() as terminal:
        terminal.type("/comp")
        pane = terminal.settled(lambda text: "summarize" in text.lower() or "compact" in text)
        capture.write("draft_of_a_command", terminal, pane, view="draft")
        terminal.clear()
        terminal.until(lambda text: "/comp" not in text)
        terminal.type("look at @READ")
        pane = terminal.settled(lambda text: "README.md" in text)
        capture.write("draft_with_a_file", terminal, pane, view="draft")
        terminal.press("Escape")
        terminal.clear()
        terminal.until(lambda text: "look at" not in text)
        terminal.press("-l", "!ls")
        capture.write("draft_of_a_shell_command", terminal, terminal.settled(lambda text: "ls" in text), view="draft")


def turn(capture: Capture) -> None:
    capture.model.on("slowly", then(lambda request: Response([shell_call(request, "sleep 9")]), "Slow, but done."))
    with capture.codex_tui() as terminal:
        terminal.type("Do it slowly.")
        terminal.press("Enter")
        pane = terminal.until(lambda text: "Working" in text or "esc to interrupt" in text)
        capture.write("working", terminal, pane, view="empty")
        terminal.type("Turn left instead.")
        pane = terminal.until(lambda text: "› Turn left" in text)
        capture.write("draft_while_working", terminal, pane, view="draft")
        terminal.press("Enter")
        pane = terminal.until(lambda text: "↳ Turn left instead." in text, seconds=5)
        capture.write("queued", terminal, pane, view="empty")
        terminal.type("/compact")
        terminal.press("Enter")
        pane = terminal.until(lambda text: "disabled while a task is in progress" in text)
        refused = pane, "› /compact" in STYLE.sub("", terminal.pane())
        capture.write("refused_command", terminal, refused[0], view="draft" if refused[1] else "empty")
        terminal.press("Escape")
        terminal.clear()
        terminal.settled(lambda text: "Working" not in text and is_ready(text))
        capture.write("after_a_turn", terminal, terminal.pane(), view="empty")


def unrecognized_command(capture: Capture) -> None:
    with capture.codex_tui() as terminal:
        terminal.type("/nosuchcommand")
        terminal.press("Enter")
        pane = terminal.settled(lambda text: "Unrecognized command" in text)
        is_kept = "› /nosuchcommand" in STYLE.sub("", terminal.pane())
        capture.write("unrecognized_command", terminal, pane, view="draft" if is_kept else "empty")


def shows_menu(command: str, title: str) -> Callable[[str], bool]:
    """Returns a check that a command has opened a menu with a title."""
    return lambda text: title.lower() in text.lower() and f"› /{command}" not in text


def menus(capture: Capture) -> None:
    menu = "menu"
    shown = {
        "model": ("Select Model", "menu_of_models"),
        "theme": ("Theme", "menu_of_themes"),
        "experimental": ("Experimental", "menu_of_features"),
        "review": ("review preset", "menu_of_reviews"),
        "resume": ("resume", "menu_of_sessions"),
        "diff": ("to scroll", "pager"),
        "hooks": ("Hooks", "menu_of_hooks"),
        "statusline": ("Status Line", "menu_of_the_status_line"),
        "permissions": ("Permissions", "menu_of_permissions"),
    }
    for command, (title, name) in shown.items():
        with capture.codex_tui() as terminal:
            terminal.type(f"/{command}")
            terminal.press("Enter")
            try:
                pane = terminal.settled(shows_menu(command, title), seconds=4)
            except NotShownError:
                continue
            capture.write(name, terminal, pane, view="dialog", dialog=menu)


def side_conversation(capture: Capture) -> None:
    with capture.codex_tui() as terminal:
        say(terminal, "Remember apples.")
        for command in ("/btw", "/side"):
            terminal.type(command)
            terminal.press("Enter")
            try:
                pane = terminal.settled(lambda text: "Side from" in text, seconds=5)
            except NotShownError:
                terminal.clear()
                continue
            capture.write("side_conversation", terminal, pane, view="side")
            terminal.type("What is this?")
            terminal.press("Enter")
            pane = terminal.settled(lambda text: "You said: What is this?" in text)
            name = "side_conversation_with_an_answer"
            capture.write(name, terminal, pane, view="side")
            return


def say(terminal: Terminal, text: str) -> None:
    """Sends a message, and waits until the turn is over."""
    terminal.type(text)
    terminal.press("Enter")
    terminal.settled(lambda shown: f"You said: {text}" in shown and "esc to interrupt" not in shown and is_ready(shown))


def exit_and_resume(capture: Capture) -> None:
    with capture.codex_tui() as terminal:
        say(terminal, "Are you there?")
        terminal.type("/quit")
        terminal.press("Enter")
        pane = terminal.settled(lambda text: text.rstrip().endswith("$") and terminal.command() == "bash")
        capture.write("exited", terminal, pane, view="shell")
        for start, name in ((("resume", "--last"), "resuming"), (("resume", "--last"), "resumed")):
            capture.start(terminal, *start)
            if name == "resuming":
                try:
                    pane = terminal.until(lambda text: "Resuming session" in text and "›" in text, seconds=5)
                    capture.write(name, terminal, pane, view="loading")
                except NotShownError:
                    pass
            pane = terminal.settled(lambda text: "You said" in text and is_ready(text))
            if name == "resumed":
                capture.write(name, terminal, pane, view="empty")
                return
            terminal.type("/quit")
            terminal.press("Enter")
            terminal.settled(lambda text: text.rstrip().endswith("$") and terminal.command() == "bash")


def failed_start(capture: Capture) -> None:
    with capture.shell() as terminal:
        capture.start(terminal, "--no-such-option")
        pane = terminal.settled(lambda text: "--no-such-option" in text and "Usage" in text)
        capture.write("failed_start", terminal, pane, view="shell")


def asks_for_approval(request: Json) -> Response:
    """Returns a call that Codex asks about."""
    call = shell_call(request, "touch file")
    arguments = json.loads(call["arguments"])
    more = {"sandbox_permissions": "require_escalated", "justification": "The sandbox cannot write here."}
    return Response([{**call, "arguments": json.dumps(arguments | more)}])


def approval(capture: Capture, size: tuple[int, int] = SIZE, name: str = "approval") -> None:
    capture.model.on("Make a file", then(asks_for_approval, "I made it."))
    with capture.codex_tui(size=size, approval_policy="on-request", sandbox_mode="workspace-write") as terminal:
        terminal.type("Make a file.")
        terminal.press("Enter")
        pane = terminal.settled(lambda text: "Would you like to" in text)
        capture.write(name, terminal, pane, view="dialog", dialog="approval")


def asks_a_question(request: Json) -> Response:
    """Returns a call of the tool by which the model asks the user."""
    return calls("request_user_input", {"questions": [QUESTION]})


def questions(capture: Capture) -> None:
    capture.model.on("Paint it", then(asks_a_question, "Painted."))
    with capture.codex_tui(features={**FEATURES, "default_mode_request_user_input": True}) as terminal:
        terminal.type("Paint it.")
        terminal.press("Enter")
        pane = terminal.settled(lambda text: "Which color?" in text and "enter to submit" in text, seconds=8)
        capture.write("question", terminal, pane, view="dialog", dialog="question")


def plan_question(capture: Capture) -> None:
    capture.model.on("make a plan", says("<proposed_plan>\n# Plan\n\n- do it\n</proposed_plan>"))
    with capture.codex_tui() as terminal:
        terminal.type("/plan make a plan")
        terminal.press("Enter")
        pane = terminal.settled(lambda text: "Implement this plan?" in text, seconds=8)
        capture.write("question_about_the_plan", terminal, pane, view="dialog", dialog="plan")


def login(capture: Capture) -> None:
    with capture.shell(is_logged_in=False) as terminal:
        capture.start(terminal)
        pane = terminal.settled(lambda text: "Sign in with" in text)
        capture.write("login", terminal, pane, view="login")


def trust(capture: Capture) -> None:
    with capture.shell(is_trusted=False, approval_policy=None, sandbox_mode=None) as terminal:
        capture.start(terminal)
        pane = terminal.settled(lambda text: "Trust this folder?" in text or "Do you trust" in text)
        capture.write("trust", terminal, pane, view="dialog", dialog="trust")


def hook_review(capture: Capture) -> None:
    hooks = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}}
    with capture.shell(files={"hooks.json": json.dumps(hooks)}) as terminal:
        capture.start(terminal)
        pane = terminal.settled(lambda text: "Hooks need review" in text)
        capture.write("hook_review", terminal, pane, view="dialog", dialog="hooks")


def newer_model(capture: Capture) -> None:
    for model in ("gpt-5.5", "gpt-5.2", "gpt-5.1-codex", "gpt-5-codex"):
        with capture.shell(model=model) as terminal:
            capture.start(terminal)
            try:
                pane = terminal.settled(lambda text: "Try new model" in text, seconds=5)
            except NotShownError:
                continue
            capture.write("newer_model", terminal, pane, view="dialog", dialog="model")
            return


def update(capture: Capture) -> None:
    version = {"latest_version": "99.0.0", "last_checked_at": "2099-01-01T00:00:00Z"}
    files = {"version.json": json.dumps(version)}
    with capture.shell(files=files, check_for_update_on_startup=True) as terminal:
        # Codex offers to update itself only if it knows how it was installed.
        terminal.press("-l", "export CODEX_MANAGED_BY_NPM=1")
        terminal.press("Enter")
        capture.start(terminal)
        pane = terminal.settled(lambda text: "Update available" in text and "1." in text, seconds=8)
        capture.write("update", terminal, pane, view="dialog", dialog="update")


def small_terminal(capture: Capture) -> None:
    with capture.codex_tui(size=(80, 24)) as terminal:
        capture.write("empty_in_a_small_terminal", terminal, terminal.pane(), view="empty")
        terminal.paste("look at this:\n        › 1. Yes\n  enter select · esc back\nis it a dialog?")
        pane = terminal.settled(lambda text: "is it a dialog" in text)
        capture.write("draft_that_resembles_a_dialog", terminal, pane, view="draft")
    approval(capture, (80, 24), "approval_in_a_small_terminal")


def resembling_text(capture: Capture) -> None:
    text = "Sure:\n\n  Would you like to\n› 1. Yes\n  2. No\n\nenter select · esc back\n\nWelcome to Codex, OpenAI's"
    capture.model.on("Show me a dialog", says(text))
    with capture.codex_tui() as terminal:
        terminal.type("Show me a dialog.")
        terminal.press("Enter")
        pane = terminal.settled(lambda shown: "Welcome to Codex" in shown and "esc to interrupt" not in shown)
        capture.write("answer_that_resembles_a_dialog", terminal, pane, view="empty")


SITUATIONS = (
    loading,
    drafts,
    completions,
    turn,
    unrecognized_command,
    menus,
    side_conversation,
    exit_and_resume,
    failed_start,
    approval,
    questions,
    plan_question,
    login,
    trust,
    hook_review,
    newer_model,
    update,
    small_terminal,
    resembling_text,
)


def main(codex: str, output: str, *names: str) -> None:
    """Captures all situations, or those of these functions."""
    with tempfile.TemporaryDirectory(prefix="mc-", dir="/tmp", ignore_cleanup_errors=True) as name, Model() as model:
        folder = Path(name)
        (folder / "tmux").mkdir()
        os.environ["TMUX_TMPDIR"] = str(folder / "tmux")
        os.environ.pop("TMUX", None)
        # Otherwise the server would exit between two situations.
        subprocess.run(["tmux", "-f", "/dev/null", "new-session", "-d", "-s", "idle", "sleep", "3600"], check=True)
        capture = Capture(Path(codex), Path(output), folder, model)
        try:
            for situation in SITUATIONS:
                if names and situation.__name__ not in names:
                    continue
                try:
                    situation(capture)
                except NotShownError as error:
                    shown = "\n".join(line for line in str(error).splitlines() if line.strip())
                    line = next(
                        each.lineno
                        for each in traceback.extract_tb(error.__traceback__)
                        if each.name == situation.__name__
                    )
                    print(
                        f"{situation.__name__}, line {line}: not shown; the terminal has:\n{shown}\n", file=sys.stderr
                    )
        finally:
            subprocess.run(["tmux", "kill-server"], capture_output=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
