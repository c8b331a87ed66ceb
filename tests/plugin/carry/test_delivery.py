"""The scripts that put the setup and the login on a host, run by the shells of hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

import pytest

from mngr_codex.plugin.carry import delivery
from mngr_codex.plugin.carry.login import Kind, Login
from mngr_codex.plugin.carry.settings import CarriedFile, Setup

LOGIN = Login(kind=Kind.API_KEY, source="here", content=b'{"OPENAI_API_KEY": "sk-new"}')


class Host:
    """A host's user and an agent there."""

    def __init__(self, folder: Path) -> None:
        self.user = folder / "a user" / ".codex"
        self.home = folder / "state dir" / "home"
        self.user.parent.mkdir()
        self.home.mkdir(parents=True)

    @property
    def auth(self) -> Path:
        return self.user / "auth.json"

    def put(
        self, setup: Setup | None = None, login: Login | None = None, path: str | None = None, *, uses_tar: bool = True
    ) -> list[str]:
        """Writes the files as mngr does, runs the script, and returns what it prints."""
        for file in delivery.files(setup, login, self.home, uses_tar=uses_tar):
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.write_bytes(file.content)
            file.path.chmod(file.mode)
        return self.run(delivery.script(setup, login, codex_home=self.home, user_codex_home=str(self.user)), path)

    def run(self, script: str, path: str | None = None) -> list[str]:
        environment = {"HOME": str(self.user.parent), "PATH": path or os.defpath}
        ran = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()

    def owned(self) -> frozenset[str]:
        user = f"user='{self.user}'\n"
        return delivery.owned_entries(self.run(user + delivery.inventory_script('"$user"')))


