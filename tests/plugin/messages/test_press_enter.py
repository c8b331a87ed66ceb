"""The script that presses Enter, with a fake tmux that shows given screens."""

import os
import shlex
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from mngr_codex.plugin.messages import screen as codex_screen

TMUX = """\
#!/bin/sh
case "$*" in
*capture-pane*) cat "$SCREEN" ;;
*display-message*) cat "$COMMAND" ;;
*send-keys*) echo "$*" >>"$KEYS" ;;
esac
"""

PressEnter = Callable[..., tuple[str, str]]


@pytest.fixture
def press_enter(tmp_path: Path) -> PressEnter:
    """Runs the script in a terminal with a given screen; returns the outcome and the keys."""
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
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            **{name.upper(): str(tmp_path / name) for name in ("screen", "command", "keys")},
            "LC_ALL": "C",
        }
        parameters = {
            "target": "it",
            "home": str(tmp_path / "home"),
            "permissions": str(tmp_path / "permissions_waiting"),
            "patterns": "none",
            "welcome": codex_screen.WELCOME,
            "hints": codex_screen.KEY_HINTS,
            "hints_above_composer": codex_screen.KEY_HINTS_ABOVE_COMPOSER,
            "head": head,
            "is_head_cut": "0",
            "ending": ending or head,
            "is_command": "0",
            "command": head.split()[0],
            "shown_seconds": "1",
            "seconds": "4",
            "keys": "2",
        }
        file = tmp_path / "parameters"
        file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in parameters.items()))
        script = (files("mngr_codex.plugin.messages") / "press_enter.sh").read_text(encoding="utf-8")
        command_line = ["bash", "-c", script, "press_enter", str(file)]
        ran = subprocess.run(command_line, env=environment, capture_output=True, text=True, timeout=30)
        assert not file.exists()
        return ran.stdout.strip(), keys.read_text()

    return run


@pytest.mark.parametrize("head", ["y", "1", "Try", "1. Other", "1. Try", "Try new model"])
def test_no_message_answers_a_dialog(press_enter: PressEnter, head: str) -> None:
    assert press_enter(head, "Meet GPT-6 Sol\n› 1. Try new model\n  2. Keep mine\n") == ("blocked", "")


def test_a_message_may_resemble_a_choice(press_enter: PressEnter) -> None:
    outcome, typed = press_enter("1. Try this", "› 1. Try this\n")
    assert outcome == "not-taken" and "Enter" in typed


def test_nothing_is_typed_into_a_shell(press_enter: PressEnter) -> None:
    outcome, typed = press_enter("Hello", "› Hello\n", command="bash")
    assert outcome == "ended" and typed.count("send-keys") == 1


def test_a_script_that_runs_codex_is_not_a_shell(press_enter: PressEnter) -> None:
    outcome, typed = press_enter("Hello", "› Hello\n", command="bash", groups="7 1")
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
    ids=["theme", "title", "resume", "pager", "above composer", "login"],
)
def test_nothing_is_typed_into_a_menu(press_enter: PressEnter, screen: str) -> None:
    assert press_enter("Hello", screen) == ("blocked", "")


@pytest.mark.parametrize(
    ("screen", "ending"),
    [
        ("            › 1. Yes\n            › 2. No\n\n› Hello\n\n  ? for shortcuts\n", ""),
        ("  a line\n  enter select · esc back\n", "enter select · esc back"),
        ("› Hello\n\n  ? / esc close\n", ""),
    ],
    ids=["conversation", "own last line", "overview"],
)
def test_text_that_resembles_a_dialog(press_enter: PressEnter, screen: str, ending: str) -> None:
    outcome, typed = press_enter("Hello", screen, ending=ending)
    assert outcome in ("not-taken", "unconfirmed") and "Enter" in typed


def test_a_message_that_is_not_taken_is_deleted_on_both_sides_of_the_cursor(press_enter: PressEnter) -> None:
    outcome, typed = press_enter("Hello", "› Hello\n\n  ? for shortcuts\n")
    assert outcome == "not-taken" and "C-u" in typed and "C-k" in typed


def test_without_its_parameters_nothing_is_typed(tmp_path: Path) -> None:
    script = (files("mngr_codex.plugin.messages") / "press_enter.sh").read_text(encoding="utf-8")
    command_line = ["bash", "-c", script, "press_enter", str(tmp_path / "missing")]
    ran = subprocess.run(command_line, capture_output=True, text=True, timeout=30, env={"PATH": os.environ["PATH"]})
    assert ran.stdout == "unsent\n"
