"""The tool by which the model asks the user, and the setting that disables it."""

from typing import Any

import pytest

from tests.support.machine import Agent, MakeMachine, until
from tests.support.rule_based_model import Model, asked, calls, says

pytestmark = pytest.mark.slow

TOOL = "request_user_input"
QUESTION = {
    "id": "color",
    "header": "Color",
    "question": "Which color?",
    "options": [{"label": "Red", "description": "Like a rose."}, {"label": "Blue", "description": "Like the sky."}],
}


def is_offered(model: Model, message: str) -> bool:
    """Returns whether the request with this message offers the tool."""
    request = next(each for each in model.requests if asked(each).strip() == message)

    def names(tools: Any) -> list[str]:
        return [name for tool in tools or () for name in (tool.get("name", ""), *names(tool.get("tools")))]

    return TOOL in names([*request.get("tools", ()), *request["input"]])


def in_both_modes(agent: Agent, model: Model) -> list[bool]:
    """Sends a message in default mode and another in plan mode, and returns whether each request offers the tool."""
    for text, message in (("One.", "One."), ("/plan Two.", "Two.")):
        agent.message(text)
        until(lambda message=message: message in map(asked, model.requests), description=message)  # type: ignore[misc]
        agent.wait()
    return [is_offered(model, message) for message in ("One.", "Two.")]


# Codex offers the tool in plan mode, and in default mode only with this feature.
FEATURE = {"features": {"default_mode_request_user_input": True, "apps": False, "plugins": False}}


def test_codex_can_ask_by_default(make_machine: MakeMachine, model: Model) -> None:
    agent = make_machine(config_overrides=FEATURE).create()
    assert in_both_modes(agent, model) == [True, True]


def test_with_the_setting_it_cannot(make_machine: MakeMachine, model: Model) -> None:
    """A model that calls the tool anyway gets an error, and the agent does not wait."""
    agent = make_machine(config_overrides=FEATURE, auto_disable_questions=True).create()
    assert in_both_modes(agent, model) == [False, False]
    model.on("Paint it.", calls(TOOL, {"questions": [QUESTION]}), says("I chose blue."))
    agent.message("Paint it.")
    until(lambda: agent.answers()[-1:] == ["I chose blue."], description="the answer")
    agent.wait()
    assert agent.listed["plugin"]["codex"]["waiting_reason"] == "END_OF_TURN"
    outputs = [item for request in model.requests for item in request["input"] if "output" in item]
    assert any("unsupported call" in str(item["output"]) for item in outputs)
