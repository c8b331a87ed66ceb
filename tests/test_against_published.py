"""Our converter and the published one give the same stream, except for named differences."""

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

#: A line that releases all held steps.
RELEASE = Rollout().user("release", at=10**10).data


class Judge:
    """Compares our stream with the published one, and collects the named differences that occur."""

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
        """Returns a description of the first difference without a name, or `None`."""
        lines = list(lines)
        data = b"".join(lines)
        rollout = differences.read_rollout(lines)
        published = self.published_stream(data, complete=complete)
        unheld = self.published_stream(data + RELEASE, complete=True)[:-1]
        if len(unheld) == 1:
            unheld = []  # only the header, which belongs to the releasing line
        self._input.write_bytes(data)
        mngr_codex.convert(self._input, self._output, agent_id=AGENT_ID, partial=not complete)
        ours = parse_records(self._output.read_bytes())
        found = differences.difference(ours, published, unheld, rollout, complete=complete)
        self.used |= rollout.used
        return found


@pytest.fixture(scope="module")
def judge(published: Worker, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(published, tmp_path_factory.mktemp("differential"))


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "partial"])
@pytest.mark.parametrize("path", all_recordings(), ids=name)
def test_recorded_rollouts_agree(judge: Judge, path: Path, complete: bool) -> None:
    assert judge.difference(lines_of(path), complete=complete) is None


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_every_prefix_of_a_rollout_agrees(judge: Judge, path: Path) -> None:
    lines = lines_of(path)
    for end in range(1, len(lines)):
        for complete in (True, False):
            assert judge.difference(lines[:end], complete=complete) is None, f"after {end} lines, {complete=}"


AGENTS = "# AGENTS.md instructions\n\n<INSTRUCTIONS>\nbe brief\n</INSTRUCTIONS>"
USER_COMMAND = (
    "<user_shell_command>\n<command>\nls\n</command>\n<result>\nExit code: 0\nDuration: 0.0104 seconds\nOutput:\na\n"
    "</result>\n</user_shell_command>"
)
WAV_URL = "data:audio/wav;base64," + "A" * 4000

DIFFERENT = {
    "a command without an owning call": turn().command(started=0).assistant("done").usage(),
    "a command of a call without an output": turn().call().command(started=4000).aborted().user("next"),
    "a header before records that only we write": Rollout().line("brand_new_line", {}),
    "a message without text of the common type": turn()
    .user_parts({"type": "input_image", "image_url": PNG_URL})
    .item("message", role="assistant", content=[{"type": "refusal", "refusal": "no"}]),
    "the second step of a message of two writers": turn().user(AGENTS, "hello", AGENTS).user("hello", AGENTS),
    "audio and files in outputs are described": turn()
    .call()
    .output(output=[{"type": "input_text", "text": "a"}, {"type": "input_audio", "audio_url": WAV_URL}])
    .call("call_2")
    .output("call_2", {"audio": WAV_URL}),
    "texts of Codex are system steps": turn()
    .user(AGENTS)
    .user("<skill>\n</skill>")
    .user(USER_COMMAND)
    .user("<environment_context> is what?"),
    "JSON between agents is a system step": turn()
    .assistant('{"author":"/root","recipient":"/root/kid","content":"","encrypted_content":"gA"}')
    .assistant("done")
    .usage(),
    "parts of a message are shown apart, those of other types too": turn()
    .user("a", "b")
    .user_parts({"type": "input_text", "text": "a"}, {"type": "input_audio", "audio_url": WAV_URL})
    .item(
        "message",
        role="assistant",
        content=[{"type": "output_text", "text": "a"}, {"type": "output_audio", "audio_url": WAV_URL}],
    ),
    "a command of the user belongs to no call": turn()
    .call()
    .output()
    .command("u-1", source="user_shell")
    .user(USER_COMMAND),
    "repeated ids are made unique": turn().output("call_1", "", at=9000).output("call_2", "", at=9000).user("next"),
    "released steps have no metrics": turn().assistant("one").complete().usage(),
    "a response's record releases a step before its count": turn()
    .call()
    .line("token_usage_record", {"response_id": "resp_1", "usage": {"input_tokens": 7, "output_tokens": 1}}),
    "copied history is not held back": Rollout()
    .meta(uuid7(5), forked_from_id=uuid7(1))
    .meta()
    .context(uuid7(2))
    .assistant("one"),
    "a count without info releases no step": turn().assistant("a").event("token_count", info=None),
    "a count without info does not end an inference": turn()
    .assistant("a")
    .event("token_count", info=None)
    .usage(7)
    .assistant("b")
    .event("token_count", info=None),
    "steps are held until the end of the turn, and after another call than a function's": turn()
    .assistant("one")
    .aborted(),
}


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "partial"])
@pytest.mark.parametrize("difference", DIFFERENT)
def test_differences_that_no_recording_shows(judge: Judge, difference: str, complete: bool) -> None:
    lines = [line + b"\n" for line in DIFFERENT[difference].lines]
    assert judge.difference(lines, complete=complete) is None


