"""How bytes of input lines are read, and bytes of records written."""

import json
import re
from collections.abc import Callable

import pytest

from tests.support.program import convert, event_id
from tests.support.rollout_builder import PNG_BYTES, PNG_URL, Rollout, compact, turn, uuid7

#: A line of a user message; `%s` is its text in JSON.
USER = (
    b'{"timestamp":"2026-11-22T07:00:00.000Z","type":"response_item",'
    b'"payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"%s"}]}}\n'
)


def message_of(data: bytes) -> str:
    [step] = convert(data).steps
    return str(step["message"])


def test_records_are_compact_json_on_single_lines() -> None:
    rollout = turn().call(arguments='{ "a" : [ 1 , 2 ] }').output().command(started=0).usage()
    rollout.raw('{ "timestamp": "2026-11-22T08:00:00.000Z", "type": "brand_new", "payload": { "a": [ 1, 2 ] } }')
    outside_strings = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", convert(rollout).stdout.replace(b"\n", b""))
    assert not re.search(rb"\s", outside_strings)


def test_records_have_no_unicode_line_separators() -> None:
    text = "a\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029b\r\n"
    rollout = Rollout().user(text).call(arguments=compact({"t": text})).output(output=text).line("new", {"t": text})
    stream = convert(rollout).stdout.decode()
    assert [json.loads(line) for line in stream.splitlines()] == [json.loads(line) for line in stream.split("\n")[:-1]]
    assert message_of(rollout.lines[0] + b"\n") == text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"\\u0000\\u0007\\u001b\\u007f\x7f", "\x00\x07\x1b\x7f\x7f"),
        (b'\\"\\\\\\/\\b\\f\\n\\r\\t', '"\\/\b\f\n\r\t'),
        ("é漢😀".encode(), "é漢😀"),
        (b"\\u00e9\\u6F22\\ud83d\\uDE00", "é漢😀"),
        (b"a\xff\xfeb", "a\ufffd\ufffdb"),
        (b"a\xe6\xbc b", "a\ufffd b"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),
        (b"\xc0\xaf", "\ufffd\ufffd"),
        (b"\\ud83d", "\ud83d"),
        (b"\\ude00\\ud83d", "\ude00\ud83d"),
        (b"\\ud83dx", "\ud83dx"),
        (b"\\ud83d\\u0041", "\ud83dA"),
    ],
)
def test_text_is_kept(written: bytes, read: str) -> None:
    assert message_of(USER % written) == read


def test_invalid_bytes_are_hashed_as_replacement_characters() -> None:
    [step] = convert(USER % b"a\xffb").steps
    assert step["event_id"] == event_id(step["timestamp"], "a\ufffdb", "user")


def test_surrogates_in_separate_parts_are_hashed_separately() -> None:
    parts = b'a\\ud83d"},{"type":"input_text","text":"\\ude00b'
    [step] = convert(USER % parts).steps
    assert step["message"] == "a\ud83d\n\n\ude00b"
    assert step["event_id"] == event_id(step["timestamp"], "a??b", "user")


def test_a_lone_surrogate_in_arguments_is_kept() -> None:
    line = Rollout().call(arguments='{"a":"\\ud83d"}').lines[0]
    assert b'\\"\\\\ud83d\\"' in line
    [step] = convert(line + b"\n").steps
    assert step["tool_calls"][0]["arguments"] == {"a": "\ud83d"}


