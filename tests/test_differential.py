"""The published converter and ours over the same rollouts: one stream, but for the differences that have a name."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mngr_codex
from tests.support import published_differences as differences
from tests.support.program import Record, convert, parse_records
from tests.support.recordings import all_recordings, lines_of, name, recordings
from tests.support.rollout_builder import PNG_URL, Rollout, turn, uuid7
from tests.support.workers import Worker

AGENT_ID = "agent-1"

#: A line that ends every window, so that nothing before it is held back.
RELEASE = Rollout().user("release", at=10**10).data


class Judge:
    """Compares our stream with the published one, and gathers which named differences it met."""

    def __init__(self, published: Worker, folder: Path) -> None:
        self._published = published
        self._input = folder / "input.jsonl"
        self._output = folder / "output.jsonl"
        self.used: set[str] = set()

    def published_stream(self, data: bytes, *, complete: bool) -> list[Record]:
        self._input.write_bytes(data)
        answer = self._published.ask(
            input=str(self._input), output=str(self._output), agent_id=AGENT_ID, complete=complete
        )
        assert answer["error"] is None, answer["error"]
        return parse_records(self._output.read_bytes()) if self._output.exists() else []

    def difference(self, lines: Iterable[bytes], *, complete: bool) -> str | None:
        """What differs beyond the named differences, or None."""
        lines = list(lines)
        data = b"".join(lines)
        rollout = differences.read_rollout(lines)
        published = self.published_stream(data, complete=complete)
        unheld = self.published_stream(data + RELEASE, complete=True)[:-1]
        if len(unheld) == 1:
            unheld = []  # the header alone: it came with the released line
        self._input.write_bytes(data)
        mngr_codex.convert(self._input, self._output, agent_id=AGENT_ID, partial=not complete)
        ours = parse_records(self._output.read_bytes())
        found = differences.difference(ours, published, unheld, rollout)
        self.used |= rollout.used
        return found


@pytest.fixture(scope="module")
def judge(published: Worker, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(published, tmp_path_factory.mktemp("differential"))


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "partial"])
@pytest.mark.parametrize("path", all_recordings(), ids=name)
def test_recorded_rollouts(judge: Judge, path: Path, complete: bool) -> None:
    assert judge.difference(lines_of(path), complete=complete) is None


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_rollouts_that_are_still_being_written(judge: Judge, path: Path) -> None:
    lines = lines_of(path)
    for end in range(1, len(lines)):
        for complete in (True, False):
            assert judge.difference(lines[:end], complete=complete) is None, f"after {end} lines, {complete=}"


HAND_MADE = {
    "a command that no call owns": turn().command(started=0).assistant("done").usage(),
    "a command of a call that never answered": turn().call().command(started=4000).aborted().user("next"),
    "a header before records that only we write": Rollout().line("brand_new_line", {}),
    "a user message of images only": turn().user_parts({"type": "input_image", "image_url": PNG_URL}),
    "a repeated id is told apart": turn().output("call_1", "", at=9000).output("call_2", "", at=9000).user("next"),
    "what was let go is never measured": turn().assistant("one").complete().usage(),
    "what is held back ends with the turn, and waits behind a call beyond functions": turn().assistant("one").aborted(),
}


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "partial"])
@pytest.mark.parametrize("difference", HAND_MADE)
def test_differences_that_no_recording_has(judge: Judge, difference: str, complete: bool) -> None:
    lines = [line + b"\n" for line in HAND_MADE[difference].lines]
    assert judge.difference(lines, complete=complete) is None


SAME = {
    "every published row": (
        turn()
        .user("<environment_context></environment_context>")
        .reasoning("hm", content=["deep"])
        .custom_call("call_1", input="echo hi")
        .call("call_2", arguments='{"cmd": 1}')
        .command("exec-1", started=7500)
        .command("exec-2", started=6500)
        .custom_output("call_1", "Script running with cell ID 7")
        .output("call_2", [{"text": "a"}, {"b": [1.0, "é"]}])
        .call("call_3", "wait", '{"cell_id": "7"}')
        .command("exec-3", started=11_500)
        .output("call_3", "done")
        .usage(cache_write_input_tokens=3, reasoning_output_tokens=4)
        .context(uuid7(3), model="gpt-6-sol", effort="low")
        .assistant("a", "b")
        .usage()
        .user("x" * 2000)
    ),
    "surrogates and invalid bytes": turn()
    .raw(Rollout().user("SURROGATE", at=9000).lines[0].replace(b"SURROGATE", b"a\\ud83d \\ude00 \xff\xed\xa0\x80"))
    .call(arguments='{"a":"\\ud83d"}', at=9500)
    .usage(),
    "malformed lines": turn().raw("{").raw("[]").raw("").raw("\t").assistant("done").usage(),
    "a count without info": turn().assistant("a").event("token_count", info=None).assistant("b").usage(),
}


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "partial"])
@pytest.mark.parametrize("name_of_rollout", SAME)
def test_hand_made_rollouts_give_the_very_same_stream(judge: Judge, name_of_rollout: str, complete: bool) -> None:
    data = SAME[name_of_rollout].data
    ours = convert(data, "--agent-id", AGENT_ID, *([] if complete else ["--partial"])).records
    assert ours == judge.published_stream(data, complete=complete)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(choice=st.data(), complete=st.booleans())
def test_rollouts_with_lines_taken_out(judge: Judge, choice: st.DataObject, complete: bool) -> None:
    lines = lines_of(choice.draw(st.sampled_from(recordings())))
    kept = choice.draw(st.lists(st.booleans(), min_size=len(lines) - 1, max_size=len(lines) - 1))
    thinned = [lines[0], *(line for line, keep in zip(lines[1:], kept, strict=True) if keep)]
    assert judge.difference(thinned, complete=complete) is None


def test_every_named_difference_is_needed(judge: Judge) -> None:
    for path in recordings():
        judge.difference(lines_of(path), complete=True)
    for rollout in HAND_MADE.values():
        judge.difference([line + b"\n" for line in rollout.lines], complete=True)
    assert judge.used == differences.ALL


def test_partial_line_at_the_end_is_only_the_published_converters(judge: Judge) -> None:
    whole = turn().data
    half = turn().assistant("done").data.removeprefix(whole)[:-1]
    assert convert(whole + half).stdout == convert(whole).stdout
    assert len(judge.published_stream(whole + half, complete=True)) == 1 + len(convert(whole).records)


@pytest.mark.parametrize("path", recordings()[:1], ids=name)
def test_the_judge_sees_a_change(judge: Judge, path: Path) -> None:
    """The comparison itself: a stream of the published converter equals itself, and any change to it is found."""
    data = b"".join(lines_of(path))
    rollout = differences.read_rollout(lines_of(path))
    published = judge.published_stream(data, complete=True)
    assert differences.difference(published, published, published, rollout) is None
    for position in range(len(published)):
        shorter = published[:position] + published[position + 1 :]
        assert differences.difference(shorter, published, published, rollout)
        for change in ({"event_id": "evt-0-user"}, {"timestamp": "2026"}, {"message": "other"}, {"extra": {"a": 1}}):
            changed = [*published[:position], {**published[position], **change}, *published[position + 1 :]]
            assert differences.difference(changed, published, published, rollout)
