"""Messages arrive unchanged, or the sender gets an error."""

import base64
import json
import tomllib

import pytest

from mngr_codex import _core
from mngr_codex.plugin.home.hook_trust import BYPASS
from tests.support.machine import Agent, Json, Machine, MakeMachine, until
from tests.support.rule_based_model import Model, asked, runs, says

pytestmark = pytest.mark.slow

HUNDRED_KILOBYTES = "".join(f"{number:05} some text, ünïcödé too.\n" for number in range(5000))[:100_000]


def received(model: Model) -> list[str]:
    """Returns the user messages that the model received, without Codex's own requests for a title."""
    texts = [asked(request) for request in model.requests]
    return [text for text in texts if not text.startswith("Generate a concise")]


def assert_received(model: Model, message: str) -> None:
    """Waits until the model's latest request has this message."""
    latest: list[str] = []

    def is_received() -> bool:
        latest[:] = [text.strip() for text in received(model)[-1:]]
        return latest == [message]

    try:
        until(is_received, description="the message")
    except AssertionError as error:
        error.add_note(f"sent: {message[:80]!r}, received last: {latest and latest[0][:80]!r}")
        raise


def test_every_kind_of_message_arrives_unchanged(machine: Machine, model: Model) -> None:
    agent = machine.create()
    messages = [
        "One line.",
        "y",
        "line\n" * 200,
        HUNDRED_KILOBYTES,
        "/etc/hosts is not a command",
        "/nosuch command\nin two lines",
        "1. first\n2. second",
        "- a leading dash",
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
        agent.wait()
    recorded = [record["message"] for record in agent.records() if record.get("source") == "user"]
    assert [message.strip() for message in recorded] == [message.strip() for message in messages]


def events(agent: Agent) -> list[str]:
    """Returns the types of the recorded events about messages."""
    return [
        json.loads(line)["type"] for line in (agent.state / "events/messages/events.jsonl").read_text().splitlines()
    ]


def test_a_leading_exclamation_mark_runs_no_command(machine: Machine, model: Model) -> None:
    """Codex would run it as the user's own command, outside of its sandbox."""
    agent = machine.create()
    file = machine.folder / "file"
    agent.message(f"!touch {file}")
    agent.wait()
    assert received(model)[-1].endswith(f"!touch {file}")
    assert not file.exists()


def test_a_command_waits_until_codex_has_started_its_mcp_servers(make_machine: MakeMachine) -> None:
    """While they start, Codex rejects commands as if a turn were running."""
    slow = {"command": "sleep", "args": ["4"]}
    agent = make_machine(config_overrides={"mcp_servers": {"slow": slow}}).create()
    agent.message("/plan")
    assert "Plan mode" in agent.pane()


def test_commands_of_codex_are_run(machine: Machine, model: Model) -> None:
    """If one opens a dialog, the sender gets a warning."""
    agent = machine.create()
    agent.message("Say something.")
    agent.wait()
    agent.message("/compact")
    until(lambda: "CHECKPOINT" in received(model)[-1], description="the compaction")
    agent.wait()
    opened = agent.message("/model", status=7)
    assert "opened a menu" in opened.stderr
    refused = agent.message("Are you there?", status=1)
    assert "so it can't take messages" in refused.stderr
    agent.press("Escape")
    until(lambda: "Select" not in agent.pane(), description="the end of the dialog")
    agent.message("Are you there?")
    assert_received(model, "Are you there?")
    agent.wait()
    agent.message("/quit")
    until(lambda: agent.listed["state"] == "DONE", description="the exit of Codex")
    assert "not running" in agent.message("Still there?", status=1).stderr


def test_nothing_is_typed_into_a_dialog_that_a_command_opens(machine: Machine, model: Model) -> None:
    agent = machine.create()
    for command in ("/theme", "/experimental"):
        # Some versions of Codex lack these commands.
        opened = machine.mngr("message", "t", "-m", command, status=None)
        if "opened a menu" not in opened.stderr:
            assert_received(model, command)
            continue
        assert opened.status == 7
        assert "so it can't take messages" in agent.message("Are you there?", status=1).stderr
        agent.press("Escape")
        until(lambda: _core.read_screen("codex", agent.pane()).dialog is None, description="the end of the dialog")
    assert "theme" not in tomllib.loads((agent.state / "plugin/codex/home/config.toml").read_text()).get("tui", {})
    agent.message("Are you there?")
    assert_received(model, "Are you there?")


def test_a_side_conversation_does_not_change_the_session(machine: Machine, model: Model) -> None:
    agent = machine.create()
    agent.message("Remember apples.")
    agent.wait()
    session = (agent.state / "codex_root_session").read_text()
    opened = machine.mngr("message", "t", "-m", "/btw", status=None)
    if opened.status == 0:
        pytest.skip("this version has no side conversations")
    assert "opened a side conversation" in opened.stderr
    refused = agent.message("Lost?", status=1)
    assert "a side conversation, which is not in the transcript" in refused.stderr
    assert "hint: close it with" in refused.stderr
    agent.press("-l", "What is this?")
    until(lambda: "What is this?" in agent.pane(), description="the question")
    agent.press("Enter")
    assert_received(model, "What is this?")
    until(lambda: "You said: What is this?" in agent.pane(), description="the answer")
    agent.wait()
    agent.press("C-c")
    until(lambda: "Side from" not in agent.pane(), description="the end of the side conversation")
    assert (agent.state / "codex_root_session").read_text() == session
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    agent.message("What do you remember?")
    assert_received(model, "What do you remember?")
    (question,) = [request for request in model.requests if asked(request).strip() == "What do you remember?"]
    assert "Remember apples." in json.dumps(question)


def test_the_path_of_an_image_attaches_it(machine: Machine, model: Model) -> None:
    """Codex replaces the path with the image if the model accepts images, except on 0.169."""
    agent = machine.create()
    image = machine.folder / "dot.png"
    image.write_bytes(
        base64.b64decode(
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
        )
    )
    agent.message(str(image))

    def has_image(request: Json) -> bool:
        return "input_image" in json.dumps(request) or asked(request).strip() == str(image)

    until(lambda: any(has_image(request) for request in model.requests), description="the image or its path")


def test_nothing_is_typed_into_a_draft_of_the_user(machine: Machine, model: Model) -> None:
    agent = machine.create()
    agent.press("-l", "I was about to say")
    until(lambda: "about to say" in agent.pane(), description="the draft")
    refused = agent.message("Something else.", status=1)
    assert "I was about to say" in refused.stderr
    assert "Something else" not in agent.pane()
    assert events(agent) == ["preexisting_input_text"]
    assert "about to say" not in (agent.state / "events/messages/events.jsonl").read_text()
    agent.press("C-u")
    until(lambda: "about to say" not in agent.pane(), description="the end of the draft")
    agent.message("Something else.")
    assert_received(model, "Something else.")


def test_no_file_is_picked_from_an_open_list_of_files(machine: Machine, model: Model) -> None:
    agent = machine.create("t", "--transfer", "none")
    (machine.repository / "chosen.txt").touch()
    agent.press("-l", "look at @chos")
    until(lambda: "chosen.txt" in agent.pane(), description="the list of files")
    assert "'look at @chos'" in agent.message("Something else.", status=1).stderr
    assert "look at @chos\n" in agent.pane() and "Something else" not in agent.pane()
    agent.press("Escape")
    until(lambda: "chosen.txt" not in agent.pane(), description="the end of the list")
    agent.press("C-u")
    until(lambda: "@chos" not in agent.pane(), description="the end of the draft")
    agent.message("Look at @chos")
    assert_received(model, "Look at @chos")


OLDER_PROGRAM = """\
#!/bin/sh
case $1 in send | screen) echo "error: unrecognized subcommand '$1'" >&2; exit 2 ;; esac
exec "$0.real" "$@"
"""


def test_an_agent_of_an_older_version_gets_the_program_with_its_next_message(machine: Machine, model: Model) -> None:
    agent = machine.create()
    program = agent.state / "commands/mngr-codex"
    current = program.read_bytes()
    program.rename(f"{program}.real")
    program.write_text(OLDER_PROGRAM)
    program.chmod(0o755)
    agent.message("Are you there?")
    assert_received(model, "Are you there?")
    assert program.read_bytes() == current
    agent.wait()
    agent.message("Still there?")
    assert_received(model, "Still there?")


def test_an_agent_whose_host_cannot_run_the_program(machine: Machine, model: Model) -> None:
    """mngr types the message, after the screen was checked."""
    agent = machine.create()
    program = agent.state / "commands/mngr-codex"
    program.unlink()
    program.write_bytes(b"\x7fELF for another machine")
    program.chmod(0o755)
    agent.message("Are you there?")
    assert_received(model, "Are you there?")
    until(lambda: "You said: Are you there?" in agent.pane(), description="the answer")
    file = machine.folder / "file"
    agent.message(f"!touch {file}")
    until(lambda: "touch" in received(model)[-1], description="the message")
    until(lambda: agent.pane().count("You said:") == 2, description="the answer")
    assert not file.exists()
    agent.press("-l", "I was about to say")
    until(lambda: "about to say" in agent.pane(), description="the draft")
    assert "I was about to say" in agent.message("Something else.", status=1).stderr
    assert "Something else" not in agent.pane()


def test_nothing_is_typed_into_the_review_of_hooks(machine: Machine) -> None:
    """Codex shows it some time after the composer, if a hook has changed since it was trusted."""
    agent = machine.create()
    machine.mngr("stop", "t")
    hooks = agent.state / "plugin/codex/home/hooks.json"
    changed = json.loads(hooks.read_text())
    changed["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "true"}]})
    hooks.write_text(json.dumps(changed))
    machine.mngr("start", "t")
    until(lambda: "Hooks need review" in agent.pane(), description="the review")
    before = agent.pane()
    refused = agent.message("Are you there?", status=1)
    assert "its hook review" in refused.stderr
    assert agent.pane() == before


def test_a_message_that_a_hook_blocks_is_an_error(machine: Machine, model: Model) -> None:
    hooks = {"UserPromptSubmit": [{"hooks": [{"type": "command", "command": "echo no >&2; exit 2"}]}]}
    agent = machine.create()
    machine.mngr("stop", "t")
    file = agent.state / "plugin/codex/home/hooks.json"
    file.write_text(json.dumps({"hooks": hooks}))
    launcher = agent.state / "commands/codex"
    launcher.write_text(launcher.read_text().replace("command=codex\n", f"command='codex {BYPASS}'\n"))
    machine.mngr("start", "t")
    machine.write_settings(message_confirmation_seconds=4)
    refused = agent.message("Are you there?", status=1)
    assert "Codex did not record it within" in refused.stderr
    assert events(agent) == ["relaxed_send_unconfirmed"]
    assert received(model) == []


def test_a_message_queued_during_a_long_call_gives_a_warning(machine: Machine, model: Model) -> None:
    model.on("slowly", runs("sleep 8"), says("Not steered."))
    agent = machine.create()
    agent.message("Do it slowly.")
    machine.write_settings(message_confirmation_seconds=3)
    queued = agent.message("Turn left instead.")
    assert "Codex has queued the message" in queued.stderr
    assert "Codex rejects /compact" in agent.message("/compact", status=1).stderr
    assert events(agent) == ["message_queued", "send_rejected_by_agent"]
    shown = machine.mngr("event", "t", "messages").stdout
    assert "message_queued" in shown and "Codex rejected the command /compact" in shown
    until(lambda: received(model)[-1] == "Turn left instead.", description="the message", seconds=20)
