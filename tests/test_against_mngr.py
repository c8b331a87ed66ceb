"""`transcript --as-mngr`, which `mngr transcript` runs, prints the same bytes as mngr itself."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import convert_file, run
from tests.support.recordings import all_recordings, name
from tests.support.transcript_records import HEADER, call, observation, step
from tests.support.workers import Worker, worker

#: The exit status with which the program leaves the command to mngr.
LEFT_TO_MNGR = 75

ROLES: list[tuple[str, ...]] = [
    (),
    ("user",),
    ("agent",),
    ("system",),
    ("tool",),
    ("user", "tool"),
    ("agent", "system"),
]
WINDOWS: list[tuple[str, ...]] = [
    (),
    ("--head", "1"),
    ("--head", "3"),
    ("--tail", "1"),
    ("--tail", "2"),
    ("--tail", "1000"),
]

AGENT = ("codex", "agent-1")


@pytest.fixture(scope="module")
def mngr_transcript() -> Iterator[Worker]:
    """Runs mngr's own `mngr transcript`."""
    with worker("mngr_transcript.py", "MNGR_CODEX_MNGR_PYTHON", "imbue.mngr") as running:
        yield running


class Streams:
    """An agent's transcript, and what mngr and the program show of it."""

    def __init__(self, folder: Path, mngr_transcript: Worker) -> None:
        self.state = folder / AGENT[1]
        self.folder = self.state / "events/codex/common_transcript"
        self.folder.mkdir(parents=True)
        (self.state / "data.json").write_text(json.dumps({"id": AGENT[1], "type": AGENT[0], "name": "t"}))
        self.paths: list[str] = []
        self.mngr_transcript = mngr_transcript

    def write(self, *contents: bytes) -> None:
        """Writes a transcript of several rotated files."""
        names = [f"events.jsonl.{20260101000000000000 + number}" for number in range(len(contents) - 1)]
        self.paths = []
        for file, content in zip([*names, "events.jsonl"], contents, strict=True):
            (self.folder / file).write_bytes(content)
            self.paths.append(str(self.folder / file))

    def mngr_shows(self, form: str, roles: tuple[str, ...] = (), window: tuple[str, ...] = ()) -> dict[str, str]:
        bounds = dict(zip(("--head", "--tail"), (None, None), strict=True)) | (
            {window[0]: int(window[1])} if window else {}
        )
        answer: dict[str, str] = self.mngr_transcript.ask(
            paths=self.paths, format=form, roles=roles, head=bounds["--head"], tail=bounds["--tail"], agent=AGENT
        )
        return answer

    def compare(
        self, form: str, roles: tuple[str, ...] = (), window: tuple[str, ...] = (), *, is_left_to_mngr: bool = False
    ) -> bytes:
        """Checks that both print the same, or that the program leaves the command to mngr."""
        answer = self.mngr_shows(form, roles, window)
        options = [word for role in roles for word in ("--role", role)] + list(window)
        shown = run("transcript", self.state, "--as-mngr", "--format", form, *options)
        if "error" in answer and form == "atif":
            assert (shown.status, shown.stdout) == (LEFT_TO_MNGR, b""), answer
        elif "error" in answer:
            # With a window the program may not read the record that mngr refuses.
            assert shown.status in ((0, 1) if window else (1,)), answer
        elif is_left_to_mngr:
            assert (shown.status, shown.stdout) == (LEFT_TO_MNGR, b"")
        else:
            assert (shown.status, shown.stdout.decode()) == (0, answer["shown"])
        return shown.stdout

    def compare_all(self, *, is_left_to_mngr: bool = False) -> None:
        for roles, window in product(ROLES, WINDOWS):
            self.compare("json", roles, window)
            self.compare("jsonl", roles, window)
        self.compare("atif", is_left_to_mngr=is_left_to_mngr)


@pytest.fixture
def streams(tmp_path: Path, mngr_transcript: Worker) -> Streams:
    return Streams(tmp_path, mngr_transcript)


