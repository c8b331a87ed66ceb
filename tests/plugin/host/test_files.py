"""Writing files to a host, with the local host and with the script for other hosts."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.errors import MngrError

from mngr_codex.plugin.host import connection
from mngr_codex.plugin.host.connection import Completed
from mngr_codex.plugin.host.files import HostFile, last_line, write_and_run, write_files
from tests.support.folder_snapshot import snapshot


class OtherHost:
    """Another host, whose commands run on this machine."""

    is_local = False


@pytest.fixture(params=["local", "other", "other, busybox"])
def target(request: pytest.FixtureRequest, host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hosts that the same files are written to."""
    if request.param == "local":
        return host
    if "busybox" in request.param:
        folder = tmp_path / "busybox"
        folder.mkdir()
        try:
            subprocess.run(["busybox", "--install", "-s", folder], check=True)
        except OSError:
            pytest.skip("busybox is not installed (apt install busybox)")
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    monkeypatch.setattr(connection, "OuterHost", OtherHost)
    monkeypatch.setattr(connection, "_run_over_ssh", lambda _, script, content, *rest: here(script, content))
    return OtherHost()


def here(script: str, content: bytes) -> Completed:
    """Runs a command of the other host."""
    return connection._run_here(script, content, 10)


def test_files_of_any_content_are_written(target: Any, tmp_path: Path) -> None:
    folder = tmp_path / "new folder" / "it's"
    contents = {
        "empty": b"",
        "binary": bytes(range(256)) * 3000,
        "no line break": b"text",
        "a\nb": b"\n\n",
        "$(touch x)": b"last\n",
    }
    files = [HostFile(folder / name, content) for name, content in contents.items()]
    write_files(target, [*files, HostFile(folder / "script", b"#!/bin/sh\n", 0o755)])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {**contents, "script": b"#!/bin/sh\n"}
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {**dict.fromkeys(contents, 0o600), "script": 0o755}


def test_more_files_are_written_than_fit_into_a_command(target: Any, tmp_path: Path) -> None:
    """An argument has at most 128 KiB on Linux."""
    folder = tmp_path / "/".join(["long name " * 20 + "x"] * 18)
    names = [str(number) for number in range(40)]
    write_files(target, [HostFile(folder / name, name.encode()) for name in names])
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: name for name in names}


def test_files_are_replaced_and_removed(target: Any, tmp_path: Path) -> None:
    for name in ("kept", "replaced", "removed"):
        (tmp_path / name).write_text("old")
    before = (tmp_path / "replaced").stat().st_ino
    write_files(target, [HostFile(tmp_path / "replaced", b"new")], removed=[tmp_path / "removed", tmp_path / "none"])
    assert (tmp_path / "replaced").read_text() == "new" and (tmp_path / "replaced").stat().st_ino != before
    assert (tmp_path / "kept").exists() and not (tmp_path / "removed").exists()
    write_files(target, [])
    write_files(target, [], removed=[tmp_path / "kept"])
    assert not (tmp_path / "kept").exists()


def test_a_file_that_cannot_be_written_is_an_error(target: Any, tmp_path: Path) -> None:
    (tmp_path / "folder" / "target").mkdir(parents=True)
    before = snapshot(tmp_path / "folder")
    with pytest.raises(MngrError, match=r"target.*"):
        write_files(target, [HostFile(tmp_path / "folder" / "target", b"x"), HostFile(tmp_path / "later", b"x")])
    assert snapshot(tmp_path / "folder") == before and not (tmp_path / "later").exists()


def test_scripts_run_before_and_after_the_files(target: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    show = f"cat {shlex.quote(str(file))}; echo"
    output = write_and_run(target, [HostFile(file, b"new")], f"{show}; exit 3", before=show, timeout_seconds=10)
    assert output == Completed(3, b"old\nnew\n", b"")
    output = write_and_run(target, [HostFile(file, b"newer")], show, before="echo no >&2; exit 4", timeout_seconds=10)
    assert output == Completed(4, b"", b"no\n") and last_line(output) == "no" and file.read_text() == "new"


def test_nothing_is_written_after_a_failed_step_of_the_first_script(target: Any, tmp_path: Path) -> None:
    before = f"set -e\nfalse\ntouch {shlex.quote(str(tmp_path / 'step'))}"
    file = HostFile(tmp_path / "file", b"x")
    ran = write_and_run(target, [file], "echo second", before=before, timeout_seconds=30.0)
    assert ran.status != 0 and ran.stdout == b""
    assert not (tmp_path / "step").exists() and not file.path.exists()


def test_a_truncated_input_writes_nothing(target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if target.is_local:
        pytest.skip("files of the local host have no input")

    cut = lambda _, script, content, *rest: here(script, content[:-1])  # noqa: E731
    monkeypatch.setattr(connection, "_run_over_ssh", cut)
    with pytest.raises(MngrError, match="cannot write the agent's files on the host"):
        write_files(target, [HostFile(tmp_path / "first", b"x"), HostFile(tmp_path / "second", b"y")])
    assert not list(tmp_path.glob("first*")) and not list(tmp_path.glob("second*"))
