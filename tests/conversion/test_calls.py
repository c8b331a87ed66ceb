"""Tool calls and their outputs."""

import json
import math
from typing import Any

import pytest

from tests.support.program import EMITTER, Record, convert, event_id
from tests.support.rollout_builder import Rollout


def arguments_of(rollout: Rollout) -> Any:
    [step] = convert(rollout).steps
    return step["tool_calls"][0]["arguments"]


def test_function_call() -> None:
    invocation = '{"cmd": "ls -a", "yield_time_ms": 10000}'
    rollout = Rollout().call("call_9", "exec_command", invocation)
    assert convert(rollout.output("call_9")).steps == [
        {
            "type": "step",
            "event_id": event_id("2026-11-22T07:00:00.000Z", invocation, "assistant"),
            "emitter": EMITTER,
            "timestamp": "2026-11-22T07:00:00.000Z",
            "source": "agent",
            "message": "",
            "tool_calls": [
                {
                    "tool_call_id": "call_9",
                    "function_name": "exec_command",
                    "arguments": {"cmd": "ls -a", "yield_time_ms": 10000},
                }
            ],
        }
    ]


def test_custom_tool_call_takes_its_input() -> None:
    program = 'const r = await tools.exec_command({"cmd": "ls"});\ntext(r.output);\n'
    rollout = Rollout().custom_call("call_9", "exec", program)
    [step] = convert(rollout.custom_output("call_9")).steps
    assert step["tool_calls"] == [{"tool_call_id": "call_9", "function_name": "exec", "arguments": {"_raw": program}}]
    assert step["event_id"] == event_id(step["timestamp"], program, "assistant")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        (" \n\t", {}),
        ("{}", {}),
        ('{"a": 1}\n', {"a": 1}),
        ('{\n  "a":\n  [1,\n 2]}', {"a": [1, 2]}),
        ('{"a": {"b": null}, "a": 2}', {"a": 2}),
        ("[1]", {"_raw": "[1]"}),
        ("null", {"_raw": "null"}),
        ('"text"', {"_raw": '"text"'}),
        ("12", {"_raw": "12"}),
        ("{", {"_raw": "{"}),
        ('{"a": 1} x', {"_raw": '{"a": 1} x'}),
        ('{"a": 1,}', {"_raw": '{"a": 1,}'}),
        ('{"a": "\n"}', {"_raw": '{"a": "\n"}'}),
        ('{"a": NaN}', {"_raw": '{"a": NaN}'}),
        ('{"a": -Infinity}', {"_raw": '{"a": -Infinity}'}),
        ("*** Begin Patch\n漢 😀\n*** End Patch\n", {"_raw": "*** Begin Patch\n漢 😀\n*** End Patch\n"}),
        ('{"a": "\\u0000\\u001f\\u2028 漢 \\"q\\" \\\\"}', {"a": '\x00\x1f\u2028 漢 "q" \\'}),
        ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ('{"a": 1.0, "b": -0.5e-3}', {"a": 1.0, "b": -0.5e-3}),
        ('{"a": 1e999, "b": -0, "c": 1E-999}', {"a": math.inf, "b": 0, "c": 0.0}),
    ],
)
def test_arguments_are_the_parsed_object_or_the_raw_text(text: str, arguments: Record) -> None:
    rollout = Rollout().call(arguments=text)
    assert arguments_of(rollout) == arguments
    assert arguments_of(Rollout().custom_call(input=text)) == arguments


def test_arguments_that_are_not_a_string() -> None:
    assert arguments_of(Rollout().call(arguments={"a": [1, {"b": "c"}]})) == {"a": [1, {"b": "c"}]}
    assert arguments_of(Rollout().call(arguments=[1, "é"])) == {"_raw": '[1,"\\u00e9"]'}
    assert arguments_of(Rollout().call(arguments=None)) == {"_raw": "null"}
    assert arguments_of(Rollout().item("function_call", name="f", call_id="call_1")) == {}


