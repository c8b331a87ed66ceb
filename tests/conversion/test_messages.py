"""Messages, reasoning, and the model and effort of the turn."""

import json
from typing import Any

import pytest

from tests.support.program import EMITTER, convert, event_id
from tests.support.rollout_builder import PNG_BYTES, PNG_URL, Rollout, turn


def test_user_message() -> None:
    rollout = Rollout().user("Hello ", "world")
    assert convert(rollout).steps == [
        {
            "type": "step",
            "event_id": event_id(rollout.timestamp, "Hello world", "user"),
            "emitter": EMITTER,
            "timestamp": rollout.timestamp,
            "source": "user",
            "message": "Hello \n\nworld",
        }
    ]


def test_parts_of_a_user_message_are_separated_by_a_blank_line() -> None:
    rollout = Rollout().user_parts(
        {"type": "input_text", "text": "a"},
        {"type": "output_text", "text": "b"},
        {"type": "text", "text": "c"},
        {"type": "input_text", "text": ""},
        {"type": "input_text", "text": 4},
        {"type": "input_text"},
        {"type": "input_image", "image_url": PNG_URL},
        {"type": "refusal", "refusal": "d"},
        {"type": "brand_new", "text": "e"},
    )
    [step] = convert(rollout).steps
    assert step["message"] == "a\n\nb\n\nc\n\nd\n\ne"
    assert step["event_id"] == event_id(rollout.timestamp, "abcde", "user")


def test_user_message_without_text_gives_no_record() -> None:
    assert convert(Rollout().user("").user()).steps == []


@pytest.mark.parametrize(
    "text",
    [
        "<user_instructions>\nbe brief\n</user_instructions>",
        "<environment_context>\n  <cwd>/srv/lab</cwd>\n</environment_context>",
        "# AGENTS.md instructions for /srv/lab\n\n<INSTRUCTIONS>\nbe brief\n</INSTRUCTIONS>",
        "# AGENTS.md instructions\n\n<INSTRUCTIONS>\nbe brief\n</INSTRUCTIONS>",
        "\n  <environment_context></environment_context>",
        "<turn_aborted>\nThe user interrupted the previous turn on purpose.\n</turn_aborted>",
        '<subagent_notification>\n{"agent_path":"/root/kid"}\n</subagent_notification>',
        '<codex_internal_context source="goal">\nkeep on\n</codex_internal_context>',
        '<hook_prompt hook_run_id="stop:0">Run the linter.</hook_prompt>',
        "<external_browser_info>tab one</external_browser_info>",
        "Warning: apply_patch was requested via shell. Use the apply_patch tool instead of exec_command.",
    ],
)
def test_text_of_codex_is_a_system_step(text: str) -> None:
    rollout = Rollout().user(text)
    [step] = convert(rollout).steps
    assert (step["source"], step["message"]) == ("system", text)
    assert step["event_id"] == event_id(rollout.timestamp, text, "system")


@pytest.mark.parametrize(
    "text",
    [
        "# AGENTS.md instructions for /srv/lab",
        "tell me about <environment_context>",
        "<environment_context> is what?",
        "<user_instruction>",
        "# AGENTS.md instructions\n<INSTRUCTIONS>",
        "<skill></skill> What does this skill do?",
        "Warning: apply_patch was requested via shell. Why?",
    ],
)
def test_text_that_resembles_text_of_codex_is_a_user_step(text: str) -> None:
    assert [step["source"] for step in convert(Rollout().user(text)).steps] == ["user"]


AGENTS = "# AGENTS.md instructions\n\n<INSTRUCTIONS>\nbe brief\n</INSTRUCTIONS>"
ENVIRONMENT = "<environment_context>\n</environment_context>"


def kinds(*names: Any) -> dict[str, Any]:
    """Returns the metadata that says who wrote each part of a message (from 0.150 on)."""
    return {"internal_chat_message_metadata_passthrough": {"turn_id": "t", "content_item_kinds": list(names)}}


def user_message(*texts: str, **members: Any) -> Rollout:
    return Rollout().item("message", role="user", content=[{"type": "input_text", "text": t} for t in texts], **members)


def sources(rollout: Rollout) -> list[tuple[str, str]]:
    return [(step["source"], step["message"]) for step in convert(rollout).steps]


def test_several_texts_of_codex_are_one_system_step() -> None:
    assert sources(Rollout().user(AGENTS, ENVIRONMENT)) == [("system", f"{AGENTS}\n\n{ENVIRONMENT}")]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([AGENTS, "hello", ENVIRONMENT], [("system", f"{AGENTS}\n\n{ENVIRONMENT}"), ("user", "hello")]),
        (["hello", AGENTS, "world"], [("user", "hello\n\nworld"), ("system", AGENTS)]),
    ],
)
def test_a_message_of_two_writers_becomes_two_steps(texts: list[str], expected: list[tuple[str, str]]) -> None:
    rollout = Rollout().user(*texts)
    assert sources(rollout) == expected
    joined = [text.replace("\n\nhello", "hello") for _, text in expected]
    assert len({step["event_id"] for step in convert(rollout).steps}) == len(joined) == 2


