"""Tests run with a temporary home, see `tests/support/isolation.py`."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from tests.support.isolation import CLEARED, Isolation


def test_tests_run_with_an_empty_home() -> None:
    home = Path.home()
    assert home != Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert not any(home.iterdir())
    assert not [name for name in CLEARED if name in os.environ]


def test_programs_inherit_the_temporary_home() -> None:
    shown = subprocess.run(["sh", "-c", "echo ~"], capture_output=True, text=True, check=True).stdout
    assert shown == f"{Path.home()}\n"


def test_a_file_written_to_the_home_is_reported_once() -> None:
    isolation = Isolation()
    try:
        (isolation.home / ".codex").mkdir()
        (isolation.home / ".codex" / "config.toml").write_text("")
        with pytest.raises(AssertionError, match=r"\.codex, \.codex/config\.toml"):
            isolation.check()
        isolation.check()
    finally:
        isolation.end()


def test_tools_keep_the_folders_they_are_installed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CLEARED, "HOME", "TMUX_TMPDIR", "CARGO_HOME", "RUSTUP_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("RUSTUP_HOME")
    (tmp_path / "HOME" / ".cargo").mkdir(parents=True)
    (tmp_path / "HOME" / ".rustup").mkdir()
    isolation = Isolation()
    try:
        isolation.start()
        assert os.environ["CARGO_HOME"] == str(tmp_path / "CARGO_HOME")
        assert os.environ["RUSTUP_HOME"] == str(tmp_path / "HOME" / ".rustup")
        assert Path.home() == isolation.home
        assert "CODEX_HOME" not in os.environ
    finally:
        isolation.end()
