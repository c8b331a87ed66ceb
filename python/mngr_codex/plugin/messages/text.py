"""The typed text of a message, and the pattern by which a rollout contains it."""

from __future__ import annotations

import json
import re

_MAXIMUM_PATTERN_LENGTH = 400
# Codex would run a message that begins with `!` as the user's own shell command, outside sandbox and approvals. A
# leading zero-width character prevents that.
_WORD_JOINER = "\u2060"
# Codex completes the last word if it names a file or a skill.
_COMPLETED_WORD = re.compile(r"(?:^|\s)[@$]\S*\Z")
# Codex runs these as commands, or reports that it does not recognize them.
_SLASH_COMMAND = re.compile(r"/[^\s/]+(?=\s|$)")
# Codex attaches the image instead of the text if a message is the path of an image.
_IMAGE = re.compile(r".*\.(?:png|jpe?g|gif|webp|bmp)['\"]?", re.IGNORECASE)
# Escape sequences would end the paste, and the following characters would be keys.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def cleaned(message: str) -> str:
    """Returns a message without control characters other than tabs and line breaks."""
    text = message.encode("utf-8", "replace").decode()
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def as_typed(text: str) -> str:
    """Returns a cleaned message so that Codex does not run or complete it when it is typed."""
    if text.lstrip().startswith("!"):
        text = _WORD_JOINER + text.lstrip()
    if _COMPLETED_WORD.search(text) or re.fullmatch(r"/[^\s/]*", text):
        # Otherwise Enter would accept a completion instead of sending the message.
        text += " "
    return text


def is_slash_command(text: str) -> bool:
    """Returns whether Codex may run a message as a command."""
    return _SLASH_COMMAND.match(text) is not None


def rollout_pattern(text: str) -> str:
    """Returns a text that a rollout's line with this message contains: its beginning, or all of a short message.

    For the path of an image, a second line contains the pattern for the attached image.
    """
    if _IMAGE.fullmatch(text.strip()):
        return f'"text":"{json.dumps(text.strip(), ensure_ascii=False)[1:-1]}"\n"type":"input_image"'
    escaped = json.dumps(text.strip(), ensure_ascii=False)[1:-1]
    if len(escaped) <= _MAXIMUM_PATTERN_LENGTH:
        return f'"text":"{escaped}"'
    # The pattern must not end within an escape; the longest has six characters.
    shortened = re.match(r"(?:\\u[0-9a-f]{4}|\\.|[^\\])*", escaped[:_MAXIMUM_PATTERN_LENGTH])
    return f'"text":"{shortened[0] if shortened else ""}'
