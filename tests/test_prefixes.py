"""Written records never change: the output of a shorter input is a prefix of the output of a longer one."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import mngr_codex
from tests.support.program import parse_records
from tests.support.recordings import lines_of, name, recordings
from tests.support.rollout_builder import Rollout, turn

#: Recorded lines, and handmade lines of kinds that are rare in recordings.
POOL = sorted({line for path in recordings() for line in lines_of(path) if len(line) < 4000})
RARE = [
    line + b"\n"
    for line in turn()
    .aborted()
    .complete()
    .complete(error={"message": "m"})
    .call("call_a")
    .custom_call("call_b")
    .output("call_a")
    .command(started=0)
    .usage()
    .event("token_count", info=None)
    .item("web_search_call", id="ws")
    .line("compacted", {"message": "m"})
    .line("brand_new_line", {})
    .raw("not json")
    .raw("")
    .raw(
        b'{"type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]}}'
    )
    .lines
]


def are_refused(lines: Sequence[bytes]) -> bool:
    """Whether `convert` fails: a file that has lines, but no JSON object, is no rollout."""
    return bool(lines) and not any(line.startswith(b"{") for line in lines)


class Converter:
    """Converts lines, with files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._source = folder / "rollout.jsonl"
        self._output = folder / "common.jsonl"

    def __call__(self, data: bytes, *, partial: bool) -> bytes:
        self._source.write_bytes(data)
        mngr_codex.convert(self._source, self._output, partial=partial)
        return self._output.read_bytes()

    def check_prefixes(self, lines: Sequence[bytes]) -> None:
        """Checks that the output of every prefix of the lines is a prefix of the complete output."""
        complete = self(b"".join(lines), partial=False)
        longer = self(b"".join(lines), partial=True)
        assert complete.startswith(longer)
        for end in range(len(lines) - 1, -1, -1):
            if are_refused(lines[:end]):
                with pytest.raises(ValueError, match="cannot convert"):
                    self(b"".join(lines[:end]), partial=True)
                continue
            shorter = self(b"".join(lines[:end]), partial=True)
            assert longer.startswith(shorter), f"{end} lines of {len(lines)}"
            longer = shorter
        assert longer == b""
        ids = [record["event_id"] for record in parse_records(complete)]
        assert len(ids) == len(set(ids))


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Converter:
    return Converter(tmp_path_factory.mktemp("prefixes"))


@pytest.mark.parametrize("path", recordings(), ids=name)
def test_prefixes_of_recorded_rollouts(converter: Converter, path: Path) -> None:
    converter.check_prefixes(lines_of(path))


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(st.one_of(st.sampled_from(POOL), st.sampled_from(RARE)), max_size=40))
@example(lines=[b"not json\n", b"\n", RARE[0]])
def test_prefixes_of_lines_in_random_order(converter: Converter, lines: list[bytes]) -> None:
    assume(not are_refused(lines))
    converter.check_prefixes(lines)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(choice=st.data())
def test_prefixes_of_rollouts_with_inserted_lines(converter: Converter, choice: st.DataObject) -> None:
    lines = list(lines_of(choice.draw(st.sampled_from(recordings()))))
    for position in sorted(choice.draw(st.lists(st.integers(0, len(lines)), max_size=8)), reverse=True):
        lines.insert(position, choice.draw(st.sampled_from(RARE)))
    converter.check_prefixes(lines)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(choice=st.data())
def test_prefixes_of_concatenated_rollouts(converter: Converter, choice: st.DataObject) -> None:
    """A raw transcript has all rollouts of an agent."""
    paths = choice.draw(st.lists(st.sampled_from(recordings()), min_size=2, max_size=3))
    lines = [line for path in paths for line in lines_of(path)]
    start = choice.draw(st.integers(0, max(len(lines) - 40, 0)))
    converter.check_prefixes(lines[start : start + 40])


def test_prefixes_of_ten_thousand_lines(converter: Converter) -> None:
    """The converter remembers a limited number of ids and calls, which must not change written records."""
    rollout = Rollout().context()
    for number in range(2500):
        rollout.custom_call(f"call_{number}", input="same", at=1000).command(started=0, at=1000)
        rollout.custom_output(f"call_{number}", "same", at=1000).usage()
        rollout.clock = 1000
    complete = converter(rollout.data, partial=False)
    for end in (1, 4000, 8192, 9999):
        assert complete.startswith(converter(Rollout(rollout.lines[:end]).data, partial=True))
    ids = [record["event_id"] for record in parse_records(complete)]
    assert len(ids) == len(set(ids))
