"""Finding sessions of agents, of destroyed agents and of the user."""

import json
from itertools import pairwise, permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from imbue.mngr.errors import UserInputError

from mngr_codex.plugin import adoption, paths
from tests.support.zstd_frames import compress

SESSION = "01a216be-b0ac-7de1-b797-a17b3106c1df"
BASE = "01a216be-0000-7de1-b797-a17b3106c1df"


@pytest.fixture
def context(home: Path) -> Any:
    """The part of mngr's context that finding sessions uses."""
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


def test_a_rollout_that_codex_cannot_resume_is_rejected(home: Path, context: Any) -> None:
    rollout = write(home / ".codex/sessions", SESSION)
    for content in ("", "nonsense\n", '{"type": "event_msg"}\n'):
        rollout.write_text(content)
        for named in (SESSION, str(rollout)):
            with pytest.raises(UserInputError, match="does not begin with session_meta"):
                adoption.find(named, context)


@pytest.mark.parametrize("named", ["x" * 5000, "~nobody-of-this-name/x", "a\0b"])
def test_an_impossible_file_name_is_not_a_session(context: Any, named: str) -> None:
    with pytest.raises(UserInputError, match="is not a session id"):
        adoption.find(named, context)


def test_a_forked_session_includes_its_base(home: Path, context: Any) -> None:
    sessions = home / ".codex/sessions"
    base = write(sessions, BASE)
    fork = write(sessions, SESSION, history_base={"thread_id": BASE})
    assert adoption.find(SESSION, context).files == (base, fork)


def test_a_session_of_two_rollouts(home: Path, context: Any) -> None:
    """Codex creates another file if the user goes back in the conversation."""
    first = write(home / ".codex/sessions", SESSION)
    second = first.with_name(first.name.replace(".jsonl", "_01a2.jsonl"))
    second.write_text(first.read_text())
    assert adoption.find(SESSION, context).files == (first, second)


@pytest.mark.parametrize(
    ("name", "error"),
    [(BASE, "cannot find session"), ("the one from yesterday", "is not a session id"), ("", "is not a session id")],
)
def test_an_unknown_session(home: Path, context: Any, name: str, error: str) -> None:
    write(home / ".codex/sessions", SESSION)
    with pytest.raises(UserInputError, match=error):
        adoption.find(name, context)


PLACES = (
    f".mngr/agents/agent-1/{paths.SESSIONS}",
    f".mngr/preserved/old--agent-2/{paths.SESSIONS}",
    ".codex/sessions",
)


@pytest.mark.parametrize("places", [*permutations(PLACES)])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_copies_that_begin_alike_are_one_session(
    home: Path, context: Any, places: tuple[str, ...], is_compressed: bool
) -> None:
    """A session that was adopted, continued, destroyed and adopted again. Codex compresses unused rollouts."""
    short, equal, long = (write(home / place, SESSION) for place in places)
    with long.open("a") as file:
        file.write("further\n")
    if is_compressed:
        compressed = short.with_name(f"{short.name}.zst")
        compressed.write_bytes(compress(short.read_bytes()))
        short.unlink()
    for _ in range(2):
        assert adoption.find(SESSION, context).files == (long,)
        with equal.open("a") as file:
            file.write("furth")


@pytest.mark.parametrize("is_compressed", [False, True])
def test_copies_that_were_continued_differently_are_ambiguous(home: Path, context: Any, is_compressed: bool) -> None:
    """The error lists those that are not the beginning of another."""
    first, beginning, second = (write(home / place, SESSION) for place in PLACES)
    for file, text in ((first, "one\n"), (second, "another\n")):
        file.write_bytes(file.read_bytes() + text.encode())
    if is_compressed:
        first.with_name(f"{first.name}.zst").write_bytes(compress(first.read_bytes()))
        first.unlink()
    with pytest.raises(UserInputError, match="continued in different ways") as error:
        adoption.find(SESSION, context)
    assert str(first) in str(error.value) and str(second) in str(error.value)
    assert str(beginning) not in str(error.value)


