"""`mngr-codex hooks`: what it does to Codex's hooks.json."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.folder_snapshot import snapshot
from tests.support.program import Completed, program, run, run_as_nobody

USERS = '{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}, "mine": [1.0]}\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a Codex."""
    (tmp_path / "home/.codex").mkdir(parents=True)
    return tmp_path / "home"


def hooks(action: str, home: Path, *options: str | Path) -> Completed:
    return run("hooks", action, *options, env={"HOME": str(home)})


def install(home: Path, *options: str | Path) -> Completed:
    done = hooks("install", home, *options)
    assert (done.status, done.stderr) == (0, ""), done
    return done


def commands(home: Path) -> list[str]:
    file = json.loads((home / ".codex/hooks.json").read_text())
    return [hook["command"] for groups in file["hooks"].values() for group in groups for hook in group["hooks"]]


def test_the_hooks_are_installed_once(home: Path) -> None:
    done = install(home).stdout.decode()
    assert "Hooks need review" in done and "/hooks" in done and "hooks.json.bak" not in done
    before = snapshot(home)
    again = install(home).stdout.decode()
    assert "already has these hooks" in again and snapshot(home) == before
    words = [shlex.split(command) for command in commands(home)]
    state_dir = home / ".local/state/mngr-codex/sessions"
    assert len(words) == 13 and state_dir.is_dir()
    for each in words:
        assert [each[0], each[2], each[4]] == ["exec", "hook", "--state-dir"]
        assert Path(each[1]).is_absolute() and Path(each[1]).samefile(program())
        assert each[5] == f"{state_dir}/{{session_id}}"


def test_codex_runs_them_in_any_environment(home: Path) -> None:
    """A shell runs the command of a hook, with a path that has to be quoted."""
    moved = home / "it's $HOME; a b"
    moved.mkdir()
    copied = shutil.copy(program(), moved)
    done = subprocess.run([copied, "hooks", "install", "--state-dir", moved / "{session_id}"], env={"HOME": str(home)})
    assert done.returncode == 0
    [command] = [command for command in commands(home) if "user-prompt-submit" in command]
    payload = json.dumps({"session_id": "s", "turn_id": "t", "cwd": "/"})
    subprocess.run(["sh", "-c", command], input=payload, env={}, cwd="/", text=True, check=True)
    assert (moved / "s/active").exists()


def test_what_print_shows_is_what_install_writes(home: Path) -> None:
    file = home / ".codex/hooks.json"
    file.write_text(USERS)
    printed = hooks("print", home)
    assert printed.status == 0 and file.read_text() == USERS
    install(home)
    assert printed.stdout == file.read_bytes()


def test_an_earlier_file_is_kept_under_another_name(home: Path) -> None:
    file = home / ".codex/hooks.json"
    backups = [home / ".codex" / name for name in ("hooks.json.bak", "hooks.json.bak.1", "hooks.json.bak.2")]
    backups[0].write_text("from somebody else")
    file.write_text(USERS)
    file.chmod(0o600)
    assert f"The earlier file is {backups[1]}.\n" in install(home).stdout.decode()
    assert [backups[0].read_text(), backups[1].read_text()] == ["from somebody else", USERS]
    assert [path.stat().st_mode & 0o777 for path in (file, backups[1])] == [0o600, 0o600]
    assert str(backups[2]) in hooks("remove", home).stdout.decode()
    assert json.loads(file.read_text()) == json.loads(USERS)
    assert "has none of these hooks" in hooks("remove", home).stdout.decode()
    file.unlink()
    assert "There is no" in hooks("remove", home).stdout.decode()


def test_a_linked_file_is_replaced_at_its_place(home: Path) -> None:
    target = home / "dotfiles/codex-hooks"
    target.parent.mkdir()
    target.write_text(USERS)
    (home / ".codex/hooks.json").symlink_to(target)
    install(home)
    assert (home / ".codex/hooks.json").is_symlink() and len(commands(home)) == 14
    assert {path.name for path in target.parent.iterdir()} == {"codex-hooks"}
    assert (home / ".codex/hooks.json.bak").read_text() == USERS


