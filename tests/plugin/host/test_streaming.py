"""What is shown of a program's output over several runs of the program."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.interfaces.host import OnlineHostInterface

from mngr_codex.plugin.cli.remote_agents import time_zone_script
from mngr_codex.plugin.host import streaming
from mngr_codex.plugin.host.streaming import ConnectionBroken, MarkedOutput, RepeatedOutput, Run, stream

RECORDS = st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\x1e", b"").replace(b"\n", b"")), max_size=12)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [*found, data]


@given(RECORDS, st.lists(st.integers(1, 9)), st.integers(0, 300), st.lists(st.integers(1, 9)))
def test_marked_output_is_shown_once_however_it_is_cut(
    records: list[bytes], sizes: list[int], broken_at: int, later_sizes: list[int]
) -> None:
    """The second run begins after the last record that the first one has shown completely."""

    def printed(begin: int) -> bytes:
        return b"".join(b"%b\n\x1e=id-%d\nlive\x1e\n" % (record, begin + n) for n, record in enumerate(records[begin:]))

    output = MarkedOutput()
    output.begin()
    shown = [output.take(piece) for piece in pieces(printed(0)[:broken_at], sizes)]
    begin = 0 if output.position is None else int(output.position.removeprefix("id-")) + 1
    output.begin()
    shown += [output.take(piece) for piece in pieces(printed(begin), later_sizes)]
    texts = b"".join(shown).replace(b"live", b"")
    assert texts == b"".join(b"%b\n" % record for record in records)
    assert output.rest() == b""
    assert output.position == (f"id-{len(records) - 1}" if records else None)


def test_the_end_of_marked_output_needs_no_mark() -> None:
    output = MarkedOutput()
    output.begin()
    assert output.take(b"a\n\x1e=") == b"" and output.position is None
    assert output.take(b"1\nb\n") == b"a\n" and output.position == "1"
    assert output.rest() == b"b\n" and output.rest() == b""


def test_announced_calls_are_known_once_their_lines_are_shown() -> None:
    cut, whole = MarkedOutput(), MarkedOutput()
    assert cut.take(b"a call\n\x1e~running:1") == b"" and cut.announced is None
    assert whole.take(b"a call\n\x1e~running:1\n\x1e\n") == b"a call\n"
    assert (whole.announced, whole.position) == ("running:1", None)


@given(st.binary(max_size=60), st.integers(0, 60), st.lists(st.integers(1, 9)), st.binary(max_size=9))
def test_repeated_output_is_shown_once(answer: bytes, broken_at: int, sizes: list[int], more: bytes) -> None:
    """The answer may have become longer."""
    output = RepeatedOutput()
    output.begin()
    shown = [output.take(answer[:broken_at])]
    output.begin()
    shown += [output.take(piece) for piece in pieces(answer + more, sizes)]
    assert b"".join(shown) == answer + more
    assert output.rest() == b""


@pytest.mark.parametrize("again", [b"abX", b"ab", b""])
def test_another_answer_is_an_error(again: bytes) -> None:
    output = RepeatedOutput()
    output.begin()
    assert output.take(b"abc") == b"abc"
    output.begin()

    def show_again() -> None:
        for byte in again:
            assert output.take(bytes([byte])) == b""
        output.rest()

    with pytest.raises(ConnectionBroken):
        show_again()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "Europe/Berlin",
            "TZ=CET-1CEST,M3.5.0,M10.5.0/3\n[ -e /usr/share/zoneinfo/Europe/Berlin ] && TZ=Europe/Berlin\n",
        ),
        (":America/New_York", "[ -e /usr/share/zoneinfo/America/New_York ] && TZ=America/New_York\n"),
        ("EST5EDT,M3.2.0,M11.1.0", "TZ=EST5EDT,M3.2.0,M11.1.0\n"),
        ("<+0545>-5:45", "TZ='<+0545>-5:45'\n"),
        ("", "TZ=UTC0\n"),
        ("No/Such_Zone", "TZ=UTC0\n"),
        ("/no/such/file1", "TZ=UTC0\n"),
    ],
)
def test_the_time_zone_is_passed_on(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
    monkeypatch.setenv("TZ", value)
    script = time_zone_script()
    assert expected in script and script.endswith("export TZ\n")


def test_the_systems_time_zone_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    script = time_zone_script()
    name = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    if name and Path("/etc/localtime").exists():
        assert f"TZ={name.removeprefix('posix/')}\n" in script
    assert script.startswith("TZ=")


class Shown:
    """Keeps what is shown."""

    content = b""

    def write(self, data: bytes) -> None:
        self.content += data


def test_an_exit_status_that_does_not_come_is_a_broken_line(
    remote: OnlineHostInterface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_STATUS_SECONDS", 0.5)
    first = tmp_path / "first"
    script = f"echo shown; [ ! -e {first} ] || exit 3; touch {first}; exec >&- 2>&-; sleep 60"
    output, statuses = Shown(), list[int]()
    run = Run(host=remote, name="box", script=lambda: script, shown=RepeatedOutput(), output=output)
    thread = threading.Thread(target=lambda: statuses.append(stream(run)), daemon=True)
    thread.start()
    thread.join(30)
    assert (statuses, output.content) == ([3], b"shown\n")


class BrokenChannel:
    """A channel of a connection that has broken, which paramiko has not noticed yet."""

    def shutdown_write(self) -> None:
        raise EOFError

    def close(self) -> None:
        raise EOFError


def test_a_channel_that_cannot_be_closed_because_the_connection_broke(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streaming, "_PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(streaming, "open_command", lambda *_, **__: BrokenChannel())
    unused: Any = SimpleNamespace()
    run = Run(host=unused, name="box.there", script=str, shown=RepeatedOutput(), output=unused)
    with pytest.raises(ConnectionBroken, match=r"the connection to box\.there broke: it was closed"):
        stream(run)
    assert capfd.readouterr().err.count("connecting again") == 1
