"""Messages arrive as they were sent, or are told not to have arrived."""

import base64
import json
import tomllib

import pytest

from mngr_codex.plugin.messages.screen import Screen
from tests.support.machine import Agent, Json, Machine, until
from tests.support.rule_based_model import Model, asked, runs, says

pytestmark = pytest.mark.slow

HUNDRED_KILOBYTES = "".join(f"{number:05} some text, ünïcödé too.\n" for number in range(5000))[:100_000]


def received(model: Model) -> list[str]:
    """What users said, as the model was asked; codex asks for titles on its own."""
    texts = [asked(request) for request in model.requests]
    return [text for text in texts if not text.startswith("Generate a concise")]


def assert_received(model: Model, message: str) -> None:
    """The model was last asked this: codex writes a message down before it asks."""
    until(lambda: [text.strip() for text in received(model)[-1:]] == [message], what=f"the question {message[:80]!r}")


def waits(agent: Agent) -> None:
    until(lambda: not agent.is_active, what="WAITING", seconds=30)


def test_every_kind_of_message_arrives_as_it_was_sent(machine: Machine, model: Model) -> None:
    agent = machine.create()
    messages = [
        "One line.",
        "y",
        "line\n" * 200,
        HUNDRED_KILOBYTES,
        "/etc/hosts is no command",
        "/nosuch command\nin two lines",
        "1. first\n2. second",
        "- a dash in front",
        'ünïcödé 😀 中文 "quoted" and \\n with a backslash',
        "Please look at @README.md",
        "two\nlines and @READ",
        "costs 5 $",
        "/nosuchcommand",
        "/TODO fix it",
        "/1 thing",
        "/model@x",
        "/lo",
        "/TODO list:\n" + "- an item of it\n" * 100,
        "look at this:\n        › 1. Yes\n  enter select · esc back\nis it a dialog?",
        "/",
        "a\ttab and $HOME and `ticks` and 'quotes'",
        "y",
    ]
    for message in messages:
        agent.message(message)
        assert_received(model, message.strip())
        waits(agent)
    said = [record["message"] for record in agent.records() if record.get("source") == "user"]
    assert [message.strip() for message in said] == [message.strip() for message in messages]


def test_a_leading_exclamation_mark_runs_no_command(machine: Machine, model: Model) -> None:
    """Codex would run what follows as the user's own command, outside of its sandbox."""
    agent = machine.create()
    made = machine.folder / "made"
    agent.message(f"!touch {made}")
    waits(agent)
    assert received(model)[-1].endswith(f"!touch {made}")
    assert not made.exists()


def test_commands_of_codex(machine: Machine, model: Model) -> None:
    """Those that codex knows are run; that one has opened a dialog is told."""
    agent = machine.create()
    agent.message("Say something.")
    waits(agent)
    agent.message("/compact")
    until(lambda: "CHECKPOINT" in received(model)[-1], what="the compaction")
    waits(agent)
    opened = agent.message("/model", status=7)
    assert "opened a menu" in opened.stderr
    refused = agent.message("Are you there?", status=1)
    assert "so it can't take messages" in refused.stderr
    agent.press("Escape")
    until(lambda: "Select" not in agent.pane(), what="the end of the dialog")
    agent.message("Are you there?")
    assert_received(model, "Are you there?")
    waits(agent)
    agent.message("/quit")
    until(lambda: agent.listed["state"] == "DONE", what="the end of codex")
    assert "not running" in agent.message("Still there?", status=1).stderr


def test_what_a_command_opens_is_told_and_gets_no_key(machine: Machine, model: Model) -> None:
    agent = machine.create()
    for command in ("/theme", "/experimental"):
        # Not every version knows all of them.
        opened = machine.mngr("message", "t", "-m", command, status=None)
        if "opened a menu" not in opened.stderr:
            assert_received(model, command)
            continue
        assert opened.status == 7
        assert "so it can't take messages" in agent.message("Are you there?", status=1).stderr
        agent.press("Escape")
        until(lambda: Screen.parse("codex", agent.pane()).dialog is None, what="the end of the dialog")
    assert "theme" not in tomllib.loads((agent.state / "plugin/codex/home/config.toml").read_text()).get("tui", {})
    agent.message("Are you there?")
    assert_received(model, "Are you there?")


