"""Calls that a program made itself in code mode, and the events that only repeat a call with lines of its own."""

import json
from typing import Any

import pytest

from tests.support.program import EMITTER, Record, convert, event_id
from tests.support.rollout_builder import PNG_BASE64, PNG_BYTES, START_MS, Rollout, compact, turn, uuid7

PROGRAM = "await tools.mcp__shop__find({id: 7})"
FOUND = {"content": [{"type": "text", "text": '{"name":"Teapot"}'}], "isError": False}
ADDED = {"/srv/a.txt": {"type": "add", "content": "teapot\n"}}
TOOLS = ("mcp_tool_call", "file_change")


def nested(rollout: Rollout, *arguments: str) -> list[tuple[str | None, str | None]]:
    """Returns the owning call and the rule of each call that a program made itself."""
    found = []
    for record in convert(rollout, *arguments).records:
        for owner, extra in [
            (None, record.get("extra", {})),
            *((result["source_call_id"], result["extra"]) for result in record.get("results", [])),
        ]:
            if extra.get("tool_name") in TOOLS:
                found.append((owner, extra[extra["tool_name"]].get("attribution")))
    return found


def details(**item: Any) -> Record:
    """Converts one call of an MCP tool, and returns its `mcp_tool_call`."""
    item = {"server": "shop", "tool": "find", "arguments": {"id": 7}, "result": FOUND} | item
    rollout = turn().custom_call("call_1").tool_item("McpToolCall", "exec-1", **item).custom_output("call_1")
    record: Record = convert(rollout.usage()).results[-1]["extra"]["mcp_tool_call"]
    return record


def changes_of(**item: Any) -> Record:
    """Converts one change of files, and returns its `file_change`."""
    rollout = turn().custom_call("call_1").tool_item("FileChange", "exec-1", **item).custom_output("call_1")
    record: Record = convert(rollout.usage()).results[-1]["extra"]["file_change"]
    return record


def program() -> Rollout:
    return turn().custom_call("call_1", input=PROGRAM)


def mcp_item(rollout: Rollout, item_id: str = "exec-1", **options: Any) -> Rollout:
    item = {"server": "shop", "tool": "find", "arguments": {"id": 7}, "result": FOUND} | options
    return rollout.tool_item("McpToolCall", item_id, **item)


def mcp_event(rollout: Rollout, call_id: str = "exec-1", result: Any = None, *, at: int | None = None) -> Rollout:
    """Appends the event of Codex up to 0.147."""
    return rollout.event(
        "mcp_tool_call_end",
        call_id=call_id,
        invocation={"server": "shop", "tool": "find", "arguments": {"id": 7}},
        duration={"secs": 0, "nanos": 7_000_000},
        result={"Ok": FOUND} if result is None else result,
        at=at,
    )


def patch_event(rollout: Rollout, call_id: str = "exec-1", **payload: Any) -> Rollout:
    members: dict[str, Any] = {"changes": ADDED, "success": True} | payload
    return rollout.event("patch_apply_end", call_id=call_id, **members)


def test_record_of_an_mcp_call() -> None:
    rollout = mcp_item(program(), "exec-9", started=4500, duration={"secs": 1, "nanos": 2_000_000})
    timestamp = rollout.timestamp
    rollout.custom_output("call_1", "said").usage()
    said, record = convert(rollout).observations
    assert said["results"][0]["content"] == "said"
    assert record == {
        "type": "observation",
        "event_id": event_id(timestamp, "exec-9", "command_execution"),
        "emitter": EMITTER,
        "timestamp": timestamp,
        "results": [
            {
                "source_call_id": "call_1",
                "content": "",
                "extra": {
                    "tool_name": "mcp_tool_call",
                    "mcp_tool_call": {
                        "server": "shop",
                        "tool": "find",
                        "arguments": {"id": 7},
                        "status": "completed",
                        "error": None,
                        "result": '{"name":"Teapot"}',
                        "duration_ms": 1002,
                        "started_at_ms": START_MS + 4500,
                        "completed_at_ms": START_MS + 4507,
                        "attribution": "running_program",
                    },
                },
            }
        ],
    }


