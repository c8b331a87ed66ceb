"""A stand-in for the OpenAI Responses API that says what a script tells it to, and keeps what it was asked.

    with ScriptedModel([Response([message("Hello.")])]) as model:
        ...  # a codex whose model provider has `base_url = model.base_url` hears "Hello."

Standard library only; listens on loopback only. Seen to work with codex 0.163.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]

_ID_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "tool_search_call": "tsc",
}
_DELTA_CHARACTERS = 40


@dataclass(frozen=True)
class Usage:
    """What a response says that it cost, in tokens."""

    input: int = 1000
    cached_input: int = 0
    output: int = 100
    reasoning_output: int = 0

    def as_json(self) -> Json:
        return {
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached_input},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_output},
            "total_tokens": self.input + self.output,
        }


@dataclass(frozen=True)
class Response:
    """What the model answers to one request: items without ids, as the functions below make them."""

    items: Sequence[Json]
    usage: Usage = Usage()


@dataclass(frozen=True)
class Failure:
    """What the model answers where it fails."""

    status: int = HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True)
class Dropped:
    """What the model answers where the connection breaks in the middle of it."""

    items: Sequence[Json] = ()


Answered = Response | Failure | Dropped
Answer = Answered | Callable[[Json], Answered]
"""An entry of a script: an answer, or what makes one from the request's body."""


def message(text: str, *, final: bool = True) -> Json:
    """What the model says to the user, as its last word in the turn or on the way."""
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer" if final else "commentary",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def reasoning(*summaries: str) -> Json:
    """What the model shows of its thoughts."""
    return {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": summary} for summary in summaries],
        "content": [],
        "encrypted_content": "c2NyaXB0ZWQ=",
    }


def function_call(name: str, arguments: Json) -> Json:
    """A call of a tool that takes JSON."""
    return {"type": "function_call", "name": name, "arguments": json.dumps(arguments), "status": "completed"}


def custom_tool_call(name: str, text: str) -> Json:
    """A call of a tool that takes plain text."""
    return {"type": "custom_tool_call", "name": name, "input": text, "status": "completed"}


def shell_call(request: Json, command: str) -> Json:
    """A call that runs a command by the shell tool that the request offers: codex and the model decide which it is."""
    offered = {tool.get("name", tool.get("type")) for tool in request.get("tools", [])}
    if "exec_command" in offered:
        return function_call("exec_command", {"cmd": command})
    if "shell_command" in offered:
        return function_call("shell_command", {"command": command})
    if "exec" in offered:  # takes JavaScript, in which the shell is a function
        arguments = json.dumps({"cmd": command})
        return custom_tool_call("exec", f"const done = await tools.exec_command({arguments});\ntext(done.output);\n")
    raise LookupError(f"no shell tool among those that the request offers: {sorted(map(str, offered))}")


