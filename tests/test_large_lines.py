"""Lines of many megabytes, of every kind: the records that they give, and the memory that they take."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import convert, program
from tests.support.rollout_builder import PNG_BASE64, Rollout

MIB = 2**20

#: The size of the text in a large line, in bytes.
LENGTH = 24_000_000

#: Has many characters that JSON escapes, twice in a call's arguments.
TEXT = 'a"b\n\\c \u00e9 ' * (LENGTH // 16)

#: More parts than the converter reads.
PARTS = 300_000


def item(kind: str, **members: Any) -> bytes:
    return Rollout().item(kind, at=0, **members).data


def message(content: list[dict[str, Any]]) -> bytes:
    return item("message", role="user", content=content)


def command(argv: list[str], output: str) -> bytes:
    return Rollout().command("exec-1", started=-1000, command=argv, aggregated_output=output).data


#: By kind: the allowed memory as a multiple of the line's size, and the line. Some kinds are parsed twice.
LINES: dict[str, tuple[int, Callable[[], bytes]]] = {
    "message": (1, lambda: message([{"type": "input_text", "text": TEXT}])),
    "white space": (1, lambda: message([{"type": "input_text", "text": "\n" * (LENGTH // 2)}])),
    "injected": (
        1,
        lambda: message([{"type": "input_text", "text": f"# AGENTS.md instructions for {TEXT}</INSTRUCTIONS>"}]),
    ),
    "audio": (
        1,
        lambda: message([{"type": "input_audio", "audio_url": "data:audio/wav;base64," + "AAAA" * 6_000_000}]),
    ),
    "image": (
        1,
        lambda: message([{"type": "input_image", "image_url": f"data:image/png;base64,{PNG_BASE64 * 200_000}"}]),
    ),
    "reasoning": (1, lambda: item("reasoning", summary=[{"type": "summary_text", "text": TEXT}])),
    "program": (1, lambda: item("custom_tool_call", call_id="c", name="exec", input=TEXT)),
    "output": (1, lambda: item("function_call_output", call_id="c", output=TEXT)),
    "output object": (1, lambda: item("function_call_output", call_id="c", output={"x": TEXT})),
    "compacted": (1, lambda: Rollout().line("compacted", {"message": TEXT}, at=0).data),
    "command": (1, lambda: command(["bash", "-lc", TEXT], "")),
    "command's words": (1, lambda: command(["echo", TEXT], "")),
    "command's output": (1, lambda: command(["ls"], TEXT)),
    "arguments": (2, lambda: item("function_call", call_id="c", name="shell", arguments=json.dumps({"cmd": TEXT}))),
    "action": (2, lambda: item("web_search_call", id="c", action={"query": TEXT})),
    "other call": (2, lambda: item("strange_call", id="c", anything=TEXT)),
}


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.not_emulated("the emulator's memory counts")
def test_memory_of_a_large_line(kind: str, tmp_path: Path) -> None:
    times, make = LINES[kind]
    line = make()
    path = tmp_path / "rollout.jsonl"
    # The memory of the first line must be released before the second one.
    path.write_bytes(Rollout().meta().data + line + line)
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-E",
            Path(__file__).parent / "support" / "peak_memory.py",
            program(),
            "convert",
            path,
            "--verbose",
            "-o",
            path.with_name("out"),
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    status, kib = map(int, done.stdout.split())
    assert status == 0
    assert b", 3 records written, 0 lines malformed" in done.stderr
    assert kib * 1024 <= 16 * MIB + times * len(line)


def test_long_texts_are_not_truncated() -> None:
    records = convert(
        item("message", role="user", content=[{"type": "input_text", "text": TEXT}])
        + item("function_call", call_id="c", name="shell", arguments=json.dumps({"cmd": TEXT}))
        + item("custom_tool_call", call_id="d", name="exec", input=TEXT)
        + item("function_call_output", call_id="c", output={"x": TEXT})
    ).records
    _, step, call, program_call, observation = records
    assert step["message"] == TEXT
    assert call["tool_calls"][0]["arguments"] == {"cmd": TEXT}
    assert program_call["tool_calls"][0]["arguments"] == {"_raw": TEXT}
    assert json.loads(observation["results"][0]["content"]) == {"x": TEXT}


def test_the_arguments_of_a_long_command_are_quoted() -> None:
    (step,) = convert(command(["echo", "safe" * 50_000, TEXT, "it's", ""], "")).steps
    cmd = step["extra"]["command_execution"]["cmd"]
    assert cmd == f"""echo {"safe" * 50_000} '{TEXT}' 'it'"'"'s' ''"""


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("# AGENTS.md instructions for x", "</INSTRUCTIONS>" + " " * 200_000),
        ("\n" * 200_000 + "<environment_context>", "</environment_context>"),
    ],
)
def test_a_long_text_of_codex_is_recognized(opening: str, closing: str) -> None:
    for end, source in ((closing, "system"), (closing + "x", "user")):
        (step,) = convert(message([{"type": "input_text", "text": opening + "x" * 200_000 + end}])).steps
        assert step["source"] == source


def test_a_list_of_too_many_parts_becomes_json() -> None:
    parts = [{"type": "input_text", "text": "x"}] * PARTS
    conversion = convert(message(parts) + item("function_call_output", call_id="c", output=parts))
    assert conversion.summary.malformed == 0
    assert json.loads(conversion.steps[0]["message"]) == parts
    assert json.loads(conversion.results[0]["content"]) == parts