@pytest.mark.parametrize("recording", all_recordings(), ids=name)
def test_recordings_are_shown_alike(streams: Streams, recording: Path) -> None:
    streams.write(convert_file(recording).stdout)
    for form in ("json", "jsonl"):
        streams.compare(form)
        streams.compare(form, ("agent", "tool"), ("--tail", "2"))
    assert streams.compare("atif") or "error" in streams.mngr_shows("atif")


@pytest.mark.parametrize("recording", all_recordings()[::12], ids=name)
def test_all_combinations_of_options_are_shown_alike(streams: Streams, recording: Path) -> None:
    lines = convert_file(recording).stdout.splitlines(keepends=True)
    third = len(lines) // 3
    # Rotated, and with a partial last line.
    streams.write(b"".join(lines[:third]), b"".join(lines[third : 2 * third]), b"".join(lines[2 * third :])[:-30])
    streams.compare_all()


def extra(value: str) -> str:
    """Returns a step with verbatim JSON in a member of `extra`."""
    return step("m", extra={"a": 0}).replace('"a": 0', f'"a":{value}')


ODD: dict[str, str | bytes] = {
    "empty": "",
    "only a header": f"{HEADER}\n",
    "blank lines": f"\n{HEADER}\n\n  \n{step('one')}\n\t\n",
    "CRLF": f"{HEADER}\r\n{step('one')}\r\n",
    "invalid JSON": f'{HEADER}\nno JSON\n{step("one")}\n{{"type":"step"\n',
    "partial last line": f"{HEADER}\n{step('one')}\n" + '{"type":"st',
    "complete last line without a newline": f"{HEADER}\n{step('one')}\n{step('two')}",
    "an array": f"{HEADER}\n[1]\n{step('one')}\n",
    "an outdated record type": f'{HEADER}\n{{"type":"user_message","content":"x"}}\n',
    "unknown types": f'{HEADER}\n{{"type":"other","a":1}}\n{{"a":1}}\n{{"type":7}}\n',
    "no source": f'{HEADER}\n{{"type":"step"}}\n{{"type":"step","source":null}}\n{{"type":"step","source":"user"}}\n',
    "non-ASCII text": f"{HEADER}\n{step('M')}\n".replace("M", "h\u00e9 \u6f22 \U0001f600"),
    "invalid UTF-8": f"{HEADER}\n{step('M')}\n".encode().replace(b"M", b"\xff\xe2\x82 \xed\xa0\x80"),
    "a lone surrogate": f"{HEADER}\n{extra(chr(34) + chr(92) + 'ud800' + chr(34))}\n",
    "a line separator": f"{HEADER}\n{step('M')}\n{step('b')}\n".replace("M", "a\u2028b"),
    "a next-line character": f"{HEADER}\n{step('M')}\n{step('b')}\n".replace("M", "a\u0085b"),
    "a paragraph separator": f"{HEADER}\n{step('M')}\n{step('b')}\n".replace("M", "a\u2029b"),
    "floats": f"{HEADER}\n{extra('[1.0,1e5,-0.0,1.10,5e-324,123456789012345678.0,0.1e-6,1e16,1e22]')}\n",
    "integers": f"{HEADER}\n{extra('[12345678901234567890123456789,-0,9223372036854775808]')}\n",
    "an invalid number": f"{HEADER}\n{extra('[01]')}\n",
    "duplicate names": f'{HEADER}\n{{"type":"other","type":"step","source":"user","source":"agent","a":1,"a":2}}\n',
    "escapes": f"{HEADER}\n" + extra(r'"\u0041\/\b\f\n\r\t\"\\\u00e9\ud83d\ude00\u007f"') + "\n",
    "an escaped name": f"{HEADER}\n" + step("m").replace("type", "t\\u0079pe").replace("source", "sourc\\u0065") + "\n",
    "empty values": f"{HEADER}\n" + extra('{"a":[],"b":{},"c":[[]],"d":""}') + "\n",
    "white space": f'{HEADER}\n {{ "type" : "step" ,\t"source" : "user", "a" : [ 1 , {{ "b" : 2 }} ] }} \n',
    "two headers": f"{HEADER}\n{step('one')}\n{HEADER}\n",
    "a control character": f"{HEADER}\n".encode() + b'{"type":"step","source":"user","message":"a\x01b"}\n',
    "a byte order mark": b"\xef\xbb\xbf" + f"{HEADER}\n{step('one')}\n".encode(),
}


