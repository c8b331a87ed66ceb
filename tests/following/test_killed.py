"""A pass that is killed at any system call is completed by the next one."""

import shutil
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, append_lines
from tests.support.recordings import lines_of, name, recordings
from tests.support.strace import TracedCommand

LINES = lines_of(next(path for path in recordings() if name(path) == "0.169.0/tools"))


@pytest.mark.slow
@pytest.mark.parametrize("begun", [0, 20], ids=["the first pass", "a later pass"])
@pytest.mark.parametrize("options", [[], ["--final"]], ids=["", "final"])
def test_the_next_pass_completes_one_killed_at_any_system_call(
    followed: FollowedAgent, tracing: None, tmp_path: Path, begun: int, options: list[str]
) -> None:
    rollout = followed.make_current("a")
    append_lines(rollout, LINES[:begun])
    if begun:
        followed.run_once()
    append_lines(rollout, [*LINES[begun:40], LINES[40][:30]])
    before = tmp_path / "before"
    shutil.copytree(followed.state, before)

    def restore() -> TracedCommand:
        shutil.rmtree(followed.state)
        shutil.copytree(before, followed.state)
        return TracedCommand(["watch", "--once", *options, "--state-dir", str(followed.state)], {})

    calls = list(restore().calls(tmp_path / "calls", "codex_transcript"))
    raw, common = followed.raw, followed.common
    assert raw == b"".join(LINES[:40])
    assert {"pwrite64", "flock"} <= {called for called, _ in calls}
    for called, number in calls:
        restore().kill(called, number)
        assert raw.startswith(followed.raw) and common.startswith(followed.common)
        followed.run_once(*options)
        assert (followed.raw, followed.common) == (raw, common), (called, number)
        # Later passes work as usual.
        if number % 5 == 0:
            append_lines(rollout, [LINES[40][30:]])
            followed.run_once()
            assert followed.raw == b"".join(LINES[:41])
            assert followed.common.startswith(common)
            rollout.write_bytes(b"".join([*LINES[:40], LINES[40][:30]]))
