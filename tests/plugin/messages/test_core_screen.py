"""What Codex's terminal shows, for Python. The cases are tested in Rust."""

import pytest

from mngr_codex._core import StartWatch, clean_message, is_slash_command, read_screen, typed_message

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


def test_a_start() -> None:
    ready = read_screen("codex", f"{EMPTY}\n\n  GPT-5.5 default · ~/work")
    shell = read_screen("bash", "ERROR: no session\n$ ")
    watch = StartWatch()
    assert [watch.add(ready, seconds, True) for seconds in (0.1, 0.2, 0.4)] == [None, None, "started"]
    watch = StartWatch()
    assert [watch.add(shell, seconds, True) for seconds in (0.1, 0.5)] == [None, "exited"]
    assert watch.add(shell, 0.6, False) is None
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r".+"):
            watch.add(ready, seconds, True)


def test_texts_of_messages() -> None:
    assert typed_message("!ls\x1b see @READ") == "\u2060!ls see @READ "
    assert clean_message("a\x1b[201~b\x03\r\nc\td") == "a[201~b\nc\td"
    assert is_slash_command("/model") and not is_slash_command("/tmp/x")
    with pytest.raises(UnicodeEncodeError):
        clean_message("\ud800")