def test_record_of_a_file_change() -> None:
    changes = ADDED | {
        "b": {"type": "update", "unified_diff": "@@ -1 +1 @@\n-x\n+é\n", "move_path": "c"},
        "d": {"type": "delete", "content": "gone"},
    }
    assert changes_of(changes=changes, stdout="Success.\n", stderr="", started=4500) == {
        "changes": [
            {"path": "/srv/a.txt", "kind": "add", "content": "teapot\n"},
            {"path": "b", "kind": "update", "move_path": "c", "diff": "@@ -1 +1 @@\n-x\n+é\n"},
            {"path": "d", "kind": "delete", "content": "gone"},
        ],
        "status": "completed",
        "error": None,
        "started_at_ms": START_MS + 4500,
        "completed_at_ms": START_MS + 4507,
        "attribution": "running_program",
    }


def test_a_failed_change_keeps_its_error() -> None:
    change = changes_of(changes={}, status="failed", stderr="no such file\n")
    assert (change["status"], change["error"], change["changes"]) == ("failed", "no such file\n", [])


def test_a_change_of_an_unknown_form_is_kept() -> None:
    assert changes_of(changes={"a": {"rename": "b"}, "c": 7})["changes"] == [
        {"path": "a", "kind": None, "change": {"rename": "b"}},
        {"path": "c", "kind": None, "change": 7},
    ]
    assert changes_of(changes=[{"path": "a"}])["changes"] == [{"path": "a"}]


@pytest.mark.parametrize("kind", ["event", "item"])
@pytest.mark.parametrize("is_answered", [True, False])
def test_the_event_of_a_call_with_lines_of_its_own_gives_no_record(kind: str, is_answered: bool) -> None:
    rollout = turn().custom_call("call_1", "apply_patch", "*** Begin Patch").call("call_2", "mcp__shop__find", "{}")
    if is_answered:
        rollout.custom_output("call_1").output("call_2")
    if kind == "event":
        patch_event(mcp_event(rollout, "call_2"), "call_1")
    else:
        mcp_item(rollout.tool_item("FileChange", "call_1", changes=ADDED, started=0), "call_2", started=0)
    if not is_answered:
        rollout.custom_output("call_1").output("call_2")
    conversion = convert(rollout.usage().complete())
    assert len(conversion.observations) == 2
    assert nested(rollout) == []
    names = (
        ("mcp_tool_call_end", "patch_apply_end")
        if kind == "event"
        else (f"item_completed/{it}" for it in ("McpToolCall", "FileChange"))
    )
    assert [conversion.summary.count(f"event_msg/{name}") for name in names] == [1, 1]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_repeated_call_is_recognized_in_any_form_of_line(separators: tuple[str, str]) -> None:
    rollout = turn().call("call_1", "mcp__shop__find", "{}")
    mcp_item(rollout, "call_1")
    rollout.lines[-1] = (
        json.dumps(json.loads(rollout.lines[-1]), separators=separators).replace("call_1", r"call\u005f1").encode()
    )
    assert nested(rollout.output("call_1").complete()) == []


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("is_answered", [False, True])
def test_an_event_before_the_line_of_its_call_gives_no_record(opened: bool, is_answered: bool) -> None:
    rollout = turn().call("call_1") if opened else turn()
    mcp_item(rollout, "call_2").call("call_2", "mcp__shop__find", "{}")
    if is_answered:
        rollout.output("call_2")
    if opened:
        rollout.output("call_1")
    assert nested(rollout.complete()) == []
    assert nested(rollout, "--partial") == []


def test_a_command_that_applies_a_patch_gives_no_second_record() -> None:
    rollout = turn().call("call_1").tool_item("FileChange", "call_1", changes=ADDED, started=4500).output("call_1")
    assert nested(rollout.complete()) == []


@pytest.mark.parametrize("item_id", ["exec-0b7d", "call_1-0", "x"])
@pytest.mark.parametrize("started", [4500, None])
def test_a_call_of_a_running_program_belongs_to_it(item_id: str, started: int | None) -> None:
    rollout = mcp_item(program(), item_id, started=started).custom_output("call_1").complete()
    assert nested(rollout) == [("call_1", "running_program")]


