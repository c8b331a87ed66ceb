"""Links, pipes and folders in place of the program's files: no hook blocks, and no file elsewhere is changed."""

import os
import resource
import subprocess
from pathlib import Path

import pytest

from tests.support.fake_agent import Agent
from tests.support.program import program

#: The files that hooks write in the state directory.
FILES = [
    "active", "codex_root_active", "codex_root_session", "codex_transcript_path", "codex_transcript_paths",
    "permissions_waiting", "question_waiting", "plugin/mngr_codex/unfinished", "events/logs/mngr_codex/events.jsonl",
]  # fmt: skip


def run_hooks(agent: Agent) -> None:
    """Runs hooks that write each of these files. Every hook must succeed."""
    agent.begin_turn()
    agent.hook("user-prompt-submit")
    child = agent.new_id()
    agent.child_hook("subagent-start", child, agent.new_id())
    agent.hook("permission-request")
    agent.hook("pre-tool-use", tool_name="request_user_input")
    agent.run_hook("stop", b"no payload")
    agent.child_hook("subagent-stop", child, "")
    agent.hook("stop")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("is_there", [True, False], ids=["to a file", "to nothing"])
def test_a_linked_file_is_not_changed(agent: Agent, tmp_path: Path, file: str, is_there: bool) -> None:
    target = tmp_path / "precious"
    if is_there:
        target.write_text("precious")
    path = agent.state / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    run_hooks(agent)
    assert (target.read_text() if target.exists() else None) == ("precious" if is_there else None)


@pytest.mark.parametrize("folder", ["codex_subagents", "plugin/mngr_codex/lifecycle.pending"])
def test_a_linked_folder_is_not_changed(agent: Agent, tmp_path: Path, folder: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("precious")
    (agent.state / folder).parent.mkdir(parents=True, exist_ok=True)
    (agent.state / folder).symlink_to(other)
    run_hooks(agent)
    agent.marker("show")
    assert {path.name: path.read_text() for path in other.iterdir()} == {"precious": "precious"}
    assert not agent.is_active


@pytest.mark.parametrize("file", [*FILES, "plugin/mngr_codex/lifecycle.pending/1"])
def test_a_pipe_blocks_no_hook(agent: Agent, file: str) -> None:
    path = agent.state / file
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    run_hooks(agent)


def test_a_folder_in_place_of_a_subagents_file_affects_no_other(agent: Agent) -> None:
    agent.begin_turn()
    one, other = agent.new_id(), agent.new_id()
    (agent.state / "codex_subagents" / one).mkdir(parents=True)
    agent.child_hook("subagent-start", one, agent.new_id())
    agent.child_hook("subagent-start", other, agent.new_id())
    assert (agent.state / "codex_subagents" / other).is_file()


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_hooks_succeed_if_files_may_not_grow(agent: Agent, limit: int) -> None:
    agent.begin_turn()
    for event in ["user-prompt-submit", "permission-request", "stop"]:
        done = subprocess.run(
            [program(), "hook", event],
            input=agent.payload(event),
            env=agent.environment(),
            capture_output=True,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert (done.returncode, done.stdout) == (0, b"")
