"""Codex is sent to a host that has no installer."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

from mngr_codex.plugin.host import codex_package


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
