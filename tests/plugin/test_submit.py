"""What is typed behind a message, where a terminal shows what it should not: with a tmux that only says it does."""

import os
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

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

    def run(head: str, screen: str, command: str = "codex") -> tuple[str, str]:
        keys = tmp_path / "keys"
        keys.write_text("")
        (tmp_path / "screen").write_text(screen)
        (tmp_path / "command").write_text(f"{command}\n")
        variables = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            **{name.upper(): str(tmp_path / name) for name in ("screen", "command", "keys")},
            "LC_ALL": "C",
            "target": "it",
            "home": str(tmp_path / "home"),
            "permissions": str(tmp_path / "permissions_waiting"),
            "pattern": "none",
            "head": head,
            "is_command": "0",
            "shown_seconds": "1",
            "seconds": "4",
            "keys": "2",
        }
        script = (files("mngr_codex.plugin") / "submit.sh").read_text(encoding="utf-8")
        ran = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, timeout=30)
        return ran.stdout.strip(), keys.read_text()

    return run


@pytest.mark.parametrize("head", ["y", "1", "Try", "1. Other", "Try new model"])
def test_a_dialog_is_answered_by_no_message(submit: Submit, head: str) -> None:
    assert submit(head, "Meet GPT-6 Sol\n› 1. Try new model\n  2. Keep mine\n") == ("blocked", "")


def test_a_message_may_look_like_a_choice(submit: Submit) -> None:
    outcome, typed = submit("1. Try this", "› 1. Try this\n")
    assert outcome == "not-taken" and "Enter" in typed


def test_nothing_is_typed_into_a_shell(submit: Submit) -> None:
    outcome, typed = submit("Hello", "› Hello\n", command="bash")
    assert outcome == "ended" and typed.count("send-keys") == 1
