"""The text of messages, and how it is found in rollouts."""

import json

import pytest

from mngr_codex.plugin.messages.text import as_typed, cleaned, is_slash_command, rollout_pattern


def test_control_characters_are_removed() -> None:
    """An escape sequence would end the paste, and the following characters would be keys."""
    assert cleaned("a\x1b[201~b\x03\x7f\x9bc\td\r\ne\rf\ng") == "a[201~bc\td\ne\nf\ng"
    assert cleaned("\ud800") == "?"


@pytest.mark.parametrize(
    "text",
    ["short", 'with "quotes" and \\', "lines\n\tand tabs", "ünïcödé \u2028 😀", "long " * 500, "\\" * 399 + "ab"],
)
def test_the_pattern_occurs_in_the_messages_rollout(text: str) -> None:
    line = json.dumps({"role": "user", "content": [{"type": "input_text", "text": text.strip()}]}, ensure_ascii=False)
    assert rollout_pattern(text) in line.replace('": ', '":')
    assert len(rollout_pattern(text)) < 420


@pytest.mark.parametrize("text", ["/tmp/a b.png", "'~/x.JPG'", "file:///x.webp", "dot.png"])
def test_the_pattern_of_an_attached_image(text: str) -> None:
    own, attached = rollout_pattern(text).split("\n")
    assert own in json.dumps({"text": text}, separators=(",", ":"))
    assert attached in json.dumps({"type": "input_image", "image_url": "data:"}, separators=(",", ":"))
    assert "\n" not in rollout_pattern(f"look at {text} now")


def test_the_pattern_of_a_short_message_does_not_match_a_longer_one() -> None:
    line = json.dumps({"content": [{"text": "yes please"}]}).replace('": ', '":')
    assert rollout_pattern("yes") not in line


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("hello", "hello"),
        ("  !rm -r x", "\u2060!rm -r x"),
        ("see @READ", "see @READ "),
        ("use $skill", "use $skill "),
        ("/comp", "/comp "),
        ("/tmp/file", "/tmp/file"),
    ],
)
def test_the_typed_text_is_neither_run_nor_completed(text: str, typed: str) -> None:
    assert as_typed(text) == typed


@pytest.mark.parametrize(
    ("text", "is_command"), [("/model", True), ("/review now", True), ("/tmp/x", False), ("a /b", False)]
)
def test_slash_commands(text: str, is_command: bool) -> None:
    assert is_slash_command(text) is is_command