def test_a_side_conversation_leaves_the_session(machine: Machine, model: Model) -> None:
    agent = machine.create()
    agent.message("Remember apples.")
    waits(agent)
    session = (agent.state / "codex_root_session").read_text()
    opened = machine.mngr("message", "t", "-m", "/btw", status=None)
    if opened.status == 0:
        pytest.skip("this version has no side conversations")
    assert "opened a side conversation" in opened.stderr
    refused = agent.message("Lost?", status=1)
    assert "a side conversation, which is not in the transcript" in refused.stderr
    assert "hint: close it with" in refused.stderr
    agent.press("-l", "What is this?")
    until(lambda: "What is this?" in agent.pane(), what="the question")
    agent.press("Enter")
    assert_received(model, "What is this?")
    until(lambda: "You said: What is this?" in agent.pane(), what="the answer")
    waits(agent)
    agent.press("C-c")
    until(lambda: "Side from" not in agent.pane(), what="the session")
    assert (agent.state / "codex_root_session").read_text() == session
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    agent.message("What do you remember?")
    assert_received(model, "What do you remember?")
    (question,) = [request for request in model.requests if asked(request).strip() == "What do you remember?"]
    assert "Remember apples." in json.dumps(question)


def test_an_image_arrives(machine: Machine, model: Model) -> None:
    """Codex attaches it in place of its path, where the model takes images (not on 0.169)."""
    agent = machine.create()
    image = machine.folder / "dot.png"
    image.write_bytes(
        base64.b64decode(
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
        )
    )
    agent.message(str(image))

    def has_come(request: Json) -> bool:
        return "input_image" in json.dumps(request) or asked(request).strip() == str(image)

    until(lambda: any(has_come(request) for request in model.requests), what="the image or its path")


def test_nothing_is_added_to_a_draft_of_the_user(machine: Machine, model: Model) -> None:
    agent = machine.create()
    agent.press("-l", "I was about to say")
    until(lambda: "about to say" in agent.pane(), what="the draft")
    refused = agent.message("Something else.", status=1)
    assert "I was about to say" in refused.stderr
    assert "Something else" not in agent.pane()
    agent.press("C-u")
    until(lambda: "about to say" not in agent.pane(), what="the end of the draft")
    agent.message("Something else.")
    assert_received(model, "Something else.")


def test_nothing_is_typed_into_the_review_of_hooks(machine: Machine) -> None:
    """It comes up when a hook has changed since it was trusted, some time after the composer."""
    agent = machine.create()
    machine.mngr("stop", "t")
    hooks = agent.state / "plugin/codex/home/hooks.json"
    changed = json.loads(hooks.read_text())
    changed["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "true"}]})
    hooks.write_text(json.dumps(changed))
    machine.mngr("start", "t")
    until(lambda: "Hooks need review" in agent.pane(), what="the review")
    before = agent.pane()
    refused = agent.message("Are you there?", status=1)
    assert "its hook review" in refused.stderr
    assert agent.pane() == before


def test_a_message_that_codex_does_not_take_is_an_error(machine: Machine, model: Model) -> None:
    """A hook of the user's that blocks the prompt."""
    hooks = {"UserPromptSubmit": [{"hooks": [{"type": "command", "command": "echo no >&2; exit 2"}]}]}
    agent = machine.create()
    machine.mngr("stop", "t")
    file = agent.state / "plugin/codex/home/hooks.json"
    file.write_text(json.dumps({"hooks": hooks}))
    launcher = agent.state / "commands/codex"
    launcher.write_text(launcher.read_text().replace(' codex "$@"', ' codex --dangerously-bypass-hook-trust "$@"'))
    machine.mngr("start", "t")
    machine.write_settings(message_confirmation_seconds=4)
    refused = agent.message("Are you there?", status=1)
    assert "Codex did not record it within" in refused.stderr
    assert received(model) == []


def test_a_message_that_waits_for_a_long_call(machine: Machine, model: Model) -> None:
    """Codex shows that it holds it."""
    model.on("slowly", runs("sleep 8"), says("Not steered."))
    agent = machine.create()
    agent.message("Do it slowly.")
    machine.write_settings(message_confirmation_seconds=3)
    queued = agent.message("Turn left instead.")
    assert "Codex has queued the message" in queued.stderr
    until(lambda: received(model)[-1] == "Turn left instead.", what="the message", seconds=20)
