"""Instructions from templates, output styles and settings, as the model gets them."""

import subprocess
import tomllib

import pytest

from tests.support.machine import Agent, Machine, MakeMachine
from tests.support.rule_based_model import Model, asked

# isort: split
from scripted_model import Json

pytestmark = pytest.mark.slow

STYLE = "---\nname: Terse\ndescription: Short answers\n---\nAnswer in one sentence.\n"
TEMPLATES = """
[create_templates.one]
append_system_prompt__extend = ["You are a reviewer."]

[create_templates.two]
append_system_prompt__extend = ["Do not edit files.", "Be kind."]
output_style = "Terse"
"""
JOINED = f"Speak French.\n\nYou are a reviewer.\n\nDo not edit files.\n\nBe kind.\n\n{STYLE}"


def developer_texts(request: Json) -> str:
    """Returns the texts that Codex adds to the conversation for the developer."""
    items = [item for item in request["input"] if item.get("role") == "developer"]
    return "\n".join(part.get("text", "") for item in items for part in item["content"])


def add_style(machine: Machine) -> None:
    folder = machine.repository / ".agents/output-styles"
    folder.mkdir(parents=True)
    (folder / "terse.md").write_text(STYLE)
    for arguments in (["add", "."], ["commit", "-qm", "Add a style"]):
        subprocess.run(["git", *arguments], cwd=machine.repository, env=machine.environment, check=True)


def add_templates(machine: Machine) -> None:
    settings = machine.profile / "settings.toml"
    settings.write_text(settings.read_text() + TEMPLATES)


def create(machine: Machine, *templates: str) -> Agent:
    """Creates an agent. mngr ignores templates' settings of an agent type that is only the command's second word."""
    options = [word for template in templates for word in ("-t", template)]
    machine.mngr("create", "t", "--type", "codex", "--yes", "--no-connect", *options)
    return machine.agent("t")


def assert_got(model: Model, agent: Agent, text: str) -> None:
    """Sends a message, and checks that the model also got the instructions."""
    agent.message(text)
    agent.wait()
    request = next(request for request in model.requests if asked(request) == text)
    assert JOINED.strip() in developer_texts(request)


def test_stacked_templates_reach_the_model_and_stay(machine: Machine, model: Model) -> None:
    """The user's own instructions are first, then the templates' in their order, and the style is last."""
    (machine.home / ".codex" / "config.toml").write_text('developer_instructions = "Speak French."\n')
    add_style(machine)
    add_templates(machine)
    agent = create(machine, "one", "two")
    assert_got(model, agent, "First?")
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    assert_got(model, agent, "Second?")
    machine.mngr("start", "t", "--restart")
    assert_got(model, agent, "Third?")


def test_the_instructions_of_overrides_are_kept(make_machine: MakeMachine, model: Model) -> None:
    machine = make_machine(config_overrides={"developer_instructions": "Speak French."})
    (machine.home / ".codex" / "config.toml").write_text('developer_instructions = "Replaced."\n')
    add_style(machine)
    add_templates(machine)
    agent = create(machine, "one", "two")
    assert_got(model, agent, "First?")
    written = tomllib.loads((agent.state / "plugin/codex/home/config.toml").read_text())
    assert written["developer_instructions"] == JOINED


def test_an_unknown_style_is_refused_before_anything_is_created(machine: Machine) -> None:
    add_templates(machine)
    refused = machine.mngr("create", "t", "--type", "codex", "--yes", "--no-connect", "-t", "two", status=1)
    assert "'Terse'" in refused.stderr and ".agents/output-styles" in refused.stderr
    assert machine.agent_dirs() == []
    worktrees = subprocess.run(
        ["git", "worktree", "list"], cwd=machine.repository, env=machine.environment, capture_output=True, text=True
    )
    assert len(worktrees.stdout.splitlines()) == 1
    assert machine.codex_calls() in ([], ["--version"])
