"""A scripted model whose answers depend on the message, for tests with several agents."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event

sys.path.append(str(Path(__file__).parents[2] / "demo"))

from scripted_model import Answer, Json, Response, ScriptedModel, function_call, message, shell_call


def asked(request: Json) -> str:
    """Returns the last user message in a request, from the person or the parent agent."""
    for item in reversed(request.get("input", [])):
        if item.get("type", "message") == "message" and item.get("role") == "user":
            text = "".join(str(part.get("text", "")) for part in item.get("content", []))
            if not text.startswith("<"):
                return text
    return ""


def runs(command: str) -> Answer:
    """Returns an answer that runs a shell command."""
    return lambda request: Response([shell_call(request, command)])


def calls(name: str, arguments: Json) -> Response:
    """Returns an answer that calls a tool."""
    return Response([function_call(name, arguments)])


def says(text: str) -> Response:
    """Returns an answer with a text."""
    return Response([message(text)])


def after(event: Event, response: Response) -> Answer:
    """Returns an answer that the model gives when the event is set, so that a turn lasts as long as a test needs."""

    def answer(_: Json) -> Response:
        assert event.wait(120), "the test has not set the event"
        return response

    return answer


def spawns(task: str, then: str) -> Answer:
    """Returns an answer that spawns a subagent and does not wait for it."""

    def answer(request: Json) -> Response:
        if any(item.get("name") == "spawn_agent" for item in request["input"]):
            return says(then)
        offered = dict(_offered([*request.get("tools", []), *request["input"]]))
        if "spawn_agent" not in offered:
            search = {"query": "spawn_agent sub-agent", "limit": 8}
            return Response(
                [{"type": "tool_search_call", "execution": "client", "status": "completed", "arguments": search}]
            )
        arguments = {"message": task, **({"task_name": "child"} if "list_agents" in offered else {})}
        call = function_call("spawn_agent", arguments)
        space = offered["spawn_agent"]
        return Response([{**call, "namespace": space} if space else call])

    return answer


def _offered(tools: Iterable[Json], space: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Yields the name of each offered tool, with its namespace."""
    for tool in tools:
        if isinstance(tool.get("tools"), list):
            yield from _offered(tool["tools"], tool["name"] if tool.get("type") == "namespace" else space)
        elif isinstance(tool.get("name"), str) and not str(tool.get("type", "")).endswith("call"):
            yield tool["name"], space


class Model(ScriptedModel):
    """Answers each request with the first rule whose word is in the last message, or else with `You said: …`."""

    def __init__(self) -> None:
        super().__init__()
        self._rules: dict[str, list[Answer]] = {}

    def on(self, word: str, *answers: Answer) -> None:
        """Adds a rule with answers to successive requests. The last one is repeated."""
        self._rules[word] = list(answers)

    def scripted(self, request: Json, number: int) -> Answer | None:
        """Returns the answer of the first matching rule."""
        text = asked(request)
        for word, answers in self._rules.items():
            if word in text:
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return Response([message(f"You said: {text[:200]}")])


def gives_titles(model: Model) -> None:
    """Adds a rule for the title that Codex requests with the first message: it must not take another answer."""
    model.on("Generate a concise, single-line task title", says("A title"))


def user_messages(request: Json) -> list[str]:
    """The texts of all user messages in a request."""
    texts = []
    for item in request["input"]:
        if item.get("role") == "user":
            texts.append("".join(part.get("text", "") for part in item["content"]))
    return texts


def has_context(model: Model, *messages: str) -> bool:
    """Whether the latest request with the last message also has the others."""
    request = next(each for each in reversed(model.requests) if asked(each) == messages[-1])
    return all(message in user_messages(request) for message in messages)