def test_each_part_goes_to_the_step_of_its_writer() -> None:
    rollout = Rollout().user_parts(
        {"type": "input_text", "text": AGENTS},
        {"type": "input_image", "image_url": PNG_URL},
        {"type": "input_audio", "audio_url": "data:audio/wav;base64,UklGRg=="},
        {"type": "input_text", "text": "see"},
    )
    ours, theirs = convert(rollout).steps
    assert (ours["source"], ours["message"]) == ("system", AGENTS)
    assert (theirs["source"], theirs["message"]) == ("user", "[input_audio, audio/wav, 4 bytes]\n\nsee")
    assert "extra" not in ours
    assert theirs["extra"] == {"images": [{"media_type": "image/png", "size": PNG_BYTES}]}
    rollout = Rollout().item(
        "message",
        role="user",
        content=[{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": PNG_URL}],
        **kinds("user.text", "later.image"),
    )
    theirs, ours = convert(rollout).steps
    assert (ours["source"], ours["message"], list(ours["extra"])) == ("system", "", ["images"])
    assert (theirs["source"], theirs["message"]) == ("user", "see")
    assert "extra" not in theirs


@pytest.mark.parametrize(
    ("kind", "text", "source"),
    [
        ("user.text", AGENTS, "user"),
        ("user.later", AGENTS, "user"),
        ("images.unsupported", AGENTS, "user"),
        ("images.preparation_error", AGENTS, "user"),
        ("audio.unsupported", AGENTS, "user"),
        ("agents_md.instructions", "hello", "system"),
        ("later.kind", "hello", "system"),
        *[
            (kind, text, source)
            for kind in ("user.goal", "unknown", "", None, 7)
            for text, source in ((AGENTS, "system"), ("hello", "user"))
        ],
    ],
)
def test_metadata_says_who_wrote_a_part(kind: Any, text: str, source: str) -> None:
    assert sources(user_message(text, **kinds(kind))) == [(source, text)]
    # The metadata may precede the parts.
    rollout = Rollout().item("message", **kinds(kind), role="user", content=[{"type": "input_text", "text": text}])
    assert sources(rollout) == [(source, text)]


@pytest.mark.parametrize(
    "metadata", [kinds(), kinds("user.text", "user.text"), {"internal_chat_message_metadata_passthrough": None}]
)
def test_metadata_of_another_number_of_parts_is_ignored(metadata: dict[str, Any]) -> None:
    assert sources(user_message(AGENTS, **metadata)) == [("system", AGENTS)]
    assert sources(user_message("hello", **metadata)) == [("user", "hello")]


SHELL_COMMAND = (
    "<user_shell_command>\n<command>\necho hi\n</command>\n<result>\nExit code: 3\nDuration: 0.0104 seconds\n"
    "Output:\nhi\n\n</result>\n</user_shell_command>"
)


def test_a_command_of_the_user_is_a_system_step() -> None:
    [step] = convert(Rollout().user(SHELL_COMMAND)).steps
    assert (step["source"], step["message"]) == ("system", SHELL_COMMAND)
    assert step["extra"] == {"codex": {"type": "user_shell_command", "command": "echo hi", "exit_code": 3}}


def test_a_command_of_the_user_is_recorded_once_and_belongs_to_no_call() -> None:
    rollout = turn().call().command("u-1", source="user_shell").user(SHELL_COMMAND).output().assistant("done").usage()
    conversion = convert(rollout)
    assert sum(b"user_shell" in line for line in conversion.stdout.splitlines()) == 1
    assert conversion.summary.count("event_msg/item_completed/CommandExecution") == 1
    assert [result["content"] for result in conversion.results] == ["ok"]
    assert len(convert(turn().call().command("u-1", source="exec").output()).results) == 2


def test_assistant_message() -> None:
    rollout = Rollout().assistant("All ", "done.")
    assert convert(rollout).steps == [
        {
            "type": "step",
            "event_id": event_id(rollout.timestamp, "All done.", "assistant"),
            "emitter": EMITTER,
            "timestamp": rollout.timestamp,
            "source": "agent",
            "message": "All done.",
        }
    ]


def test_assistant_message_without_text_gives_no_record() -> None:
    assert convert(Rollout().assistant("").item("message", role="assistant", content=[])).steps == []


def assistant_parts(*parts: Any) -> Rollout:
    return Rollout().item("message", role="assistant", content=list(parts))


PDF = {"type": "input_file", "filename": "report.pdf", "file_data": "data:application/pdf;base64," + "A" * 16460}
AUDIO = {"type": "output_audio", "audio": {"data": "UklGRg==", "format": "wav"}}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"type": "text", "text": "You said hello."}], "You said hello."),
        ([{"type": "refusal", "refusal": "I cannot."}], "I cannot."),
        ([{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}], "ab"),
        (
            [{"type": "output_text", "text": "a"}, AUDIO, {"type": "output_text", "text": "b"}],
            "a\n\n[output_audio, audio/wav, 4 bytes]\n\nb",
        ),
        ([PDF], "[input_file report.pdf, application/pdf, 12,345 bytes]"),
        ([{"type": "input_image", "file_id": "f-1"}], "[input_image, 38 bytes]"),
        ([{"type": "brand_new", "x": "A" * 1000}], "[brand_new, 750 bytes]"),
        (["text"], "text"),
    ],
)
def test_parts_of_any_type(parts: list[Any], message: str) -> None:
    [step] = convert(assistant_parts(*parts)).steps
    assert (step["source"], step["message"]) == ("agent", message)


