"""The environment of every test, and the fixtures that several test files share."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import emulation
from tests.support.isolation import Isolation
from tests.support.package_files import differing_files
from tests.support.project import ROOT
from tests.support.workers import Worker, worker

# This runs before any test module is imported.
_isolation = Isolation()
_isolation.start()

# Background jobs ignore SIGINT, and `nohup` ignores SIGHUP. The programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds; deselect with `-m 'not slow'`")
    config.addinivalue_line("markers", "any_codex: depends on no version of Codex, so one version is enough")
    config.addinivalue_line("markers", "not_emulated(reason): cannot hold for a program that an emulator runs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if emulation.is_emulated():
        for item in items:
            if marker := item.get_closest_marker("not_emulated"):
                item.add_marker(pytest.mark.skip(reason=f"not under an emulator: {marker.args[0]}"))


def pytest_report_header() -> list[str]:
    """Warns if the tests would not see a change in the source tree."""
    found = find_spec("mngr_codex")
    if found is None or found.origin is None:
        return []
    installed = Path(found.origin).parent
    different = differing_files(ROOT / "python" / "mngr_codex", installed)
    if not different:
        return []
    more = f" and {len(different) - 1} more" if len(different) > 1 else ""
    return [
        f"WARNING: the tests import {installed}, which differs from python/mngr_codex: {different[0]}{more}",
        "hint: run `make debug` once, and pytest with PYTHONPATH=$PWD/target/debug/python; or run `make install`",
    ]


def pytest_unconfigure() -> None:
    _isolation.end()


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    """Fails a test whose processes write to the user's home."""
    yield
    _isolation.check()


@pytest.fixture(scope="session")
def published() -> Iterator[Worker]:
    """The published converter."""
    with worker("published_converter.py", "MNGR_CODEX_PUBLISHED_PYTHON", "imbue.mngr_codex") as running:
        yield running


@pytest.fixture(scope="session")
def mngr() -> Iterator[Worker]:
    """mngr's record schema and document builder, and harbor's validator."""
    with worker("mngr_validators.py", "MNGR_CODEX_MNGR_PYTHON", "imbue.mngr", "harbor") as running:
        yield running


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def tracing() -> None:
    """Skips the test if strace is not installed or not permitted, or would show an emulator's system calls."""
    if emulation.is_emulated():
        pytest.skip("not under an emulator: strace sees the emulator's system calls")
    tried = shutil.which("strace") and subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True)
    if not tried or tried.returncode != 0:
        pytest.skip("strace is not permitted here" if tried else "strace is not installed (apt install strace)")
