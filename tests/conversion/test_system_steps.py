"""System steps: messages between agents, compactions, ends of turns, new files, unknown kinds."""

from typing import Any

import pytest

from tests.support.program import Record, convert, event_id
from tests.support.rollout_builder import PNG_BYTES, PNG_URL, Rollout, compact, turn, uuid7


def last_step(rollout: Rollout) -> Record:
    """Returns the last step, which must be a system step with a message of one line."""
    step = convert(rollout).steps[-1]
    assert step["source"] == "system"
    assert step["event_id"].endswith("-system")
    assert step["message"].strip()
    assert "\n" not in step["message"]
    return step


def test_agent_message() -> None:
    text = "Message Type: NEW_TASK\nTask name: /root/kid_one\nPayload:\nCount the files."
    rollout = turn().item(
        "agent_message",
        id="amsg_1",
        author="/root",
        recipient="/root/kid_one",
        content=[{"type": "input_text", "text": text[:30]}, {"type": "input_text", "text": text[30:]}],
    )
    step = convert(rollout).steps[-1]
    assert (step["source"], step["message"]) == ("system", text)
    assert step["extra"] == {"author": "/root", "recipient": "/root/kid_one"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Count the files.", "Count the files."),
        (
            [{"type": "input_text", "text": "a"}, "b", {"type": "new", "x": [1]}, {"text": 2}],
            'ab{"type":"new","x":[1]}{"text":2}',
        ),
        ([{"type": "input_text", "text": "a"}, {"type": "encrypted_content", "encrypted_content": "b3Bh"}], "a"),
        ({"x": "é"}, '{"x":"\\u00e9"}'),
        (7, "7"),
        (None, ""),
        ([], ""),
    ],
)
def test_agent_message_with_content_of_any_type(content: Any, message: str) -> None:
    rollout = turn().item("agent_message", author="/root", recipient=None, content=content)
    step = convert(rollout).steps[-1]
    assert (step["source"], step["message"]) == ("system", message)
    assert step["extra"] == {"author": "/root", "recipient": None}
    assert step["event_id"] == event_id(rollout.timestamp, message, "system")


def test_image_in_an_agent_message() -> None:
    parts = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": PNG_URL}]
    step = convert(turn().item("agent_message", author="a", recipient="b", content=parts)).steps[-1]
    assert step["message"] == "see"
    assert step["extra"]["images"] == [{"media_type": "image/png", "size": PNG_BYTES}]


def test_compacted_keeps_its_message_and_not_the_history() -> None:
    rollout = turn().line(
        "compacted",
        {
            "message": "Summary:\nall is well",
            "replacement_history": [{"type": "message", "role": "user", "content": "SECRET"}],
            "window_number": 2,
        },
    )
    step = last_step(rollout)
    assert step["extra"] == {"codex": {"type": "compacted", "message": "Summary:\nall is well"}}
    assert b"SECRET" not in convert(rollout).stdout


def test_turn_aborted() -> None:
    step = last_step(turn().assistant("well").usage().aborted(uuid7(2), "interrupted"))
    assert step["extra"] == {"codex": {"type": "turn_aborted", "turn_id": uuid7(2), "reason": "interrupted"}}


def test_task_complete_with_an_error() -> None:
    error = {"message": "mock 400", "codex_error_info": "other"}
    step = last_step(turn().complete(uuid7(2), last_agent_message=None, error=error))
    assert step["extra"] == {"codex": {"type": "task_complete", "turn_id": uuid7(2), "error": error}}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("mock 400", ": mock 400."),
        ("{mock} [400]\nand more", ": {mock} [400]."),
        ('{"message":"inner"}', ': {"message":"inner"}.'),
        ("", "."),
        ({"message": "first\nsecond"}, ": first."),
        ({"message": {"a": 1}}, "."),
        ({}, "."),
        ([{"message": "no"}], "."),
        (True, "."),
    ],
)
def test_message_of_an_error(error: Any, text: str) -> None:
    step = last_step(turn().complete(uuid7(2), error=error))
    assert step["message"] == f"The turn ended with an error{text}"
    assert step["extra"]["codex"]["error"] == error


def test_message_of_an_error_with_an_escaped_name() -> None:
    [line] = Rollout().complete(uuid7(2), error={"message": "mock 400"}).lines
    written = Rollout([line.replace(b'"message"', b'"m\\u0065ssage"')])
    assert convert(written).records == convert(Rollout([line])).records


@pytest.mark.parametrize("payload", [{}, {"error": None}, {"last_agent_message": "done"}])
def test_task_complete_without_an_error_gives_no_record(payload: dict[str, Any]) -> None:
    conversion = convert(turn().complete(uuid7(2), **payload))
    assert [step["source"] for step in conversion.steps] == ["user"]
    assert conversion.summary.count("event_msg/task_complete") == 1


def test_thread_rolled_back() -> None:
    step = last_step(turn().event("thread_rolled_back", num_turns=3))
    assert step["extra"] == {"codex": {"type": "thread_rolled_back", "num_turns": 3}}


def test_rollout_that_begins_with_a_fork() -> None:
    base = {"thread_id": uuid7(1), "end_ordinal_exclusive": 14, "end_byte_offset": 39936}
    rollout = Rollout().meta(uuid7(5), ordinal=14, forked_from_id=uuid7(1), history_base=base)
    step = last_step(rollout)
    assert step["extra"] == {
        "codex": {
            "type": "fork",
            "thread_id": uuid7(5),
            "forked_from_id": uuid7(1),
            "end_ordinal_exclusive": 14,
        }
    }


