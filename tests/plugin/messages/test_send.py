"""Sending messages through the program on the agent's host, which is a script here."""

from __future__ import annotations

from typing import Any, cast

import pytest
from imbue.mngr.agents.base_agent import BaseAgent
from imbue.mngr.errors import (
    CommandTimeoutError,
    HostConnectionError,
    MessageDeliveredButBlockedError,
    SendFailureKind,
    SendMessageError,
)

from mngr_codex.plugin.host.connection import LostCommandError
from mngr_codex.plugin.host.program import Program
from mngr_codex.plugin.messages import program as program_on_host
from mngr_codex.plugin.messages import send as sending
from tests.plugin.messages.fake_agent_on_host import PROGRAM, Agent

SECRET = "xyzzy-plugh"
OLDER = "#!/bin/sh\necho \"error: unrecognized subcommand '$1'\" >&2\nexit 2\n"


def say(agent: Agent, text: str) -> bool:
    return sending.send(cast(BaseAgent[Any], agent), text, 7.0)


def refusal(agent: Agent, text: str = "Hello.") -> SendMessageError:
    with pytest.raises(SendMessageError) as raised:
        say(agent, text)
    return raised.value


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET} and more",
        SECRET * 30_000,
        f"first line\n{SECRET} {SECRET}\n\n",
        f'it\'s "{SECRET}" $(touch made) `touch made` \\ ünïcödé 😀',
        f"/{SECRET} as a command",
        "-- --help",
    ],
    ids=["word", "long word", "lines", "quotes", "command", "option"],
)
def test_the_program_gets_the_text_as_its_input(agent: Agent, text: str) -> None:
    agent.answers("arrived", arrived=True)
    assert say(agent, text)
    assert (agent.folder / "input").read_bytes() == text.encode()
    assert not any(SECRET in argument or text in argument for argument in agent.arguments())
    assert agent.arguments()[0] == "send"
    assert agent.option("--state-dir") == str(agent.state)
    assert int(agent.option("--length")) == len(text.encode())
    assert agent.option("--timeout") == "7"


def test_a_lone_surrogate_is_replaced(agent: Agent) -> None:
    agent.answers("arrived", arrived=True)
    say(agent, "a\ud800b")
    assert (agent.folder / "input").read_bytes() == b"a?b"


def test_each_message_has_a_token(agent: Agent) -> None:
    agent.answers("arrived", arrived=True)
    tokens = set()
    for _ in range(3):
        say(agent, "The same.")
        tokens.add(agent.option("--token"))
    assert len(tokens) == 3


def test_the_message_goes_to_the_pane_that_mngr_has_recorded(agent: Agent) -> None:
    agent.answers("arrived", arrived=True)
    say(agent, "Hello.")
    assert agent.option("--target") == "%7"
    # A session of an older mngr has no record.
    (agent.folder / "pane-id").write_text("")
    say(agent, "Hello.")
    assert agent.option("--target") == "=mngr-t:agent.{top-left}"


BLOCKED, UNCONFIRMED = SendFailureKind.INPUT_BLOCKED, SendFailureKind.SUBMISSION_UNCONFIRMED
NOT_READY, UNREACHABLE = SendFailureKind.NOT_READY, SendFailureKind.AGENT_UNREACHABLE