def test_older_events_belong_to_the_running_program() -> None:
    rollout = patch_event(mcp_event(program()), "exec-2").custom_output("call_1").complete()
    assert nested(rollout) == [("call_1", "running_program")] * 2
    call, change = (result["extra"] for result in convert(rollout).results[1:])
    assert call["mcp_tool_call"] | {"attribution": ""} == {
        "server": "shop",
        "tool": "find",
        "arguments": {"id": 7},
        "status": "completed",
        "error": None,
        "result": '{"name":"Teapot"}',
        "duration_ms": 7,
        "started_at_ms": None,
        "completed_at_ms": None,
        "attribution": "",
    }
    assert change["file_change"]["changes"] == [{"path": "/srv/a.txt", "kind": "add", "content": "teapot\n"}]
    assert change["file_change"]["status"] == "completed"


def test_a_failed_call_of_an_older_event() -> None:
    rollout = mcp_event(program(), result={"Err": "tool call error: no shop"}).custom_output("call_1").complete()
    call = convert(rollout).results[-1]["extra"]["mcp_tool_call"]
    assert (call["status"], call["error"], call["result"]) == ("failed", "tool call error: no shop", None)
    rollout = patch_event(program(), success=False, stderr="bad patch").custom_output("call_1").complete()
    change = convert(rollout).results[-1]["extra"]["file_change"]
    assert (change["status"], change["error"]) == ("failed", "bad patch")


@pytest.mark.parametrize("item_id", ["exec-1", "k1-0"])
def test_an_event_after_the_output_of_its_program_belongs_to_it(item_id: str) -> None:
    rollout = mcp_item(program().custom_output("call_1"), item_id, started=4500).assistant("done").usage().complete()
    assert nested(rollout) == [("call_1", "running_program")]
    rollout = mcp_item(program().custom_output("call_1"), item_id).assistant("done").usage().complete()
    assert nested(rollout) == [("call_1", "nearest_preceding_call_in_turn")]


def test_the_program_that_names_the_tool_is_preferred() -> None:
    rollout = turn().custom_call("call_1", input=PROGRAM).custom_call("call_2", input="await tools.apply_patch(p)")
    mcp_item(rollout, "exec-1").tool_item("FileChange", "exec-2", changes=ADDED)
    rollout.custom_output("call_1").custom_output("call_2").complete()
    assert nested(rollout) == [("call_1", "named_in_program"), ("call_2", "named_in_program")]


def test_a_program_that_continues_in_a_cell_owns_its_calls() -> None:
    rollout = program().custom_output("call_1", "Script running with cell ID 3\n")
    mcp_item(rollout, started=6000).call("call_2", "wait", '{"cell_id":"3"}').output("call_2", "Script completed")
    assert nested(rollout.complete()) == [("call_1", "running_program")]


def test_records_follow_their_programs_output_in_order() -> None:
    rollout = mcp_item(program(), "exec-1").command("exec-2", started=4500)
    rollout.tool_item("FileChange", "exec-3", changes=ADDED).custom_output("call_1").complete()
    names = [result["extra"]["tool_name"] for result in convert(rollout).results]
    assert names == ["exec", "mcp_tool_call", "command_execution", "file_change"]


def test_a_call_is_recorded_once() -> None:
    rollout = mcp_item(mcp_event(program(), "exec-1"), "exec-1").custom_output("call_1")
    assert len(nested(mcp_item(rollout, "exec-1").complete())) == 1


def test_nothing_is_written_before_the_programs_output() -> None:
    rollout = mcp_item(program())
    assert nested(rollout, "--partial") == []
    assert nested(rollout.aborted()) == [("call_1", "running_program")]


@pytest.mark.parametrize("tool", ["McpToolCall", "FileChange"])
def test_a_call_of_no_program_is_a_system_step(tool: str) -> None:
    rollout = turn().tool_item(tool, "exec-1", changes=ADDED, result=FOUND).complete()
    [step] = [step for step in convert(rollout).steps if step["source"] == "system"]
    assert "\n" not in step["message"]
    name = step["extra"]["tool_name"]
    assert name in TOOLS
    assert "attribution" not in step["extra"][name]
    assert b"eapot" in convert(rollout).stdout


