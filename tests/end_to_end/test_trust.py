"""Nothing is trusted without consent."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine import Machine, MakeMachine, until

pytestmark = pytest.mark.slow


def tree(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Returns the mode and the content or link target of everything in a folder."""
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


def add_hooks(machine: Machine) -> Path:
    """Adds hooks to the repository, and returns the file that they create."""
    file = machine.folder / "hook-ran"
    hooks = {
        event: [{"hooks": [{"type": "command", "command": f"touch {file}"}]}] for event in ("Stop", "UserPromptSubmit")
    }
    folder = machine.repository / ".codex"
    folder.mkdir()
    (folder / "hooks.json").write_text(json.dumps({"hooks": hooks}))
    for arguments in (["add", "."], ["commit", "-qm", "Add hooks"]):
        subprocess.run(["git", *arguments], cwd=machine.repository, env=machine.environment, check=True)
    return file


def answer(machine: Machine, *answers: str, name: str = "t") -> tuple[int, str]:
    """Runs `mngr create` in a terminal and answers its questions; returns its status and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(machine.repository)
        program = Path(sys.executable).with_name("mngr")
        os.execve(program, [str(program), "create", name, "codex", "--no-connect"], machine.environment)
    shown = b""
    remaining = list(answers)
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            break
        if remaining and shown.rstrip().endswith(b"[y/N]:"):
            os.write(terminal, f"{remaining.pop(0)}\n".encode())
            shown += b"\n"
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, shown.decode(errors="replace").replace("\r", "")


def test_without_a_terminal_or_consent_no_agent_is_created(machine: Machine) -> None:
    """The error names the ways to consent, and no file remains."""
    machine.mngr("list")
    before = {
        name: entry for name, entry in tree(machine.home).items() if "events" not in name and "completion" not in name
    }
    branches = subprocess.check_output(["git", "branch"], cwd=machine.repository, env=machine.environment)
    refused = machine.mngr("create", "t", "codex", "--no-connect", status=None)
    assert refused.status != 0
    assert all(way in refused.stderr for way in ("terminal", "--yes", "auto_dismiss_dialogs"))
    after = {
        name: entry for name, entry in tree(machine.home).items() if "events" not in name and "completion" not in name
    }
    assert sorted(set(after) - set(before)) == []
    assert subprocess.check_output(["git", "branch"], cwd=machine.repository, env=machine.environment) == branches


@pytest.mark.parametrize("name", ["auto_dismiss_dialogs", "auto_dismiss_dialogs_at_startup"])
def test_a_setting_can_give_consent(make_machine: MakeMachine, name: str) -> None:
    machine = make_machine(**{name: True})
    machine.mngr("create", "t", "codex", "--no-connect")
    agent = machine.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")


def test_yes_does_not_consent_to_hooks_of_the_repository(machine: Machine) -> None:
    """They are disabled without a dialog, and a notice names them and the setting."""
    file = add_hooks(machine)
    created = machine.mngr("create", "t", "codex", "--yes", "--no-connect")
    assert f"touch {file}" in created.stderr
    assert "trust_repo_hooks" in created.stderr
    agent = machine.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    agent.wait()
    assert not file.exists()


def test_a_setting_can_trust_hooks_of_the_repository(make_machine: MakeMachine) -> None:
    machine = make_machine(trust_repo_hooks=True)
    file = add_hooks(machine)
    agent = machine.create()
    agent.message("Are you there?")
    until(file.exists, description="the hook")


def test_folder_and_hooks_are_asked_about_separately(machine: Machine) -> None:
    """The first question is about the folder. The second one lists the hooks by command."""
    file = add_hooks(machine)
    status, shown = answer(machine, "y", "n")
    assert status == 0, shown
    assert f"touch {file}" in shown
    assert shown.count("[y/N]") == 2
    agent = machine.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    assert not file.exists()


def test_hooks_run_after_consent(machine: Machine) -> None:
    file = add_hooks(machine)
    status, shown = answer(machine, "y", "y")
    assert status == 0, shown
    machine.agent("t").message("Are you there?")
    until(file.exists, description="the hook")


def test_an_answer_about_the_folder_is_remembered_until_it_is_revoked(machine: Machine) -> None:
    """For the repository and its worktrees. Hooks are asked about again, because they can change."""
    add_hooks(machine)
    listed = ("codex", "trust", "list")
    assert "no folder is trusted" in machine.mngr(*listed).stdout
    status, shown = answer(machine, "y", "n")
    assert status == 0 and "mngr codex trust revoke" in shown, shown
    status, shown = answer(machine, "n", name="second")
    assert status == 0 and shown.count("[y/N]") == 1 and "hooks" in shown, shown
    worktree = json.loads((machine.agent("t").state / "data.json").read_text())["work_dir"]
    machine.mngr("create", "third", "codex", "--no-connect", folder=Path(worktree))
    (entry,) = json.loads(machine.mngr(*listed, "--format", "json").stdout)
    assert entry["folder"] == str(machine.repository) and entry["since"].startswith("20")
    assert str(machine.repository) in machine.mngr(*listed).stdout
    assert not (machine.home / ".codex/config.toml").exists()

    (file,) = (machine.profile / "mngr_codex").rglob("*.json")
    file.write_text("{")
    for command in (("create", "fourth", "codex", "--no-connect"), listed):
        damaged = machine.mngr(*command, status=None)
        assert damaged.status != 0 and "hint: " in damaged.stderr and "codex trust revoke" in damaged.stderr

    revoke = ("codex", "trust", "revoke")
    assert machine.mngr(*revoke, status=None).status != 0
    revoked = machine.mngr(*revoke, ".", "--format", "json", folder=Path(worktree))
    assert json.loads(revoked.stdout) == {"revoked": 1}
    refused = machine.mngr(*revoke, ".", folder=Path(worktree), status=1)
    assert f"cannot revoke trust in {worktree}: it is not trusted" in refused.stderr
    assert json.loads(machine.mngr(*revoke, "--all", "--format", "json").stdout) == {"revoked": 0}
    assert "has not been trusted" in machine.mngr("create", "fifth", "codex", "--no-connect", status=None).stderr


def test_an_update_needs_no_further_consent_to_the_same_folder(machine: Machine) -> None:
    """The agent was created with `--yes`, which is not remembered. Another folder needs consent."""
    machine.create()
    update = ("create", "t", "codex", "--reuse", "--update", "--no-connect")
    machine.mngr(*update)
    machine.agent("t").message("Are you there?")
    until(lambda: machine.agent("t").answers() == ["You said: Are you there?"], description="the answer")
    other = machine.folder / "other"
    subprocess.run(["git", "clone", "-q", machine.repository, other], env=machine.environment, check=True)
    refused = machine.mngr(*update, folder=other, status=None).stderr
    assert f"cannot update the agent: {other} has not been trusted yet" in refused
    assert "start it with `mngr start t`" in refused


def test_no_agent_is_created_without_consent_to_the_folder(machine: Machine) -> None:
    add_hooks(machine)
    status, shown = answer(machine, "n")
    assert status != 0
    assert "not trusted" in shown
    assert machine.agent_dirs() == []


def test_the_users_home_is_not_changed(machine: Machine) -> None:
    """From creation to destruction only mngr's own folder in it changes."""
    (machine.home / ".codex" / "config.toml").write_text('# Mine.\nmodel = "gpt-5.5"\n')
    (machine.home / ".codex" / "AGENTS.md").write_text("Be brief.\n")
    (machine.home / ".codex" / "prompts").mkdir()

    def of_the_user() -> dict[str, tuple[int, bytes | str]]:
        return {name: entry for name, entry in tree(machine.home).items() if not name.startswith(".mngr")}

    before = of_the_user()
    agent = machine.create()
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    machine.mngr("destroy", "t", "--force")
    assert of_the_user() == before
