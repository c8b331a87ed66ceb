"""A scripted model that answers by what it is asked, whoever asks first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "demo"))

from scripted_model import Answer, Json, Response, ScriptedModel, function_call, message, shell_call


def asked(request: Json) -> str:
    """The last message of a user in a request: of the person, or of the agent above."""
    for item in reversed(request.get("input", [])):
        if item.get("type", "message") == "message" and item.get("role") == "user":
            text = "".join(str(part.get("text", "")) for part in item.get("content", []))
            if not text.startswith("<"):
                return text
    return ""


def runs(command: str) -> Answer:
    """The model calls the shell."""
    return lambda request: Response([shell_call(request, command)])


def says(text: str) -> Response:
    """The model answers."""
    return Response([message(text)])


def spawns(task: str, then: str) -> Answer:
    """The model gives a task to a subagent, and answers without waiting for it."""

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
    """The name of each tool that a request offers, with the namespace that it is in."""
    for tool in tools:
        if isinstance(tool.get("tools"), list):
            yield from _offered(tool["tools"], tool["name"] if tool.get("type") == "namespace" else space)
        elif isinstance(tool.get("name"), str) and not str(tool.get("type", "")).endswith("call"):
            yield tool["name"], space


class Model(ScriptedModel):
    """Answers each request by the first rule whose word is in the last message, else with `You said: …`.

    A rule is an answer, or answers to be given one after the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rules: dict[str, list[Answer]] = {}

    def on(self, word: str, *answers: Answer) -> None:
        """Adds a rule. The last answer is given again and again."""
        self._rules[word] = list(answers)

    def scripted(self, request: Json, number: int) -> Answer | None:
        """The answer of the first rule that fits."""
        text = asked(request)
        for word, answers in self._rules.items():
            if word in text:
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return Response([message(f"You said: {text[:200]}")])


def user_messages(request: Json) -> list[str]:
    """The texts of all user messages in a request."""
    texts = []
    for item in request["input"]:
        if item.get("role") == "user":
            texts.append("".join(part.get("text", "") for part in item["content"]))
    return texts


def has_context(model: Model, *messages: str) -> bool:
    """Whether the latest request that asks the last of these messages has all of them in it."""
    request = next(each for each in reversed(model.requests) if asked(each) == messages[-1])
    return all(message in user_messages(request) for message in messages)