IDENTICAL = {
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
}


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "partial"])
@pytest.mark.parametrize("name_of_rollout", IDENTICAL)
def test_handmade_rollouts_give_identical_streams(judge: Judge, name_of_rollout: str, complete: bool) -> None:
    data = IDENTICAL[name_of_rollout].data
    ours = convert(data, "--agent-id", AGENT_ID, *([] if complete else ["--partial"])).records
    assert ours == judge.published_stream(data, complete=complete)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(choice=st.data(), complete=st.booleans())
def test_rollouts_with_random_lines_removed_agree(judge: Judge, choice: st.DataObject, complete: bool) -> None:
    lines = lines_of(choice.draw(st.sampled_from(recordings())))
    kept = choice.draw(st.lists(st.booleans(), min_size=len(lines) - 1, max_size=len(lines) - 1))
    thinned = [lines[0], *(line for line, keep in zip(lines[1:], kept, strict=True) if keep)]
    assert judge.difference(thinned, complete=complete) is None


def test_every_named_difference_occurs(judge: Judge) -> None:
    for path in recordings():
        judge.difference(lines_of(path), complete=True)
    for rollout in DIFFERENT.values():
        for complete in (True, False):
            judge.difference([line + b"\n" for line in rollout.lines], complete=complete)
    assert judge.used == differences.ALL


def test_both_read_a_last_line_without_its_newline(judge: Judge) -> None:
    """While the input may still grow, only the published converter does."""
    data = turn().assistant("done").data[:-1]
    assert convert(data).records[1:] == convert(data + b"\n").records[1:]
    assert len(convert(data, "--partial").records) == len(convert(turn()).records)
    unmeasured = Rollout().meta().user("go")
    both = [len(judge.published_stream(data, complete=True)) for data in (unmeasured.data, unmeasured.data[:-1])]
    assert both == [len(convert(unmeasured.data[:-1]).records)] * 2


def test_the_comparison_detects_any_change(judge: Judge) -> None:
    """The published stream agrees with itself, and any change to it is reported."""
    path = next(path for path in recordings() if name(path) == "0.163.0/tools")
    data = b"".join(lines_of(path))
    rollout = differences.read_rollout(lines_of(path))
    published = judge.published_stream(data, complete=True)
    assert differences.difference(published, published, published, rollout, complete=True) is None
    for position in range(len(published)):
        shorter = published[:position] + published[position + 1 :]
        assert differences.difference(shorter, published, published, rollout, complete=True)
        for change in ({"event_id": "evt-0-user"}, {"timestamp": "2026"}, {"message": "other"}, {"extra": {"a": 1}}):
            changed = [*published[:position], {**published[position], **change}, *published[position + 1 :]]
            assert differences.difference(changed, published, published, rollout, complete=True)
