"""Codex is sent to a host that has no installer."""

import fcntl
import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

from mngr_codex.plugin.host import codex_package
from mngr_codex.plugin.host.codex_package import PackageError, archive_for
from mngr_codex.plugin.host.program import Platform

X86_64 = Platform("Linux", "x86_64")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of this machine's own Codex, which is small. Archives of it are kept in ``cache``."""
    package = tmp_path / "package"
    program = package / "bin/codex"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 62) + bytes(100))
    program.chmod(0o755)
    (package / "codex-package.json").write_text(json.dumps({"version": "0.163.0"}))
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return package


def kept(tmp_path: Path) -> set[str]:
    """Returns the names of the kept files, without that of the lock."""
    return {file.name for file in (tmp_path / "cache/mngr-codex/codex").iterdir()} - {"lock"}


WHOLE = {f"codex-0.163.0-{X86_64.folder}.{ending}" for ending in ("tar.gz", "json")}


def test_an_archive_is_made_once_and_replaces_what_killed_processes_have_left(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache/mngr-codex/codex"
    folder.mkdir(parents=True)
    for name in (".new-half", f"codex-0.1.0-{X86_64.folder}.tar.gz"):
        (folder / name).write_bytes(b"x")
    made = archive_for(X86_64, None)
    assert kept(tmp_path) == WHOLE
    with tarfile.open(made.path) as archive:
        assert {"bin/codex", "codex-package.json"} <= set(archive.getnames())
    before = made.path.stat().st_mtime_ns
    assert archive_for(X86_64, "0.163.0") == made and made.path.stat().st_mtime_ns == before


def test_two_processes_do_not_make_the_same_archive(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache/mngr-codex/codex"
    folder.mkdir(parents=True)
    found: list[object] = []
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: found.append(archive_for(X86_64, None)))
        second.start()
        second.join(0.3)
        assert second.is_alive() and kept(tmp_path) == set()
    second.join(20)
    assert len(found) == 1 and kept(tmp_path) == WHOLE


@pytest.mark.parametrize("fault", ["a long name", "a cache that is a file"])
def test_an_archive_that_cannot_be_made_is_an_error_with_the_reason(package: Path, tmp_path: Path, fault: str) -> None:
    if fault == "a long name":
        (package / ("n" * 200)).touch()
    else:
        (tmp_path / "cache").write_text("x")
    with pytest.raises(PackageError, match="cannot put Codex into an archive: "):
        archive_for(X86_64, "0.163.0")
    assert not list((tmp_path / "cache").rglob(".new-*"))


def test_what_a_killed_process_has_unpacked_on_the_host_is_removed(tmp_path: Path) -> None:
    codex = tmp_path / ".local/share/mngr-codex/codex"
    (codex / ".new-old" / "bin").mkdir(parents=True)
    (codex / ".new-young").mkdir()
    (codex / "0.1.0").mkdir()
    hours_ago = time.time() - 7200
    for path in (codex / ".new-old", codex / "0.1.0"):
        os.utime(path, (hours_ago, hours_ago))
    script = codex_package._BEGIN.format(part="codex-1.part", needed=1, size=10)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "0", "")
    assert {each.name for each in codex.iterdir()} == {".new-young", "0.1.0"}


def test_the_last_step_can_run_again(tmp_path: Path) -> None:
    """The line can break before the answer arrives. The step then runs again, and finds everything done."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as packed:
        program = tarfile.TarInfo("bin/codex")
        program.mode = 0o755
        packed.addfile(program)
    folder = tmp_path / ".local/share/mngr-codex"
    (folder / "codex").mkdir(parents=True)
    (tmp_path / ".local/bin").mkdir()
    part = folder / "codex-1.part"
    digest = hashlib.sha256(archive.getvalue()).hexdigest()

    def finish() -> "subprocess.CompletedProcess[bytes]":
        script = codex_package._FINISH.format(part=part.name, version="0.1.0", sha256=digest)
        return subprocess.run(
            ["sh", "-c", script], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True
        )

    assert finish().returncode != 0
    part.write_bytes(archive.getvalue())
    for _ in range(2):
        ran = finish()
        assert (ran.returncode, ran.stderr) == (0, b"")
    assert (tmp_path / ".local/bin/codex").resolve() == folder / "codex/0.1.0/bin/codex"
    assert not part.exists()
    part.write_bytes(b"other")
    assert b"damaged" in finish().stderr
