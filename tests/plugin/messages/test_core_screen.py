"""What Codex's terminal shows, for Python. The cases are tested in Rust."""

import pytest

from mngr_codex._core import clean_message, is_slash_command, read_screen

EMPTY = "\x1b[1m›\x1b[0m \x1b[2mAsk Codex to do anything"


def test_an_empty_composer() -> None:
    screen = read_screen("codex", f"• an answer\n{EMPTY}\n\n  GPT-5.5 default · ~/work")
    assert (screen.view, screen.dialog, screen.showing) == ("empty", None, None)
    assert (screen.row, screen.waiting_reason) == ("› Ask Codex to do anything", "END_OF_TURN")
    assert screen.is_started and screen.has_session_line
    assert screen.text == "• an answer\n› Ask Codex to do anything\n\n  GPT-5.5 default · ~/work"
    assert screen == read_screen("node", f"• an answer\n{EMPTY}\n\n  GPT-5.5 default · ~/work")


def test_a_dialog() -> None:
    screen = read_screen("codex", "  Would you like to run the following command?\n› 1. Yes, proceed (y)")
    assert (screen.view, screen.dialog, screen.showing) == ("dialog", "approval", "an approval request")
    assert (screen.waiting_reason, repr(screen)) == ("PERMISSIONS", "<Screen: approval>")


def test_a_shell() -> None:
    screen = read_screen("bash", f"$ . /a/launch_agent.sh\nERROR: no session\n{EMPTY}\n$ ")
    assert (screen.view, screen.is_started) == ("shell", False)
    assert screen.last_output[0] == "ERROR: no session"


def test_texts_of_messages() -> None:
    assert clean_message("a\x1b[201~b\x03\r\nc\td") == "a[201~b\nc\td"
    assert is_slash_command("/model") and not is_slash_command("/tmp/x")
    with pytest.raises(UnicodeEncodeError):
        clean_message("\ud800")
