"""What Codex's terminal shows."""

import pytest

from mngr_codex.plugin.messages.screen import Screen

BOLD, DIM, OFF = "\x1b[1m", "\x1b[2m", "\x1b[0m\x1b[39m\x1b[49m"
EMPTY = f"{BOLD}›{OFF} {DIM}Ask Codex to do anything"


def screen(*lines: str, command: str = "codex") -> Screen:
    return Screen.parse(command, "\n".join(lines))


def test_an_empty_composer_is_ready() -> None:
    seen = screen("  >_ OpenAI Codex (v0.163.0)", "     ~/work", "", EMPTY, "", "  ? for shortcuts")
    assert seen.is_ready and seen.is_started and seen.dialog is None


def test_a_loading_codex_is_not_ready() -> None:
    boxed = ("│ >_ OpenAI Codex (v0.154.0)  │", "│                     │", "│ model:     loading   /model to change │")
    for head in (("  >_ OpenAI Codex (v0.163.0)", "     loading"), boxed):
        seen = screen("$ . launch", "", "", "", "", "", "WAITING", *head, "", EMPTY)
        assert not seen.is_ready and not seen.is_started
        # The loading screen of an earlier Codex is ignored.
        assert screen(*head, "$ . launch", "  >_ OpenAI Codex (v0.163.0)", "     ~/work", "", EMPTY).is_ready


def test_a_codex_that_looks_for_its_session_is_not_ready() -> None:
    """It exits if it does not find the session (0.163, 0.171)."""
    head = ("  >_ OpenAI Codex (v0.163.0)", "     ~/work")
    seen = screen(*head, "  Resuming session…", "", EMPTY, "", "  ? for shortcuts")
    assert not seen.is_ready and not seen.is_started
    assert screen(*head, "", "", "› hello", "  Resuming session…", "", EMPTY, "", "  ? for shortcuts").is_ready


@pytest.mark.parametrize(
    ("footer", "has_line"),
    [
        (("", "  ? for shortcuts"), False),
        (("", "  ← for agents · ? for shortcuts"), False),
        ((), False),
        (("", "  GPT-5.5 default · ~/work", "  ? for shortcuts"), True),
        # Without a status line (0.163), and 0.138.
        (("", "  ? for shortcuts            100% context left"), True),
        (("", "  gpt-5.5 default · ~/work"), True),
    ],
)
def test_the_line_with_the_model_shows_a_started_session(footer: tuple[str, ...], has_line: bool) -> None:
    assert screen("› an earlier message", "• an answer", EMPTY, *footer).has_session_line is has_line


def test_a_shell_is_not_ready() -> None:
    assert not screen("$ echo", EMPTY, command="bash").is_ready


def test_a_draft_is_not_ready() -> None:
    seen = screen(f"{BOLD}›{OFF} a draft")
    assert not seen.is_ready
    assert seen.row == "› a draft"
    assert seen.dialog is None


@pytest.mark.parametrize(
    ("lines", "dialog"),
    [
        (("  Hooks need review", "", "› 1. Review hooks", "  2. Trust all"), "its hook review"),
        (
            ("  Would you like to run the following command?", "  $ true", "\x1b[1;7m› 1. Yes, proceed (y)"),
            "an approval request",
        ),
        (("  Meet GPT-6 Sol", "› 1. Try new model", "  2. Use existing model"), "a question about a newer model"),
        (("  Select a review preset", "› 2. Review uncommitted changes"), "a menu"),
        (
            ("  Select Syntax Theme", "› catppuccin-mocha (current)", "", "  enter select · esc back"),
            "a menu",
        ),
        (
            # A question of the model, on 0.171. The last row that begins like a composer is the user's message.
            (
                "  Question 1/1 (1 unanswered)",
                "  Which color?",
                f"  {BOLD}› 1. red   the red one",
                "    2. blue  the blue one",
                "",
                f"  tab to add notes{DIM} | {BOLD}enter{OFF} to submit answer{DIM} | {BOLD}esc{OFF} to interrupt",
            ),
            "a question",
        ),
        (
            # A form of an MCP server, on 0.171.
            (
                "  Field 1/1 (1 required unanswered)",
                "  Which color?",
                f"  {BOLD}›{OFF} {DIM}Type your answer",
                f"  {BOLD}enter{OFF} to submit{DIM} | {BOLD}esc{OFF} to cancel",
            ),
            "a menu",
        ),
        (
            (
                "  3. user (/tmp/a› 1. Yes, enable  Save",
                "  4. project    enter select · esc back",
                "",
                EMPTY,
                "  ? for",
            ),
            "a menu",
        ),
    ],
)
def test_dialogs(lines: tuple[str, ...], dialog: str) -> None:
    """They are detected below a conversation too, although its messages begin like the composer."""
    seen = screen(f"{BOLD}›{OFF} Ask for it.", "• Running true", *lines)
    assert seen.dialog == dialog
    assert not seen.is_ready


def test_dialogs_without_a_selected_row() -> None:
    assert screen(" Resume a session", "  › 11s ago  hello", " enter resume   esc exit", " ↑/↓ browse").dialog
    assert screen("/ D I F F /", "No changes", " ↑/↓ to scroll", " q close").dialog
    assert (
        screen("  Welcome to Codex, OpenAI's command-line coding agent", "  Finish signing in").dialog
        == "its login screen"
    )
    side = screen(f"{BOLD}›{OFF} {DIM}Ask a question", "", "  ? for shortcuts     Side from main thread · ^c to close")
    assert "side conversation" in str(side.dialog)


def test_text_that_resembles_a_dialog() -> None:
    """It is part of a conversation or of a draft."""
    words = "  enter select · esc back"
    assert (
        screen(words, "  Welcome to Codex, OpenAI's", "  Worked for 1s", EMPTY, "", "  ? for shortcuts").dialog is None
    )
    assert screen(f"{' ' * 8}› 1. Yes", f"{' ' * 8}› 2. No", "", EMPTY, "", "  ? for shortcuts").dialog is None
    assert screen(f"{BOLD}›{OFF} press enter", words, "", "  GPT-5.5 default · ~/work").dialog is None


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((EMPTY, "", "  ? for shortcuts"), "END_OF_TURN"),
        ((f"{BOLD}›{OFF} a draft",), "END_OF_TURN"),
        (("  Welcome to Codex, OpenAI's command-line coding agent", "> 1. Sign in with ChatGPT"), "LOGIN"),
        (("  Select a review preset", "› 2. Review uncommitted changes"), "DIALOG"),
        (("  Do you trust the contents of this directory?", "› 1. Yes, continue"), "DIALOG"),
        (("  Would you like to run the following command?", "› 1. Yes, proceed (y)"), "PERMISSIONS"),
        (("  Which color?", "› 1. red", "  tab to add notes | enter to submit answer"), "QUESTION"),
        (("  Implement this plan?", "› 1. Yes, implement this plan"), "QUESTION"),
    ],
)
def test_the_screen_shows_why_an_agent_waits(lines: tuple[str, ...], reason: str) -> None:
    assert screen(*lines).waiting_reason == reason
