"""Coming from the published plugin imbue-mngr-codex: its settings, and the sessions of its agents."""

import json
import subprocess
import tomllib

import pytest

from tests.support.machine import MakeMachine, until
from tests.support.rule_based_model import Model

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
    assert created.stderr.count("fall_back_to_account_default_model") == 1 and "unset `model`" in created.stderr
    agent = machine.agent("t")
    agent.message("Are you there?")
    until(lambda: agent.answers() == ["You said: Are you there?"], description="the answer")
    instructions = f"Speak French.\n\nYou are a gardener.\n\nBe kind.\n\n{STYLE}"
    assert json.dumps(instructions) in json.dumps(model.requests[0])
    config = (agent.state / "plugin/codex/home/config.toml").read_text()
    assert tomllib.loads(config)["developer_instructions"] == instructions
    assert machine.mngr("list", "--format", "json").stderr == ""
