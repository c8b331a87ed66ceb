"""The Python environments of tests, see `tests/support/workers.py` and `tests/support/package_files.py`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import workers
from tests.support.package_files import differing_files
from tests.support.project import ROOT
from tests.support.workers import interpreter, worker

VARIABLE = "MNGR_CODEX_MNGR_PYTHON"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which nothing was installed."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(workers, "ROOT", tmp_path)
    return tmp_path


def test_the_environment_of_the_makefile_comes_before_the_one_that_runs_the_tests(root: Path) -> None:
    assert interpreter(VARIABLE, "pytest") == sys.executable
    (root / ".venvs/mngr").mkdir(parents=True)
    assert interpreter(VARIABLE, "pytest") == sys.executable
    (root / ".venvs/mngr/installed").touch()
    assert interpreter(VARIABLE, "pytest") == str(root / ".venvs/mngr/bin/python")


@pytest.mark.parametrize("module", ["missing", "missing.module"])
def test_without_an_environment_tests_are_skipped_with_the_command_that_makes_one(root: Path, module: str) -> None:
    with pytest.raises(pytest.skip.Exception, match=rf"lacks {module} \(`make test-python` installs it\)"):
        interpreter(VARIABLE, "pytest", module)


def test_a_named_environment_that_is_missing_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(root / "missing"))
    with pytest.raises(FileNotFoundError), worker("mngr_flush.py", VARIABLE, "missing"):
        pass


def test_changed_added_and_deleted_files_of_the_package_are_found(tmp_path: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "installed"
    for folder in (source, installed):
        (folder / "plugin").mkdir(parents=True)
        (folder / "same.py").write_text("same")
        (folder / "plugin/changed.py").write_text(folder.name)
    (source / "added.py").touch()
    (installed / "deleted.sh").touch()
    (installed / "_core.abi3.so").touch()
    assert differing_files(source, installed) == ["added.py", "deleted.sh", "plugin/changed.py"]
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in source.iterdir():
        (linked / path.name).symlink_to(path)
    assert differing_files(source, linked) == []


def test_the_first_lines_of_pytest_warn_of_an_outdated_package(tmp_path: Path) -> None:
    installed = tmp_path / "mngr_codex"
    shutil.copytree(ROOT / "python" / "mngr_codex", installed, ignore=shutil.ignore_patterns("*.so", "__pycache__"))

    def first_lines() -> str:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--collect-only",
            "tests/test_isolation.py",
        ]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return ran.stdout.partition("collected")[0]

    assert "WARNING" not in first_lines()
    (installed / "plugin" / "paths.py").write_text("")
    outdated = first_lines()
    assert f"the tests import {installed}, which differs from python/mngr_codex: plugin/paths.py\n" in outdated
    assert "hint: run `make debug` once" in outdated
