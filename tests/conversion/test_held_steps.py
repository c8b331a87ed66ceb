"""The last agent step is held until its token count arrives. Emitted steps never change."""

from typing import Any

import pytest

from tests.support.program import convert
from tests.support.rollout_builder import Rollout, turn, uuid7


def messages(rollout: Rollout, *arguments: str) -> list[str]:
    """Returns the message of each step, or the id of its call."""
    steps = convert(rollout, *arguments).steps
    return [step["message"] or step["tool_calls"][0]["tool_call_id"] for step in steps]


def test_a_partial_conversion_holds_the_last_step_without_metrics() -> None:
    rollout = turn().assistant("one").usage().assistant("two")
    assert messages(rollout, "--partial") == ["go", "one"]
    assert messages(rollout) == ["go", "one", "two"]
    assert messages(rollout.usage(), "--partial") == ["go", "one", "two"]


def test_a_partial_conversion_holds_all_records_after_a_held_step() -> None:
    rollout = turn().call().output().line("compacted", {"message": "m"}).command(started=4000)
    assert convert(rollout, "--partial").records[1:] == convert(turn()).records[1:]
    assert len(convert(rollout).records) == 6


def test_only_the_last_step_of_an_inference_is_held() -> None:
    rollout = turn().assistant("one").call("call_1")
    assert messages(rollout, "--partial") == ["go", "one"]


def test_steps_of_other_tool_calls_are_held_too() -> None:
    rollout = turn().assistant("one").item("web_search_call", id="ws_1", action={"query": "q"})
    assert messages(rollout, "--partial") == ["go", "one"]
    assert messages(rollout) == ["go", "one", "ws_1"]


def test_no_step_is_held_if_the_rollout_has_no_usage() -> None:
    rollout = Rollout().meta().user("go").assistant("one").call()
    assert messages(rollout, "--partial") == ["go", "one", "call_1"]
    assert messages(rollout) == ["go", "one", "call_1"]


@pytest.mark.parametrize("report", [lambda r: r.context(), lambda r: r.event("token_count", info=None)])
def test_steps_are_held_after_the_first_line_about_usage(report: Any) -> None:
    rollout = report(Rollout().meta()).user("go").assistant("one")
    assert messages(rollout, "--partial") == ["go"]


def test_a_user_step_releases_held_steps() -> None:
    rollout = turn().assistant("one").user("steer")
    assert messages(rollout, "--partial") == ["go", "one", "steer"]


@pytest.mark.parametrize(
    "end",
    [
        lambda rollout: rollout.complete(),
        lambda rollout: rollout.complete(error={"message": "400"}),
        lambda rollout: rollout.aborted(),
        lambda rollout: rollout.started(uuid7(3)),
        lambda rollout: rollout.context(uuid7(3)),
        lambda rollout: rollout.meta(uuid7(4)),
    ],
    ids=["task_complete", "error", "turn_aborted", "task_started", "turn_context", "session_meta"],
)
@pytest.mark.parametrize("arguments", [(), ("--partial",)], ids=["complete", "partial"])
def test_the_end_of_the_turn_releases_held_steps(end: Any, arguments: tuple[str, ...]) -> None:
    assert messages(end(turn().assistant("one").call("call_1")), *arguments)[:3] == ["go", "one", "call_1"]


def test_released_steps_never_get_metrics() -> None:
    over = turn().assistant("one").complete()
    released = convert(over, "--partial").stdout
    later = over.usage(100).assistant("two").usage(50)
    assert convert(later, "--partial").stdout.startswith(released)
    assert convert(later).stdout.startswith(released)
    assert [step.get("metrics", {}).get("prompt_tokens") for step in convert(later).steps] == [None, None, 100, 50]


def test_a_complete_conversion_holds_nothing_back() -> None:
    """The last command of a killed session is in the transcript."""
    rollout = turn().assistant("one").usage().call("call_1").call("call_2").output("call_1")
    assert messages(rollout) == ["go", "one", "call_1", "call_2"]
    assert len(convert(rollout).records) == 1 + 4 + 1
    assert messages(rollout, "--partial") == ["go", "one", "call_1"]


def test_a_repeated_count_releases_no_step() -> None:
    rollout = turn().assistant("one").usage().assistant("two")
    rollout.token_count(rollout.total, {"input_tokens": 100})
    assert messages(rollout, "--partial") == ["go", "one"]


def test_a_count_without_info_releases_no_step() -> None:
    rollout = turn().assistant("one").event("token_count", info=None)
    assert messages(rollout, "--partial") == ["go"]


def test_the_output_of_a_shorter_input_is_a_prefix() -> None:
    rollout = (
        turn()
        .reasoning("hm")
        .call("call_1")
        .command(started=4500)
        .output("call_1")
        .usage()
        .call("call_2")
        .aborted()
        .command("exec-2", started=7500)
        .usage()
        .started(uuid7(3))
        .context(uuid7(3))
        .user("again")
        .item("web_search_call", id="ws_1", action={"query": "q"})
        .assistant("done")
        .usage()
        .complete(uuid7(3))
    )
    longer = convert(rollout).stdout
    for end in range(len(rollout.lines), -1, -1):
        shorter = convert(Rollout(rollout.lines[:end]), "--partial").stdout
        assert longer.startswith(shorter), f"after {end} lines"
        longer = shorter
    assert longer == b""