def test_a_message_may_be_a_single_text() -> None:
    assert sources(Rollout().item("message", role="user", content="hello")) == [("user", "hello")]
    assert sources(Rollout().item("message", role="user", content=AGENTS)) == [("system", AGENTS)]


INTER_AGENT = {
    "author": "/root",
    "recipient": "/root/kid",
    "other_recipients": [],
    "content": "Count.",
    "trigger_turn": True,
}


def test_json_between_agents_is_a_system_step_that_nothing_measures() -> None:
    text = json.dumps(INTER_AGENT)
    conversion = convert(turn().assistant(text).assistant("Kid is on it.").usage().complete())
    _, message, speech = conversion.steps
    assert (message["source"], message["message"]) == ("system", "Count.")
    assert message["extra"] == {"author": "/root", "recipient": "/root/kid"}
    assert message["event_id"] == event_id(message["timestamp"], text, "system")
    assert "metrics" not in message and "model_name" not in message
    assert speech["metrics"]["prompt_tokens"] == 100
    # It does not end the window of the step before it either.
    _, speech, message = convert(turn().assistant("One moment.").assistant(text).usage()).steps
    assert speech["metrics"]["prompt_tokens"] == 100


def test_encrypted_messages_between_agents_are_named() -> None:
    encrypted = INTER_AGENT | {"content": "", "encrypted_content": "gAAAA"}
    parts = [{"type": "encrypted_content", "encrypted_content": "gAAAA"}]
    item = Rollout().item("agent_message", author="/root", recipient="/root/kid", content=parts)
    for rollout in (Rollout().assistant(json.dumps(encrypted)), item):
        [step] = convert(rollout).steps
        assert step["message"] == "A message from /root to /root/kid, which Codex encrypted."
        assert step["extra"] == {"author": "/root", "recipient": "/root/kid"}


@pytest.mark.parametrize(
    "answer",
    [
        {"author": "Ann", "recipient": "Bob", "content": "Dear Bob"},
        {"author": "/root", "recipient": "/root/kid"},
        [INTER_AGENT],
        {"answer": INTER_AGENT},
    ],
)
def test_other_json_is_the_agents_speech(answer: Any) -> None:
    assert sources(Rollout().assistant(json.dumps(answer))) == [("agent", json.dumps(answer))]


def test_reasoning_joins_summary_then_content() -> None:
    rollout = Rollout().reasoning("**First**", "", "**Second**", content=["deep thought"])
    text = "**First**\n\n**Second**\n\ndeep thought"
    assert convert(rollout).steps == [
        {
            "type": "step",
            "event_id": event_id(rollout.timestamp, text, "reasoning"),
            "emitter": EMITTER,
            "timestamp": rollout.timestamp,
            "source": "agent",
            "message": "",
            "reasoning_content": text,
        }
    ]


def test_encrypted_reasoning_gives_no_record() -> None:
    assert convert(Rollout().reasoning()).steps == []


def test_model_and_effort_are_those_of_the_latest_turn_context() -> None:
    rollout = (
        Rollout()
        .context(model="gpt-5.5", effort="high")
        .user("one")
        .reasoning("thought")
        .call()
        .output()
        .assistant("done")
        .usage()
        .context(model="gpt-6-sol")
        .user("two")
        .assistant("done again")
        .usage()
    )
    stamps = [(step.get("model_name"), step.get("reasoning_effort")) for step in convert(rollout).steps]
    assert stamps == [(None, None), *[("gpt-5.5", "high")] * 3, (None, None), ("gpt-6-sol", None)]


def test_turn_context_without_a_model_keeps_the_model() -> None:
    rollout = Rollout().context(model="gpt-5.5", effort="low").line("turn_context", {"turn_id": "t", "effort": ""})
    [step] = convert(rollout.assistant("done").usage()).steps
    assert step["model_name"] == "gpt-5.5"
    assert "reasoning_effort" not in step


def test_fractional_effort_is_kept() -> None:
    [step] = convert(Rollout().context(effort=0.5).assistant("done").usage()).steps
    assert step["reasoning_effort"] == 0.5


def test_agent_steps_before_any_turn_context_have_no_model() -> None:
    [step] = convert(Rollout().assistant("done")).steps
    assert not {"model_name", "reasoning_effort"} & set(step)


def test_records_have_the_order_of_the_rollout() -> None:
    rollout = turn().assistant("first").call("call_1").call("call_2").output("call_2", "b").output("call_1", "a")
    records = convert(rollout.usage().assistant("last").usage()).records[2:]
    assert [record["type"] for record in records] == ["step"] * 3 + ["observation"] * 2 + ["step"]
    assert [record["timestamp"] for record in records] == sorted(record["timestamp"] for record in records)