def test_hooks_of_a_program_that_was_moved_are_replaced(home: Path) -> None:
    copied = shutil.copy(program(), home / "mngr-codex")
    assert subprocess.run([copied, "hooks", "install"], env={"HOME": str(home)}).returncode == 0
    assert all(str(copied) in command for command in commands(home))
    install(home)
    assert len(commands(home)) == 13 and not any(str(copied) in command for command in commands(home))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"hooks": {"Stop": [}}', "it is not valid JSON: expected value (line 1, column 21)"),
        (b"[]", "the file is not an object"),
        (b'{"hooks": {"Stop": 1}}', "`hooks.Stop` is not an array"),
        (b'{"a": "\xff"}', "it is not valid UTF-8 (byte 7)"),
    ],
)
@pytest.mark.parametrize("action", ["install", "print", "remove"])
def test_a_damaged_file_is_refused_and_kept(home: Path, action: str, content: bytes, reason: str) -> None:
    file = home / ".codex/hooks.json"
    file.write_bytes(content)
    done = hooks(action, home)
    assert (done.status, done.stdout) == (1, b"")
    assert str(file) in done.stderr and reason in done.stderr
    assert file.read_bytes() == content and [path.name for path in file.parent.iterdir()] == ["hooks.json"]


@pytest.mark.parametrize("action", ["install", "print", "remove"])
def test_a_pipe_in_place_of_the_file_is_refused(home: Path, action: str) -> None:
    os.mkfifo(home / ".codex/hooks.json")
    done = hooks(action, home)
    assert (done.status, done.stdout) == (1, b"") and "hooks.json: it is a pipe or a device" in done.stderr


def test_a_home_is_not_created(home: Path) -> None:
    done = hooks("install", home, "--codex-home", home / "none")
    assert done.status == 1 and "no such directory\nhint: " in done.stderr and not (home / "none").exists()


def test_the_home_of_an_agent_is_refused(home: Path) -> None:
    """Its own hooks would be replaced by these, and mngr would no longer know whether it is busy."""
    agent = home / ".mngr/agents/a/plugin/codex/home"
    agent.mkdir(parents=True)
    done = run("hooks", "install", env={"HOME": str(home), "CODEX_HOME": str(agent)})
    assert done.status == 1 and "an agent of mngr" in done.stderr and not any(agent.iterdir())


def test_a_home_that_cannot_be_written_is_unchanged(open_to_all: Path) -> None:
    home = open_to_all / "home"
    (home / ".codex").mkdir(parents=True)
    (home / ".local").mkdir(mode=0o777)
    (home / ".local").chmod(0o777)
    done = run_as_nobody(open_to_all, "hooks", "install", env={"HOME": str(home)})
    assert done.status == 1 and "cannot write" in done.stderr and "ermission denied" in done.stderr
    assert not any((home / ".codex").iterdir())


def test_the_id_must_be_in_the_last_name(home: Path) -> None:
    done = hooks("install", home, "--state-dir", "/a/{session_id}/b")
    assert done.status == 2 and "last name" in done.stderr


@pytest.mark.parametrize(
    ("state_dir", "reason"),
    [("~/states/{session_id}", "has not replaced the ~"), ("/a/{session}", "only {session_id} is replaced")],
)
def test_a_state_directory_that_nothing_expands_is_refused(home: Path, state_dir: str, reason: str) -> None:
    done = hooks("install", home, "--state-dir", state_dir)
    assert done.status == 2 and reason in done.stderr and "hint: " in done.stderr
    assert not (home / ".codex/hooks.json").exists()


def test_what_install_says_about_status_is_true(home: Path) -> None:
    shared = install(home, "--state-dir", home / "one state").stdout.decode()
    assert "lists the sessions" not in shared and f"marker show --state-dir {home}/one state" in shared
    separate = install(home).stdout.decode()
    assert "Then `mngr-codex status` lists the sessions.\n" in separate
    assert all("`mngr-codex hooks remove` before you uninstall" in each for each in (shared, separate))


def test_without_a_home_the_command_line_is_incomplete() -> None:
    assert run("hooks", "install", env={}).status == 2
