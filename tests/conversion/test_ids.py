"""Event ids depend only on the bytes of the input, and are unique."""

import re
from collections.abc import Callable

import pytest

from tests.support.program import convert, event_id
from tests.support.rollout_builder import Rollout, turn

SHAPE = re.compile(r"evt-[0-9a-f]{32}-(user|system|assistant|reasoning|tool_result|command_execution)")


def ids(rollout: Rollout) -> list[str]:
    """Returns the ids of all records but the header."""
    return [record["event_id"] for record in convert(rollout).records[1:]]


def test_only_the_first_1024_characters_are_hashed() -> None:
    text = "漢😀" * 512
    rollout = Rollout().user(text + "tail")
    assert ids(rollout) == [event_id(rollout.timestamp, text, "user")]


def test_a_lone_surrogate_is_hashed_as_a_question_mark() -> None:
    rollout = Rollout().line("response_item", {"type": "message", "role": "user", "content": []})
    line = rollout.lines.pop().replace(b'"content":[]', b'"content":[{"type":"input_text","text":"a\\ud83db"}]')
    assert ids(rollout.raw(line)) == [event_id(rollout.timestamp, "a?b", "user")]


@pytest.mark.parametrize(
    "twice",
    [
        lambda rollout: rollout.user("same", at=9000).user("same", at=9000),
        lambda rollout: rollout.assistant("same", at=9000).assistant("same", at=9000),
        lambda rollout: rollout.assistant("{}", at=9000).call("call_1", arguments="{}", at=9000),
        lambda rollout: rollout.call("call_1", at=9000).call("call_2", at=9000),
        lambda rollout: rollout.output("call_1", "", at=9000).output("call_2", "", at=9000),
        lambda rollout: rollout.output("c", "x" * 1024, at=9000).output("c", "x" * 1024 + "y", at=9000),
        lambda rollout: rollout.user("x" * 1024, at=9000).user("x" * 1024 + "y", at=9000),
    ],
    ids=["user", "assistant", "message and call", "calls", "outputs", "long outputs", "long messages"],
)
def test_ids_are_unique(twice: Callable[[Rollout], Rollout]) -> None:
    first, second = ids(twice(Rollout()))[-2:]
    assert first != second
    assert SHAPE.fullmatch(first)
    assert SHAPE.fullmatch(second)
    assert first.rsplit("-", 1)[1] == second.rsplit("-", 1)[1]


def test_the_first_of_two_equal_records_has_the_plain_id() -> None:
    rollout = Rollout().user("same", at=9000).user("same", at=9000)
    assert ids(rollout)[0] == event_id(rollout.timestamp, "same", "user")


def test_the_second_of_two_equal_records_hashes_its_byte_offset() -> None:
    plain = ids(Rollout().user("same", at=9000).user("same", at=9000))
    moved = ids(Rollout().user("same", at=9000).raw("").user("same", at=9000))
    assert plain[0] == moved[0]
    assert plain[1] != moved[1]


def test_the_same_text_with_another_timestamp_has_the_plain_id() -> None:
    rollout = Rollout().user("same").user("same")
    assert ids(rollout) == [event_id(f"2026-11-22T07:00:0{n}.000Z", "same", "user") for n in (0, 1)]


@pytest.mark.parametrize(
    "written", ["", '"timestamp":null,', '"timestamp":"",', '"timestamp":"yesterday",', '"timestamp":1795330800,']
)
def test_a_line_without_a_timestamp_gets_the_previous_one(written: str) -> None:
    first, second = Rollout().user("one").user("x").lines
    second = second.replace(b'"timestamp":"2026-11-22T07:00:01.000Z",', written.encode())
    one, taken = convert(Rollout([first, second])).steps
    assert taken["timestamp"] == one["timestamp"]
    assert taken["event_id"] != event_id(one["timestamp"], "x", "user")
    moved = convert(Rollout([first, b"", second])).steps
    assert moved[0] == one
    assert moved[1]["event_id"] != taken["event_id"]


def test_a_first_line_without_a_timestamp() -> None:
    line = Rollout().user("x").lines[0].replace(b"timestamp", b"elsewhere")
    [step] = convert(Rollout([line])).steps
    assert step["timestamp"] == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "timestamp",
    ["2026-11-22T07:00:05Z", "2026-11-22T07:00:05.123456Z", "2026-11-22T08:00:05+01:00", "2026-11-22T07:00:05"],
)
def test_timestamps_are_copied_verbatim(timestamp: str) -> None:
    line = Rollout().user("x").lines[0].replace(b"2026-11-22T07:00:00.000Z", timestamp.encode())
    [step] = convert(Rollout([line])).steps
    assert step["timestamp"] == timestamp
    assert step["event_id"] == event_id(timestamp, "x", "user")


def test_a_record_with_an_earlier_timestamp_hashes_its_byte_offset() -> None:
    rollout = Rollout().user("one", at=5000).user("two", at=1000).user("two", at=1000).user("three", at=5000)
    steps = convert(rollout).steps
    assert [step["timestamp"][17:-1] for step in steps] == ["05.000", "01.000", "01.000", "05.000"]
    assert steps[0]["event_id"] == event_id(steps[0]["timestamp"], "one", "user")
    assert steps[1]["event_id"] != event_id(steps[1]["timestamp"], "two", "user")
    assert steps[3]["event_id"] == event_id(steps[3]["timestamp"], "three", "user")
    assert len({step["event_id"] for step in steps}) == 4


def test_an_earlier_timestamp_of_an_equal_record_gives_another_id() -> None:
    rollout = Rollout().user("same", at=1000).user("other", at=5000).user("same", at=1000)
    assert len(set(ids(rollout))) == 3


def test_ten_thousand_records_with_one_timestamp() -> None:
    rollout = Rollout()
    for number in range(5000):
        rollout.user(f"message {number}", at=1000).user(f"message {number}", at=1000)
    given = ids(rollout)
    assert len(given) == len(set(given)) == 10_000


def test_2048_ids_of_one_timestamp_are_remembered() -> None:
    rollout = Rollout()
    for number in range(2100):
        rollout.user(f"message {number}", at=1000)
    plain = [event_id(rollout.timestamp, f"message {number}", "user") for number in range(2100)]
    assert [given == own for given, own in zip(ids(rollout), plain, strict=True)] == [True] * 2048 + [False] * 52


def test_format_of_ids() -> None:
    rollout = (
        turn()
        .assistant("a")
        .reasoning("b")
        .call()
        .command(started=0)
        .output()
        .item("web_search_call", action={"query": "q"})
        .item("agent_message", author="a", recipient="b", content=[{"type": "input_text", "text": "t"}])
        .line("compacted", {"message": "m"})
        .line("brand_new", {})
        .usage()
        .aborted()
    )
    assert [given for given in ids(rollout) if not SHAPE.fullmatch(given)] == []


def test_the_same_bytes_give_the_same_stream() -> None:
    rollout = turn().call().output().assistant("done").usage().complete()
    assert convert(rollout).stdout == convert(rollout).stdout
