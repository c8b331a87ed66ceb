"""Sessions are found where agents, destroyed agents and the user have them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from imbue.mngr.errors import UserInputError

from mngr_codex.plugin import adoption, paths

SESSION = "01a216be-b0ac-7de1-b797-a17b3106c1df"
BASE = "01a216be-0000-7de1-b797-a17b3106c1df"


@pytest.fixture
def context(home: Path) -> Any:
    """mngr's context, as far as sessions are looked up by it."""
    return SimpleNamespace(config=SimpleNamespace(default_host_dir=home / ".mngr"))


def write(sessions: Path, session: str, **payload: object) -> Path:
    """Writes a rollout of a session."""
    path = sessions / "2026/01/05" / f"rollout-2026-01-05T10-00-00-{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "session_meta", "payload": {"id": session, **payload}}) + "\n")
    return path


@pytest.mark.parametrize(
    "folder",
    [
        f".mngr/agents/agent-1/{paths.SESSIONS}",
        f".mngr/agents/agent-1/{paths.ARCHIVED_SESSIONS}",
        f".mngr/preserved/old--agent-2/{paths.SESSIONS}",
        ".codex/sessions",
        ".codex/archived_sessions",
    ],
)
def test_a_session_is_found_by_its_id(home: Path, context: Any, folder: str) -> None:
    rollout = write(home / folder, SESSION)
    assert adoption.find(SESSION, context) == adoption.Session(SESSION, home / folder, (rollout,))


def test_a_session_is_found_by_the_path_of_its_rollout(home: Path, context: Any) -> None:
    rollout = write(home / "elsewhere/sessions", SESSION)
    assert adoption.find(str(rollout), context).files == (rollout,)
    assert (
        adoption.find(f"~/elsewhere/sessions/{rollout.relative_to(home / 'elsewhere/sessions')}", context).id == SESSION
    )


def test_what_codex_could_not_go_on_with_is_refused(home: Path, context: Any) -> None:
    rollout = write(home / ".codex/sessions", SESSION)
    for content in ("", "nonsense\n", '{"type": "event_msg"}\n'):
        rollout.write_text(content)
        for named in (SESSION, str(rollout)):
            with pytest.raises(UserInputError, match="does not begin with session_meta"):
                adoption.find(named, context)


@pytest.mark.parametrize("named", ["x" * 5000, "~nobody-of-this-name/x", "a\0b"])
def test_a_name_that_nothing_can_have_is_no_session(context: Any, named: str) -> None:
    with pytest.raises(UserInputError, match="is no session"):
        adoption.find(named, context)


def test_a_forked_session_brings_what_it_was_forked_from(home: Path, context: Any) -> None:
    sessions = home / ".codex/sessions"
    base = write(sessions, BASE)
    fork = write(sessions, SESSION, history_base={"thread_id": BASE})
    assert adoption.find(SESSION, context).files == (base, fork)


def test_a_session_of_two_rollouts(home: Path, context: Any) -> None:
    """Codex opens another file when the user goes back in the conversation."""
    first = write(home / ".codex/sessions", SESSION)
    second = first.with_name(first.name.replace(".jsonl", "_01a2.jsonl"))
    second.write_text(first.read_text())
    assert adoption.find(SESSION, context).files == (first, second)


@pytest.mark.parametrize(
    ("named", "said"),
    [(BASE, "No agent has a session"), ("the one from yesterday", "is no session"), ("", "is no session")],
)
def test_a_session_that_is_not_there(home: Path, context: Any, named: str, said: str) -> None:
    write(home / ".codex/sessions", SESSION)
    with pytest.raises(UserInputError, match=said):
        adoption.find(named, context)


def test_a_session_that_is_in_two_places(home: Path, context: Any) -> None:
    write(home / ".codex/sessions", SESSION)
    other = write(home / f".mngr/agents/agent-1/{paths.SESSIONS}", SESSION)
    with pytest.raises(UserInputError, match="more than one") as refused:
        adoption.find(SESSION, context)
    assert str(other) in str(refused.value)
