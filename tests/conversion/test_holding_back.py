"""The trailing unmeasured agent step waits for its token count, and what was let go is final."""

from typing import Any

import pytest

from tests.support.program import convert
from tests.support.rollout_builder import Rollout, turn, uuid7


def messages(rollout: Rollout, *arguments: str) -> list[str]:
    """The message or, for a call, the call's id of each step."""
    steps = convert(rollout, *arguments).steps
    return [step["message"] or step["tool_calls"][0]["tool_call_id"] for step in steps]


def test_partial_holds_the_trailing_unmeasured_step() -> None:
    rollout = turn().assistant("one").usage().assistant("two")
    assert messages(rollout, "--partial") == ["go", "one"]
    assert messages(rollout) == ["go", "one", "two"]
    assert messages(rollout.usage(), "--partial") == ["go", "one", "two"]


def test_partial_holds_all_that_comes_after_it() -> None:
    rollout = turn().call().output().line("compacted", {"message": "m"}).command(started=4000)
    assert convert(rollout, "--partial").records[1:] == convert(turn()).records[1:]
    assert len(convert(rollout).records) == 6


def test_only_the_last_step_of_a_window_is_waited_for() -> None:
    rollout = turn().assistant("one").call("call_1")
    assert messages(rollout, "--partial") == ["go", "one"]


def test_a_step_beyond_functions_is_waited_for_too() -> None:
    rollout = turn().assistant("one").item("web_search_call", id="ws_1", action={"query": "q"})
    assert messages(rollout, "--partial") == ["go", "one"]
    assert messages(rollout) == ["go", "one", "ws_1"]


def test_a_rollout_that_reports_no_usage_holds_nothing() -> None:
    rollout = Rollout().meta().user("go").assistant("one").call()
    assert messages(rollout, "--partial") == ["go", "one", "call_1"]
    assert messages(rollout) == ["go", "one", "call_1"]


@pytest.mark.parametrize("reported", [lambda r: r.context(), lambda r: r.event("token_count", info=None)])
def test_one_report_is_enough_to_wait(reported: Any) -> None:
    rollout = reported(Rollout().meta()).user("go").assistant("one")
    assert messages(rollout, "--partial") == ["go"]


def test_a_user_step_lets_go() -> None:
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
def test_the_end_of_the_turn_lets_go(end: Any, arguments: tuple[str, ...]) -> None:
    assert messages(end(turn().assistant("one").call("call_1")), *arguments)[:3] == ["go", "one", "call_1"]


def test_what_was_let_go_is_never_measured() -> None:
    over = turn().assistant("one").complete()
    let_go = convert(over, "--partial").stdout
    later = over.usage(100).assistant("two").usage(50)
    assert convert(later, "--partial").stdout.startswith(let_go)
    assert convert(later).stdout.startswith(let_go)
    assert [step.get("metrics", {}).get("prompt_tokens") for step in convert(later).steps] == [None, None, 50]


def test_a_complete_input_waits_while_a_call_awaits_its_output() -> None:
    rollout = turn().assistant("one").usage().call("call_1").call("call_2").output("call_1")
    assert messages(rollout) == ["go", "one", "call_1"]
    assert messages(rollout.output("call_2")) == ["go", "one", "call_1", "call_2"]


def test_a_call_before_the_window_is_not_waited_for() -> None:
    rollout = turn().call("call_1").usage().assistant("two")
    assert messages(rollout) == ["go", "call_1", "two"]


def test_a_call_of_a_turn_that_is_over_is_not_waited_for() -> None:
    assert messages(turn().call("call_1").started(uuid7(3)).assistant("two")) == ["go", "call_1", "two"]


def test_a_repeated_count_lets_nothing_go() -> None:
    rollout = turn().assistant("one").usage().assistant("two")
    rollout.token_count(rollout.total, {"input_tokens": 100})
    assert messages(rollout, "--partial") == ["go", "one"]


def test_a_count_without_info_lets_go() -> None:
    rollout = turn().assistant("one").event("token_count", info=None)
    assert messages(rollout, "--partial") == ["go", "one"]


def test_every_shorter_input_gives_a_prefix() -> None:
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
