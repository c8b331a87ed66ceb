"""Other tool calls than functions: web search, local shell, image generation, tool search, and unknown kinds."""

from typing import Any

import pytest

from tests.support.program import Record, convert
from tests.support.rollout_builder import PNG_BASE64, PNG_BYTES, Rollout, turn


def call_of(rollout: Rollout) -> Record:
    [step] = [step for step in convert(rollout.usage()).steps if step["source"] == "agent"]
    assert step["message"] == ""
    call: Record
    [call] = step["tool_calls"]
    return call


def test_web_search_call() -> None:
    action = {"type": "search", "query": "mock query", "queries": ["mock query", "second"]}
    rollout = turn().item(
        "web_search_call",
        id="ws_1",
        status="completed",
        action=action,
        internal_chat_message_metadata_passthrough={"turn_id": "t"},
    )
    assert call_of(rollout) == {"tool_call_id": "ws_1", "function_name": "web_search", "arguments": action}


def test_web_search_call_without_an_id_gets_the_event_id_of_its_step() -> None:
    rollout = Rollout().item("web_search_call", status="completed", action={"type": "search", "query": "q"})
    [step] = convert(rollout).steps
    assert step["tool_calls"][0]["tool_call_id"] == step["event_id"]


def test_local_shell_call_and_its_output() -> None:
    action = {"type": "exec", "command": ["ls"], "timeout_ms": 1000}
    rollout = turn().item("local_shell_call", call_id="call_7", status="completed", action=action).output("call_7", "a")
    conversion = convert(rollout.usage())
    assert conversion.steps[-1]["tool_calls"] == [
        {"tool_call_id": "call_7", "function_name": "local_shell", "arguments": action}
    ]
    [result] = conversion.results
    assert result == {
        "source_call_id": "call_7",
        "content": "a",
        "extra": {"is_error": False, "tool_name": "local_shell"},
    }


def test_local_shell_call_starts_commands() -> None:
    rollout = turn().item("local_shell_call", call_id="call_7", status="completed", action={"command": ["ls"]})
    rollout.command(started=rollout.clock + 1).output("call_7").usage()
    command = convert(rollout).results[-1]
    assert command["source_call_id"] == "call_7"
    assert command["extra"]["command_execution"]["attribution"] == "running_program"


def test_image_generation_call_has_no_image_bytes() -> None:
    rollout = turn().item(
        "image_generation_call", id="ig_1", status="completed", revised_prompt="a dot", result=PNG_BASE64
    )
    conversion = convert(rollout)
    assert PNG_BASE64.encode() not in conversion.stdout
    step = conversion.steps[-1]
    assert step["tool_calls"] == [
        {"tool_call_id": "ig_1", "function_name": "image_generation", "arguments": {"revised_prompt": "a dot"}}
    ]
    assert step["extra"]["images"] == [{"media_type": "image/png", "size": PNG_BYTES}]


def test_image_generation_call_keeps_its_parameters() -> None:
    parameters: dict[str, Any] = {"action": "generate", "size": "1024x1024", "revised_prompt": "a dot"}
    conversion = convert(
        turn().item("image_generation_call", id="ig_1", status="completed", **parameters, result=PNG_BASE64)
    )
    assert PNG_BASE64.encode() not in conversion.stdout
    step = conversion.steps[-1]
    assert step["tool_calls"][0]["arguments"] == parameters
    assert step["extra"] == {"images": [{"media_type": "image/png", "size": PNG_BYTES}]}


def test_other_members_of_a_call_are_kept() -> None:
    others: dict[str, Any] = {"server_label": "lab", "output": "done", "n": [1, {"é": None}]}
    rollout = turn().item(
        "mcp_call", id="mcp_1", status="completed", name="echo", arguments='{"a":1}', error=None, **others
    )
    step = convert(rollout).steps[-1]
    assert step["tool_calls"] == [{"tool_call_id": "mcp_1", "function_name": "echo", "arguments": {"a": 1}}]
    assert step["extra"] == {"codex": others}


def test_a_long_member_of_a_call_is_truncated() -> None:
    step = convert(turn().item("mcp_call", id="mcp_1", arguments="{}", output="x" * 20_000)).steps[-1]
    assert step["extra"] == {"codex": {"output": '"' + "x" * 15_999, "output_length": 20_002}}