def test_a_call_without_an_id_is_recorded() -> None:
    rollout = program().event("item_completed", item={"type": "McpToolCall", "tool": "find"}).custom_output("call_1")
    rollout.event("item_completed", item={"type": "FileChange"}).event("patch_apply_end").event("mcp_tool_call_end")
    assert [owner for owner, _ in nested(rollout.complete())] == ["call_1"] * 4


def test_copied_calls_are_marked() -> None:
    rollout = Rollout().meta(uuid7(9), forked_from_id=uuid7(1)).meta(uuid7(1)).started().context().user("go")
    mcp_item(rollout.custom_call("call_1", input=PROGRAM)).custom_output("call_1").complete()
    assert convert(rollout).results[-1]["extra"]["is_copied_context"] is True


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, None),
        ({"content": []}, ""),
        ("plain", '"plain"'),
        ({"content": [{"type": "text", "text": 'a"b'}, {"type": "text", "text": "c\né"}]}, 'a"b\nc\né'),
        (
            {"content": [{"type": "image", "data": PNG_BASE64, "mimeType": "image/png"}]},
            f"[image: image/png, {PNG_BYTES} bytes]",
        ),
        ({"content": [{"type": "audio", "data": "AAAA"}]}, "[audio, 3 bytes]"),
        ({"content": [{"type": "resource", "resource": {"uri": "a", "text": "hello"}}]}, "hello"),
        (
            {"content": [{"type": "resource", "resource": {"uri": "a", "mimeType": "b/c", "blob": "AAAA"}}]},
            "[resource: b/c, 3 bytes]",
        ),
        ({"content": [{"type": "new", "x": [1, "é"]}, 7]}, '{"type":"new","x":[1,"é"]}\n7'),
        ({"content": [], "structuredContent": {"a": 1}}, '{"a":1}'),
        (
            {"content": [{"type": "new", "url": "data:image/png;base64," + "A" * 400}]},
            '{"type":"new","url":"[300 bytes]"}',
        ),
    ],
)
def test_the_result_is_text_without_base64(result: Any, text: str | None) -> None:
    call = details(result=result)
    if result and "data:" in compact(result):
        assert "AAAA" not in call["result"]
        assert call["result"].startswith('{"type":"new","url":"[')
    else:
        assert call["result"] == text


def test_long_results_and_contents_are_cut() -> None:
    call = details(result={"content": [{"type": "text", "text": "é\n" * 6000}, {"type": "text", "text": "z" * 6000}]})
    assert call["result"] == "é\n" * 6000 + "\n" + "z" * 3999
    assert call["output_length"] == 18_001
    call = details(result={"content": [{"type": "new", "x": " é" * 10_000}]})
    assert len(call["result"]) == 16_000
    assert call["output_length"] == len(compact({"type": "new", "x": " é" * 10_000}))
    change = changes_of(
        changes={"a": {"type": "add", "content": "ab" * 10_000}, "b": {"type": "update", "unified_diff": "c" * 16_000}}
    )
    assert change["changes"] == [
        {"path": "a", "kind": "add", "content": "ab" * 8_000, "output_length": 20_000},
        {"path": "b", "kind": "update", "diff": "c" * 16_000},
    ]
    call = details(arguments={"text": "x " * 10_000}, error={"message": "no " * 10_000})
    assert len(call["arguments"]) == len(call["error"]) == 16_000
    assert call["arguments_length"] > 20_000


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [[{}]], {"Ok": 1}, {"content": {}}, {"message": []}])
def test_members_of_any_type_give_a_record(value: Any) -> None:
    names = ("server", "tool", "arguments", "status", "error", "result", "duration", "invocation", "changes", "stderr")
    for name in names:
        rollout = program().tool_item("McpToolCall", "exec-1", **{name: value})
        rollout.tool_item("FileChange", "exec-2", **{name: value}).custom_output("call_1").complete()
        assert len(nested(rollout)) == 2


def test_many_calls_wait_in_bounded_memory() -> None:
    rollout = program()
    for number in range(400):
        rollout.tool_item("FileChange", f"exec-{number}", changes={"a": {"type": "add", "content": "x" * 16_000}})
    owners = [owner for owner, _ in nested(rollout.custom_output("call_1").complete())]
    assert len(owners) == 400
    assert 0 < owners.count(None) < 250