EQUIVALENT_LINES = {
    "other order": (
        b'{"payload":{"content":[{"text":"hi","type":"input_text"}],"role":"user","type":"message"},'
        b'"type":"response_item","timestamp":"2026-11-22T07:00:00.000Z"}\n'
    ),
    "spaces": (
        b' \t{ "timestamp" : "2026-11-22T07:00:00.000Z" ,\r"type": "response_item", "payload" : { "type" : "message", '
        b'"role" : "user", "content" : [ { "type" : "input_text", "text" : "hi" } ] } } \n'
    ),
    "ordinal and metadata": (
        b'{"timestamp":"2026-11-22T07:00:00.000Z","ordinal":3,"type":"response_item","payload":{"type":"message",'
        b'"id":"m","role":"user","content":[{"type":"input_text","text":"hi"}]},"metadata":{"type":"event_msg"}}\n'
    ),
    "escaped names": (
        b'{"\\u0074imestamp":"2026-11-22T07:00:00.000Z","typ\\u0065":"response\\u005fitem","payload":{"type":'
        b'"mess\\u0061ge","r\\u006fle":"user","content":[{"type":"input_text","text":"hi"}]}}\n'
    ),
    "duplicate names: the last wins": (
        b'{"type":"world_state","timestamp":"1999","payload":[],"timestamp":"2026-11-22T07:00:00.000Z",'
        b'"type":"response_item","payload":{"type":"reasoning","role":"assistant","type":"message","content":1,'
        b'"role":"user","content":[{"type":"x","text":"no","type":"input_text","text":"hi"}]}}\n'
    ),
    "CRLF": (USER % b"hi").replace(b"\n", b"\r\n"),
    "blank lines before": b"\n \t\r\n" + USER % b"hi",
}


@pytest.mark.parametrize("line", EQUIVALENT_LINES.values(), ids=list(EQUIVALENT_LINES))
def test_equivalent_lines_give_the_same_records(line: bytes) -> None:
    conversion = convert(line)
    assert conversion.records == convert(USER % b"hi").records
    assert conversion.summary.malformed == 0


def all_kinds() -> Rollout:
    """Returns a rollout with every kind of line that becomes a record."""
    image = {"type": "input_image", "image_url": PNG_URL}
    base = {"thread_id": uuid7(1), "end_ordinal_exclusive": 9, "end_byte_offset": 30000}
    return (
        Rollout()
        .meta(thread_source="user", forked_from_id=uuid7(9))
        .started()
        .context(effort="high")
        .user("<environment_context>é</environment_context>")
        .user_parts({"type": "input_text", "text": "look"}, image, {"type": "input_image", "image_url": "data:a/b,c"})
        .reasoning("hm")
        .custom_call("call_1", input="await tools.exec_command({cmd: 'ls /'})")
        .command("exec-1", started=7500)
        .command("exec-2", command=["git", "log"], cwd="file:///a%20b")
        .custom_output("call_1", "Script running with cell ID 7")
        .call("call_2", "wait", '{"cell_id": "7"}')
        .output("call_2", [{"text": "a"}, image, {"b": [1.0, "é/"]}])
        .item("image_generation_call", id="ig_1", revised_prompt="a dot", result="/9j/4AAQ", metadata=1, internal_x=2)
        .item("agent_message", author="/root", recipient="/root/kid", content=[{"type": "input_text", "text": "t"}])
        .usage(reasoning_output_tokens=4)
        .assistant("done")
        .usage()
        .line("compacted", {"message": "so far"})
        .line("brand_new_line", {"type": "a/b", "c": ["d"]})
        .complete(error={"message": "mock/400", "other": 1})
        .aborted()
        .meta(history_base=base)
    )


def escaped(line: bytes) -> bytes:
    """Writes every character of every string as ``\\uXXXX``."""

    def escape(match: re.Match[bytes]) -> bytes:
        units = json.loads(match[0]).encode("utf-16-be")
        return b'"' + b"".join(b"\\u" + units[at : at + 2].hex().encode() for at in range(0, len(units), 2)) + b'"'

    return re.sub(rb'"(?:[^"\\]|\\.)*"', escape, line)


@pytest.mark.parametrize("write", [escaped, lambda line: line.replace(b"/", b"\\/")], ids=["all", "slashes"])
def test_unnecessary_escapes_change_nothing(write: Callable[[bytes], bytes]) -> None:
    plain = all_kinds()
    written = Rollout([write(line) for line in plain.lines])
    assert [json.loads(line) for line in written.lines] == [json.loads(line) for line in plain.lines]
    assert convert(written).records == convert(plain).records


