"""Fixtures of the tests with the real mngr and the real Codex."""

import functools
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine import Machine, MakeMachine, MngrServer, mngr_server
from tests.support.remote_host import MakeHost, Options, RemoteHost, SharedHost, reason_against_hosts
from tests.support.rule_based_model import Model, gives_titles
from tests.support.workers import interpreter

VARIABLE = "MNGR_CODEX_CODEX"
VARIABLE_FOR_SEVERAL = "MNGR_CODEX_CODEXES"
SIBLINGS = "MNGR_CODEX_SIBLINGS_PYTHON"


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
def server() -> Iterator[MngrServer]:
    """A server that runs mngr commands."""
    with tempfile.TemporaryDirectory(prefix="mc-") as name, mngr_server(Path(name)) as running:
        yield running


@pytest.fixture(scope="session")
def server_with_siblings() -> Iterator[MngrServer]:
    """A server that runs the mngr of the environment with mngr's other plugins."""
    names = ("autocompact", "kanpan", "notifications", "schedule", "usage", "wait")
    python = interpreter(SIBLINGS, "mngr_codex", *(f"imbue.mngr_{name}" for name in names))
    with tempfile.TemporaryDirectory(prefix="mc-") as name, mngr_server(Path(name), python) as running:
        yield running


@pytest.fixture
def make_machine(codex: Path, folder: Path, model: Model, request: pytest.FixtureRequest) -> Iterator[MakeMachine]:
    """Creates machines with settings of the agent type."""
    if not importlib.util.find_spec("imbue.mngr"):
        pytest.skip("mngr is not installed in this environment (`make test` installs it)")
    yield from machines(codex, folder, model, request, "server")


@pytest.fixture
def make_machine_with_siblings(
    codex: Path, folder: Path, model: Model, request: pytest.FixtureRequest
) -> Iterator[MakeMachine]:
    """Creates machines whose mngr has its other plugins."""
    yield from machines(codex, folder, model, request, "server_with_siblings")


def machines(
    codex: Path, folder: Path, model: Model, request: pytest.FixtureRequest, server_fixture: str
) -> Iterator[MakeMachine]:
    """Yields a function that creates machines, and removes these at the end."""
    for needed in ("tmux", "git", "rsync"):
        if not shutil.which(needed):
            pytest.skip(f"{needed}, which mngr needs to run agents, is not installed (apt install {needed})")
    server: MngrServer = request.getfixturevalue(server_fixture)
    made: list[Machine] = []

    def make(**settings: Any) -> Machine:
        machine = Machine(folder, codex, model.base_url, server, settings)
        machine.__enter__()
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.__exit__()


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    """A machine with default settings."""
    return make_machine()


@pytest.fixture
def machine_with_siblings(make_machine_with_siblings: MakeMachine) -> Machine:
    """A machine with default settings whose mngr has its other plugins."""
    return make_machine_with_siblings()


@pytest.fixture(scope="module")
def shared(server: MngrServer) -> Iterator[SharedHost]:
    """A remote host behind a proxy without delay. The first version of Codex runs there."""
    codex = next(iter(codexes().values()))
    if not codex:
        pytest.skip(f"{VARIABLE} is not set (`make test` sets it)")
    if reason := reason_against_hosts():
        pytest.skip(f"cannot make a remote host: {reason}")
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True))
        model = stack.enter_context(Model())
        machine = stack.enter_context(Machine(Path(name), Path(codex), model.base_url, server))
        gives_titles(model)
        yield SharedHost(stack.enter_context(RemoteHost(machine, proxy_delay_seconds=0.0)), model)


@pytest.fixture
def make_host(make_machine: MakeMachine) -> Iterator[MakeHost]:
    """Creates hosts: `make_host(Options(…), machine=…, name=…)`. The default is a machine with default settings."""
    if reason := reason_against_hosts():
        pytest.skip(f"cannot make a remote host: {reason}")
    with ExitStack() as hosts:
        default = functools.cache(make_machine)

        def make(options: Options | None = None, machine: Machine | None = None, **named: Any) -> RemoteHost:
            return hosts.enter_context(RemoteHost(machine or default(), options, **named))

        yield make


@pytest.fixture
def host(make_host: MakeHost) -> RemoteHost:
    """A remote host with Codex on its PATH and a login, and its machine as `host.machine`."""
    return make_host()
