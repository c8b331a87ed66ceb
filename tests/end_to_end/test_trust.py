"""Nothing is trusted that nobody has agreed to."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MakeWorld
from tests.support.machine import World, until

pytestmark = pytest.mark.slow


def tree(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """All that is in a folder: modes, contents, and where links go."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content: bytes | str = b""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (mode, content)
    return found


def add_hooks(world: World) -> Path:
    """Gives the repository hooks of its own; the file that they would make."""
    made = world.folder / "hook-ran"
    hooks = {
        event: [{"hooks": [{"type": "command", "command": f"touch {made}"}]}] for event in ("Stop", "UserPromptSubmit")
    }
    folder = world.repository / ".codex"
    folder.mkdir()
    (folder / "hooks.json").write_text(json.dumps({"hooks": hooks}))
    for arguments in (["add", "."], ["commit", "-qm", "Add hooks"]):
        subprocess.run(["git", *arguments], cwd=world.repository, env=world.environment, check=True)
    return made


def answer(world: World, *answers: str) -> tuple[int, str]:
    """Runs `mngr create` in a terminal, and types these answers to its questions; its status and what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(world.repository)
        program = Path(sys.executable).with_name("mngr")
        os.execve(program, [str(program), "create", "t", "codex", "--no-connect"], world.environment)
    shown = b""
    left = list(answers)
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            break
        if left and shown.rstrip().endswith(b"[y/N]:"):
            os.write(terminal, f"{left.pop(0)}\n".encode())
            shown += b"\n"
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, shown.decode(errors="replace").replace("\r", "")


def test_unattended_without_consent(world: World) -> None:
    """It is refused with the ways out, and nothing is left."""
    world.mngr("list")
    before = {
        name: entry for name, entry in tree(world.home).items() if "events" not in name and "completion" not in name
    }
    branches = subprocess.check_output(["git", "branch"], cwd=world.repository, env=world.environment)
    refused = world.mngr("create", "t", "codex", "--no-connect", status=None)
    assert refused.status != 0
    assert all(way in refused.stderr for way in ("terminal", "--yes", "auto_dismiss_dialogs"))
    after = {
        name: entry for name, entry in tree(world.home).items() if "events" not in name and "completion" not in name
    }
    assert sorted(set(after) - set(before)) == []
    assert subprocess.check_output(["git", "branch"], cwd=world.repository, env=world.environment) == branches


@pytest.mark.parametrize("name", ["auto_dismiss_dialogs", "auto_dismiss_dialogs_at_startup"])
def test_consent_by_a_setting(make_world: MakeWorld, name: str) -> None:
    world = make_world(**{name: True})
    world.mngr("create", "t", "codex", "--no-connect")
    agent = world.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.said() == ["You said: Are you there?"], what="the answer")


def test_no_hook_of_the_repository_runs_with_yes(world: World) -> None:
    """They are switched off without a dialog, and a notice names them and the setting."""
    made = add_hooks(world)
    created = world.mngr("create", "t", "codex", "--yes", "--no-connect")
    assert f"touch {made}" in created.stderr
    assert "trust_repo_hooks" in created.stderr
    agent = world.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.said() == ["You said: Are you there?"], what="the answer")
    until(lambda: not agent.is_active, what="WAITING")
    assert not made.exists()


def test_hooks_of_the_repository_run_where_settings_trust_them(make_world: MakeWorld) -> None:
    world = make_world(trust_repo_hooks=True)
    made = add_hooks(world)
    agent = world.create()
    agent.message("Are you there?")
    until(made.exists, what="the hook")


def test_attended(world: World) -> None:
    """The folder is asked for first; the hooks are listed by command and asked for apart."""
    made = add_hooks(world)
    status, shown = answer(world, "y", "n")
    assert status == 0, shown
    assert f"touch {made}" in shown
    assert shown.count("[y/N]") == 2
    agent = world.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.said() == ["You said: Are you there?"], what="the answer")
    assert not made.exists()


def test_attended_with_hooks(world: World) -> None:
    made = add_hooks(world)
    status, shown = answer(world, "y", "y")
    assert status == 0, shown
    world.agent("t").message("Are you there?")
    until(made.exists, what="the hook")


def test_attended_and_refused(world: World) -> None:
    add_hooks(world)
    status, shown = answer(world, "n")
    assert status != 0
    assert "not trusted" in shown
    assert world.agent_dirs() == []


def test_the_home_of_the_user_stays_as_it_is(world: World) -> None:
    """From creation to destruction nothing in it changes but mngr's own folder."""
    (world.home / ".codex" / "config.toml").write_text('# Mine.\nmodel = "gpt-5.5"\n')
    (world.home / ".codex" / "AGENTS.md").write_text("Be brief.\n")
    (world.home / ".codex" / "prompts").mkdir()

    def of_the_user() -> dict[str, tuple[int, bytes | str]]:
        return {name: entry for name, entry in tree(world.home).items() if not name.startswith(".mngr")}

    before = of_the_user()
    agent = world.create()
    agent.message("Are you there?")
    until(lambda: agent.said() == ["You said: Are you there?"], what="the answer")
    world.mngr("stop", "t")
    world.mngr("start", "t")
    world.mngr("destroy", "t", "--force")
    assert of_the_user() == before