@pytest.mark.parametrize(
    ("outcome", "members", "kind", "words", "events"),
    [
        ("no_terminal", {"terminal": ["can't find pane"]}, UNREACHABLE, "can't find pane\nhint: start it with", []),
        (
            "exited",
            {"terminal": ["ERROR: no"]},
            UNREACHABLE,
            "shows:\nERROR: no\nhint: start it with `mngr start t",
            [],
        ),
        (
            "login",
            {"showing": "its login screen"},
            BLOCKED,
            "its login screen, so it can't take messages\nhint: run",
            [],
        ),
        ("side", {"showing": "a side conversation"}, BLOCKED, "not in the transcript\nhint: close it", []),
        ("dialog", {"showing": "an approval request"}, BLOCKED, "an approval request, so it can't take", []),
        ("draft", {"row": "› I was about"}, BLOCKED, "'I was about'\nhint: send or clear", ["preexisting_input_text"]),
        ("not_ready", {}, NOT_READY, "not ready after 8 s\nhint:", []),
        ("unseen", {}, NOT_READY, "did not appear in the terminal\nhint:", []),
        (
            "blocked",
            {"showing": "a menu", "in_composer": True},
            BLOCKED,
            "a menu opened before the message was sent; its text may still be in the composer\nhint:",
            [],
        ),
        ("interrupted", {}, SendFailureKind.UNKNOWN, "interrupted before the message was sent\nhint: send it", []),
        ("refused", {"command": "/compact"}, NOT_READY, "Codex rejects /compact while", ["send_rejected_by_agent"]),
        ("not_taken", {}, UNCONFIRMED, "within 8 s, and its text was deleted again", ["relaxed_send_unconfirmed"]),
        ("ended", {}, UNREACHABLE, "Codex exited when the message was sent\nhint: start it", []),
        ("ended", {"arrived": None}, UNCONFIRMED, "It is not known whether the message arrived\nhint: start it", []),
        ("unseen", {"arrived": None}, UNCONFIRMED, "It is not known whether the message arrived\nhint: look", []),
        ("busy", {"arrived": None}, UNCONFIRMED, "It is not known whether the message arrived\nhint: look", []),
        ("unconfirmed", {"arrived": None}, UNCONFIRMED, "it may still arrive", ["relaxed_send_unconfirmed"]),
        ("busy", {}, NOT_READY, "another message to this agent has not been sent yet\nhint:", []),
        ("truncated", {}, NOT_READY, "did not reach the host completely", []),
        ("failed", {"terminal": ["disk full"]}, SendFailureKind.UNKNOWN, "disk full; it was not sent\nhint:", []),
        (
            "failed",
            {"terminal": ["tmux: no"], "in_composer": True},
            SendFailureKind.UNKNOWN,
            "tmux: no; it was not sent; its text may still be in the composer\nhint:",
            [],
        ),
        ("failed", {"arrived": None}, UNCONFIRMED, "it is not known whether it arrived\nhint:", []),
        ("something new", {"arrived": None}, UNCONFIRMED, "(something new)", ["relaxed_send_unconfirmed"]),
    ],
)
def test_each_outcome_has_its_error(
    agent: Agent, outcome: str, members: dict[str, Any], kind: SendFailureKind, words: str, events: list[str]
) -> None:
    agent.answers(outcome, **{"arrived": False, "waited_seconds": 8.2, **members})
    error = refusal(agent, f"{SECRET} is the text")
    assert error.kind is kind and words in error.reason and "\nhint: " in error.reason
    assert agent.events() == events
    assert SECRET not in error.reason


def test_a_queued_message_is_no_error(agent: Agent) -> None:
    agent.answers("queued", arrived=None, waited_seconds=7.0)
    assert say(agent, "Turn left.")
    assert agent.events() == ["message_queued"]


def test_a_command_can_open_a_dialog(agent: Agent) -> None:
    agent.answers("taken", arrived=True, view="dialog", dialog="menu", showing="a menu", command="/model")
    with pytest.raises(MessageDeliveredButBlockedError, match=r"/model opened a menu\nhint: answer it"):
        say(agent, "/model")
    agent.answers("taken", arrived=True, view="empty", command="/compact")
    assert say(agent, "/compact")


def test_an_empty_message_is_refused_here(agent: Agent) -> None:
    assert "the message is empty\nhint: give its text with -m" in refusal(agent, " \n").reason
    assert not (agent.folder / "arguments").exists()


def test_an_older_program_is_replaced_before_the_message_is_sent(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is sent once."""
    current = PROGRAM.format(folder=agent.folder).encode()
    monkeypatch.setattr(program_on_host, "program_for", lambda *_: Program(content=current))
    agent.answers("arrived", arrived=True)
    agent.install(OLDER)
    assert say(agent, "Hello.")
    assert agent.program.read_bytes() == current and agent.program.stat().st_mode & 0o777 == 0o755
    assert (agent.folder / "input").read_text() == "Hello."
    # A program that is missing was left out when the agent was created.
    agent.program.unlink()
    assert not say(agent, "Hello again.") and not agent.program.exists()


def test_a_host_that_cannot_run_the_program(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_on_host, "program_for", lambda *_: Program(problem="none for this platform"))
    agent.program.write_bytes(b"\x7fELF for another machine")
    assert not say(agent, "Hello.")
    agent.program.unlink()
    assert not say(agent, "Hello.")


def test_a_program_that_fails_without_an_answer(agent: Agent) -> None:
    (agent.folder / "status").write_text("101")
    error = refusal(agent)
    assert error.kind is UNCONFIRMED
    assert "mngr-codex send failed on the agent's host: status 101. It is not known" in error.reason
    assert "hint: look for it in `mngr transcript t --tail 5`" in error.reason


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (LostCommandError("the line is gone"), UNCONFIRMED, "It is not known whether the message arrived"),
        (CommandTimeoutError("it took too long"), UNCONFIRMED, "It is not known whether the message arrived"),
        (HostConnectionError("nobody listens"), UNREACHABLE, "nobody listens; the message was not sent"),
    ],
)
def test_a_host_that_stays_away(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: SendFailureKind, words: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(program_on_host, "run_with_input", fail)
    raised = refusal(agent)
    assert raised.kind is kind and words in raised.reason and "\nhint: " in raised.reason
