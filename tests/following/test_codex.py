"""Follows a real Codex with a scripted model while watchers are killed and restarted."""

import json
import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.followed_agent import FollowedAgent, wait_until
from tests.support.program import program, run

DEMO = Path(__file__).parents[2] / "demo"
sys.path.append(str(DEMO))

from demo import configuration  # noqa: E402
from scripted_model import Answer, Json, Response, ScriptedModel, Usage, message, reasoning, shell_call  # noqa: E402

CODEX_VARIABLE = "MNGR_CODEX_CODEX"

EVENTS = [
    "SessionStart",
    "UserPromptSubmit",
    "PreModelRequest",
    "PreToolUse",
    "PermissionRequest",
    "PostToolUse",
    "SubagentStart",
    "SubagentStop",
    "Stop",
    "Interrupt",
]

CALLS = 12


def answers() -> list[Answer]:
    """Returns a turn of many calls, some of them slow or with much output."""

    def calls(number: int) -> Answer:
        def answer(request: Json) -> Response:
            command = f"sleep 0.{number % 4}; seq {number * 200}"
            items = [reasoning(f"**Step {number}**\n\nOne more."), message(f"Call {number}.", final=False)]
            return Response([*items, shell_call(request, command)], Usage(input=1000 + number, output=number))

        return answer

    return [*map(calls, range(1, CALLS + 1)), Response([message("All of them are done.")])]


def kebab(event: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in event).removeprefix("-")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Kills a process unless it has exited."""
    process.kill()
    process.communicate()


@pytest.fixture
def codex() -> Path:
    """The path of a real Codex."""
    named = os.environ.get(CODEX_VARIABLE)
    if not named:
        pytest.skip(f"{CODEX_VARIABLE} is not set (`make test` sets it)")
    return Path(named)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_transcripts_are_complete_although_watchers_are_killed(codex: Path, tmp_path: Path, seed: int) -> None:
    """The raw transcript equals the rollout, the common one the output of `convert`, and the agent waits."""
    chance = random.Random(seed)
    followed = FollowedAgent(tmp_path / "agent")
    home, work = tmp_path / "home", tmp_path / "work"
    codex_home = home / ".codex"
    codex_home.mkdir(parents=True)
    work.mkdir()
    hooks = {
        event: [{"hooks": [{"type": "command", "command": f"'{program()}' hook {kebab(event)}"}]}] for event in EVENTS
    }
    (codex_home / "hooks.json").write_text(json.dumps({"hooks": hooks}))
    script = answers()
    with ScriptedModel(script) as model:
        (codex_home / "config.toml").write_text(configuration(model.base_url))
        environment = {
            "HOME": str(home),
            "CODEX_HOME": str(codex_home),
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1,localhost",
            "MNGR_AGENT_STATE_DIR": str(followed.state),
        }
        command: list[str | Path] = [
            codex,
            "exec",
            "--dangerously-bypass-hook-trust",
            "--skip-git-repo-check",
            "Go on.",
        ]
        killed = 0
        was_active = False
        output = tmp_path / "output"
        with ExitStack() as cleanup:
            watcher = followed.watch()
            cleanup.callback(lambda: stop(watcher))
            with output.open("wb") as said:
                session = subprocess.Popen(
                    command,
                    cwd=work,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                )
            cleanup.callback(lambda: stop(session))
            end = time.monotonic() + 90
            while session.poll() is None and time.monotonic() < end:
                time.sleep(chance.random() * 0.15)
                was_active |= followed.agent.is_active
                stop(watcher)
                killed += 1
                if chance.random() < 0.5:
                    time.sleep(chance.random() * 0.1)
                watcher = followed.watch()
            assert (session.poll(), len(model.requests)) == (0, len(script)), output.read_text(errors="replace")
            [rollout] = codex_home.rglob("rollout-*.jsonl")
            wait_until(lambda: followed.raw == rollout.read_bytes())
            wait_until(lambda: not followed.agent.is_active)
    assert killed > 5 and was_active
    followed.run_once("--final")
    assert followed.raw == rollout.read_bytes()
    done = run("convert", rollout, "--agent-id", followed.state.name)
    assert done.status == 0
    assert followed.common == done.stdout
    assert followed.agent.state_file("codex_transcript_path") == str(rollout)
