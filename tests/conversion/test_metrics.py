"""Token counts are in the last agent step of their inference, and add up to the session's total."""

from typing import Any

import pytest

from tests.support.program import Record, convert
from tests.support.rollout_builder import Rollout, turn, uuid7


def prompt_tokens(rollout: Rollout | bytes) -> list[int | None]:
    """Returns the prompt tokens of each agent step."""
    steps = [step for step in convert(rollout).steps if step["source"] == "agent"]
    return [step.get("metrics", {}).get("prompt_tokens") for step in steps]


def test_all_fields() -> None:
    rollout = turn().assistant("done")
    rollout.usage(
        1693, cached_input_tokens=846, cache_write_input_tokens=7, output_tokens=10, reasoning_output_tokens=3
    )
    assert convert(rollout).steps[-1]["metrics"] == {
        "prompt_tokens": 1693,
        "completion_tokens": 10,
        "cached_tokens": 846,
        "extra": {"cache_creation_input_tokens": 7, "reasoning_output_tokens": 3},
    }


@pytest.mark.parametrize(
    ("usage", "metrics"),
    [
        ({"input_tokens": 5}, {"prompt_tokens": 5, "completion_tokens": 0, "cached_tokens": 0}),
        (
            {"output_tokens": 5, "reasoning_output_tokens": 0},
            {
                "prompt_tokens": 0,
                "completion_tokens": 5,
                "cached_tokens": 0,
                "extra": {"reasoning_output_tokens": 0},
            },
        ),
        (
            {"input_tokens": "5", "output_tokens": None, "cached_input_tokens": 2},
            {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 2},
        ),
    ],
)
def test_missing_fields(usage: Record, metrics: Record) -> None:
    assert convert(turn().assistant("done").token_count({"total_tokens": 5}, usage)).steps[-1]["metrics"] == metrics


@pytest.mark.parametrize("last", [None, {}, {"total_tokens": 9}, "none", [1]])
def test_an_empty_count_gives_no_metrics(last: Any) -> None:
    step = convert(turn().assistant("done").token_count({"total_tokens": 5}, last)).steps[-1]
    assert step["source"] == "agent"
    assert "metrics" not in step


def test_the_last_step_of_an_inference_has_its_metrics() -> None:
    rollout = turn().reasoning("hm").assistant("so").call("call_1").call("call_2").output("call_1").output("call_2")
    assert prompt_tokens(rollout.usage(100).assistant("done").usage(200)) == [None, None, None, 100, 200]


def test_a_repeated_count_is_ignored() -> None:
    rollout = turn().assistant("one").usage(100)
    last = {"input_tokens": 100, "output_tokens": 5, "cached_input_tokens": 10, "total_tokens": 105}
    rollout.reasoning("two").token_count(rollout.total, last).assistant("three").usage(50)
    assert prompt_tokens(rollout) == [100, None, 50]


def test_a_repeated_count_is_detected_by_its_total() -> None:
    rollout = turn().assistant("one").usage(100).assistant("two")
    rollout.token_count(dict(reversed(rollout.total.items())), {"input_tokens": 3})
    assert prompt_tokens(rollout) == [100, None]


def test_an_equal_usage_with_another_total_counts() -> None:
    assert prompt_tokens(turn().assistant("one").usage(100).assistant("two").usage(100)) == [100, 100]


def test_a_second_count_of_a_measured_inference_is_dropped() -> None:
    rollout = turn().assistant("one").usage(100).usage(30).assistant("two").usage(7)
    assert prompt_tokens(rollout) == [100, 7]


def test_a_count_without_info_closes_the_inference() -> None:
    rollout = turn().assistant("one").event("token_count", info=None, rate_limits={}).usage(100)
    assert prompt_tokens(rollout.assistant("two").usage(50)) == [None, 50]


@pytest.mark.parametrize(
    "boundary",
    [
        lambda rollout: rollout.user("steer"),
        lambda rollout: rollout.user("<environment_context></environment_context>"),
        lambda rollout: rollout.context(),
        lambda rollout: rollout.aborted(),
        lambda rollout: rollout.complete(),
        lambda rollout: rollout.complete(error={"message": "400"}),
        lambda rollout: rollout.started(uuid7(3)),
        lambda rollout: rollout.meta(uuid7(4)),
    ],
    ids=["user", "injected", "turn_context", "turn_aborted", "task_complete", "error", "task_started", "session_meta"],
)
def test_lines_that_end_an_inference(boundary: Any) -> None:
    rollout = turn().assistant("one")
    assert prompt_tokens(boundary(rollout).usage(100)) == [None]


@pytest.mark.parametrize(
    "inside",
    [
        lambda rollout: rollout.output(),
        lambda rollout: rollout.developer("rules"),
        lambda rollout: rollout.event("thread_settings_applied"),
        lambda rollout: rollout.line("world_state", {}),
        lambda rollout: rollout.item("agent_message", author="/a", recipient="/b", content=[]),
        lambda rollout: rollout.item(
            "agent_message", author="/a", recipient="/b", content=[{"type": "input_text", "text": "hi"}]
        ),
        lambda rollout: rollout.line("compacted", {"message": "m"}),
        lambda rollout: rollout.line("brand_new_line", {}),
        lambda rollout: rollout.event("brand_new_event"),
        lambda rollout: rollout.user(""),
        lambda rollout: rollout.assistant(""),
        lambda rollout: rollout.reasoning(),
        lambda rollout: rollout.raw("not json").raw(""),
        lambda rollout: rollout.command(started=0),
    ],
    ids=[
        "output",
        "developer",
        "settings",
        "world_state",
        "empty agent_message",
        "agent_message",
        "compacted",
        "unknown line",
        "unknown event",
        "empty user",
        "empty assistant",
        "encrypted reasoning",
        "malformed and blank",
        "command",
    ],
)
def test_lines_that_do_not_end_an_inference(inside: Any) -> None:
    rollout = turn().call()
    assert prompt_tokens(inside(rollout).usage(100)) == [100]


def test_a_count_before_any_agent_step_is_dropped() -> None:
    assert prompt_tokens(turn().usage(100).assistant("one").usage(50)) == [50]


def test_metrics_are_added_to_a_step_before_later_records() -> None:
    rollout = turn().call("call_1").output("call_1", "a").command(started=4000, at=6000).usage(100)
    records = convert(rollout.user("next")).records
    assert [record["type"] for record in records] == ["header", "step", "step", "observation", "observation", "step"]
    assert records[2]["metrics"]["prompt_tokens"] == 100


def test_metrics_add_up_with_every_kind_of_step() -> None:
    rollout = turn()
    rollout.assistant("a").item("web_search_call", id="ws", action={"query": "q"}).usage(10)
    rollout.item("tool_search_call", call_id="ts", arguments={}).item("tool_search_output", call_id="ts", tools=[])
    rollout.usage(20)
    rollout.call().item("agent_message", author="a", recipient="b", content=[]).output().usage(30)
    rollout.line("brand_new_line", {}).assistant("b").event("brand_new_event").usage(40)
    rollout.assistant("summary").line("compacted", {"message": "m"}).usage(50)
    tokens = [n for n in prompt_tokens(rollout) if n is not None]
    assert sum(tokens) == rollout.total["input_tokens"] == 150


def test_counts_beyond_64_bits() -> None:
    assert prompt_tokens(turn().assistant("one").usage(2**70)) == [2**70]
