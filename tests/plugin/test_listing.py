"""The fields of mngr's listing, read from an agent's state directory."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mngr_codex.plugin import listing, paths


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    (tmp_path / paths.CODEX_HOME).mkdir(parents=True)
    return tmp_path


def test_the_session(state_dir: Path) -> None:
    assert listing.session_id(state_dir) is None
    (state_dir / paths.ROOT_SESSION).write_text("01a216be-b0ac-7de1-b797-a17b3106c1df\n")
    assert listing.session_id(state_dir) == "01a216be-b0ac-7de1-b797-a17b3106c1df"
    (state_dir / paths.ROOT_SESSION).write_text("\x1b[2Jno id")
    assert listing.session_id(state_dir) is None


def test_the_start_of_the_running_turn(state_dir: Path) -> None:
    assert listing.turn_since(state_dir) is None
    turn = '{"session_id":"x","turn_id":"01a216d6-302b-7002-a88d-e87b2a772a21"}'
    (state_dir / paths.ROOT_ACTIVE).write_text(turn)
    assert listing.turn_since(state_dir) == "2026-11-26T07:51:05.515+00:00"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"turn_id":7}', '{"turn_id":"no"}', '{"turn_id":"ffffffffffff"}'])
def test_a_turn_without_a_start_time(state_dir: Path, content: str) -> None:
    (state_dir / paths.ROOT_ACTIVE).write_text(content)
    assert listing.turn_since(state_dir) is None


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ('a = 1\nmodel = "gpt-5.5"\n\n[x]\nmodel = "other"\n', "gpt-5.5"),
        ('[profiles.x]\nmodel = "other"\n', None),
        ("model_provider = 'x'\n", None),
        ("model='m'", "m"),
    ],
)
def test_the_model(state_dir: Path, settings: str, model: str | None) -> None:
    (state_dir / paths.CODEX_HOME / "config.toml").write_text(settings)
    assert listing.model(state_dir) == model


def test_agents_of_other_types_have_no_fields(host: Any) -> None:
    agent = SimpleNamespace(id="agent-1")
    assert {generate(agent, host) for generate in listing.field_generators().values()} == {None}


def test_listing_an_agent_takes_less_than_a_millisecond(state_dir: Path) -> None:
    """No process is started and no connection is opened, except for the state, which mngr needs anyway."""
    (state_dir / paths.ACTIVE).touch()
    (state_dir / paths.ROOT_SESSION).write_text("01a216be-b0ac-7de1-b797-a17b3106c1df")
    (state_dir / paths.ROOT_ACTIVE).write_text('{"turn_id":"01a216d6-302b-7002-a88d-e87b2a772a21"}')
    (state_dir / paths.CODEX_HOME / "config.toml").write_text('model = "m"\n' + '[x]\ny = "z"\n' * 500)
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        listing.session_id(state_dir)
        listing.model(state_dir)
        listing.turn_since(state_dir)
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.001
