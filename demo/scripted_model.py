"""A fake OpenAI Responses API that answers from a script and records the requests.

    with ScriptedModel([Response([message("Hello.")])]) as model:
        ...  # start a Codex whose model provider has `base_url = model.base_url`; its model answers "Hello."

Uses only the standard library, and listens only on the loopback interface. Works with Codex 0.163.
"""

from __future__ import annotations

import json
import sys
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
    """The token counts that a response reports."""

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
    """A successful answer: items without ids, as the functions below return them."""

    items: Sequence[Json]
    usage: Usage = Usage()


@dataclass(frozen=True)
class Failure:
    """An answer with an HTTP error status."""

    status: int = HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True)
class Dropped:
    """An answer during which the connection breaks: incomplete items, and no end of the stream."""

    items: Sequence[Json] = ()


Answered = Response | Failure | Dropped
Answer = Answered | Callable[[Json], Answered]
"""An entry of a script: an answer, or a function that returns one for the request's body."""


def message(text: str, *, final: bool = True) -> Json:
    """Returns a message to the user: the final answer of the turn, or a comment before it."""
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer" if final else "commentary",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def reasoning(*summaries: str) -> Json:
    """Returns a reasoning item with summaries."""
    return {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": summary} for summary in summaries],
        "content": [],
        "encrypted_content": "c2NyaXB0ZWQ=",
    }


def function_call(name: str, arguments: Json) -> Json:
    """Returns a call of a tool that takes JSON."""
    return {"type": "function_call", "name": name, "arguments": json.dumps(arguments), "status": "completed"}


def custom_tool_call(name: str, text: str) -> Json:
    """Returns a call of a tool that takes plain text."""
    return {"type": "custom_tool_call", "name": name, "input": text, "status": "completed"}


def shell_call(request: Json, command: str) -> Json:
    """Returns a call that runs a command with the shell tool in the request, which depends on Codex and the model."""
    offered = {tool.get("name", tool.get("type")) for tool in request.get("tools", [])}
    if "exec_command" in offered:
        return function_call("exec_command", {"cmd": command})
    if "shell_command" in offered:
        return function_call("shell_command", {"command": command})
    if "exec" in offered:  # takes JavaScript, where the shell is a function
        arguments = json.dumps({"cmd": command})
        return custom_tool_call("exec", f"const done = await tools.exec_command({arguments});\ntext(done.output);\n")
    raise LookupError(f"the request offers no known shell tool, only {sorted(map(str, offered))}")


class ScriptedModel:
    """The server. Runs in its own threads between ``__enter__`` and ``__exit__``.

    The n-th request for a response gets the n-th answer of the script. Later requests get an error that Codex does not
    retry.
    """

    def __init__(self, script: Sequence[Answer] = ()) -> None:
        self.requests: list[Json] = []
        """The body of each request for a response, in order of arrival."""
        self.models: list[Json] = []
        """The models that the account offers; Codex uses its own list if there are none."""
        self.strays: list[str] = []
        """Method and path of all other requests."""
        self._script = script
        self._lock = threading.Lock()
        self._ids = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.model = self
        self._thread = threading.Thread(target=self._server.serve_forever, name="scripted model", daemon=True)

    @property
    def base_url(self) -> str:
        """The ``base_url`` of the model provider in Codex's configuration."""
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
        """Records a request and returns the script's answer with ids added to its items, or None if there is none."""
        with self._lock:
            self.requests.append(request)
            answer = self.scripted(request, len(self.requests))
        # A function may wait, so call it without the lock: other requests can arrive in the meantime.
        answered = answer(request) if callable(answer) else answer
        with self._lock:
            match answered:
                case Response(items, usage):
                    return Response([self._identified(item) for item in items], usage)
                case Dropped(items):
                    return Dropped([self._identified(item) for item in items])
        return answered

    def scripted(self, request: Json, number: int) -> Answer | None:
        """Returns the script's answer to the request with this number, counted from 1."""
        return self._script[number - 1] if number <= len(self._script) else None

    def stray(self, request: str) -> None:
        """Records a request for anything other than a response."""
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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints errors, unless Codex has closed the connection, as it does when a turn is interrupted."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.partition("?")[0] != "/v1/responses":
            self.server.model.stray(f"POST {self.path}")
            return self._reply(HTTPStatus.NOT_FOUND, _error("the only endpoint is /v1/responses"))
        try:
            response = self.server.model.answer(json.loads(body))
        except Exception as error:  # a mistake in the script; Codex shows it as the model's error
            return self._reply(HTTPStatus.BAD_REQUEST, _error(f"{type(error).__name__}: {error}"))
        if response is None:
            return self._reply(HTTPStatus.BAD_REQUEST, _error("the script has no answer to this request"))
        if isinstance(response, Failure):
            return self._reply(response.status, _error("scripted failure"))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        events = _events(response) if isinstance(response, Response) else _incomplete_events(response)
        for event in events:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        return None

    def do_GET(self) -> None:
        self.server.model.stray(f"GET {self.path}")
        if self.path.partition("?")[0] == "/v1/models":
            self._reply(HTTPStatus.OK, {"object": "list", "data": [], "models": self.server.model.models})
        else:
            self._reply(HTTPStatus.NOT_FOUND, _error("the only endpoint is /v1/responses"))

    def log_message(self, format: str, *arguments: object) -> None:
        """Prints nothing: `requests` and `strays` record everything."""

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
    """Yields the server-sent events of a streamed response in the API's order."""
    head = {"id": "resp_scripted", "object": "response", "status": "in_progress", "output": []}
    yield {"type": "response.created", "response": head}
    for index, item in enumerate(response.items):
        yield from _item_events(item, {"item_id": item["id"], "output_index": index})
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    done = {"status": "completed", "output": response.items, "usage": response.usage.as_json()}
    yield {"type": "response.completed", "response": {**head, **done}}


def _incomplete_events(dropped: Dropped) -> Iterator[Json]:
    """Yields the events before the connection breaks."""
    yield {"type": "response.created", "response": {"id": "resp_scripted", "object": "response", "output": []}}
    for index, item in enumerate(dropped.items):
        yield from _item_events(item, {"item_id": item["id"], "output_index": index})


def _item_events(item: Json, position: Json) -> Iterator[Json]:
    """Yields the events of one item, from its announcement to its last delta."""
    announced = {**item, "status": "in_progress"} if "status" in item else item
    if item["type"] == "message":
        yield _added({**announced, "content": []}, position)
        for number, part in enumerate(item["content"]):
            for delta in _pieces(part["text"]):
                yield {"type": "response.output_text.delta", **position, "content_index": number, "delta": delta}
    elif item["type"] == "reasoning":
        yield _added({**announced, "summary": []}, position)
        for number, part in enumerate(item["summary"]):
            part_position = {**position, "summary_index": number}
            yield {"type": "response.reasoning_summary_part.added", **part_position, "part": {**part, "text": ""}}
            for delta in _pieces(part["text"]):
                yield {"type": "response.reasoning_summary_text.delta", **part_position, "delta": delta}
            yield {"type": "response.reasoning_summary_text.done", **part_position, "text": part["text"]}
    else:
        yield _added(announced, position)


def _added(item: Json, position: Json) -> Json:
    return {"type": "response.output_item.added", "output_index": position["output_index"], "item": item}


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _DELTA_CHARACTERS):
        yield text[start : start + _DELTA_CHARACTERS]
