"""Messages, reasoning, and the model and effort of the turn."""

import pytest

from tests.support.program import EMITTER, convert, event_id
from tests.support.rollout_builder import Rollout, turn


def test_user_message() -> None:
    rollout = Rollout().user("Hello ", "world")
    assert convert(rollout).steps == [
        {
            "type": "step",
            "event_id": event_id(rollout.timestamp, "Hello world", "user"),
            "emitter": EMITTER,
            "timestamp": rollout.timestamp,
            "source": "user",
            "message": "Hello world",
        }
    ]


def test_user_message_has_input_text_parts_only() -> None:
    rollout = Rollout().user_parts(
        {"type": "input_text", "text": "a"},
        {"type": "output_text", "text": "b"},
        {"type": "input_text", "text": "c"},
        {"type": "input_text", "text": 4},
        {"type": "input_text"},
    )
    assert [step["message"] for step in convert(rollout).steps] == ["ac"]


def test_user_message_without_text_gives_no_record() -> None:
    assert convert(Rollout().user("").user()).steps == []


@pytest.mark.parametrize(
    "text",
    [
        "<user_instructions>\nbe brief\n</user_instructions>",
        "<environment_context>\n  <cwd>/srv/lab</cwd>\n</environment_context>",
        "# AGENTS.md instructions for /srv/lab\n\n<INSTRUCTIONS>\nbe brief\n</INSTRUCTIONS>",
        "\n  <environment_context></environment_context>",
    ],
)
def test_injected_context_is_a_system_step(text: str) -> None:
    rollout = Rollout().user(text)
    [step] = convert(rollout).steps
    assert (step["source"], step["message"]) == ("system", text)
    assert step["event_id"] == event_id(rollout.timestamp, text, "system")


@pytest.mark.parametrize(
    "text",
    [
        "# AGENTS.md instructions for /srv/lab",
        "tell me about <environment_context>",
        "<user_instruction>",
        "# AGENTS.md instructions\n<INSTRUCTIONS>",
        "<turn_aborted>\nThe user interrupted the previous turn on purpose.\n</turn_aborted>",
    ],
)
def test_text_that_resembles_injected_context_is_a_user_step(text: str) -> None:
    assert [step["source"] for step in convert(Rollout().user(text)).steps] == ["user"]


def test_assistant_message() -> None:
    rollout = Rollout().assistant("All ", "done.")
    assert convert(rollout).steps == [
        {
            "type": "step",
            "event_id": event_id(rollout.timestamp, "All done.", "assistant"),
            "emitter": EMITTER,
            "timestamp": rollout.timestamp,
            "source": "agent",
            "message": "All done.",
        }
    ]


def test_assistant_message_without_text_gives_no_record() -> None:
    empty = Rollout().assistant("").item("message", role="assistant", content=[{"type": "refusal", "refusal": "no"}])
    assert convert(empty).steps == []


def test_reasoning_joins_summary_then_content() -> None:
    rollout = Rollout().reasoning("**First**", "", "**Second**", content=["deep thought"])
    text = "**First**\n\n**Second**\n\ndeep thought"
    assert convert(rollout).steps == [
        {
            "type": "step",
            "event_id": event_id(rollout.timestamp, text, "reasoning"),
            "emitter": EMITTER,
            "timestamp": rollout.timestamp,
            "source": "agent",
            "message": "",
            "reasoning_content": text,
        }
    ]


def test_encrypted_reasoning_gives_no_record() -> None:
    assert convert(Rollout().reasoning()).steps == []


def test_model_and_effort_are_those_of_the_latest_turn_context() -> None:
    rollout = (
        Rollout()
        .context(model="gpt-5.5", effort="high")
        .user("one")
        .reasoning("thought")
        .call()
        .output()
        .assistant("done")
        .usage()
        .context(model="gpt-6-sol")
        .user("two")
        .assistant("done again")
        .usage()
    )
    stamps = [(step.get("model_name"), step.get("reasoning_effort")) for step in convert(rollout).steps]
    assert stamps == [(None, None), *[("gpt-5.5", "high")] * 3, (None, None), ("gpt-6-sol", None)]


def test_turn_context_without_a_model_keeps_the_model() -> None:
    rollout = Rollout().context(model="gpt-5.5", effort="low").line("turn_context", {"turn_id": "t", "effort": ""})
    [step] = convert(rollout.assistant("done").usage()).steps
    assert step["model_name"] == "gpt-5.5"
    assert "reasoning_effort" not in step


def test_fractional_effort_is_kept() -> None:
    [step] = convert(Rollout().context(effort=0.5).assistant("done").usage()).steps
    assert step["reasoning_effort"] == 0.5


def test_agent_steps_before_any_turn_context_have_no_model() -> None:
    [step] = convert(Rollout().assistant("done")).steps
    assert not {"model_name", "reasoning_effort"} & set(step)


def test_records_have_the_order_of_the_rollout() -> None:
    rollout = turn().assistant("first").call("call_1").call("call_2").output("call_2", "b").output("call_1", "a")
    records = convert(rollout.usage().assistant("last").usage()).records[2:]
    assert [record["type"] for record in records] == ["step"] * 3 + ["observation"] * 2 + ["step"]
    assert [record["timestamp"] for record in records] == sorted(record["timestamp"] for record in records)
