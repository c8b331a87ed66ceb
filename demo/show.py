"""Print a codex rollout as a transcript that one can read.

    python demo/show.py ROLLOUT

All that it knows of the rollout comes from `mngr_codex.iter_records`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import mngr_codex

Record = dict[str, Any]

_MARGIN = 22  # "12:29:26  agent       "
_LONGEST_TEXT_LINES = 12


def transcript(records: Iterable[Record], width: int) -> Iterator[str]:
    """The lines of the printed transcript, the sum of all tokens last."""
    tokens: Counter[str] = Counter()
    steps = 0
    last_model = None
    for record in records:
        match record["type"]:
            case "header":
                yield f"{record['emitter']}, {record['schema_version']}"
            case "step":
                steps += 1
                tokens.update(_tokens(record))
                model = _model(record)
                yield ""
                yield from _step(record, model if model != last_model else "", width)
                last_model = model or last_model
            case "observation":
                yield from _observation(record, width)
    yield ""
    yield f"{steps} steps, {_spoken(tokens)}"


def _step(step: Record, model: str, width: int) -> Iterator[str]:
    """One step: who and when in the margin, beside it what was thought, said and called, and what it cost."""
    parts = []
    if model:
        parts.append(f"({model})")
    if step.get("reasoning_content"):
        parts += _block("thinks: ", step["reasoning_content"], width)
    if step["message"]:
        parts += _block("", step["message"], width)
    for call in step.get("tool_calls", []):
        parts.append(f"calls {call['function_name']}")
        for name, value in call["arguments"].items():
            parts += _block(f"  {name}: ", str(value), width)
    if tokens := _tokens(step):
        parts.append(f"[{_spoken(tokens)}]")
    yield from _beside(_clock(step), step["source"], parts)


def _observation(observation: Record, width: int) -> Iterator[str]:
    """What came back from a call; the command that ran for it is told by its exit status alone."""
    for result in observation["results"]:
        extra = result.get("extra", {})
        command = extra.get("command_execution")
        if command:
            parts = [f"the command ended with status {command.get('exit_code')}"]
        else:
            parts = _block("", result.get("content") or "", width)
        yield ""
        yield from _beside(_clock(observation), "error" if extra.get("is_error") else "result", parts)


def _beside(clock: str, role: str, parts: list[str]) -> Iterator[str]:
    margin = f"{clock}  {role}"
    for part in parts or [""]:
        yield f"{margin:<{_MARGIN}}{part}".rstrip()
        margin = ""


def _block(label: str, text: str, width: int) -> list[str]:
    """Text in lines that fit, the first after the label; a long one is cut, and says so."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        # What a command printed may hold terminal escapes.
        line = "".join(character if character.isprintable() else " " for character in line)
        lines += textwrap.wrap(line, max(20, width - _MARGIN - len(label)), replace_whitespace=False) or [""]
    if len(lines) > _LONGEST_TEXT_LINES:
        left_out = len(lines) - _LONGEST_TEXT_LINES + 1
        lines[-left_out:] = [f"... {left_out} lines more"]
    return [f"{label if number == 0 else ' ' * len(label)}{line}" for number, line in enumerate(lines)]


def _clock(record: Record) -> str:
    return str(record["timestamp"])[11:19]


def _model(step: Record) -> str:
    return ", ".join(str(step[key]) for key in ("model_name", "reasoning_effort") if step.get(key))


def _tokens(step: Record) -> dict[str, int]:
    metrics = step.get("metrics") or {}
    names = {"prompt_tokens": "in", "cached_tokens": "of them cached", "completion_tokens": "out"}
    return {name: metrics[key] for key, name in names.items() if key in metrics}


def _spoken(tokens: dict[str, int]) -> str:
    return "tokens: " + (", ".join(f"{count:,} {name}" for name, count in tokens.items()) or "none reported")


def main() -> None:
    parser = argparse.ArgumentParser(description="Print a codex rollout as a transcript that one can read.")
    parser.add_argument("rollout", help="rollout-….jsonl or rollout-….jsonl.zst")
    arguments = parser.parse_args()
    width = min(shutil.get_terminal_size().columns, 110)
    try:
        for line in transcript(mngr_codex.iter_records(arguments.rollout), width):
            print(line)
    except (OSError, ValueError) as error:
        sys.exit(f"show: {error}")


if __name__ == "__main__":
    main()
