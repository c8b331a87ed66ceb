"""Fixtures of the tests with the real mngr and the real Codex."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine import Machine, MakeMachine, mngr_server
from tests.support.rule_based_model import Model

VARIABLE = "MNGR_CODEX_CODEX"
VARIABLE_FOR_SEVERAL = "MNGR_CODEX_CODEXES"


def codexes() -> dict[str, str]:
    """Returns the paths of the Codex versions to test with, by name."""
    if several := os.environ.get(VARIABLE_FOR_SEVERAL):
        return dict(each.split("=", 1) for each in several.split())
    return {"codex": os.environ.get(VARIABLE, "")}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "codex" in metafunc.fixturenames:
        named = codexes()
        metafunc.parametrize("codex", named.values(), ids=named, indirect=True)


@pytest.fixture
def codex(request: pytest.FixtureRequest) -> Path:
    """The path of a real Codex."""
    if not request.param:
        pytest.skip(f"{VARIABLE} is not set (`make test` sets it)")
    return Path(request.param)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, because the path of a socket is limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def model() -> Iterator[Model]:
    """The scripted model."""
    with Model() as running:
        yield running


@pytest.fixture(scope="session")
def server() -> Iterator[Path]:
    """The socket of a server that runs mngr commands."""
    with tempfile.TemporaryDirectory(prefix="mc-") as name, mngr_server(Path(name)) as path:
        yield path


@pytest.fixture
def make_machine(codex: Path, folder: Path, model: Model, request: pytest.FixtureRequest) -> Iterator[MakeMachine]:
    """Creates machines with settings of the agent type."""
    for needed in ("tmux", "git", "rsync"):
        if not shutil.which(needed):
            pytest.skip(f"{needed}, which mngr needs to run agents, is not installed (apt install {needed})")
    if not importlib.util.find_spec("imbue.mngr"):
        pytest.skip("mngr is not installed in this environment (`make test` installs it)")
    server: Path = request.getfixturevalue("server")
    machines: list[Machine] = []

    def make(**settings: Any) -> Machine:
        machine = Machine(folder, codex, model.base_url, server, settings)
        machine.__enter__()
        machines.append(machine)
        return machine

    yield make
    for machine in machines:
        machine.__exit__()


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    """A machine with default settings."""
    return make_machine()
