"""Known lines that give no record: the program counts each kind."""

from typing import Any

import pytest

from tests.support.program import convert
from tests.support.rollout_builder import Rollout, turn, uuid7

ITEM_KINDS = [
    "AgentMessage",
    "CollabAgentToolCall",
    "ContextCompaction",
    "HookPrompt",
    "ImageView",
    "Reasoning",
    "SubAgentActivity",
    "UserMessage",
    "WebSearch",
    "SomethingNew",
]

DISPLAY_EVENTS = [
    "agent_message",
    "agent_reasoning",
    "context_compacted",
    "image_generation_end",
    "sub_agent_activity",
    "task_started",
    "thread_settings_applied",
    "user_message",
    "web_search_end",
]


#: (name in the summary, type, payload) of every kind that is skipped.
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    *((f"event_msg/{name}", "event_msg", {"type": name, "message": "x"}) for name in DISPLAY_EVENTS),
    *(
        (f"event_msg/item_completed/{name}", "event_msg", {"type": "item_completed", "item": {"type": name, "id": "i"}})
        for name in ITEM_KINDS
    ),
    ("response_item/message/developer", "response_item", {"type": "message", "role": "developer", "content": []}),
    ("response_item/ghost_snapshot", "response_item", {"type": "ghost_snapshot", "ghost_commit": {"id": "77dc"}}),
    ("response_item/additional_tools", "response_item", {"type": "additional_tools", "tools": []}),
    (
        "response_item/configuration_update",
        "response_item",
        {"type": "configuration_update", "reasoning": {"effort": "low"}},
    ),
    ("world_state", "world_state", {"full": True, "state": {}}),
    ("inter_agent_communication_metadata", "inter_agent_communication_metadata", {"trigger_turn": True}),
    ("token_usage_record", "token_usage_record", {"usage": {}}),
    ("retained_context", "retained_context", {"type": "verified_answer", "questions": []}),
]


@pytest.mark.parametrize(("name", "kind", "payload"), KINDS, ids=[name for name, _, _ in KINDS])
def test_known_kinds_without_a_record_are_counted(name: str, kind: str, payload: dict[str, Any]) -> None:
    conversion = convert(Rollout().user("before").line(kind, payload).line(kind, payload).user("after"))
    assert [step["message"] for step in conversion.steps] == ["before", "after"]
    assert conversion.summary.count(name) == 2


def test_session_meta_is_counted() -> None:
    conversion = convert(Rollout().meta(uuid7(1)).user("before").meta(uuid7(7)).user("after"))
    assert [step["message"] for step in conversion.steps] == ["before", "after"]
    assert conversion.summary.count("session_meta") == 2


def test_the_summary_is_the_last_line_on_stderr() -> None:
    rollout = turn().developer("rules").line("world_state", {}).line("world_state", {}).raw("not json")
    summary = convert(rollout.assistant("done").usage()).summary
    assert (summary.lines, summary.records, summary.malformed) == (10, 3, 1)
    assert summary.skipped["world_state"] == 2
    assert summary.skipped["response_item/message/developer"] == 1
    assert summary.skipped["event_msg/task_started"] == 1
    assert summary.partial_line is None


def test_the_summary_of_an_empty_input() -> None:
    summary = convert(b"").summary
    assert (summary.lines, summary.records, summary.malformed, summary.skipped) == (0, 0, 0, {})


def test_converted_kinds_are_not_counted_as_skipped() -> None:
    rollout = turn().assistant("a").call().output().command(started=0).usage().line("compacted", {"message": "m"})
    skipped = convert(rollout.aborted()).summary.skipped
    records = ["compacted", "event_msg/turn_aborted", "event_msg/item_completed/CommandExecution"]
    assert not {name for name in skipped if name in records or name.startswith("response_item/")}
