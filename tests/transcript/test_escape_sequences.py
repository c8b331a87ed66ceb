"""No field of a session can send control sequences to the reader's terminal."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import run
from tests.support.transcript_records import HEADER, State

#: Text that must not be printed, and how it is shown instead.
HARMFUL = {
    "\x1b[2J\x1b[H": "^[[2J^[[H",
    "\x1b]52;c;aGk=\x07": "^[]52;c;aGk=^G",
    "\x1b]0;title\x1b\\": "^[]0;title^[\\",
    "\x9b31m": "<U+009B>31m",
    "\u202egnp.exe": "<U+202E>gnp.exe",
    "\u2066x\u2069": "<U+2066>x<U+2069>",
    "\x08\x08": "^H^H",
    "a\rb": "a^Mb",
    "\x7f": "^?",
    "\u200b\ufeff": "<U+200B><U+FEFF>",
    "\x00": "^@",
    "\u2028": "<U+2028>",
}

COLOR = re.compile(r"\x1b\[[0-9;]*m")


def session(text: str) -> list[Any]:
    """Returns the records of a session with the text in every field."""
    framing = {"event_id": text, "emitter": text, "timestamp": text}
    command = {"cmd": text, "status": text, "output": text, "exit_code": 1, "duration_ms": 5, "cwd": text}
    images = [{"media_type": text, "size": 5}]
    tool = {"server": text, "tool": text, "arguments": {"a": text}, "status": text, "error": text, "result": text}
    change = {"path": text, "kind": text, "content": text, "diff": text, "change": text}
    goal = {"payload_type": "thread_goal_updated", "payload": {"goal": {"objective": text, "status": text}}}
    finding = {"title": text, "body": text, "code_location": {"absolute_file_path": text, "line_range": {"start": 1}}}
    review = {"overall_explanation": text, "findings": [finding]}
    return [
        {"type": "step", **framing, "source": text, "message": text},
        {"type": "step", **framing, "source": "user", "message": [{"type": "text", "text": text}]},
        {"type": "step", **framing, "source": "user", "message": [{"type": "image", "source": {"media_type": text}}]},
        {"type": "step", **framing, "source": "user", "message": f"<turn_aborted>{text}", "is_copied_context": True},
        {
            "type": "step",
            **framing,
            "source": "agent",
            "message": text,
            "reasoning_content": text,
            "model_name": text,
            "reasoning_effort": text,
            "extra": {"author": text, "recipient": text, "images": images, "codex": {"type": text}},
            "tool_calls": [
                {"tool_call_id": text, "function_name": text, "arguments": {text: text}},
                {"tool_call_id": text, "function_name": "exec_command", "arguments": {"cmd": text}},
                {"tool_call_id": text, "function_name": "shell", "arguments": {"command": ["bash", "-lc", text]}},
                {"tool_call_id": text, "function_name": "x", "arguments": {"_raw": text}, "extra": {"images": images}},
                {
                    "tool_call_id": text,
                    "function_name": "apply_patch",
                    "arguments": {"input": f"*** Add File: {text}\n+{text}\n"},
                },
            ],
        },
        {
            "type": "step",
            **framing,
            "source": "system",
            "message": text,
            "observation": {"results": [{"content": text}]},
        },
        *(
            {"type": "step", **framing, "source": "system", "message": text, "extra": {"codex": codex}}
            for codex in (
                {"payload_type": text, "payload": {text: text}},
                goal,
                {"payload_type": "exited_review_mode", "payload": {"review_output": review}},
            )
        ),
        {
            "type": "observation",
            **framing,
            "results": [
                {
                    "source_call_id": text,
                    "content": f"Exit code: {text}\nOutput:\n{text}",
                    "extra": {"tool_name": text},
                },
                {"source_call_id": text, "content": [{"type": "text", "text": text}], "extra": {"is_error": True}},
                {"source_call_id": text, "content": "", "extra": {"command_execution": command, "images": images}},
                {"source_call_id": text, "content": "", "extra": {"mcp_tool_call": tool}},
                {"source_call_id": text, "content": "", "extra": {"file_change": {"changes": [change], "error": text}}},
            ],
        },
        {"type": text, **framing},
        {text: text},
    ]


@pytest.mark.parametrize("full", [[], ["--full"]], ids=["", "full"])
@pytest.mark.parametrize("text", HARMFUL, ids=lambda text: ascii(text))
@pytest.mark.parametrize("is_escaped", [True, False], ids=["escaped", "raw"])
def test_control_characters_are_escaped_in_every_field(
    state: State, text: str, full: list[str], is_escaped: bool
) -> None:
    state.write(HEADER, *(json.dumps(record, ensure_ascii=is_escaped) for record in session(text)))
    shown = run("transcript", "fix-it", "--color", "never", *full).stdout.decode()
    assert not [
        character
        for character in shown
        if (ord(character) < 32 or character in text) and character in HARMFUL_CHARACTERS
    ]
    assert shown.count(HARMFUL[text]) > 15
    colored = run("transcript", "fix-it", "--color", "always", *full).stdout.decode()
    assert COLOR.sub("", colored) == shown


@pytest.mark.parametrize(
    "text",
    [
        "&#27;[2J &#x1b;]52;c;aGk=&#7; &#155;31m &#x202e;x &#0;",
        "[a](&#27;[2J) ![&#27;]0;x](b) <b title=&#27;>",
        "**\x1b[2J** `\x1b[2J` ```\n\x1b]0;x\x07\n```",
        "| &#27; |\n|---|\n| \x1b[2J |",
        "# \x1b[2J\n> &#27;\n1. \x9b",
    ],
)
def test_markdown_sends_nothing_to_the_terminal_either(state: State, text: str) -> None:
    """A character reference is a control character only after parsing."""
    state.write(HEADER, json.dumps(step_of_agent(text)))
    shown = COLOR.sub("", run("transcript", "fix-it", "--color", "always").stdout.decode())
    assert not [character for character in shown if character in HARMFUL_CHARACTERS]
    assert "^[" in shown or "<U+" in shown


def step_of_agent(text: str) -> dict[str, Any]:
    framing = {"event_id": "e", "emitter": "t", "timestamp": "2026-01-01T12:30:00.000Z"}
    return {"type": "step", **framing, "source": "agent", "message": text, "reasoning_content": text}


HARMFUL_CHARACTERS = {
    character
    for text in HARMFUL
    for character in text
    if not (character.isascii() and character.isprintable()) and character != "\n"
}


def test_messages_about_invalid_lines_are_escaped(state: State) -> None:
    state.append("\x1b[31m", '{"type":"step","\x1b]0;x\x07')
    done = run("transcript", "fix-it")
    assert done.status == 0 and done.stderr
    assert "\x1b" not in done.stderr and "\x07" not in done.stderr


def test_errors_of_a_document_are_escaped(state: State, tmp_path: Path) -> None:
    """An error names the offset of a line, and not its text."""
    state.append(json.dumps({"type": "step", "\x1b]0;x\x07": 1}, ensure_ascii=False).replace("\\u001b", "\\u001b"))
    done = run("transcript", "fix-it", "--format", "atif")
    assert done.status == 1
    assert "\x1b" not in done.stderr
