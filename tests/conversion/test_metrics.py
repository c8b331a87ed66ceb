"""Token counts are in the last agent step of their inference or in a step of their own. They add up to the cost."""

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
def test_an_empty_count_without_a_total_gives_no_metrics(last: Any) -> None:
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


def test_a_second_count_of_a_measured_inference_is_a_step_of_its_own() -> None:
    rollout = turn().assistant("one").usage(100).usage(30).assistant("two").usage(7)
    assert prompt_tokens(rollout) == [100, 30, 7]


def test_a_count_without_info_says_nothing() -> None:
    rollout = turn().assistant("one").event("token_count", info=None, rate_limits={}).usage(100)
    assert prompt_tokens(rollout.assistant("two").usage(50)) == [100, 50]
    # It does not hide that the next count is a repeated one either.
    rollout = turn().assistant("one").usage(100).event("token_count", info=None).assistant("two")
    assert prompt_tokens(rollout.token_count(rollout.total, {"input_tokens": 100})) == [100, None]


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
def test_a_count_after_the_end_of_an_inference_is_a_step_of_its_own(boundary: Any) -> None:
    rollout = turn().assistant("one")
    assert prompt_tokens(boundary(rollout).usage(100)) == [None, 100]


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


def test_a_count_without_a_step_is_a_step_of_its_own() -> None:
    """Up to 0.65, a count precedes the items of its inference. An inference may also write only encrypted reasoning."""
    rollout = turn().usage(100, output_tokens=7).assistant("one").usage(50)
    assert prompt_tokens(rollout) == [100, 50]
    own = convert(rollout).steps[1]
    assert {name: own[name] for name in ("source", "message", "llm_call_count", "metrics", "extra")} == {
        "source": "agent",
        "message": "",
        "llm_call_count": 1,
        "metrics": {"prompt_tokens": 100, "completion_tokens": 7, "cached_tokens": 10},
        "extra": {
            "codex": {"type": "token_count", "reason": "No step of the agent was waiting for these token counts."}
        },
    }


def test_a_count_of_zero_tokens_is_no_step() -> None:
    assert prompt_tokens(turn().token_count({"input_tokens": 3}, {"input_tokens": 0})) == []


def test_a_count_with_a_total_only_gives_the_difference() -> None:
    def total(**counts: int) -> dict[str, int]:
        return {"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0} | counts

    rollout = turn().assistant("one").token_count(total(input_tokens=800, output_tokens=30), None).assistant("two")
    rollout.token_count(total(input_tokens=2000, output_tokens=90, cached_input_tokens=1400), None)
    metrics = [step["metrics"] for step in convert(rollout).steps if step["source"] == "agent"]
    assert metrics == [
        {"prompt_tokens": 800, "completion_tokens": 30, "cached_tokens": 0},
        {"prompt_tokens": 1200, "completion_tokens": 60, "cached_tokens": 1400},
    ]
    # A total that goes back takes nothing back.
    rollout.assistant("three").token_count(total(input_tokens=100), None)
    rollout.assistant("four").token_count(total(input_tokens=2050, output_tokens=90, cached_input_tokens=1400), None)
    assert prompt_tokens(rollout) == [800, 1200, None, 50]


def usage_record(rollout: Rollout, number: int, input_tokens: int) -> Rollout:
    """Adds the record of a response, with the usage that `Rollout.usage` has by default."""
    usage = {"input_tokens": input_tokens, "cached_input_tokens": 10, "output_tokens": 5}
    return rollout.line("token_usage_record", {"response_id": f"resp_{number}", "usage": usage})


def test_a_usage_record_measures_a_step_before_its_count() -> None:
    rollout = usage_record(turn().assistant("one").call("call_1"), 1, 100)
    assert prompt_tokens(rollout) == [None, 100]
    early = convert(rollout, "--partial").stdout
    assert b"call_1" in early
    late = rollout.output("call_1").usage(100)
    assert prompt_tokens(late) == [None, 100]
    assert convert(late).stdout.startswith(early)


def test_a_usage_record_without_a_count_counts() -> None:
    """Interrupted and killed turns, and compactions by the server, have no `token_count`."""
    rollout = usage_record(turn().call("call_1"), 1, 100).aborted().started(uuid7(3)).context(uuid7(3))
    usage_record(rollout, 2, 70).line("compacted", {"message": ""})
    usage_record(rollout.assistant("two"), 3, 30).usage(30)
    assert prompt_tokens(rollout) == [100, 70, 30]
    assert convert(rollout).steps[3]["extra"]["codex"]["type"] == "token_usage_record"


def test_a_repeated_usage_record_is_ignored() -> None:
    rollout = usage_record(usage_record(turn().assistant("one"), 1, 100), 1, 100).usage(100)
    assert prompt_tokens(rollout) == [100]


def test_a_usage_record_after_its_count_is_ignored() -> None:
    rollout = usage_record(turn().assistant("one").usage(100), 1, 100).assistant("two").usage(100)
    assert prompt_tokens(rollout) == [100, 100]


def test_another_session_begins_at_zero() -> None:
    first = turn().assistant("one").usage(100)
    second = first.meta(uuid7(7)).started(uuid7(8)).context(uuid7(8)).assistant("two")
    second.token_count(first.total, {"input_tokens": 100, "output_tokens": 5})
    assert prompt_tokens(second) == [100, 100]


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
