"""`scripts/timed`, which ends `make check`."""

import re
import subprocess

import pytest

from tests.support.project import ROOT


@pytest.mark.parametrize(("command", "result"), [("exit 0", "passed"), ("exit 3", "failed")])
def test_the_last_line_names_result_and_duration_and_the_status_is_kept(command: str, result: str) -> None:
    done = subprocess.run([ROOT / "scripts" / "timed", "sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == int(command[-1])
    assert re.fullmatch(rf"== {result} after \d+ s", done.stdout.splitlines()[-1])
