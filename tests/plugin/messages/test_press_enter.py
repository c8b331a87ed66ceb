"""What is typed behind a message, where a terminal shows what it should not: with a tmux that only says it does."""

import os
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from mngr_codex.plugin.messages import send

TMUX = """\
#!/bin/sh
case "$*" in
*capture-pane*) cat "$SCREEN" ;;
*display-message*) cat "$COMMAND" ;;
*send-keys*) echo "$*" >>"$KEYS" ;;
esac
"""

Submit = Callable[..., tuple[str, str]]


@pytest.fixture
def submit(tmp_path: Path) -> Submit:
    """Submits a message in a terminal that shows this; gives what became of it, and what was typed."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tmux").write_text(TMUX)
    (tmp_path / "bin/tmux").chmod(0o755)

    def run(head: str, screen: str, command: str = "codex", groups: str = "1 1", ending: str = "") -> tuple[str, str]:
        keys = tmp_path / "keys"
        keys.write_text("")
        (tmp_path / "screen").write_text(screen)
        (tmp_path / "bin/ps").write_text(f"#!/bin/sh\necho {groups}\n")
        (tmp_path / "bin/ps").chmod(0o755)
        (tmp_path / "command").write_text(f"{command}\n")
        variables = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            **{name.upper(): str(tmp_path / name) for name in ("screen", "command", "keys")},
            "LC_ALL": "C",
            "target": "it",
            "home": str(tmp_path / "home"),
            "permissions": str(tmp_path / "permissions_waiting"),
            "patterns": "none",
            "welcome": send._WELCOME,
            "hints": send._HINTS,
            "hints_beside": send._HINTS_BESIDE,
            "head": head,
            "is_head_cut": "0",
            "ending": ending or head,
            "is_command": "0",
            "command": head.split()[0],
            "shown_seconds": "1",
            "seconds": "4",
            "keys": "2",
        }
        script = (files("mngr_codex.plugin.messages") / "press_enter.sh").read_text(encoding="utf-8")
        ran = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, timeout=30)
        return ran.stdout.strip(), keys.read_text()

    return run


@pytest.mark.parametrize("head", ["y", "1", "Try", "1. Other", "1. Try", "Try new model"])
def test_a_dialog_is_answered_by_no_message(submit: Submit, head: str) -> None:
    assert submit(head, "Meet GPT-6 Sol\n› 1. Try new model\n  2. Keep mine\n") == ("blocked", "")


def test_a_message_may_look_like_a_choice(submit: Submit) -> None:
    outcome, typed = submit("1. Try this", "› 1. Try this\n")
    assert outcome == "not-taken" and "Enter" in typed


def test_nothing_is_typed_into_a_shell(submit: Submit) -> None:
    outcome, typed = submit("Hello", "› Hello\n", command="bash")
    assert outcome == "ended" and typed.count("send-keys") == 1


def test_a_script_that_runs_codex_is_no_shell(submit: Submit) -> None:
    outcome, typed = submit("Hello", "› Hello\n", command="bash", groups="7 1")
    assert outcome == "not-taken" and typed.count("Enter") > 1


@pytest.mark.parametrize(
    "screen",
    [
        "Select Syntax Theme\n› catppuccin-mocha (current)\n\n  enter select · esc back\n",
        "› a [x] message\n  Configure\n› [x] activity\n  space toggle · enter save · esc cancel\n",
        "Resume a session\n  › 11s ago  hello\n enter resume   esc exit   ^c exit\n ^o comfortable view   ↑/↓ browse\n",
        "/ D I F F /\nNo changes\n ↑/↓ to scroll\n q close\n",
        "a word of the conv› 1. Yes, enable\n  and ano         enter select · esc back\n\n› Hello\n\n  ? for\n",
        "  Welcome to Codex, OpenAI's command-line coding agent\n> 1. Sign in with ChatGPT\n",
    ],
    ids=["theme", "title", "resume", "pager", "beside", "login"],
)
def test_nothing_is_typed_into_what_a_command_has_opened(submit: Submit, screen: str) -> None:
    assert submit("Hello", screen) == ("blocked", "")


@pytest.mark.parametrize(
    ("screen", "ending"),
    [
        ("            › 1. Yes\n            › 2. No\n\n› Hello\n\n  ? for shortcuts\n", ""),
        ("  a line\n  enter select · esc back\n", "enter select · esc back"),
        ("› Hello\n\n  ? / esc close\n", ""),
    ],
    ids=["conversation", "own last line", "overview"],
)
def test_what_only_looks_like_a_dialog(submit: Submit, screen: str, ending: str) -> None:
    outcome, typed = submit("Hello", screen, ending=ending)
    assert outcome in ("not-taken", "unconfirmed") and "Enter" in typed


def test_what_is_not_taken_is_deleted_on_both_sides_of_the_cursor(submit: Submit) -> None:
    outcome, typed = submit("Hello", "› Hello\n\n  ? for shortcuts\n")
    assert outcome == "not-taken" and "C-u" in typed and "C-k" in typed
