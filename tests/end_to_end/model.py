"""A scripted model that answers by what it is asked, whoever asks first."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "demo"))

from scripted_model import Answer, Json, Response, ScriptedModel, message  # noqa: E402


def asked(request: Json) -> str:
    """The last message of a user in a request: of the person, or of the agent above."""
    for item in reversed(request.get("input", [])):
        if item.get("type", "message") == "message" and item.get("role") == "user":
            text = "".join(str(part.get("text", "")) for part in item.get("content", []))
            if not text.startswith("<"):
                return text
    return ""


def is_told_result(request: Json) -> bool:
    """Whether the request brings the result of a call, and nothing after it."""
    items = request.get("input", [])
    return bool(items) and str(items[-1].get("type", "")).endswith("_output")


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