def test_tool_search_call_and_its_output() -> None:
    tools = [{"type": "namespace", "name": "mcp__lab", "description": "é", "tools": []}]
    rollout = (
        turn()
        .item(
            "tool_search_call",
            id="tsc_1",
            call_id="call_2",
            status="completed",
            execution="client",
            arguments={"query": "lab_echo", "limit": 8},
        )
        .item("tool_search_output", id="tso_1", call_id="call_2", status="completed", execution="client", tools=tools)
        .usage()
    )
    conversion = convert(rollout)
    assert conversion.steps[-1]["tool_calls"] == [
        {"tool_call_id": "call_2", "function_name": "tool_search", "arguments": {"query": "lab_echo", "limit": 8}}
    ]
    assert "extra" not in conversion.steps[-1]
    [result] = conversion.results
    assert result == {
        "source_call_id": "call_2",
        "content": '[{"type":"namespace","name":"mcp__lab","description":"\\u00e9","tools":[]}]',
        "extra": {"is_error": False, "tool_name": "tool_search"},
    }


def test_call_id_is_preferred_to_the_items_id() -> None:
    call = call_of(turn().item("tool_search_call", id="tsc_1", call_id="call_2", arguments={}))
    assert call["tool_call_id"] == "call_2"


@pytest.mark.parametrize(
    ("payload", "name", "arguments"),
    [
        ({"arguments": '{"a": 1}'}, "future_tool", {"a": 1}),
        ({"arguments": "not json"}, "future_tool", {"_raw": "not json"}),
        ({"arguments": {"a": 1}}, "future_tool", {"a": 1}),
        ({"input": "program"}, "future_tool", {"_raw": "program"}),
        ({"action": {"b": 2}}, "future_tool", {"b": 2}),
        ({"action": [1]}, "future_tool", {"_raw": "[1]"}),
        ({"name": "given", "arguments": "{}"}, "given", {}),
        ({"x": 1, "y": {"z": None}}, "future_tool", {"x": 1, "y": {"z": None}}),
        ({"status": "completed", "internal_passthrough": {"turn_id": "t"}}, "future_tool", {}),
        ({"arguments": None, "action": {"b": 2}}, "future_tool", {"b": 2}),
        ({"arguments": None, "input": None, "action": None}, "future_tool", {}),
        ({"arguments": None, "x": None}, "future_tool", {"x": None}),
        ({"action": {"b": 2}, "x": None}, "future_tool", {"b": 2}),
        ({"action": {"b": 2}, "x": 1}, "future_tool", {"action": {"b": 2}, "x": 1}),
        ({"arguments": "{}", "x": 1}, "future_tool", {}),
    ],
)
def test_an_unknown_kind_of_call(payload: dict[str, Any], name: str, arguments: Record) -> None:
    rollout = turn().item("future_tool_call", call_id="call_5", **payload)
    assert call_of(rollout) == {"tool_call_id": "call_5", "function_name": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        ({"output": "text"}, "text"),
        ({"output": [{"text": "a"}, {"text": "b"}]}, "ab"),
        ({"tools": []}, "[]"),
        ({"output": None, "tools": [1]}, "[1]"),
        ({"output": None}, "null"),
        ({"id": "fto_1", "status": "completed", "x": [1], "y": "é"}, '{"x":[1],"y":"\\u00e9"}'),
    ],
)
def test_an_unknown_kind_of_output(payload: dict[str, Any], content: str) -> None:
    rollout = turn().item("future_tool_call", call_id="call_5", arguments="{}")
    [result] = convert(rollout.item("future_tool_output", call_id="call_5", **payload).usage()).results
    assert result == {
        "source_call_id": "call_5",
        "content": content,
        "extra": {"is_error": False, "tool_name": "future_tool"},
    }


def test_other_calls_get_the_metrics_of_their_inference() -> None:
    rollout = turn().assistant("I will search.").item("web_search_call", id="ws_1", action={"query": "q"}).usage(321)
    message, search = convert(rollout).steps[1:]
    assert "metrics" not in message
    assert search["metrics"]["prompt_tokens"] == 321
    assert search["model_name"] == "gpt-5.5"