#: Streams whose documents the program leaves to mngr.
LEFT = {
    "a lone surrogate",
    "a number in a string",
    "an extra with the names of framing members",
    "a line separator",
    "a next-line character",
    "a paragraph separator",
}


@pytest.mark.parametrize("odd", ODD)
def test_unusual_streams_are_shown_alike(streams: Streams, odd: str) -> None:
    content = ODD[odd]
    streams.write(content if isinstance(content, bytes) else content.encode())
    streams.compare_all(is_left_to_mngr=odd in LEFT)


@pytest.mark.parametrize(("written", "shown"), [("1E400", "1E400"), ("-1e999", "-1e999")])
def test_numbers_beyond_the_range_of_floats_are_kept(streams: Streams, written: str, shown: str) -> None:
    """mngr prints `Infinity`, which is not valid JSON."""
    streams.write(f"{HEADER}\n{extra(written)}\n".encode())
    assert "Infinity" in streams.mngr_shows("jsonl")["shown"]
    output = run("transcript", streams.state, "--as-mngr", "--format", "jsonl").stdout
    assert f'"a":{shown}'.encode() in output


def test_rotated_files_without_a_final_newline_are_shown_alike(streams: Streams) -> None:
    streams.write(f"{HEADER}\n{step('one')}".encode(), b"", step("two").encode())
    streams.compare_all()


def result(number: int | None) -> dict[str, Any]:
    return {**({} if number is None else {"source_call_id": f"c{number}"}), "content": f"r{number}", "extra": {"x": 1}}


def gave(*numbers: int | None) -> str:
    return observation(*(result(number) for number in numbers))


DOCUMENTS: dict[str, list[str]] = {
    "results in another order than calls": [
        step("a", source="agent", tool_calls=[call(1), call(2)]),
        step("b"),
        gave(2),
        gave(1),
    ],
    "a result of an unknown call": [step("a", source="agent"), gave(7)],
    "a result before any step": [gave(7), step("a")],
    "a result without a call id": [step("a", source="agent", tool_calls=[call(1)]), gave(None)],
    "duplicate calls": [
        step("a", source="agent", tool_calls=[call(1)]),
        step("b", source="agent", tool_calls=[call(1)]),
        gave(1),
    ],
    "metrics": [
        step(
            "a",
            source="agent",
            metrics={"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 1, "cost_usd": 0.1},
        ),
        step("b", source="agent", metrics={"prompt_tokens": 7, "cost_usd": 0.2, "extra": {"x": [1]}}),
    ],
    "an unknown member": [step("a", unknown=1)],
    "a value of the wrong type": [step("a", source="agent", tool_calls={"a": 1})],
    "tool calls of a user": [step("a", tool_calls=[call(1)])],
    "a number in a string": [step("a", source="agent", metrics={"prompt_tokens": "5"})],
    "parts": [json.dumps({**json.loads(step("a")), "message": [{"type": "text", "text": "t"}]})],
    "reasoning": [
        step("a", source="agent", reasoning_content="r", reasoning_effort="high", model_name="m", llm_call_count=1)
    ],
    "copied history": [
        step("a", is_copied_context=True),
        step("b", source="system", observation={"results": [{"content": "x"}]}),
    ],
    "an extra with the names of framing members": [step("a", extra={"event_id": "mine", "z": None, "b": {"c": 1.50}})],
    "an invalid timestamp": [step("a").replace("2026-01-01T12:30:00.000Z", "yesterday")],
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_documents_are_alike(streams: Streams, case: str) -> None:
    streams.write("".join(f"{line}\n" for line in [HEADER, *DOCUMENTS[case]]).encode())
    streams.compare("atif", is_left_to_mngr=case in LEFT)