def test_a_copy_with_further_rollouts_continues_one_without(home: Path, context: Any) -> None:
    """Codex creates another file if the user goes back in the conversation."""
    old = write(home / PLACES[0], SESSION)
    first = write(home / PLACES[1], SESSION)
    second = first.with_name(first.name.replace(".jsonl", "_01a2.jsonl"))
    second.write_text(first.read_text())
    assert adoption.find(SESSION, context).files == (first, second)
    with old.open("a") as file:
        file.write("further\n")
    with pytest.raises(UserInputError, match="continued in different ways"):
        adoption.find(SESSION, context)


def test_a_compressed_rollout_is_checked_like_any_other(home: Path, context: Any) -> None:
    sessions = home / ".codex/sessions"
    base = write(sessions, BASE)
    rollout = write(sessions, SESSION, history_base={"thread_id": BASE})
    compressed = rollout.with_name(f"{rollout.name}.zst")
    compressed.write_bytes(compress(rollout.read_bytes()))
    rollout.unlink()
    assert adoption.find(SESSION, context).files == (base, compressed)
    compressed.write_bytes(compress(b"nonsense"))
    with pytest.raises(UserInputError, match="does not begin with session_meta"):
        adoption.find(SESSION, context)
    compressed.write_bytes(compress(b"x" * 1000)[:500])
    with pytest.raises(UserInputError, match=r"cannot adopt .*the compressed file is damaged or cut short"):
        adoption.find(SESSION, context)


def test_the_second_rollout_of_a_session_may_continue_the_first(home: Path, context: Any) -> None:
    first = write(home / ".codex/sessions", SESSION)
    second = first.with_name(first.name.replace(".jsonl", "_01a2.jsonl"))
    payload = {"id": SESSION, "history_base": {"thread_id": SESSION}}
    second.write_text(json.dumps({"type": "session_meta", "payload": payload}) + "\n")
    for name in (SESSION, str(second)):
        assert adoption.find(name, context).files == (first, second)


def test_the_history_of_a_session_must_not_be_circular(home: Path, context: Any) -> None:
    """Checked before anything of the agent is created, however long the cycle is."""
    sessions = home / ".codex/sessions"
    itself = write(sessions, SESSION, history_base={"thread_id": SESSION})
    for name in (SESSION, str(itself)):
        with pytest.raises(UserInputError, match="its history refers to itself"):
            adoption.find(name, context)
    write(sessions, SESSION, history_base={"thread_id": BASE})
    write(sessions, BASE, history_base={"thread_id": SESSION})
    with pytest.raises(UserInputError, match="its history refers to itself"):
        adoption.find(SESSION, context)


def test_the_history_of_a_fork_of_a_fork_is_complete(home: Path, context: Any) -> None:
    sessions = home / ".codex/sessions"
    ids = [BASE, BASE.replace("0000", "0001"), SESSION]
    rollouts = [write(sessions, ids[0])]
    rollouts += [write(sessions, fork, history_base={"thread_id": base}) for base, fork in pairwise(ids)]
    assert adoption.find(SESSION, context).files == tuple(rollouts)


@pytest.mark.parametrize("base", ["*", "", "../*", "[0-9]*", f"{BASE}*", 7, None, ["*"]])
def test_an_invalid_base_is_rejected(home: Path, context: Any, base: object) -> None:
    """It must not match the files of other sessions."""
    sessions = home / ".codex/sessions"
    write(sessions, BASE)
    write(sessions, SESSION, history_base={"thread_id": base})
    with pytest.raises(UserInputError, match="is not a session id"):
        adoption.find(SESSION, context)


@pytest.mark.parametrize("first_line", ["[" * 100_000, '{"type": "session_meta", "payload": ' + "[" * 100_000])
def test_a_deeply_nested_first_line_is_rejected(home: Path, context: Any, first_line: str) -> None:
    rollout = write(home / ".codex/sessions", SESSION)
    rollout.write_text(f"{first_line}\n")
    with pytest.raises(UserInputError, match="does not begin with session_meta"):
        adoption.find(SESSION, context)
