"""Coming from the published plugin imbue-mngr-codex: its settings, and the sessions of its agents."""

import json
import subprocess
import tomllib

import pytest

from tests.support.machine import Agent, Machine, MakeMachine, until
from tests.support.recordings import DATA
from tests.support.rule_based_model import Model, has_context

pytestmark = pytest.mark.slow

STYLE = "---\nname: Terse\n---\nAnswer in one word.\n"


def test_its_settings_are_used_or_reported_when_an_agent_is_created(make_machine: MakeMachine, model: Model) -> None:
    machine = make_machine(
        append_system_prompt=["You are a gardener.", "Be kind."],
        output_style="Terse",
        fall_back_to_account_default_model=True,
        auto_dismiss_dialogs_at_startup=True,
    )
    (machine.home / ".codex" / "config.toml").write_text('developer_instructions = "Speak French."\n')
    refused = machine.mngr("create", "t", "codex", "--no-connect", status=None)
    assert refused.status != 0 and "No output style named 'Terse'" in refused.stderr
    assert machine.agent_dirs() == []
    styles = machine.repository / ".agents" / "output-styles"
    styles.mkdir(parents=True)
    (styles / "terse.md").write_text(STYLE)
    for arguments in (["add", "."], ["commit", "-qm", "Add a style"]):
        subprocess.run(["git", *arguments], cwd=machine.repository, env=machine.environment, check=True)

    created = machine.mngr("create", "t", "codex", "--no-connect")
    # The list of an account only applies to OpenAI's own models, and this model is another provider's.
    assert "gpt-5.5" not in created.stderr
    agent = machine.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    instructions = f"Speak French.\n\nYou are a gardener.\n\nBe kind.\n\n{STYLE}"
    assert json.dumps(instructions) in json.dumps(model.requests[0])
    config = (agent.state / "plugin/codex/home/config.toml").read_text()
    assert tomllib.loads(config)["developer_instructions"] == instructions
    assert machine.mngr("list", "--format", "json").stderr == ""


def place_recorded_agent(machine: Machine, version: str) -> Agent:
    """Creates the files of an agent that the published plugin has left, and its worktree."""
    files = json.loads((DATA / "published_agents" / f"{version}.json").read_text())
    state = machine.home / ".mngr" / "agents" / json.loads(files["data.json"])["id"]
    work_dir = machine.home / ".mngr" / "worktrees" / "old"
    add = ["git", "worktree", "add", "-q", "-b", "mngr/old", str(work_dir)]
    subprocess.run(add, cwd=machine.repository, env=machine.environment, check=True)
    places = {"home": machine.home, "state": state, "work_dir": work_dir, "repository": machine.repository}
    for name, text in files.items():
        file = state / name
        file.parent.mkdir(parents=True, exist_ok=True)
        for place, path in places.items():
            text = text.replace(f"{{{place}}}", str(path))
        file.write_text(text)
    return Agent(machine, "old", state)


@pytest.mark.parametrize("version", ["0.1.4", "0.2.0"])
def test_its_agents_keep_their_sessions_when_they_are_updated(machine: Machine, model: Model, version: str) -> None:
    """The agents talked to Codex 0.163."""
    agent = place_recorded_agent(machine, version)
    session = (agent.state / "codex_root_session").read_text().strip()
    findings = json.loads(machine.mngr("codex", "doctor", "--json", "old", status=1).stdout)
    (finding,) = (each for each in findings if each["agent"] and each["is_wrong"])
    assert "mngr create old codex --reuse --update" in finding["remedy"] and "imbue-mngr-codex" in finding["said"]
    machine.mngr("create", "old", "codex", "--reuse", "--update", "--yes", "--no-connect")
    agent.message("Which number?")
    until(lambda: agent.answers()[-1:] == ["You said: Which number?"], description="the answer")
    agent.wait()
    assert has_context(model, "Remember the number 7.", "Which number?")
    assert machine.agent_dirs() == [agent.state]
    assert (agent.state / "codex_root_session").read_text().strip() == session
    messages = [step["message"] for step in agent.records() if step["type"] == "step" and step["source"] == "user"]
    # 0.1.4 has recorded some lines twice.
    assert list(dict.fromkeys(messages)) == ["Remember the number 7.", "Which number?"]
    assert len(messages) == (3 if version == "0.1.4" else 2)
    machine.mngr("codex", "doctor", "old")
