"""How lines are read and records written, byte by byte."""

import json
import re
from collections.abc import Callable

import pytest

from tests.support.program import convert, event_id
from tests.support.rollout_builder import PNG_BYTES, PNG_URL, Rollout, compact, turn, uuid7

#: A user message, `%s` its text as it is written.
USER = (
    b'{"timestamp":"2026-11-22T07:00:00.000Z","type":"response_item",'
    b'"payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"%s"}]}}\n'
)


def message_of(data: bytes) -> str:
    [step] = convert(data).steps
    return str(step["message"])


def test_records_are_compact_json_one_a_line() -> None:
    rollout = turn().call(arguments='{ "a" : [ 1 , 2 ] }').output().command(started=0).usage()
    rollout.raw('{ "timestamp": "2026-11-22T08:00:00.000Z", "type": "brand_new", "payload": { "a": [ 1, 2 ] } }')
    outside_strings = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", convert(rollout).stdout.replace(b"\n", b""))
    assert not re.search(rb"\s", outside_strings)


def test_no_line_of_the_stream_is_cut_by_a_reader_that_splits_at_unicode_line_ends() -> None:
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


def test_invalid_bytes_hash_as_the_character_they_become() -> None:
    [step] = convert(USER % b"a\xffb").steps
    assert step["event_id"] == event_id(step["timestamp"], "a\ufffdb", "user")


def test_a_surrogate_pair_split_over_two_parts_is_hashed_as_two() -> None:
    parts = b'a\\ud83d"},{"type":"input_text","text":"\\ude00b'
    [step] = convert(USER % parts).steps
    assert step["message"] == "a😀b"
    assert step["event_id"] == event_id(step["timestamp"], "a??b", "user")


def test_a_surrogate_inside_arguments_survives() -> None:
    line = Rollout().call(arguments='{"a":"\\ud83d"}').lines[0]
    assert b'\\"\\\\ud83d\\"' in line
    [step] = convert(line + b"\n").steps
    assert step["tool_calls"][0]["arguments"] == {"a": "\ud83d"}


SAME_LINE = {
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
    "names twice: the last wins": (
        b'{"type":"world_state","timestamp":"1999","payload":[],"timestamp":"2026-11-22T07:00:00.000Z",'
        b'"type":"response_item","payload":{"type":"reasoning","role":"assistant","type":"message","content":1,'
        b'"role":"user","content":[{"type":"x","text":"no","type":"input_text","text":"hi"}]}}\n'
    ),
    "CRLF": (USER % b"hi").replace(b"\n", b"\r\n"),
    "blank lines before": b"\n \t\r\n" + USER % b"hi",
}


@pytest.mark.parametrize("line", SAME_LINE.values(), ids=list(SAME_LINE))
def test_the_same_line_however_it_is_written(line: bytes) -> None:
    conversion = convert(line)
    assert conversion.records == convert(USER % b"hi").records
    assert conversion.summary.malformed == 0


def everything() -> Rollout:
    """A line of every kind that says something."""
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
    """The line with every character of every string as ``\\uXXXX``."""

    def escape(match: re.Match[bytes]) -> bytes:
        units = json.loads(match[0]).encode("utf-16-be")
        return b'"' + b"".join(b"\\u" + units[at : at + 2].hex().encode() for at in range(0, len(units), 2)) + b'"'

    return re.sub(rb'"(?:[^"\\]|\\.)*"', escape, line)


@pytest.mark.parametrize("write", [escaped, lambda line: line.replace(b"/", b"\\/")], ids=["all", "slashes"])
def test_escapes_of_what_needs_none_change_nothing(write: Callable[[bytes], bytes]) -> None:
    plain = everything()
    written = Rollout([write(line) for line in plain.lines])
    assert [json.loads(line) for line in written.lines] == [json.loads(line) for line in plain.lines]
    assert convert(written).records == convert(plain).records


def test_an_image_in_folded_base64() -> None:
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
    assert str(len(USER % b"a")) in conversion.stderr.rsplit("mngr-codex: ", 1)[0], "its byte offset is not told"


@pytest.mark.parametrize("value", [b"NaN", b'"\\q"', b"01", b'"\x01"', b"[1,]", b"{}}"])
@pytest.mark.parametrize("kind", [b"response_item", b"brand_new"])
def test_a_value_that_is_skipped_must_be_valid_too(kind: bytes, value: bytes) -> None:
    line = (USER % b"hi").replace(b"response_item", kind).replace(b'"role"', b'"skipped":%s,"role"' % value)
    conversion = convert(line)
    assert (conversion.records, conversion.summary.malformed) == ([], 1)


def test_a_line_that_gives_no_record_is_skipped_or_malformed() -> None:
    """Whether it is read to its end is not said."""
    summary = convert(b'{"timestamp":"2026-11-22T07:00:00.000Z","type":"world_state","payload":{"a":NaN}}\n').summary
    assert (summary.lines, summary.records) == (1, 0)
    assert summary.malformed + summary.count("world_state") == 1


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', b"1", b"{}"])
@pytest.mark.parametrize("kind", [b"response_item", b"event_msg", b"turn_context", b"session_meta"])
def test_a_payload_of_another_form_breaks_nothing(kind: bytes, payload: bytes) -> None:
    data = b'{"timestamp":"2026-11-22T07:00:00.000Z","type":"%s","payload":%s}\n' % (kind, payload)
    conversion = convert(data + (USER % b"hi").replace(b"00.000Z", b"01.000Z"))
    assert conversion.steps[-1]["message"] == "hi"
    assert conversion.summary.malformed == 0


def test_a_byte_order_mark_is_malformed() -> None:
    conversion = convert(b"\xef\xbb\xbf" + USER % b"a" + (USER % b"b").replace(b"00.000Z", b"01.000Z"))
    assert [step["message"] for step in conversion.steps] == ["b"]
    assert conversion.summary.malformed == 1


def test_a_partial_line_at_the_end_is_not_a_line_yet() -> None:
    whole = USER % b"a"
    for half in (USER[:-1] % b"b", USER[:40], b"{", b"not json"):
        conversion = convert(whole + half)
        assert conversion.stdout == convert(whole).stdout
        assert conversion.summary.partial_line == (len(half), len(whole))
        assert conversion.summary.malformed == 0
