"""The remembered answers about folders."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from imbue.mngr.errors import UserInputError

from mngr_codex.plugin.home.trusted_folders import TrustedFolders

FOLDER = "/home/user/project"


@pytest.fixture
def folders(tmp_path: Path) -> TrustedFolders:
    return TrustedFolders(tmp_path)


def file_of(tmp_path: Path) -> Path:
    """Returns the only file in a profile."""
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    return file


@pytest.mark.parametrize("folder", [FOLDER, "/", "/a b/\u00fc", "/not\udce9utf-8", "/line\nbreak", "/x" * 2000])
def test_a_folder_is_remembered_until_it_is_removed(folders: TrustedFolders, folder: str) -> None:
    assert not folders.is_trusted(folder) and not folders.remove(folder)
    folders.add(folder)
    folders.add(folder)
    assert folders.is_trusted(folder) and not folders.is_trusted(f"{folder}/inside")
    assert [found.folder for found in folders] == [folder]
    assert folders.remove(folder) and not folders.is_trusted(folder)
    assert list(folders) == []


def test_all_folders_are_removed(folders: TrustedFolders) -> None:
    for number in range(3):
        folders.add(f"{FOLDER}{number}")
    assert [found.folder for found in folders] == [f"{FOLDER}{number}" for number in range(3)]
    assert folders.clear() == 3 and list(folders) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        json.dumps({"folder": FOLDER, "since": 3}).encode(),
        json.dumps({"folder": FOLDER, "since": "yesterday"}).encode(),
        json.dumps({"folder": 3, "since": "2026-12-01T00:00:00+00:00"}).encode(),
        json.dumps({"folder": "/other", "since": "2026-12-01T00:00:00+00:00"}).encode(),
    ],
)
def test_a_damaged_file_is_an_error_with_a_way_out(folders: TrustedFolders, tmp_path: Path, content: bytes) -> None:
    folders.add(FOLDER)
    file_of(tmp_path).write_bytes(content)
    with pytest.raises(UserInputError, match=f"it is damaged\nhint: run `mngr codex trust revoke {FOLDER}`"):
        folders.is_trusted(FOLDER)
    with pytest.raises(UserInputError, match="revoke --all"):
        list(folders)
    assert not folders.is_trusted("/other")
    assert folders.remove(FOLDER)
    folders.add(FOLDER)
    assert folders.is_trusted(FOLDER)


def test_a_file_that_is_a_folder_is_an_error(folders: TrustedFolders, tmp_path: Path) -> None:
    folders.add(FOLDER)
    file = file_of(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(UserInputError, match="Is a directory"):
        folders.is_trusted(FOLDER)


def test_a_failed_write_leaves_no_file(folders: TrustedFolders, tmp_path: Path) -> None:
    folders.add(FOLDER)
    file = file_of(tmp_path)
    file.unlink()
    file.mkdir()
    (file / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        folders.add(FOLDER)
    assert list(file.parent.iterdir()) == [file]


def test_simultaneous_commands_do_not_disturb_each_other(folders: TrustedFolders, tmp_path: Path) -> None:
    """Each process adds and removes folders of its own and a common one, and reads all."""
    script = """
import sys
from pathlib import Path
from mngr_codex.plugin.home.trusted_folders import TrustedFolders
folders = TrustedFolders(Path(sys.argv[1]))
for number in range(100):
    mine = f"/{sys.argv[2]}/{number}"
    folders.add(mine)
    folders.add("/common")
    assert folders.is_trusted(mine) and mine in {found.folder for found in folders}
    folders.remove("/common")
    assert folders.remove(mine) or number % 2
    if number % 2:
        folders.add(mine)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen([*command, name]) for name in "abc"]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    folders.remove("/common")
    assert len(list(folders)) == 150
