"""The scripts that mngr runs when it destroys an agent. They complete both transcripts."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, append_lines
from tests.support.program import program
from tests.support.recordings import lines_of, name, recordings
from tests.support.workers import Worker, worker

NAMES = ["stream_transcript.sh", "common_transcript.sh"]

SCRIPTS = {name: (files("mngr_codex") / "commands" / name).read_text() for name in NAMES}

_RECORDING = lines_of(next(path for path in recordings() if name(path) == "0.169.0/tools"))

#: They end before the first token counts, so that steps are held back.
LINES = _RECORDING[: next(n for n, line in enumerate(_RECORDING) if b'"token_usage_record"' in line)]

AGENT = "agent-0123456789abcdef0123456789abcdef"

#: A PATH with a shell, but without the program.
SYSTEM = os.pathsep.join(["/usr/bin", "/bin"])


@pytest.fixture(scope="module")
def flusher() -> Iterator[Worker]:
    """Runs the scripts as mngr does when it destroys an agent."""
    with worker("mngr_flush.py", "MNGR_CODEX_MNGR_PYTHON", "imbue.mngr") as running:
        yield running


@pytest.fixture
def followed(tmp_path: Path) -> FollowedAgent:
    """An agent whose state directory is at mngr's path, with a rollout that was not followed yet."""
    followed = FollowedAgent(tmp_path / "agent")
    state = tmp_path / "host" / "agents" / AGENT
    state.parent.mkdir(parents=True)
    followed.state.rename(state)
    followed.state = followed.agent.state = state
    (state / "env").write_text(f"MNGR_AGENT_STATE_DIR={state}\n")
    append_lines(followed.make_current("a"), LINES)
    return followed


def provision(followed: FollowedAgent, name: str) -> Path:
    """Writes a script to the path at which a plugin provisions it."""
    script = followed.state / "commands" / name
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPTS[name])
    return script


def is_complete(followed: FollowedAgent) -> bool:
    return bool(
        followed.raw == b"".join(LINES)
        and followed.common == followed.converted()
        and followed.common != followed.converted("--partial")
    )


@pytest.mark.parametrize("where", ["next to the scripts", "on PATH"])
def test_mngr_completes_the_transcripts_with_them(followed: FollowedAgent, flusher: Worker, where: str) -> None:
    path = SYSTEM
    if where == "next to the scripts":
        (followed.state / "commands").mkdir()
        shutil.copy(program(), followed.state / "commands")
    else:
        path = os.pathsep.join([str(program().parent), SYSTEM])
    host = followed.state.parents[1]
    results = flusher.ask(host_dir=str(host), agent_id=AGENT, scripts=SCRIPTS, path=path)
    assert results == [[name, "succeeded", None] for name in NAMES]
    assert is_complete(followed)


def test_mngr_gets_their_errors(followed: FollowedAgent, flusher: Worker) -> None:
    host = followed.state.parents[1]
    path = os.pathsep.join([str(program().parent), SYSTEM])
    followed.run_once()
    began = time.monotonic()
    with (followed.state / "plugin/mngr_codex/following").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        results = flusher.ask(host_dir=str(host), agent_id=AGENT, scripts=SCRIPTS, path=path)
    # mngr sets a lock timeout of two seconds for each script.
    assert 3.5 < time.monotonic() - began < 12
    assert [(name, outcome) for name, outcome, _ in results] == [(name, "error") for name in NAMES]
    assert all("could not acquire the transcript lock" in error and "within 2 s" in error for *_, error in results)


@pytest.mark.parametrize("shell", [["bash"], ["sh"], []], ids=["bash", "sh", "executed"])
@pytest.mark.parametrize("name", NAMES)
def test_each_script_completes_both_transcripts(followed: FollowedAgent, name: str, shell: list[str]) -> None:
    script = provision(followed, name)
    script.chmod(0o755)
    environment = {
        "PATH": os.pathsep.join([str(program().parent), SYSTEM]),
        "MNGR_AGENT_STATE_DIR": str(followed.state),
    }
    done = subprocess.run([*shell, script, "--single-pass"], env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert is_complete(followed)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_can_be_run_by_a_bare_file_name(followed: FollowedAgent, name: str) -> None:
    script = provision(followed, name)
    shutil.copy(program(), script.parent)
    environment = {"PATH": SYSTEM, "MNGR_AGENT_STATE_DIR": str(followed.state)}
    done = subprocess.run(["bash", name], cwd=script.parent, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert is_complete(followed)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_program_is_named(followed: FollowedAgent, name: str) -> None:
    script = provision(followed, name)
    environment = {"PATH": SYSTEM, "MNGR_AGENT_STATE_DIR": str(followed.state)}
    done = subprocess.run(["bash", script, "--single-pass"], env=environment, capture_output=True, timeout=60)
    assert (done.returncode, b"mngr-codex" in done.stderr) == (127, True)


@pytest.mark.parametrize("name", NAMES)
def test_installed_scripts_name_their_interpreter(name: str) -> None:
    path = Path(str(files("mngr_codex") / "commands" / name))
    assert path.read_text().startswith("#!/bin/sh\n")
