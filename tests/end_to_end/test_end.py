"""Agents that are renamed, cloned, destroyed, and what is left of them."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.test_lifecycle import has_context
from tests.support.machine import Agent, World, until
from tests.support.rule_based_model import Json, Model, asked

pytestmark = pytest.mark.slow


def talk(agent: Agent, *messages: str) -> str:
    """Sends messages, one turn each; gives the session's id."""
    for message in messages:
        agent.message(message)
        until(lambda message=message: agent.said()[-1:] == [f"You said: {message}"], what="the answer")
    until(lambda: not agent.is_active, what="WAITING")
    return (agent.state / "codex_root_session").read_text().strip()


def preserved(world: World, name: str) -> Path:
    """The folder in which mngr keeps a destroyed agent."""
    (folder,) = (world.home / ".mngr" / "preserved").glob(f"{name}*")
    return folder


def test_destroyed_and_preserved(world: World, model: Model) -> None:
    """Transcripts, session and pointers outlive the agent."""
    agent = world.create()
    session = talk(agent, "Remember the number 7.", "And the colour blue.")
    records = agent.records()
    world.mngr("destroy", "t", "--force")
    assert not agent.state.exists()
    until(lambda: not agent.codex_pids() and not agent.watcher_pids(), what="the end of all processes", seconds=5)
    kept = preserved(world, "t")
    assert kept.stat().st_mode & 0o077 == 0
    manifest = json.loads((kept / "manifest.json").read_text())
    assert [flush["outcome"] for flush in manifest["transcript_flush"]] == ["succeeded", "succeeded"]
    assert {item["outcome"] for item in manifest["items"]} <= {"copied", "missing"}
    assert (kept / "codex_root_session").read_text().strip() == session
    assert len(list((kept / "plugin/codex/home/sessions").rglob("rollout-*"))) == 1
    assert (kept / "logs/codex_transcript/events.jsonl").stat().st_size > 0
    shown = world.mngr("transcript", "t", "--preserved", "--format", "jsonl", "--full").stdout
    assert [json.loads(line) for line in shown.splitlines()][: len(records)] == records

    heir = world.create("heir", "--adopt", session)
    talk(heir, "Which number?")
    assert has_context(model, "Remember the number 7.", "And the colour blue.", "Which number?")
    assert "Remember the number 7." in [record.get("message") for record in heir.records()]


def test_a_session_of_the_user_is_adopted(world: World, model: Model) -> None:
    """It is copied from ~/.codex, which stays as it is."""
    first = world.create("first")
    session = talk(first, "Remember the number 7.")
    (rollout,) = (first.state / "plugin/codex/home/sessions").rglob("rollout-*")
    own = world.home / ".codex" / "sessions" / rollout.relative_to(first.state / "plugin/codex/home/sessions")
    own.parent.mkdir(parents=True)
    world.mngr("stop", "first")
    rollout.rename(own)
    before = own.read_bytes()
    agent = world.create("second", "--adopt", session)
    talk(agent, "Which number?")
    assert has_context(model, "Remember the number 7.", "Which number?")
    assert own.read_bytes() == before


def test_a_session_that_is_not_there(world: World) -> None:
    refused = world.mngr(
        "create", "t", "codex", "--yes", "--no-connect", "--adopt", "00000000-0000-7000-8000-000000000000", status=None
    )
    assert refused.status != 0
    assert "No agent has a session" in refused.stderr
    assert world.agent_dirs() == []


def test_a_clone_goes_on_where_its_original_was(world: World, model: Model) -> None:
    agent = world.create("first")
    talk(agent, "Remember the number 7.")
    world.mngr("clone", "first", "second", "--type", "codex", "--yes", "--no-connect")
    clone = world.agent("second")
    talk(clone, "Which number?")
    assert has_context(model, "Remember the number 7.", "Which number?")
    talk(agent, "And you?")
    asked_last: list[Json] = [request for request in model.requests if asked(request) == "And you?"]
    assert "Which number?" not in json.dumps(asked_last)


def test_a_renamed_agent_goes_on(world: World) -> None:
    agent = world.create("first")
    talk(agent, "Before.")
    world.mngr("rename", "first", "second")
    renamed = world.agent("second")
    talk(renamed, "After.")
    assert renamed.listed["state"] == "WAITING"


def test_an_archived_agent_comes_back(world: World, model: Model) -> None:
    agent = world.create()
    talk(agent, "Remember the number 7.")
    world.mngr("archive", "t")
    world.mngr("start", "t")
    talk(agent, "Which number?")
    assert has_context(model, "Remember the number 7.", "Which number?")


def test_events_and_observe(world: World) -> None:
    """Other commands of mngr's take the agent for one of theirs."""
    agent = world.create()
    talk(agent, "Hello.")
    assert (
        "codex/common_transcript" in world.mngr("event", "t", "--source", "codex/common_transcript", status=None).stdout
    )