@pytest.fixture
def there(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(params=["system", "busybox"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The programs of the host."""
    if request.param == "system":
        return None
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed (apt install busybox-static)")
    folder = tmp_path / "applets"
    folder.mkdir()
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        (folder / applet).symlink_to(busybox)
    return f"{folder}:{Path(shutil.which('bash') or '').parent}"


def test_a_login_is_created_for_the_user_alone(there: Host, path: str | None) -> None:
    assert delivery.is_login_copied(there.put(login=LOGIN, path=path)) is True
    assert there.auth.read_bytes() == LOGIN.content
    assert there.auth.stat().st_mode & 0o777 == 0o600 and there.user.stat().st_mode & 0o777 == 0o700
    assert list(there.user.iterdir()) == [there.auth] and not list(there.home.iterdir())
    # A connection that breaks makes mngr run the script again.
    assert delivery.is_login_copied(there.put(login=LOGIN, path=path)) is True


@pytest.mark.parametrize("existing", ["a login", "an empty file", "a link to nothing", "a folder"])
def test_an_existing_login_stays(there: Host, path: str | None, existing: str) -> None:
    there.user.mkdir()
    if existing == "a link to nothing":
        there.auth.symlink_to("nothing")
    elif existing == "a folder":
        there.auth.mkdir()
    else:
        there.auth.write_text("theirs" if existing == "a login" else "")
        there.auth.chmod(0o640)

    def state() -> tuple[int, ...]:
        now = there.auth.lstat()
        return now.st_ino, now.st_mode, now.st_size, now.st_mtime_ns, now.st_ctime_ns

    before = state()
    # Codex takes neither an empty file nor a link to nothing for a login.
    is_copied = None if existing in ("an empty file", "a link to nothing") else False
    assert delivery.is_login_copied(there.put(login=LOGIN, path=path)) is is_copied
    assert state() == before and list(there.user.iterdir()) == [there.auth]
    assert not list(there.home.iterdir())


def test_one_of_two_logins_wins_and_neither_is_ever_half_there(there: Host) -> None:
    logins = [Login(kind=Kind.OTHER, source="x", content=bytes([65 + each]) * 300_000) for each in range(8)]
    hosts = []
    for number, login in enumerate(logins):
        home = there.home / str(number)
        home.mkdir()
        (home / ".mngr-login").write_bytes(login.content)
        hosts.append(delivery.script(None, login, codex_home=home, user_codex_home=str(there.user)))
    with ThreadPoolExecutor() as pool:
        outcomes = [delivery.is_login_copied(lines) for lines in pool.map(there.run, hosts)]
    assert sorted(map(str, outcomes)) == ["False"] * 7 + ["True"]
    assert there.auth.read_bytes() == logins[outcomes.index(True)].content
    assert list(there.user.iterdir()) == [there.auth]


def test_a_login_is_created_without_hard_links(there: Host, tmp_path: Path) -> None:
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "ln").write_text("#!/bin/sh\nexit 1\n")
    (binaries / "ln").chmod(0o755)
    path = f"{binaries}:{os.defpath}"
    assert delivery.is_login_copied(there.put(login=LOGIN, path=path)) is True
    assert there.auth.read_bytes() == LOGIN.content and there.auth.stat().st_mode & 0o777 == 0o600
    other = Login(kind=Kind.API_KEY, source="here", content=b"other")
    assert delivery.is_login_copied(there.put(login=other, path=path)) is False
    assert there.auth.read_bytes() == LOGIN.content


def test_a_login_that_cannot_be_created_is_reported(there: Host) -> None:
    there.user.parent.rmdir()
    there.user.parent.write_text("no folder")
    assert delivery.is_login_copied(there.put(login=LOGIN)) is None
    assert not list(there.home.iterdir())


def setup(**files: str) -> Setup:
    return Setup(
        files={PurePath(name.replace("__", "/")): CarriedFile(content=text.encode()) for name, text in files.items()}
    )


@pytest.mark.parametrize("uses_tar", [True, False])
def test_the_setup_is_linked_next_to_that_of_the_hosts_user(there: Host, path: str | None, uses_tar: bool) -> None:
    (there.user / "skills" / "theirs").mkdir(parents=True)
    (there.user / "skills" / ".system").mkdir()
    (there.user / "config.toml").write_text("")
    (there.user / "rules").mkdir()
    (there.user / "rules" / "a.rules").symlink_to("nothing")
    assert there.owned() == {"config.toml", "skills/theirs", "rules/a.rules"}
    tool = CarriedFile(content=b"#!/bin/sh\n", is_executable=True)
    mine = setup(
        **{"AGENTS.md": "mine", "skills__mine__SKILL.md": "skill", "rules__b.rules": "rule", "notes__x.md": "x"}
    )
    mine = Setup(files={**mine.files, PurePath("skills/mine/run"): tool})
    there.put(mine, path=path, uses_tar=uses_tar)
    assert (there.home / "AGENTS.md").read_text() == "mine"
    assert (there.home / "AGENTS.md").stat().st_mode & 0o777 == 0o600
    assert (there.home / "skills/mine/SKILL.md").read_text() == "skill"
    assert os.access(there.home / "skills/mine/run", os.X_OK)
    # Codex adds to rules.
    assert not (there.home / "rules/b.rules").is_symlink() and (there.home / "rules/b.rules").read_text() == "rule"
    assert (there.home / ".mngr-carried/notes/x.md").read_text() == "x" and not (there.home / "notes").exists()
    assert sorted(entry.name for entry in there.user.iterdir()) == ["config.toml", "rules", "skills"]


def test_an_earlier_setup_is_removed(there: Host, path: str | None) -> None:
    there.put(setup(**{"AGENTS.md": "mine", "skills__mine__SKILL.md": "skill", "rules__b.rules": "rule"}))
    (there.home / "auth.json").symlink_to("nothing")
    (there.home / "prompts").mkdir()
    (there.home / "prompts" / "own.md").write_text("own")
    there.run(delivery.cleaning_script(there.home), path)
    left = {str(entry.relative_to(there.home)) for entry in there.home.rglob("*")}
    assert left == {"auth.json", "prompts", "prompts/own.md", "skills", "rules", "rules/b.rules"}


def test_many_files_with_long_names_are_copied(there: Host, path: str | None) -> None:
    names = [f"skills__{'x' * 90}__{'é' * 90}__{number}" for number in range(1000)]
    there.put(setup(**{name: name for name in names}), path=path)
    folder = there.home / "skills" / ("x" * 90) / ("é" * 90)
    assert sorted(file.read_text() for file in folder.iterdir()) == sorted(names)
    assert not (there.home / ".mngr-carried.tar").exists()
