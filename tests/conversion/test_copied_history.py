"""Copied history of another session: its records are marked, and its tokens are not counted again."""

from tests.support.program import Completed, Record, convert
from tests.support.rollout_builder import Rollout, turn, uuid7

PARENT, CHILD = uuid7(1), uuid7(10)
PARENT_TURN, CHILD_TURN = uuid7(2), uuid7(11)


SPAWNED = {"subagent": {"thread_spawn": {"parent_thread_id": PARENT, "depth": 1, "agent_path": "/root/kid"}}}


def child() -> Rollout:
    """Returns a subagent's rollout with its first line."""
    return Rollout().meta(CHILD, forked_from_id=PARENT, source=SPAWNED, thread_source="subagent")


def ordinals(rollout: Rollout) -> Rollout:
    """Adds an ordinal to every line, beginning at 0."""
    return Rollout([line.replace(b',"type"', b',"ordinal":%d,"type"' % n, 1) for n, line in enumerate(rollout.lines)])


def copied(conversion: Completed) -> list[bool]:
    """Returns whether each record after the header is marked as copied."""
    return [is_copied(record) for record in conversion.records[1:]]


def is_copied(record: Record) -> bool:
    """Checks that the mark is in the correct place, and returns whether there is one."""
    """Checks that the mark is in the correct place, and returns whether there is one."""
    if record["type"] == "step":
        assert record.get("is_copied_context") in (True, None)
        return "is_copied_context" in record
    assert "is_copied_context" not in record
    marks = {result["extra"].get("is_copied_context", False) for result in record["results"]}
    assert marks in ({True}, {False})
    return marks == {True}


def child_by_ordinal() -> Rollout:
    """Returns a child of Codex 0.169: copied history up to `subagent_history_start_ordinal`, then its own turn."""
    return ordinals(
        Rollout()
        .meta(CHILD, forked_from_id=PARENT, source=SPAWNED, subagent_history_start_ordinal=9)
        .meta(PARENT)
        .started(PARENT_TURN)
        .context(PARENT_TURN)
        .user("parent's question")
        .call("call_1")
        .output("call_1", "copied")
        .usage(900)
        .aborted(PARENT_TURN)
        .started(CHILD_TURN)
        .context(CHILD_TURN)
        .user("child's task")
        .call("call_2")
        .output("call_2", "own")
        .usage(70)
        .complete(CHILD_TURN)
    )


def child_by_second_meta() -> Rollout:
    """Returns a child of Codex 0.147: the parent's `session_meta` begins the copied history; no ordinals."""
    return (
        child()
        .meta(PARENT)
        .started(PARENT_TURN)
        .context(PARENT_TURN)
        .user("parent's question")
        .call("call_1")
        .output("call_1", "copied")
        .usage(900)
        .started(CHILD_TURN)
        .context(CHILD_TURN)
        .user("child's task")
        .call("call_2")
        .output("call_2", "own")
        .usage(70)
        .complete(CHILD_TURN)
    )


def test_history_before_the_start_ordinal_is_copied() -> None:
    conversion = convert(child_by_ordinal())
    assert copied(conversion) == [True] * 4 + [False] * 3
    assert [step["message"] for step in conversion.steps if step["source"] == "user"] == [
        "parent's question",
        "child's task",
    ]


def test_history_after_a_second_session_meta_is_copied() -> None:
    assert copied(convert(child_by_second_meta())) == [True] * 3 + [False] * 3


def test_a_turn_context_of_the_child_ends_the_copied_history() -> None:
    lines = child_by_second_meta().lines
    assert b"task_started" in lines.pop(8)
    assert copied(convert(Rollout(lines))) == [True] * 3 + [False] * 3


def test_earlier_turns_do_not_end_the_copied_history() -> None:
    rollout = child().meta(PARENT)
    rollout.started(uuid7(2)).user("one").complete(uuid7(2)).started(uuid7(3)).user("two").complete(uuid7(3))
    assert copied(convert(rollout.started(CHILD_TURN).user("three"))) == [True, True, False]


def test_only_steps_of_the_child_have_metrics() -> None:
    for rollout in (child_by_ordinal(), child_by_second_meta()):
        agent = [step for step in convert(rollout).steps if step["source"] == "agent"]
        assert [step.get("metrics", {}).get("prompt_tokens") for step in agent] == [None, 70]


def test_copied_steps_are_never_held() -> None:
    for rollout in (child_by_ordinal(), child_by_second_meta()):
        end = next(n for n, line in enumerate(rollout.lines) if b"function_call_output" in line)
        shorter = Rollout(rollout.lines[:end])
        for arguments in ((), ("--partial",)):
            assert [step["source"] for step in convert(shorter, *arguments).steps] == ["user", "agent"]


def test_copied_records_have_the_usual_ids() -> None:
    marked = convert(child_by_second_meta()).records
    plain = convert(Rollout(child_by_second_meta().lines[2:])).records
    assert [record["event_id"] for record in marked] == [record["event_id"] for record in plain]


def test_copied_commands_are_marked() -> None:
    rollout = child().meta(PARENT).started(PARENT_TURN).context(PARENT_TURN)
    rollout.call("call_1").command(started=4000).output("call_1")
    assert copied(convert(rollout.started(CHILD_TURN).user("child's task"))) == [True, True, True, False]


def test_a_child_without_copied_history_has_no_marks() -> None:
    rollout = child().started(CHILD_TURN).context(CHILD_TURN).user("own")
    assert not any(copied(convert(rollout.assistant("done").usage())))


def test_a_second_rollout_is_not_copied_history() -> None:
    rollout = turn().assistant("one").usage().complete()
    rollout.meta(uuid7(5)).started(uuid7(6)).context(uuid7(6)).user("two").assistant("three").usage(7)
    conversion = convert(rollout)
    assert not any(copied(conversion))
    assert conversion.steps[-1]["metrics"]["prompt_tokens"] == 7


def test_a_rollout_after_one_of_a_child_is_not_copied_history() -> None:
    rollout = Rollout(child_by_ordinal().lines + turn().assistant("root").usage(5).lines)
    assert copied(convert(rollout)) == [True] * 4 + [False] * 5


def test_a_fork_without_copied_lines_has_no_marks() -> None:
    base = {"thread_id": PARENT, "end_ordinal_exclusive": 14, "end_byte_offset": 39936}
    rollout = Rollout().meta(CHILD, ordinal=14, forked_from_id=PARENT, history_base=base)
    rollout.started(CHILD_TURN, ordinal=15).context(CHILD_TURN).user("own").assistant("done").usage(70)
    conversion = convert(rollout)
    assert not any(copied(conversion))
    assert conversion.steps[-1]["metrics"]["prompt_tokens"] == 70
