"""Our streams are valid for mngr and for the ATIF validator, and their metrics add up."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.program import convert, convert_file, parse_records
from tests.support.recordings import all_recordings, lines_of, name
from tests.support.rollout_builder import PNG_URL, Rollout, turn, uuid7
from tests.support.session_cost import session_cost, sum_of_metrics
from tests.support.workers import Worker


def assert_valid(mngr: Worker, stream: bytes, folder: Path) -> dict[str, Any]:
    """Checks that the validators accept a stream, and returns their report."""
    path = folder / "events.jsonl"
    path.write_bytes(stream)
    report: dict[str, Any] = mngr.ask(path=str(path))
    assert report["invalid"] == []
    assert report["errors"] == []
    assert report["read"] == stream.count(b"\n"), "mngr reads fewer or more records than there are lines"
    return report


@pytest.mark.parametrize("arguments", [(), ("--partial",)], ids=["complete", "partial"])
@pytest.mark.parametrize("path", all_recordings(), ids=name)
def test_recorded_rollouts_are_valid(mngr: Worker, tmp_path: Path, path: Path, arguments: tuple[str, ...]) -> None:
    conversion = convert_file(path, *arguments)
    report = assert_valid(mngr, conversion.stdout, tmp_path)
    assert report["warnings"] == []
    totals = [step["metrics"]["prompt_tokens"] for step in conversion.steps if "metrics" in step]
    assert report["final_metrics"].get("total_prompt_tokens", 0) == sum(totals)


HANDMADE = {
    "all kinds": (
        turn()
        .user_parts({"type": "input_image", "image_url": PNG_URL})
        .reasoning("hm")
        .call()
        .command(started=6000)
        .output(output=[{"type": "input_image", "image_url": PNG_URL}, {"text": "a"}])
        .usage(cache_write_input_tokens=1, reasoning_output_tokens=2)
        .item("web_search_call", action={"query": "q"})
        .item("local_shell_call", call_id="call_2", action={"command": ["ls"]})
        .output("call_2")
        .item("tool_search_call", call_id="call_3", arguments={})
        .item("tool_search_output", call_id="call_3", tools=[{"name": "é"}])
        .usage()
        .item("agent_message", author="/a", recipient="/b", content=[{"type": "input_text", "text": "hi"}])
        .line("compacted", {"message": "m"})
        .line("brand_new_line", {"deep": [[[{}]]]})
        .event("thread_rolled_back", num_turns=1)
        .call("call_4")
        .command("exec-4", started=19_000)
        .aborted()
        .complete(error={"message": "m"})
    ),
    "a command without an owning call": turn().command(started=0),
    "copied history": (
        Rollout()
        .meta(uuid7(10), forked_from_id=uuid7(1))
        .meta(uuid7(1))
        .started(uuid7(2))
        .context(uuid7(2))
        .user("parent's")
        .call()
        .output()
        .started(uuid7(11))
        .user("own")
    ),
    "Unicode line separators": (
        turn()
        .assistant("a\u2028b\u2029c\x85d\x0be\x1cf")
        .call(arguments='{"a":"\u2028\x85"}')
        .output(output="\u2028")
        .usage()
    ),
    "surrogates": turn()
    .call(arguments='{"a":"\\ud83d"}')
    .raw(Rollout().user("X", at=9000).lines[0].replace(b"X", b"\\ud83d")),
    "no timestamp": Rollout().raw(Rollout().user("x").lines[0].replace(b"timestamp", b"elsewhere")),
    "an invalid timestamp": Rollout().raw(Rollout().user("x").lines[0].replace(b"2026-11-22T", b"2026-13-22T")),
    "other timestamp formats": (
        Rollout()
        .raw(Rollout().user("x").lines[0].replace(b"07:00:00.000Z", b"07:00:00+01:00"))
        .raw(Rollout().user("x").lines[0].replace(b"07:00:00.000Z", b"07:00:00"))
        .raw(Rollout().user("x").lines[0].replace(b"07:00:00.000Z", b"07:00:00.123456789Z"))
        .raw(Rollout().user("x").lines[0].replace(b"2026-11-22T07:00:00.000Z", b"20261122T070000Z"))
        .raw(Rollout().user("x").lines[0].replace(b"2026-11-22T07:00:00.000Z", b"2026-11-22"))
        .raw(Rollout().user("x").lines[0].replace(b"2026-11-22T07:00:00.000Z", b"2026-W47-7T07:00:00Z"))
        .raw(Rollout().user("x").lines[0].replace(b"2026-11-22T07:00:00.000Z", b"2026-02-29T07:00:00Z"))
        .raw(Rollout().user("x").lines[0].replace(b"2026-11-22T07:00:00.000Z", b"2026-11-22T24:00:00Z"))
    ),
    "deep nesting": (
        turn()
        .line("brand_new_line", "DEEP")
        .call(arguments='{"a":' * 5000 + "1" + "}" * 5000)
        .output()
        .raw(Rollout().line("brand_new_line", "X", at=20_000).lines[0].replace(b'"X"', b"[" * 5000 + b"]" * 5000))
    ),
}


@pytest.mark.parametrize("rollout", HANDMADE.values(), ids=list(HANDMADE))
def test_handmade_rollouts_are_valid(mngr: Worker, tmp_path: Path, rollout: Rollout) -> None:
    assert_valid(mngr, convert(rollout).stdout, tmp_path)


@pytest.mark.parametrize("arguments", [(), ("--partial",)], ids=["complete", "partial"])
@pytest.mark.parametrize("path", all_recordings(), ids=name)
def test_metrics_add_up_to_what_the_session_cost(path: Path, arguments: tuple[str, ...]) -> None:
    cost = session_cost(lines_of(path))
    measured = sum_of_metrics(convert_file(path, *arguments).records)
    assert measured == cost


@pytest.mark.parametrize("path", all_recordings(), ids=name)
def test_metrics_of_every_beginning_of_a_recording_add_up_to_its_cost(path: Path) -> None:
    lines = lines_of(path)
    for end in range(len(lines) // 3, len(lines), max(1, len(lines) // 3)):
        assert sum_of_metrics(convert(b"".join(lines[:end])).records) == session_cost(lines[:end])


def test_recordings_have_no_unknown_kinds() -> None:
    unknown = {
        (step["extra"]["codex"]["type"], step["extra"]["codex"].get("payload_type"))
        for path in all_recordings()
        for step in convert_file(path).steps
        if "payload" in step.get("extra", {}).get("codex", {})
    }
    assert unknown == set()


def test_the_validators_reject_invalid_streams(mngr: Worker, tmp_path: Path) -> None:
    good = convert(turn().call().output().usage()).stdout
    assert assert_valid(mngr, good, tmp_path)["final_metrics"]["total_prompt_tokens"] == 100
    broken = [
        good.replace(b'"source":"user"', b'"source":"nobody"'),
        good.replace(b'"message":', b'"massage":', 1),
        good.replace(b'"timestamp":"2026', b'"timestamp":"x', 1),
        good.split(b"\n", 1)[1],
        good.replace(b'"message":"go"', '"message":"g\u2028o"'.encode()),
    ]
    for stream in broken:
        assert stream != good
        assert len(parse_records(stream)) >= 3
        with pytest.raises(AssertionError):
            assert_valid(mngr, stream, tmp_path)
