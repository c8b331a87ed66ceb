"""What a terminal of codex's shows, and how a message is told in a rollout."""

import json

import pytest

from mngr_codex.plugin.messages.send import Screen, cleaned, rollout_pattern

BOLD, DIM, OFF = "\x1b[1m", "\x1b[2m", "\x1b[0m\x1b[39m\x1b[49m"
EMPTY = f"{BOLD}›{OFF} {DIM}Ask Codex to do anything"


def screen(*lines: str, command: str = "codex") -> Screen:
    return Screen.of(command, "\n".join(lines))


def test_an_empty_composer_is_ready() -> None:
    seen = screen("  >_ OpenAI Codex (v0.163.0)", "     ~/work", "", EMPTY, "", "  ? for shortcuts")
    assert seen.is_ready and seen.is_up and seen.dialog is None


def test_codex_that_still_loads_is_not() -> None:
    boxed = ("│ >_ OpenAI Codex (v0.154.0)  │", "│                     │", "│ model:     loading   /model to change │")
    for head in (("  >_ OpenAI Codex (v0.163.0)", "     loading"), boxed):
        seen = screen("$ . launch", "", "", "", "", "", "WAITING", *head, "", EMPTY)
        assert not seen.is_ready and not seen.is_up
        # What was left of one that has ended.
        assert screen(*head, "$ . launch", "  >_ OpenAI Codex (v0.163.0)", "     ~/work", "", EMPTY).is_ready


def test_a_shell_is_not() -> None:
    assert not screen("$ echo", EMPTY, command="bash").is_ready


def test_a_draft_is_not_empty() -> None:
    seen = screen(f"{BOLD}›{OFF} a draft")
    assert not seen.is_ready
    assert seen.row == "› a draft"
    assert seen.dialog is None


@pytest.mark.parametrize(
    ("lines", "dialog"),
    [
        (("  Hooks need review", "", "› 1. Review hooks", "  2. Trust all"), "its review of hooks"),
        (
            ("  Would you like to run the following command?", "  $ true", "\x1b[1;7m› 1. Yes, proceed (y)"),
            "a question for approval",
        ),
        (("  Meet GPT-6 Sol", "› 1. Try new model", "  2. Use existing model"), "its question about a newer model"),
        (("  Select a review preset", "› 2. Review uncommitted changes"), "a choice to be made"),
        (
            ("  Select Syntax Theme", "› catppuccin-mocha (current)", "", "  enter select · esc back"),
            "a choice to be made",
        ),
        (
            (
                "  3. user (/tmp/a› 1. Yes, enable  Save",
                "  4. project    enter select · esc back",
                "",
                EMPTY,
                "  ? for",
            ),
            "a choice to be made",
        ),
    ],
)
def test_dialogs(lines: tuple[str, ...], dialog: str) -> None:
    """Also over a conversation, whose messages begin like the composer."""
    seen = screen(f"{BOLD}›{OFF} Ask for it.", "• Running true", *lines)
    assert seen.dialog == dialog
    assert not seen.is_ready


def test_dialogs_without_a_row_of_their_own() -> None:
    assert screen(" Resume a session", "  › 11s ago  hello", " enter resume   esc exit", " ↑/↓ browse").dialog
    assert screen("/ D I F F /", "No changes", " ↑/↓ to scroll", " q close").dialog
    assert screen("  Welcome to Codex, OpenAI's command-line coding agent", "  Finish signing in").dialog == "its login"
    beside = screen(
        f"{BOLD}›{OFF} {DIM}Ask a question", "", "  ? for shortcuts     Side from main thread · ^c to close"
    )
    assert "side conversation" in str(beside.dialog)


def test_what_only_looks_like_a_dialog() -> None:
    """Words of a conversation or of a draft."""
    words = "  enter select · esc back"
    assert (
        screen(words, "  Welcome to Codex, OpenAI's", "  Worked for 1s", EMPTY, "", "  ? for shortcuts").dialog is None
    )
    assert screen(f"{' ' * 8}› 1. Yes", f"{' ' * 8}› 2. No", "", EMPTY, "", "  ? for shortcuts").dialog is None
    assert screen(f"{BOLD}›{OFF} press enter", words, "", "  GPT-5.5 default · ~/work").dialog is None


def test_a_message_is_typed_without_control_characters() -> None:
    """An escape sequence would end the paste, and the rest would be keys."""
    assert cleaned("a\x1b[201~b\x03\x7f\x9bc\td\r\ne\rf\ng") == "a[201~bc\td\ne\nf\ng"
    assert cleaned("\ud800") == "?"


@pytest.mark.parametrize(
    "text",
    ["short", 'with "quotes" and \\', "lines\n\tand tabs", "ünïcödé \u2028 😀", "long " * 500, "\\" * 399 + "ab"],
)
def test_a_rollout_has_the_pattern_of_its_message(text: str) -> None:
    line = json.dumps({"role": "user", "content": [{"type": "input_text", "text": text.strip()}]}, ensure_ascii=False)
    assert rollout_pattern(text) in line.replace('": ', '":')
    assert len(rollout_pattern(text)) < 420


@pytest.mark.parametrize("text", ["/tmp/a b.png", "'~/x.JPG'", "file:///x.webp", "dot.png"])
def test_an_image_in_place_of_its_path(text: str) -> None:
    own, attached = rollout_pattern(text).split("\n")
    assert own in json.dumps({"text": text}, separators=(",", ":"))
    assert attached in json.dumps({"type": "input_image", "image_url": "data:"}, separators=(",", ":"))
    assert "\n" not in rollout_pattern(f"look at {text} now")


def test_a_short_message_is_not_found_in_a_longer_one() -> None:
    line = json.dumps({"content": [{"text": "yes please"}]}).replace('": ', '":')
    assert rollout_pattern("yes") not in line
