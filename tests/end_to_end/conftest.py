"""Fixtures of the tests with real mngr and real codex."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.model import Model
from tests.end_to_end.world import World

VARIABLE = "MNGR_CODEX_CODEX"

MakeWorld = Callable[..., World]


@pytest.fixture
def codex() -> Path:
    """The binary, which `make test` names."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"{VARIABLE} names no codex: `make test` sets it")
    return Path(named)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: sockets in it, of tmux too, must have paths of no more than 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def model() -> Iterator[Model]:
    """The scripted model."""
    with Model() as running:
        yield running


@pytest.fixture
def make_world(codex: Path, folder: Path, model: Model) -> Iterator[MakeWorld]:
    """Makes a world with settings of the agent type."""
    for needed in ("tmux", "git", "rsync"):
        if not shutil.which(needed):
            pytest.skip(
                f"there is no {needed}, without which mngr runs no agents. On Debian and Ubuntu: apt install {needed}"
            )
    if not importlib.util.find_spec("imbue.mngr"):
        pytest.skip("mngr is not installed here: `make test` installs it")
    worlds: list[World] = []

    def make(**settings: Any) -> World:
        world = World(folder, codex, model.base_url, settings)
        world.__enter__()
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        world.__exit__()


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A world with nothing special about it."""
    return make_world()