class ScriptedModel:
    """The server. Runs in threads of its own between ``__enter__`` and ``__exit__``.

    The n-th request for a response gets the n-th answer of the script. One that comes after the last gets an error that
    codex does not retry.
    """

    def __init__(self, script: Sequence[Answer] = ()) -> None:
        self.requests: list[Json] = []
        """The body of each request for a response, in the order in which they came."""
        self.strays: list[str] = []
        """Method and path of everything else that was asked for."""
        self._script = script
        self._lock = threading.Lock()
        self._ids = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.model = self
        self._thread = threading.Thread(target=self._server.serve_forever, name="scripted model", daemon=True)

    @property
    def base_url(self) -> str:
        """The ``base_url`` of the model provider in codex's configuration."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Json) -> Answered | None:
        """Takes a request down and gives the answer that the script has for it, its items with ids, or None."""
        with self._lock:
            self.requests.append(request)
            answer = self.scripted(request, len(self.requests))
        # An answer may take its time, and another request come meanwhile.
        answered = answer(request) if callable(answer) else answer
        with self._lock:
            match answered:
                case Response(items, usage):
                    return Response([self._identified(item) for item in items], usage)
                case Dropped(items):
                    return Dropped([self._identified(item) for item in items])
        return answered

    def scripted(self, request: Json, number: int) -> Answer | None:
        """The script's answer to the request of this number, from 1."""
        return self._script[number - 1] if number <= len(self._script) else None

    def stray(self, request: str) -> None:
        """Takes down a request for anything but a response."""
        with self._lock:
            self.strays.append(request)

    def _identified(self, item: Json) -> Json:
        self._ids += 1
        ids = {"id": f"{_ID_PREFIXES[item['type']]}_{self._ids:04}"}
        if item["type"].endswith("_call"):
            ids["call_id"] = f"call_{self._ids:04}"
        return {**item, **ids}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    model: ScriptedModel


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.partition("?")[0] != "/v1/responses":
            self.server.model.stray(f"POST {self.path}")
            return self._reply(HTTPStatus.NOT_FOUND, _error("only /v1/responses is here"))
        try:
            response = self.server.model.answer(json.loads(body))
        except Exception as error:  # a mistake in the script, shown by codex as the model's error
            return self._reply(HTTPStatus.BAD_REQUEST, _error(f"{type(error).__name__}: {error}"))
        if response is None:
            return self._reply(HTTPStatus.BAD_REQUEST, _error("the script has no answer to this request"))
        if isinstance(response, Failure):
            return self._reply(response.status, _error("it fails, as it is told to"))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        events = _events(response) if isinstance(response, Response) else _broken_off(response)
        for event in events:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        return None

    def do_GET(self) -> None:
        self.server.model.stray(f"GET {self.path}")
        if self.path.partition("?")[0] == "/v1/models":
            self._reply(HTTPStatus.OK, {"object": "list", "data": [], "models": []})
        else:
            self._reply(HTTPStatus.NOT_FOUND, _error("only /v1/responses is here"))

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing: what was asked is in `requests` and `strays`."""

    def _reply(self, status: int, content: Json) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _error(text: str) -> Json:
    return {"error": {"message": f"scripted model: {text}", "type": "invalid_request_error"}}


def _events(response: Response) -> Iterator[Json]:
    """The server-sent events of a streamed response, in the API's order."""
    head = {"id": "resp_scripted", "object": "response", "status": "in_progress", "output": []}
    yield {"type": "response.created", "response": head}
    for index, item in enumerate(response.items):
        yield from _item_events(item, {"item_id": item["id"], "output_index": index})
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    done = {"status": "completed", "output": response.items, "usage": response.usage.as_json()}
    yield {"type": "response.completed", "response": {**head, **done}}


def _broken_off(dropped: Dropped) -> Iterator[Json]:
    """The events before the connection breaks."""
    yield {"type": "response.created", "response": {"id": "resp_scripted", "object": "response", "output": []}}
    for index, item in enumerate(dropped.items):
        yield from _item_events(item, {"item_id": item["id"], "output_index": index})


def _item_events(item: Json, place: Json) -> Iterator[Json]:
    """An item from its announcement to its last piece."""
    announced = {**item, "status": "in_progress"} if "status" in item else item
    if item["type"] == "message":
        yield _added({**announced, "content": []}, place)
        for number, part in enumerate(item["content"]):
            for delta in _pieces(part["text"]):
                yield {"type": "response.output_text.delta", **place, "content_index": number, "delta": delta}
    elif item["type"] == "reasoning":
        yield _added({**announced, "summary": []}, place)
        for number, part in enumerate(item["summary"]):
            where = {**place, "summary_index": number}
            yield {"type": "response.reasoning_summary_part.added", **where, "part": {**part, "text": ""}}
            for delta in _pieces(part["text"]):
                yield {"type": "response.reasoning_summary_text.delta", **where, "delta": delta}
            yield {"type": "response.reasoning_summary_text.done", **where, "text": part["text"]}
    else:
        yield _added(announced, place)


def _added(item: Json, place: Json) -> Json:
    return {"type": "response.output_item.added", "output_index": place["output_index"], "item": item}


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _DELTA_CHARACTERS):
        yield text[start : start + _DELTA_CHARACTERS]
