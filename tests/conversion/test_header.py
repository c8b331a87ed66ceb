"""The header is the first record of a stream that has any other record."""

from tests.support.program import EMITTER, convert, header_id
from tests.support.rollout_builder import Rollout, turn


def test_header_comes_first_and_once() -> None:
    records = convert(turn().assistant("done").usage(), "--agent-id", "agent-1").records
    assert records[0] == {
        "type": "header",
        "event_id": header_id("agent-1"),
        "emitter": EMITTER,
        "schema_version": "ATIF-v1.7",
    }
    assert [record["type"] for record in records].count("header") == 1


def test_header_id_depends_on_the_agent_id_alone() -> None:
    of_agent = convert(turn(), "--agent-id", "agent-2").records
    of_nobody = convert(turn()).records
    assert of_agent[0]["event_id"] == header_id("agent-2")
    assert of_nobody[0]["event_id"] == header_id("")
    assert of_agent[1:] == of_nobody[1:]


def test_agent_id_may_be_any_text() -> None:
    assert convert(turn(), "--agent-id", "é 漢\n").records[0]["event_id"] == header_id("é 漢\n")


def test_no_header_without_another_record() -> None:
    assert convert(Rollout().meta().started().context()).stdout == b""