@pytest.mark.parametrize(("depth", "parsed"), [(199, True), (202, False), (10_000, False)])
def test_arguments_nested_too_deep_stay_text(depth: int, parsed: bool) -> None:
    text = '{"a":' * depth + "1" + "}" * depth
    assert ("_raw" in arguments_of(Rollout().call(arguments=text))) is not parsed


@pytest.mark.parametrize(("digits", "parsed"), [(4300, True), (4301, False), (100_000, False)])
def test_arguments_with_an_integer_too_long_for_python_stay_text(digits: int, parsed: bool) -> None:
    for text in ('{"a":[-DIGITS]}', '{"a":"DIGITS","b":DIGITS}'):
        arguments = arguments_of(Rollout().call(arguments=text.replace("DIGITS", "7" * digits)))
        assert ("_raw" in arguments) is not parsed
    assert arguments_of(Rollout().call(arguments='{"a":"' + "7" * digits + '"}')) == {"a": "7" * digits}
    assert "_raw" not in arguments_of(Rollout().call(arguments='{"a":' + "7" * digits + ".5}"))


def test_call_without_a_call_id_gives_no_record() -> None:
    rollout = Rollout().item("function_call", name="f", arguments="{}").call(call_id="").output(call_id="")
    assert convert(rollout).records == []


def test_call_without_a_name() -> None:
    [step] = convert(Rollout().item("function_call", arguments="{}", call_id="c")).steps
    assert step["tool_calls"][0]["function_name"] == ""


def test_output_is_an_observation_of_its_call() -> None:
    rollout = Rollout().call("call_9", "update_plan").output("call_9", "Plan updated")
    assert convert(rollout).observations == [
        {
            "type": "observation",
            "event_id": event_id(rollout.timestamp, "Plan updated", "tool_result"),
            "emitter": EMITTER,
            "timestamp": rollout.timestamp,
            "results": [
                {
                    "source_call_id": "call_9",
                    "content": "Plan updated",
                    "extra": {"is_error": False, "tool_name": "update_plan"},
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("output", "content"),
    [
        ("", ""),
        ("line\n\tline \x1b[0m\x00 漢 😀", "line\n\tline \x1b[0m\x00 漢 😀"),
        ([], ""),
        ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}, {"text": "c"}], "abc"),
        ([{"type": "other", "n": 1.50, "t": "é"}, "s", 3, None], '{"type":"other","n":1.5,"t":"\\u00e9"}"s"3null'),
        ({"content": "x", "ok": True}, '{"content":"x","ok":true}'),
        (12, "12"),
        (None, "null"),
        (True, "true"),
    ],
)
def test_output_of_any_type_becomes_text(output: Any, content: str) -> None:
    rollout = Rollout().call().output(output=output)
    [observation] = convert(rollout).observations
    assert observation["results"][0]["content"] == content
    assert observation["event_id"] == event_id(rollout.timestamp, content, "tool_result")


def test_output_without_an_output_field_is_empty() -> None:
    [result] = convert(Rollout().call().item("function_call_output", call_id="call_1")).results
    assert result["content"] == ""


def test_long_output_is_not_truncated() -> None:
    text = "0123456789abcdef" * 20_000
    [result] = convert(Rollout().call().output(output=text)).results
    assert result["content"] == text


def test_custom_output_is_an_observation() -> None:
    rollout = Rollout().custom_call("call_9", "apply_patch").custom_output("call_9", [{"text": "Done"}])
    [result] = convert(rollout).results
    assert (result["source_call_id"], result["content"]) == ("call_9", "Done")
    assert result["extra"]["tool_name"] == "apply_patch"


def test_output_of_an_unknown_call() -> None:
    [result] = convert(Rollout().output("call_0", "late")).results
    assert result == {
        "source_call_id": "call_0",
        "content": "late",
        "extra": {"is_error": False, "tool_name": "unknown"},
    }


def test_arguments_with_line_breaks_stay_on_one_line() -> None:
    stream = convert(Rollout().call(arguments='{\n "a": 1,\r\n\t"b": [\n]}')).stdout
    assert stream.count(b"\n") == 2
    assert json.loads(stream.splitlines()[1])["tool_calls"][0]["arguments"] == {"a": 1, "b": []}
