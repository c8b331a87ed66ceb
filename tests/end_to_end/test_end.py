"""Agents that are destroyed, adopted, cloned, renamed or archived."""

import json
from functools import partial
from pathlib import Path

import pytest

from tests.support.machine import Agent, Json, Machine, until
from tests.support.program import run
from tests.support.rule_based_model import Model, asked, has_context
from tests.support.session_cost import Usage, session_cost
from tests.support.usage_agent import tokens_of

pytestmark = pytest.mark.slow


def has_answered(agent: Agent, answer: str) -> bool:
    return agent.answers()[-1:] == [answer]


def talk(agent: Agent, *messages: str) -> str:
    """Sends messages, one turn each, and returns the id of the session."""
    for message in messages:
        agent.message(message)
        answer = f"You said: {message}"
        until(partial(has_answered, agent, answer), description="the answer")
    agent.wait()
    return (agent.state / "codex_root_session").read_text().strip()


def preserved(machine: Machine, name: str) -> Path:
    """Returns the folder in which mngr preserves a destroyed agent."""
    (folder,) = (machine.home / ".mngr" / "preserved").glob(f"{name}*")
    return folder


def test_a_destroyed_agent_is_preserved_and_can_be_adopted(machine: Machine, model: Model) -> None:
    """mngr keeps its transcripts, session and pointers."""
    agent = machine.create()
    session = talk(agent, "Remember the number 7.", "And the color blue.")
    records = agent.records()
    machine.mngr("destroy", "t", "--force")
    assert not agent.state.exists()
    until(
        lambda: not agent.codex_pids() and not agent.watcher_pids(), description="the end of all processes", seconds=5
    )
    kept = preserved(machine, "t")
    assert kept.stat().st_mode & 0o077 == 0
    manifest = json.loads((kept / "manifest.json").read_text())
    assert [flush["outcome"] for flush in manifest["transcript_flush"]] == ["succeeded", "succeeded"]
    assert {item["outcome"] for item in manifest["items"]} <= {"copied", "missing"}
    assert (kept / "codex_root_session").read_text().strip() == session
    assert len(list((kept / "plugin/codex/home/sessions").rglob("rollout-*"))) == 1
    assert (kept / "logs/codex_transcript/events.jsonl").stat().st_size > 0
    shown = machine.mngr("transcript", "t", "--preserved", "--format", "jsonl", "--full").stdout
    assert [json.loads(line) for line in shown.splitlines()][: len(records)] == records

    heir = machine.create("heir", "--adopt", session)
    talk(heir, "Which number?")
    assert has_context(model, "Remember the number 7.", "And the color blue.", "Which number?")
    assert "Remember the number 7." in [record.get("message") for record in heir.records()]


def test_a_session_of_the_user_is_adopted(machine: Machine, model: Model) -> None:
    """It is copied from `~/.codex`, which is not changed."""
    first = machine.create("first")
    session = talk(first, "Remember the number 7.")
    (rollout,) = (first.state / "plugin/codex/home/sessions").rglob("rollout-*")
    own = machine.home / ".codex" / "sessions" / rollout.relative_to(first.state / "plugin/codex/home/sessions")
    own.parent.mkdir(parents=True)
    machine.mngr("stop", "first")
    rollout.rename(own)
    before = own.read_bytes()
    agent = machine.create("second", "--adopt", session)
    talk(agent, "Which number?")
    assert has_context(model, "Remember the number 7.", "Which number?")
    assert own.read_bytes() == before

    machine.mngr("destroy", "second", "--force")
    again = machine.create("third", "--adopt", session)
    talk(again, "Are you sure?")
    assert has_context(model, "Remember the number 7.", "Which number?", "Are you sure?"), (
        "the preserved copy is longer"
    )


def test_adopting_a_session_of_an_unknown_model_provider_creates_no_agent(machine: Machine) -> None:
    """Codex could not resume it, and would exit. The provider can be in the user's own settings as well."""
    session = talk(machine.create("first"), "Remember the number 7.")
    settings = machine.profile / "settings.toml"
    before = settings.read_text()
    settings.write_text(before.replace("scripted", "another"))
    adopt = ("create", "second", "codex", "--yes", "--no-connect", "--adopt", session)
    refused = machine.mngr(*adopt, status=None)
    assert refused.status != 0 and "the model provider scripted, which is not configured" in refused.stderr
    assert "[agent_types.codex.config_overrides.model_providers.scripted]" in refused.stderr
    assert len(machine.agent_dirs()) == 1
    table = f'name = "scripted"\nbase_url = "{machine.base_url}"\nwire_api = "responses"\n'
    (machine.home / ".codex" / "config.toml").write_text(f"[model_providers.scripted]\n{table}")
    machine.mngr(*adopt)
    talk(machine.agent("second"), "Which number?")


def test_adopting_a_missing_session_creates_no_agent(machine: Machine) -> None:
    refused = machine.mngr(
        "create", "t", "codex", "--yes", "--no-connect", "--adopt", "00000000-0000-7000-8000-000000000000", status=None
    )
    assert refused.status != 0
    assert "cannot find session" in refused.stderr
    assert machine.agent_dirs() == []


def test_a_clone_continues_a_copy_of_the_session(machine: Machine, model: Model) -> None:
    agent = machine.create("first")
    talk(agent, "Remember the number 7.")
    machine.mngr("clone", "first", "second", "--type", "codex", "--yes", "--no-connect")
    clone = machine.agent("second")
    before = usage(agent)
    talk(clone, "Which number?")
    rollout = Path((clone.state / "codex_transcript_path").read_text().strip())
    session = session_cost(rollout.read_bytes().splitlines(keepends=True))
    until(lambda: add(before, usage(clone)) == session, description="the usage of the clone")
    assert usage(agent) == before
    assert has_context(model, "Remember the number 7.", "Which number?")
    talk(agent, "And you?")
    asked_last: list[Json] = [request for request in model.requests if asked(request) == "And you?"]
    assert "Which number?" not in json.dumps(asked_last)
    for one in (agent, clone):
        work_dir = json.loads((one.state / "data.json").read_text())["work_dir"]
        assert f" in {work_dir}" in run("transcript", one.state).stdout.decode().splitlines()[0]


def usage(agent: Agent) -> Usage:
    """Returns the tokens in an agent's latest usage event."""
    file = agent.state / "events/codex/usage/events.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return tokens_of(json.loads(lines[-1])) if lines else (0, 0, 0)


def add(one: Usage, other: Usage) -> Usage:
    return tuple(map(sum, zip(one, other, strict=True)))


def test_a_renamed_agent_takes_messages(machine: Machine) -> None:
    agent = machine.create("first")
    talk(agent, "Before.")
    machine.mngr("rename", "first", "second")
    renamed = machine.agent("second")
    talk(renamed, "After.")
    assert renamed.listed["state"] == "WAITING"


def test_an_archived_agent_can_be_restarted(machine: Machine, model: Model) -> None:
    agent = machine.create()
    talk(agent, "Remember the number 7.")
    machine.mngr("archive", "t")
    machine.mngr("start", "t")
    talk(agent, "Which number?")
    assert has_context(model, "Remember the number 7.", "Which number?")


def test_mngr_event_finds_the_common_transcript(machine: Machine) -> None:
    agent = machine.create()
    talk(agent, "Hello.")
    source = "codex/common_transcript"
    assert source in machine.mngr("event", "t", "--source", source, status=None).stdout