def test_base64_of_an_image_may_be_wrapped() -> None:
    url = PNG_URL[:60] + "\r\n" + PNG_URL[60:]
    [step] = convert(Rollout().user_parts({"type": "input_image", "image_url": url})).steps
    assert step["extra"]["images"] == [{"media_type": "image/png", "size": PNG_BYTES}]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[1]",
        b'"text"',
        b"12",
        b"null",
        b"{",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":1} {"b":2}',
        b'{"a":01}',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":"\\x"}',
        b'{"a":"\\u12"}',
        b'{"a":"\t"}',
        b'{"a":"\x00"}',
        b'{"a":"b\rc"}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b"\xff\xfe",
        b"\xc2\xa0",
        b"\x00",
    ],
)
def test_a_malformed_line_is_skipped_and_counted(line: bytes) -> None:
    conversion = convert(USER % b"a" + line + b"\n" + (USER % b"b").replace(b"00.000Z", b"01.000Z"))
    assert [step["message"] for step in conversion.steps] == ["a", "b"]
    assert conversion.summary.malformed == 1
    assert str(len(USER % b"a")) in conversion.stderr.rsplit("mngr-codex: ", 1)[0], "the message has no byte offset"


@pytest.mark.parametrize("value", [b"NaN", b'"\\q"', b"01", b'"\x01"', b"[1,]"])
@pytest.mark.parametrize("kind", [b"response_item", b"brand_new"])
def test_unused_values_must_be_valid(kind: bytes, value: bytes) -> None:
    line = (USER % b"hi").replace(b"response_item", kind).replace(b'"role"', b'"skipped":%s,"role"' % value)
    conversion = convert(line + Rollout().started().data)
    assert (conversion.records, conversion.summary.malformed) == ([], 1)


def test_an_invalid_line_without_a_record_is_skipped_or_malformed() -> None:
    """It may not be read to its end."""
    summary = convert(
        b'{"timestamp":"2026-11-22T07:00:00.000Z","type":"world_state","payload":{"a":NaN}}\n'
        + Rollout().started().data
    ).summary
    assert (summary.lines, summary.records) == (2, 0)
    assert summary.malformed + summary.count("world_state") == 1


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', b"1", b"{}"])
@pytest.mark.parametrize("kind", [b"response_item", b"event_msg", b"turn_context", b"session_meta"])
def test_a_payload_of_the_wrong_type_affects_no_other_line(kind: bytes, payload: bytes) -> None:
    data = b'{"timestamp":"2026-11-22T07:00:00.000Z","type":"%s","payload":%s}\n' % (kind, payload)
    conversion = convert(data + (USER % b"hi").replace(b"00.000Z", b"01.000Z"))
    assert conversion.steps[-1]["message"] == "hi"
    assert conversion.summary.malformed == 0


def test_a_byte_order_mark_at_the_start_is_no_damage() -> None:
    data = USER % b"a" + (USER % b"b").replace(b"00.000Z", b"01.000Z")
    conversion = convert(b"\xef\xbb\xbf" + data)
    assert conversion.stdout == convert(data).stdout
    assert conversion.summary.malformed == 0


def test_a_byte_order_mark_elsewhere_is_damage() -> None:
    data = USER % b"a", (USER % b"b").replace(b"00.000Z", b"01.000Z")
    conversion = convert(b"\xef\xbb\xbf".join(data))
    assert conversion.stdout == convert(b"".join(data)).stdout
    assert conversion.summary.malformed == 1


def test_an_incomplete_last_line_is_reported_and_not_converted() -> None:
    complete = USER % b"a"
    for partial in (USER[:-2] % b"b", USER[:40], b"{", b"not json", bytes(10)):
        for arguments in ((), ("--partial",)):
            conversion = convert(complete + partial, *arguments)
            assert conversion.stdout == convert(complete, *arguments).stdout
            assert conversion.summary.partial_line == (len(partial), len(complete))
            assert conversion.summary.malformed == 0


def test_a_whole_last_line_without_a_newline_is_converted_unless_the_input_may_grow() -> None:
    complete, last = USER % b"a", (USER % b"b").replace(b"00.000Z", b"01.000Z")
    for partial in (last[:-1], last[:-1] + b" \r"):
        conversion = convert(complete + partial)
        assert conversion.stdout == convert(complete + last).stdout
        assert (conversion.summary.lines, conversion.summary.partial_line) == (2, None)
        assert conversion.summary.malformed == 0
        growing = convert(complete + partial, "--partial")
        assert growing.stdout == convert(complete, "--partial").stdout
        assert growing.summary.partial_line == (len(partial), len(complete))
