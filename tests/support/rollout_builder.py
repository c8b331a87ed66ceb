"""Builds rollouts line by line, in the format of Codex."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

#: The time of the first line of every handmade rollout, in milliseconds since the epoch.
START_MS = 1_795_330_800_000

#: A PNG file of one black pixel in base64.
PNG_BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PNG_BYTES = 70
PNG_URL = f"data:image/png;base64,{PNG_BASE64}"


def iso(ms: int) -> str:
    """Returns the timestamp of a line written ``ms`` milliseconds after the start."""
    moment = datetime.fromtimestamp((START_MS + ms) / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{(START_MS + ms) % 1000:03}Z"


def uuid7(number: int) -> str:
    """Returns a version 7 UUID; they sort by ``number``."""
    return f"01a20218-{number:04x}-7000-8000-00000000beef"


def compact(value: Any) -> str:
    """Returns JSON as Codex writes it: without spaces, and with unescaped UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass
class Rollout:
    """A rollout under construction. Most methods append one line and return the rollout.

    A line is written one second after the previous one, or ``at`` milliseconds after the start.
    """

    lines: list[bytes] = field(default_factory=list)
    clock: int = -1000
    total: dict[str, int] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The content of the file, with a newline after every line."""
        return b"".join(line + b"\n" for line in self.lines)

    @property
    def size(self) -> int:
        """The size in bytes, which is the offset of the next line."""
        return len(self.data)

    @property
    def timestamp(self) -> str:
        """The timestamp of the last line."""
        return iso(self.clock)

    def raw(self, line: bytes | str) -> Self:
        """Appends a verbatim line."""
        self.lines.append(line.encode() if isinstance(line, str) else line)
        return self

    def line(self, kind: str, payload: Any, *, at: int | None = None, **envelope: Any) -> Self:
        """Appends any line. ``envelope`` sets other fields than ``type`` and ``payload``; ``None`` omits one."""
        self.clock = self.clock + 1000 if at is None else at
        fields = {"timestamp": self.timestamp, **envelope, "type": kind, "payload": payload}
        return self.raw(compact({name: value for name, value in fields.items() if value is not None}))

    def item(self, kind: str, *, at: int | None = None, ordinal: int | None = None, **payload: Any) -> Self:
        """Appends a ``response_item``."""
        return self.line("response_item", {"type": kind, **payload}, at=at, ordinal=ordinal)

    def event(self, kind: str, *, at: int | None = None, ordinal: int | None = None, **payload: Any) -> Self:
        """Appends an ``event_msg``."""
        return self.line("event_msg", {"type": kind, **payload}, at=at, ordinal=ordinal)

    def meta(self, thread_id: str = uuid7(1), *, ordinal: int | None = None, **payload: Any) -> Self:
        return self.line("session_meta", {"id": thread_id, "cli_version": "0.169.0", **payload}, ordinal=ordinal)

    def context(self, turn_id: str = uuid7(2), model: str = "gpt-5.5", **payload: Any) -> Self:
        """Appends a ``turn_context``."""
        ordinal = payload.pop("ordinal", None)
        return self.line("turn_context", {"turn_id": turn_id, "model": model, **payload}, ordinal=ordinal)

    def started(self, turn_id: str = uuid7(2), *, ordinal: int | None = None) -> Self:
        return self.event("task_started", turn_id=turn_id, ordinal=ordinal)

    def complete(self, turn_id: str = uuid7(2), **payload: Any) -> Self:
        return self.event("task_complete", turn_id=turn_id, **payload)

    def aborted(self, turn_id: str = uuid7(2), reason: str = "interrupted") -> Self:
        return self.event("turn_aborted", turn_id=turn_id, reason=reason)

    def user(self, *texts: str, at: int | None = None, ordinal: int | None = None) -> Self:
        content = [{"type": "input_text", "text": text} for text in texts]
        return self.item("message", role="user", content=content, at=at, ordinal=ordinal)

    def user_parts(self, *parts: dict[str, Any]) -> Self:
        return self.item("message", role="user", content=list(parts))

    def assistant(self, *texts: str, at: int | None = None, ordinal: int | None = None) -> Self:
        content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
        return self.item("message", role="assistant", content=content, at=at, ordinal=ordinal)

    def developer(self, text: str) -> Self:
        return self.item("message", role="developer", content=[{"type": "input_text", "text": text}])

    def reasoning(self, *summary: str, content: list[str] | None = None) -> Self:
        payload: dict[str, Any] = {"summary": [{"type": "summary_text", "text": text} for text in summary]}
        if content is not None:
            payload["content"] = [{"type": "reasoning_text", "text": text} for text in content]
        return self.item("reasoning", **payload, encrypted_content="b3BhcXVl")

    def call(
        self,
        call_id: str = "call_1",
        name: str = "exec_command",
        arguments: Any = '{"cmd":"true"}',
        *,
        at: int | None = None,
        ordinal: int | None = None,
    ) -> Self:
        """Appends a ``function_call``."""
        return self.item("function_call", name=name, arguments=arguments, call_id=call_id, at=at, ordinal=ordinal)

    def custom_call(
        self, call_id: str = "call_1", name: str = "exec", input: Any = "text(1)", *, at: int | None = None
    ) -> Self:
        return self.item("custom_tool_call", status="completed", call_id=call_id, name=name, input=input, at=at)

    def output(
        self, call_id: str = "call_1", output: Any = "ok", *, at: int | None = None, ordinal: int | None = None
    ) -> Self:
        """Appends a ``function_call_output``."""
        return self.item("function_call_output", call_id=call_id, output=output, at=at, ordinal=ordinal)

    def custom_output(self, call_id: str = "call_1", output: Any = "ok", *, at: int | None = None) -> Self:
        return self.item("custom_tool_call_output", call_id=call_id, output=output, at=at)

    def usage(self, input_tokens: int = 100, *, ordinal: int | None = None, **last: int) -> Self:
        """Appends a ``token_count`` of one inference, and adds it to the session's total."""
        last = {"input_tokens": input_tokens, "cached_input_tokens": 10, "output_tokens": 5} | last
        last.setdefault("total_tokens", last["input_tokens"] + last["output_tokens"])
        self.total = {name: self.total.get(name, 0) + last.get(name, 0) for name in self.total | last}
        return self.token_count(self.total, last, ordinal=ordinal)

    def token_count(
        self, total: dict[str, Any] | None, last: dict[str, Any] | None, *, ordinal: int | None = None
    ) -> Self:
        info = {"total_token_usage": total, "last_token_usage": last, "model_context_window": 258400}
        return self.event("token_count", info=info, rate_limits=None, ordinal=ordinal)

    def command(
        self,
        item_id: str = "exec-1",
        command: Any = ("/bin/bash", "-lc", "echo hi"),
        *,
        started: int | None = None,
        turn_id: str = uuid7(2),
        at: int | None = None,
        ordinal: int | None = None,
        **item: Any,
    ) -> Self:
        """Appends an ``item_completed`` of a CommandExecution. ``started`` is in milliseconds since the start."""
        when = self.clock if started is None else started
        item = {
            "type": "CommandExecution",
            "id": item_id,
            "command": command,
            "cwd": "file:///srv/lab/proj",
            "status": "completed",
            "aggregated_output": "hi\n",
            "exit_code": 0,
            "duration": {"secs": 0, "nanos": 12_345_678},
        } | item
        return self.event(
            "item_completed",
            thread_id=uuid7(1),
            turn_id=turn_id,
            item=item,
            started_at_ms=START_MS + when,
            completed_at_ms=START_MS + when + 12,
            at=at,
            ordinal=ordinal,
        )

    def tool_item(
        self, kind: str, item_id: str, *, started: int | None = None, at: int | None = None, **item: Any
    ) -> Self:
        """Appends an ``item_completed`` of a tool. ``started`` is in milliseconds since the start."""
        times = (
            {} if started is None else {"started_at_ms": START_MS + started, "completed_at_ms": START_MS + started + 7}
        )
        item = {"type": kind, "id": item_id, "status": "completed"} | item
        return self.event("item_completed", thread_id=uuid7(1), turn_id=uuid7(2), item=item, at=at, **times)


def turn() -> Rollout:
    """Returns a rollout in which a user's turn has begun."""
    return Rollout().meta().started().context().user("go")
