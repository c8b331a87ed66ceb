"""Whether Codex's sandbox starts is tried in one way, when an agent is created and by the doctor."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from mngr_codex.plugin.cli.doctor import sandbox as doctor
from mngr_codex.plugin.home import sandbox
from mngr_codex.plugin.host.place import HostPlace
from tests.support.folder_snapshot import snapshot


@pytest.fixture
def agent_home(tmp_path: Path) -> Path:
    """The Codex home of an agent."""
    home = tmp_path / "agent's home"
    home.mkdir()
    (home / "config.toml").write_text('model = "m"\n')
    return home


def tried(tmp_path: Path, agent_home: Path, script: str, options: str = "") -> str | None:
    """Returns the problem with a Codex that is this script."""
    program = tmp_path / "a codex"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    command = doctor.script(f"env A=1 '{program}' {options}", agent_home)
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stderr == ""
    found = doctor.judge(ran.stdout, HostPlace(), "t")
    assert found.level == ("ok" if found.said == "it starts" else "warning")
    return None if found.level == "ok" else found.said.partition("fails: ")[2]


def test_the_sandbox_gets_the_command_and_the_settings_of_the_agent(
    tmp_path: Path, agent_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in a copy of the home, because Codex writes to any home that it gets."""
    monkeypatch.setenv("RUST_BACKTRACE", "1")
    before = snapshot(agent_home)
    log = tmp_path / "log"
    script = (
        f'echo "$A ${{RUST_BACKTRACE-none}} $*" >>{log}; cat "$CODEX_HOME/config.toml" >>{log}; touch "$CODEX_HOME/x"'
    )
    assert tried(tmp_path, agent_home, script, "--profile p -c 'a=\"b c\"'") is None
    assert log.read_text() == '1 none -c a="b c" sandbox -- true\nmodel = "m"\n'
    assert snapshot(agent_home) == before


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 0", None),
        ("echo 'bwrap: No permissions'; echo 'note: run with RUST_BACKTRACE=1'; exit 1", "bwrap: No permissions"),
        ("exit 7", "exit status 7"),
        ("kill -9 $$", "exit status 137"),
        # A Codex that has no such subcommand.
        ("echo 'error: unrecognized subcommand' >&2; exit 2", None),
    ],
)
def test_the_reason_why_the_sandbox_does_not_start(
    tmp_path: Path, agent_home: Path, script: str, problem: str | None
) -> None:
    assert tried(tmp_path, agent_home, script) == problem


def test_a_sandbox_that_hangs_is_given_up(tmp_path: Path, agent_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 1)
    begun = time.monotonic()
    assert tried(tmp_path, agent_home, "sleep 20") == "it has not ended after 1 s"
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("config", "command", "arguments", "expected"),
    [
        ({}, "codex", (), False),
        ({"sandbox_mode": "workspace-write"}, "codex", ("--search",), False),
        ({"sandbox_mode": "danger-full-access"}, "codex", (), True),
        ({}, "codex --yolo", (), True),
        ({}, "codex", ("--sandbox", "danger-full-access"), True),
        ({}, "codex", ("/x/commands/codex --dangerously-bypass-approvals-and-sandbox",), True),
    ],
)
def test_an_agent_without_the_sandbox_does_not_need_it(
    config: dict[str, Any], command: str, arguments: tuple[str, ...], expected: bool
) -> None:
    assert sandbox.is_disabled(config, command, arguments) is expected