def test_rollout_that_begins_with_a_backtrack() -> None:
    base = {"thread_id": uuid7(1), "end_ordinal_exclusive": 9, "end_byte_offset": 30000}
    step = last_step(Rollout().meta(uuid7(1), ordinal=9, history_base=base))
    codex = step["extra"]["codex"]
    assert (codex["type"], codex["thread_id"], codex["end_ordinal_exclusive"]) == ("backtrack", uuid7(1), 9)


def test_an_ordinary_start_gives_no_record() -> None:
    assert convert(Rollout().meta().started().context()).records == []


@pytest.mark.parametrize(
    ("kind", "payload", "codex"),
    [
        (
            "event_msg",
            {"type": "brand_new_event", "n": 1, "text": "é\n"},
            {
                "type": "event_msg",
                "payload_type": "brand_new_event",
                "payload": {"type": "brand_new_event", "n": 1, "text": "é\n"},
            },
        ),
        (
            "response_item",
            {"type": "brand_new_item", "deep": [{"a": None}]},
            {
                "type": "response_item",
                "payload_type": "brand_new_item",
                "payload": {"type": "brand_new_item", "deep": [{"a": None}]},
            },
        ),
        ("brand_new_line", {"n": 1}, {"type": "brand_new_line", "payload": {"n": 1}}),
        ("brand_new_line", [1, "a"], {"type": "brand_new_line", "payload": [1, "a"]}),
        ("brand_new_line", "text", {"type": "brand_new_line", "payload": "text"}),
        (
            "brand_new_line",
            {"type": "sub", "n": 123456789012345678901234567890},
            {
                "type": "brand_new_line",
                "payload_type": "sub",
                "payload": {"type": "sub", "n": 123456789012345678901234567890},
            },
        ),
    ],
)
def test_an_unknown_kind_is_kept(kind: str, payload: Any, codex: Record) -> None:
    assert last_step(turn().line(kind, payload))["extra"] == {"codex": codex}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (
            {"type": "thread_goal_updated", "threadId": "t", "goal": {"objective": "All green", "status": "complete"}},
            "The goal was set or updated: All green (complete).",
        ),
        ({"type": "entered_review_mode", "user_facing_hint": "current changes"}, "A review began: current changes."),
        (
            {"type": "exited_review_mode", "review_output": {"findings": [{}, {}], "overall_explanation": "Two\nbugs"}},
            "The review ended: Two (2 findings).",
        ),
        ({"type": "realtime_conversation_closed", "reason": "requested"}, "A voice conversation ended (requested)."),
        ({"type": "stream_error", "message": "reset by peer!"}, "The connection to the model failed: reset by peer!"),
        ({"type": "error", "message": {"no": "text"}}, "Codex reported an error."),
        (
            {"type": "plan_update", "explanation": "é" * 400, "plan": []},
            f"The plan was updated: {'é' * 300} (0 steps).",
        ),
    ],
)
def test_a_known_event_is_a_sentence(payload: dict[str, Any], message: str) -> None:
    step = last_step(turn().line("event_msg", payload))
    assert step["message"] == message
    assert step["extra"]["codex"] == {"type": "event_msg", "payload_type": payload["type"], "payload": payload}


def test_a_known_event_in_the_middle_of_a_turn_does_not_end_the_window() -> None:
    steps = convert(turn().assistant("a").event("warning", message="slow").usage(7)).steps
    assert [step.get("metrics", {}).get("prompt_tokens") for step in steps[1:]] == [7, None]


def test_a_known_name_in_another_kind_of_line_is_unknown() -> None:
    for kind in ("response_item", "brand_new_line"):
        assert "not known" in last_step(turn().line(kind, {"type": "warning", "message": "slow"}))["message"]


def test_a_voice_conversation_keeps_its_words_and_not_its_audio() -> None:
    event = "realtime_conversation_realtime"
    audio = last_step(turn().event(event, payload={"AudioOut": {"data": "AAAA" * 500, "sample_rate": 24000}}))
    assert audio["extra"]["codex"]["payload"]["payload"] == {"AudioOut": {"data": "[1500 bytes]", "sample_rate": 24000}}
    words = last_step(turn().event(event, payload={"OutputTranscriptDone": {"text": "Good morning"}}))
    assert words["message"] == "A voice conversation went on: Good morning."


@pytest.mark.parametrize(("excess", "cut"), [(0, False), (1, True), (50_000, True)])
def test_an_unknown_payload_over_16000_characters_is_truncated(excess: int, cut: bool) -> None:
    frame = len(compact({"type": "big", "text": ""}))
    payload = {"type": "big", "text": "漢" * (16_000 + excess - frame)}
    text = compact(payload)
    codex = last_step(turn().line("brand_new_line", payload))["extra"]["codex"]
    expected = {"payload": text[:16_000], "payload_length": len(text)} if cut else {"payload": payload}
    assert codex == {"type": "brand_new_line", "payload_type": "big"} | expected


def test_two_unknown_lines_are_two_steps() -> None:
    rollout = turn().line("brand_new_line", {"n": 1}, at=9000).line("brand_new_line", {"n": 1}, at=9000)
    first, second = convert(rollout).steps[1:]
    assert first["event_id"] != second["event_id"]
    assert first["extra"] == second["extra"]
