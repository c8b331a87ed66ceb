"""Generates a synthetic Codex rollout of a given size. The same arguments always produce the same bytes.

    python benches/generate.py --size 100MB --out FILE [--commands] [--seed N]

Lines have the shapes and the key order of Codex 0.169. Sizes are heavy-tailed: most lines take a few hundred bytes to
two kilobytes, some tool outputs reach Codex's limit of 66 KB, compacted lines are longer, and a few answers take a
megabyte. `--commands` adds the `CommandExecution` item of every shell command, as Codex writes by default.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import BinaryIO

from textpool import Texts, escape

VERSION = 1
"""Increase this whenever the output changes for the same arguments. Caches and results are keyed by it."""

DEFAULT_SEED = 20260105

_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30, "b": 1}
_START_MS = 1_767_600_000_000
_MEGABYTE = 1_000_000
_FLUSH_BYTES = 4 * _MEGABYTE
_FIRST_HUGE_ANSWER_AT = 30 * _MEGABYTE
_HUGE_ANSWER_EVERY = 70 * _MEGABYTE
_OUTPUT_LIMIT = 65_000
_YIELD_SHARE = 0.05
_LOST_CELL_EVERY = 50 * _MEGABYTE
_CONTEXT_WINDOW = 258_400
_COMPACT_AT_TOKENS = 235_000
_COMPACTED_TOKENS = 24_000
_PROJECT = b"/home/dev/work/project"

_PASSTHROUGH = b'"internal_chat_message_metadata_passthrough":{"turn_id":"%b"'
_ITEM = (
    b'"event_msg","payload":{"type":"item_completed","thread_id":"%b","turn_id":"%b","item":%b,'
    b'"started_at_ms":%d,"completed_at_ms":%d}}'
)
_USAGE = (
    b'{"input_tokens":%d,"cached_input_tokens":%d,"cache_write_input_tokens":0,"output_tokens":%d,'
    b'"reasoning_output_tokens":%d,"total_tokens":%d}'
)
_RATE_LIMITS = (
    b'{"limit_id":"codex","limit_name":null,"primary":{"used_percent":%d.0,"window_minutes":300,"resets_at":%d},'
    b'"secondary":{"used_percent":%d.0,"window_minutes":10080,"resets_at":%d},"credits":null,"individual_limit":null,'
    b'"spend_control_reached":null,"plan_type":"pro","rate_limit_reached_type":null}'
)
_PERMISSIONS = b'"approval_policy":"never","approvals_reviewer":"user",'
_COLLABORATION = (
    b'"collaboration_mode":{"mode":"default","settings":{"model":"gpt-5.5","reasoning_effort":"medium",'
    b'"developer_instructions":null}}'
)
_ENVIRONMENT = escape(
    "<environment_context>\n  <cwd>/home/dev/work/project</cwd>\n  <shell>bash</shell>\n"
    "  <current_date>2026-01-05</current_date>\n  <timezone>Etc/UTC</timezone>\n</environment_context>"
)
_SUMMARY_PREFIX = escape(
    "Another language model started to solve this problem and produced a summary of its thinking process. "
    "Build on the work that has already been done.\n\n"
)


def parse_size(text: str) -> int:
    """Parses a size in bytes, such as `100MB`, `1GB`, `64KiB` or plain digits."""
    lowered = text.strip().lower()
    for unit in sorted(_UNITS, key=len, reverse=True):
        if lowered.endswith(unit):
            return int(float(lowered[: -len(unit)]) * _UNITS[unit])
    return int(lowered)


class Usage:
    """Token counts of a response, a turn or a thread."""

    def __init__(self) -> None:
        """Starts with zero tokens."""
        self.input = self.cached = self.output = self.reasoning = 0

    def add(self, other: Usage) -> None:
        """Adds other counts."""
        self.input += other.input
        self.cached += other.cached
        self.output += other.output
        self.reasoning += other.reasoning

    def json(self) -> bytes:
        """Returns the counts as Codex writes them."""
        return _USAGE % (self.input, self.cached, self.output, self.reasoning, self.input + self.output)


@dataclass(frozen=True, slots=True)
class Command:
    """A shell command started by a call, and its output, both escaped."""

    item_id: bytes
    text: bytes
    printed: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that was written and awaits its output."""

    call_id: bytes
    output: bytes
    is_custom: bool = False
    command: Command | None = None
    change: bytes | None = None


@dataclass(frozen=True, slots=True)
class LiveCell:
    """A code mode program that yielded and whose output the next call collects."""

    number: int
    command: Command


class Rollout:
    """Writes one rollout line by line, with the same state between lines as Codex."""

    def __init__(self, out: BinaryIO, size: int, commands: bool, seed: int, printed: int | None = None) -> None:
        """Prepares writing about `size` bytes to `out`."""
        self._out = out
        self._size = size
        self._commands = commands
        self._printed_size = printed
        self._rng = Random(seed)
        self._texts = Texts(Random(seed + 1))
        self._lines: list[bytes] = []
        self._pending_bytes = 0
        self._written = 0
        self._ordinal = 0
        self._ms = _START_MS
        self._second = 0
        self._second_text = b""
        self._sequence = 0
        self._sampled = 0
        self._input_order = 0
        self._calls = 0
        self._cells = 0
        self._live_cell: LiveCell | None = None
        self._next_lost_cell = _LOST_CELL_EVERY
        self._context_tokens = 14_000
        self._context_bytes = 0
        self._window = 0
        self._next_huge_answer = _FIRST_HUGE_ANSWER_AT
        self._thread_usage = Usage()
        self._turn_usage = Usage()
        self._last_usage = Usage()
        self._thread = self._uuid()
        self._turn = self._uuid()

    def write(self) -> int:
        """Writes the complete rollout, and returns its size in bytes."""
        self._session_meta()
        is_first = True
        while self._written < self._size:
            self._run_turn(is_first)
            is_first = False
        self._flush()
        return self._written

    # Time, ids and lines

    def _wait(self, mean_ms: float) -> None:
        self._ms += 1 + int(self._rng.expovariate(1 / mean_ms))

    def _timestamp(self) -> bytes:
        second, milli = divmod(self._ms, 1000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%03dZ" % (self._second_text, milli)

    def _uuid(self) -> bytes:
        """Returns a version 7 UUID with the current simulated time."""
        bits = self._rng.getrandbits(74)
        head = b"%012x" % self._ms
        return b"%b-%b-7%03x-%04x-%012x" % (
            head[:8],
            head[8:],
            bits & 0xFFF,
            0x8000 | (bits >> 12 & 0x3FFF),
            bits >> 26,
        )

    def _id(self, prefix: bytes) -> bytes:
        """Returns an id in the format of the model's server."""
        return b"%b_0%049x" % (prefix, self._rng.getrandbits(196))

    def _create_time(self) -> bytes:
        return repr((self._ms + self._rng.random()) / 1000).encode()

    def _line(self, rest: bytes) -> None:
        """Writes one line. `rest` starts with the value of `type` and ends with the object's closing brace."""
        self._ms += 1
        line = b'{"timestamp":"%b","ordinal":%d,"type":%b\n' % (self._timestamp(), self._ordinal, rest)
        self._ordinal += 1
        self._lines.append(line)
        self._written += len(line)
        self._pending_bytes += len(line)
        if self._pending_bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._out.write(b"".join(self._lines))
        self._lines.clear()
        self._pending_bytes = 0

    def _item(self, item: bytes, took_ms: int = 0) -> None:
        started = self._ms + 1
        self._ms += took_ms
        self._line(_ITEM % (self._thread, self._turn, item, started, self._ms + 1))

    def _response_item(self, payload: bytes, metadata: bytes = b'"client_authored":false') -> None:
        """Writes a response item. `payload` lacks the outer braces, and the closing brace of the passthrough part."""
        self._sequence += 1
        self._line(
            b'"response_item","payload":{%b}},"metadata":{"history_sequence":%d,"sampled_through_sequence":%d,%b}}'
            % (payload, self._sequence, self._sampled, metadata)
        )

    def _passthrough(self) -> bytes:
        return _PASSTHROUGH % self._turn

    def _size_of_text(self, median: float, sigma: float, limit: int) -> int:
        return min(limit, int(median * self._rng.lognormvariate(0.0, sigma)))

    # Start of a session and of a turn

    def _session_meta(self) -> None:
        self._line(
            b'"session_meta","payload":{"account_scoped":true,"session_id":"%b","id":"%b","timestamp":"%b","cwd":"%b",'
            b'"runtime_workspace_roots":["%b"],"originator":"codex_cli_rs","cli_version":"0.169.0","source":"cli",'
            b'"thread_source":"user","model_provider":"openai","base_instructions":{"text":"%b",'
            b'"provenance":{"type":"model","model":"gpt-5.5"}},"history_mode":"paginated",'
            b'"context_window":{"window_id":"%b"},"git":{"commit_hash":"%040x","branch":"main"}}}'
            % (
                self._thread,
                self._thread,
                self._timestamp(),
                _PROJECT,
                _PROJECT,
                self._texts.prose(20_000),
                self._uuid(),
                self._rng.getrandbits(160),
            )
        )

    def _message(self, role: bytes, text: bytes, kind: bytes, provenance: bytes) -> None:
        """Writes a message that the harness or the user added to the history."""
        message_id = b"msg_" + self._uuid()
        metadata = b'"client_authored":false'
        if kind == b"user.text":
            metadata = self._retained(message_id, b"user") + b',"mcp_attribution":{"status":"none"}'
        self._response_item(
            b'"type":"message","id":"%b","role":"%b","content":[{"type":"input_text","text":"%b"}],%b,'
            b'"create_time":%b,"content_item_kinds":["%b"],"content_item_metadata":[{"provenance":%b}]'
            % (message_id, role, text, self._passthrough(), self._create_time(), kind, provenance),
            metadata,
        )

    def _retained(self, message_id: bytes, role: bytes) -> bytes:
        """Returns the metadata of a message that survives compaction."""
        order = self._input_order
        self._input_order += 1
        return (
            b'"retained_source":{"id":{"message_id":"%b","turn_id":"%b","role":"%b"},"revision":"retained_%b",'
            b'"complete":true},"client_authored":false,"user_input_order":%d'
            % (message_id, self._turn, role, self._uuid(), order)
        )

    def _world_state(self) -> None:
        self._line(
            b'"world_state","payload":{"full":true,"state":{"agents_md":{},"apps_instructions":false,'
            b'"collaboration_mode":{"mode":"default","model":"gpt-5.5","instructions":"%040x"},'
            b'"context_window_guidance":"","environments":{"environments":{"local":{"cwd":"%b","status":"available",'
            b'"shell":"bash"}},"current_date":"2026-01-05","timezone":"Etc/UTC"},"host_skills":{"body":"%b",'
            b'"includeInstructions":true},"managed_developer_instructions":{},"model":"gpt-5.5","multi_agent_mode":{},'
            b'"permissions":{"instructions":"%040x","approved_command_prefixes":[]},"realtime":{"active":false},'
            b'"tools":{"multi_agent_v1":"Tools for spawning and managing sub-agents."}}}}'
            % (self._rng.getrandbits(160), _PROJECT, self._texts.prose(4_500), self._rng.getrandbits(160))
        )

    def _turn_context(self) -> None:
        self._line(
            b'"turn_context","payload":{"turn_id":"%b","root_turn_id":"%b","disabled_plugin_ids":[],"cwd":"%b",%b'
            b'"permission_profile":{"type":"disabled"},"model":"gpt-5.5","comp_hash":"2911",%b,'
            b'"multi_agent_version":"v1","realtime_active":false,"effort":"medium","summary":"auto",'
            b'"sandbox_policy":{"type":"danger-full-access"}}}'
            % (self._turn, self._turn, _PROJECT, _PERMISSIONS, _COLLABORATION)
        )

    def _settings(self) -> None:
        self._line(
            b'"event_msg","payload":{"type":"thread_settings_applied","thread_id":"%b","thread_settings":{'
            b'"model":"gpt-5.5","model_provider_id":"openai","service_tier":"default",%b'
            b'"requested_approvals_reviewer":"user","permission_profile":{"type":"disabled"},"cwd":"%b",'
            b'"runtime_workspace_roots":["%b"],%b,"disabled_plugin_ids":[]}}}'
            % (self._thread, _PERMISSIONS, _PROJECT, _PROJECT, _COLLABORATION)
        )

    def _task_started(self) -> None:
        self._line(
            b'"event_msg","payload":{"type":"task_started","turn_attribution":{"turn_id":"%b","turn_trigger":"user",'
            b'"parent_turn_id":null,"initiating_agent_path":null,"root_turn_id":"%b"},"turn_id":"%b",'
            b'"root_turn_id":"%b","started_at":%d,"model_context_window":%d,"collaboration_mode_kind":"default"}}'
            % (self._turn, self._turn, self._turn, self._turn, self._ms // 1000, _CONTEXT_WINDOW)
        )

    # A turn

    def _run_turn(self, is_first: bool) -> None:
        rng = self._rng
        self._turn = self._uuid()
        self._turn_usage = Usage()
        started_ms = self._ms
        if not is_first:
            self._settings()
        self._task_started()
        if is_first:
            self._message(b"developer", self._texts.prose(5_000), b"host_skills.instructions", b'{"type":"skills"}')
            self._message(
                b"user", _ENVIRONMENT, b"environments.environment_context", b'{"type":"harness","hook":false}'
            )
            self._world_state()
        self._turn_context()
        if is_first:
            self._settings()
        self._wait(60)
        prompt = self._texts.prose(self._size_of_text(180, 1.2, 30_000))
        self._message(b"user", prompt, b"user.text", b'{"type":"user"}')
        self._item(
            b'{"type":"UserMessage","id":"%b","client_id":"%b","content":[{"type":"text","text":"%b",'
            b'"text_elements":[]}]}' % (self._uuid(), self._uuid(), prompt)
        )
        for _ in range(1 + int(rng.expovariate(1 / 14))):
            if self._written >= self._size:
                break
            self._run_response()
            if self._context_tokens > _COMPACT_AT_TOKENS:
                self._compact()
        if rng.random() < 0.03:
            self._abort(started_ms)
        else:
            self._answer(started_ms)
        self._wait(90_000)

    def _run_response(self) -> None:
        """Writes one response of the model with its tool calls, their outputs, and its usage."""
        rng = self._rng
        self._sampled = self._sequence
        before = self._written
        self._wait(2_500)
        if rng.random() < 0.65:
            self._reasoning()
            if rng.random() < 0.1:
                self._token_count()
        if rng.random() < 0.3:
            self._assistant_message(self._texts.prose(self._size_of_text(110, 0.9, 8_000)), b"commentary")
        if rng.random() < 0.02:
            self._web_search()
        calls = [self._call() for _ in range(rng.choices((1, 2, 3), (78, 16, 6))[0])]
        self._count_usage(before)
        self._wait(90)
        for call in calls:
            self._wait(15)
            self._run_call(call)
        self._token_count()

    def _reasoning(self) -> None:
        item_id = self._id(b"rs")
        summary = b"**%b**\\n\\n%b" % (
            self._rng.choice((b"Inspecting the reader", b"Planning the change", b"Checking test failures")),
            self._texts.prose(self._size_of_text(220, 0.8, 4_000)),
        )
        opaque = self._texts.opaque(self._size_of_text(750, 0.7, 12_000))
        self._item(b'{"type":"Reasoning","id":"%b","summary_text":["%b"],"raw_content":[]}' % (item_id, summary))
        self._response_item(
            b'"type":"reasoning","id":"%b","summary":[{"type":"summary_text","text":"%b"}],"encrypted_content":"%b",%b'
            % (item_id, summary, opaque, self._passthrough())
        )

    def _assistant_message(self, text: bytes, phase: bytes) -> None:
        message_id = self._id(b"msg")
        self._item(
            b'{"type":"AgentMessage","id":"%b","content":[{"type":"Text","text":"%b"}],"phase":"%b"}'
            % (message_id, text, phase)
        )
        self._response_item(
            b'"type":"message","status":"completed","id":"%b","role":"assistant","content":[{"type":"output_text",'
            b'"text":"%b","annotations":[]}],"phase":"%b",%b,"content_item_kinds":["unknown"]'
            % (message_id, text, phase, self._passthrough()),
            self._retained(message_id, b"assistant"),
        )

    def _web_search(self) -> None:
        item_id = self._id(b"ws")
        query = self._texts.path()
        action = b'{"type":"search","query":"%b","queries":["%b"]}' % (query, query)
        self._item(b'{"type":"WebSearch","id":"%b","query":"%b","action":%b}' % (item_id, query, action))
        self._response_item(
            b'"type":"web_search_call","id":"%b","status":"completed","action":%b,%b'
            % (item_id, action, self._passthrough())
        )

    def _call(self) -> Call:
        """Writes a tool call of any kind."""
        rng = self._rng
        self._calls += 1
        call_id = b"call_%016x%08x" % (rng.getrandbits(64), self._calls)
        if self._live_cell is not None:
            return self._wait_call(call_id, self._live_cell)
        kind = rng.random()
        if kind < 0.64:
            return self._exec_command(call_id)
        if kind < 0.84:
            return self._exec_program(call_id)
        if kind < 0.96:
            return self._apply_patch(call_id)
        plan = (
            b'{\\"explanation\\":\\"%b\\",\\"plan\\":[{\\"step\\":\\"Read the code\\",\\"status\\":\\"completed\\"},'
            b'{\\"step\\":\\"Change it\\",\\"status\\":\\"in_progress\\"}]}' % self._texts.path()
        )
        self._function_call(call_id, b"update_plan", plan)
        return Call(call_id, b'"Plan updated"')

    def _exec_command(self, call_id: bytes) -> Call:
        """Writes a call of the shell tool."""
        command, nested = self._rng.choice(self._texts.commands)
        arguments = b'{\\"cmd\\":\\"%b\\",\\"workdir\\":\\"%b\\",\\"yield_time_ms\\":10000}' % (nested, _PROJECT)
        self._function_call(call_id, b"exec_command", arguments)
        printed = self._printed()
        output = (
            b'"Chunk ID: %06x\\nWall time: %.4f seconds\\nProcess exited with code 0\\nOriginal token count: %d\\n'
            b'Output:\\n%b"' % (self._rng.getrandbits(24), self._rng.random() * 3, len(printed) // 4, printed)
        )
        return Call(call_id, output, command=Command(call_id, command, printed))

    def _exec_program(self, call_id: bytes) -> Call:
        """Writes a call of code mode's `exec`. Some programs yield, and very few of them are never collected."""
        command, nested = self._rng.choice(self._texts.commands)
        program = (
            b'const r = await tools.exec_command({\\"cmd\\": \\"%b\\", \\"yield_time_ms\\": 10000});\\n'
            b"text(r.output ?? JSON.stringify(r));\\n" % nested
        )
        self._custom_call(call_id, b"exec", program)
        started = Command(b"exec-" + self._uuid(), command, self._printed())
        if self._rng.random() >= _YIELD_SHARE:
            return Call(call_id, self._script_output(started.printed), is_custom=True, command=started)
        self._cells += 1
        if self._written >= self._next_lost_cell:
            self._next_lost_cell += _LOST_CELL_EVERY
        else:
            self._live_cell = LiveCell(self._cells, started)
        output = (
            b'[{"type":"input_text","text":"Script running with cell ID %d\\nWall time 10.0 seconds\\nOutput:\\n"}]'
        )
        return Call(call_id, output % self._cells, is_custom=True)

    def _wait_call(self, call_id: bytes, cell: LiveCell) -> Call:
        """Writes the call that collects the output of a program that had yielded."""
        self._live_cell = None
        self._function_call(call_id, b"wait", b'{\\"cell_id\\":\\"%d\\",\\"yield_time_ms\\":10000}' % cell.number)
        return Call(call_id, self._script_output(cell.command.printed), command=cell.command)

    def _apply_patch(self, call_id: bytes) -> Call:
        """Writes a call that changes a file."""
        path = self._texts.path()
        patch = self._texts.patch(self._size_of_text(700, 1.0, 40_000))
        text = b"*** Begin Patch\\n*** Update File: %b\\n@@\\n%b*** End Patch\\n" % (path, patch)
        self._custom_call(call_id, b"apply_patch", text)
        answer = b"Success. Updated the following files:\\nM %b\\n" % path
        change = (
            b'{"type":"FileChange","id":"%b","changes":{"%b/%b":{"type":"update","unified_diff":"@@ -1,9 +1,9 @@\\n%b",'
            b'"move_path":null}},"status":"completed","stdout":"%b","stderr":""}'
            % (call_id, _PROJECT, path, patch, answer)
        )
        output = b'"Exit code: 0\\nWall time: 0 seconds\\nOutput:\\n%b"' % answer
        return Call(call_id, output, is_custom=True, change=change)

    def _function_call(self, call_id: bytes, name: bytes, arguments: bytes) -> None:
        self._response_item(
            b'"type":"function_call","status":"completed","id":"%b","name":"%b","arguments":"%b","call_id":"%b",%b'
            % (self._id(b"fc"), name, arguments, call_id, self._passthrough()),
            b'"client_authored":false,"user_input_order":%d' % self._input_order,
        )
        self._input_order += 1

    def _custom_call(self, call_id: bytes, name: bytes, text: bytes) -> None:
        self._response_item(
            b'"type":"custom_tool_call","id":"%b","status":"completed","call_id":"%b","name":"%b","input":"%b",%b'
            % (self._id(b"ctc"), call_id, name, text, self._passthrough())
        )

    def _printed(self) -> bytes:
        """Returns the output of a shell command."""
        return self._texts.terminal(self._printed_size or self._size_of_text(620, 1.35, _OUTPUT_LIMIT))

    def _script_output(self, printed: bytes) -> bytes:
        """Returns the output of a code mode program that has ended, as a list of parts."""
        return (
            b'[{"type":"input_text","text":"Script completed\\nWall time %.1f seconds\\nOutput:\\n"},'
            b'{"type":"input_text","text":"%b"}]' % (self._rng.random() * 3, printed)
        )

    def _run_call(self, call: Call) -> None:
        """Writes the effects of a call, and its output."""
        if call.change is not None:
            self._item(call.change, took_ms=30)
        if self._commands and call.command is not None:
            self._command_execution(call.command)
        self._output(call, call.output)

    def _command_execution(self, command: Command) -> None:
        failed = self._rng.random() < 0.12
        took_ms = 1 + int(self._rng.expovariate(1 / 300))
        self._item(
            b'{"type":"CommandExecution","id":"%b","process_id":"%d","command":["/bin/bash","-lc","%b"],'
            b'"cwd":"file://%b","parsed_cmd":[{"type":"unknown","cmd":"%b"}],"source":"unified_exec_startup",'
            b'"status":"%b","aggregated_output":"%b","exit_code":%d,"duration":{"secs":%d,"nanos":%d}}'
            % (
                command.item_id,
                self._rng.randrange(10_000, 99_999),
                command.text,
                _PROJECT,
                command.text,
                b"failed" if failed else b"completed",
                command.printed,
                int(failed),
                took_ms // 1000,
                took_ms % 1000 * 1_000_000 + self._rng.randrange(1_000_000),
            ),
            took_ms,
        )

    def _output(self, call: Call, output: bytes) -> None:
        """Writes the output of a call. `output` is its JSON value."""
        kind, prefix = (b"custom_tool_call_output", b"ctco") if call.is_custom else (b"function_call_output", b"fco")
        self._response_item(
            b'"type":"%b","id":"%b_%b","call_id":"%b","output":%b,%b,"create_time":%b'
            % (kind, prefix, self._uuid(), call.call_id, output, self._passthrough(), self._create_time()),
            b'"client_authored":false,"fallback_token_limit_override":12000',
        )

    # Usage

    def _count_usage(self, before: int) -> None:
        """Writes the usage record of the response that started at byte `before`."""
        new_tokens = max(20, (self._written - before) // 12)
        usage = Usage()
        usage.input = self._context_tokens
        usage.cached = self._context_tokens * 9 // 10
        usage.output = new_tokens
        usage.reasoning = new_tokens // 3
        self._last_usage = usage
        self._turn_usage.add(usage)
        self._thread_usage.add(usage)
        self._context_tokens += (self._written - self._context_bytes) // 9
        self._context_bytes = self._written
        self._line(
            b'"token_usage_record","payload":{"thread_id":"%b","turn_id":"%b","session_id":"%b","root_turn_id":"%b",'
            b'"response_id":"%b","usage":%b,"turn_token_usage":%b,"thread_token_usage":%b}}'
            % (
                self._thread,
                self._turn,
                self._thread,
                self._turn,
                self._id(b"resp"),
                usage.json(),
                self._turn_usage.json(),
                self._thread_usage.json(),
            )
        )

    def _token_count(self) -> None:
        second = self._ms // 1000
        limits = _RATE_LIMITS % (second // 180 % 100, second + 9_000, second // 6_000 % 100, second + 400_000)
        self._line(
            b'"event_msg","payload":{"type":"token_count","info":{"total_token_usage":%b,"last_token_usage":%b,'
            b'"last_usage_includes_reasoning":false,"model_context_window":%d},"rate_limits":%b}}'
            % (self._thread_usage.json(), self._last_usage.json(), _CONTEXT_WINDOW, limits)
        )

    # End of a turn, and compaction

    def _answer(self, started_ms: int) -> None:
        self._sampled = self._sequence
        before = self._written
        size = self._size_of_text(900, 1.0, 60_000)
        if self._written >= self._next_huge_answer and self._size - self._written > 4 * _MEGABYTE:
            self._next_huge_answer += _HUGE_ANSWER_EVERY
            size = _MEGABYTE
        text = self._texts.prose(size)
        self._wait(4_000)
        self._assistant_message(text, b"final_answer")
        self._count_usage(before)
        self._token_count()
        self._line(
            b'"event_msg","payload":{"type":"task_complete","root_turn_id":"%b","turn_id":"%b",'
            b'"last_agent_message":"%b","started_at":%d,"completed_at":%d,"duration_ms":%d,'
            b'"time_to_first_token_ms":%d}}'
            % (
                self._turn,
                self._turn,
                text,
                started_ms // 1000,
                self._ms // 1000,
                self._ms - started_ms,
                self._rng.randrange(300, 4_000),
            )
        )

    def _abort(self, started_ms: int) -> None:
        """Ends the turn with an interrupt by the user, in the middle of a call."""
        call = self._call()
        self._wait(1_500)
        self._output(call, b'"Wall time: 1.6 seconds\\naborted by user"')
        self._message(
            b"user",
            b"<turn_aborted>\\nThe user interrupted the previous turn on purpose.\\n</turn_aborted>",
            b"generic.turn_aborted",
            b'{"type":"harness","hook":false}',
        )
        self._line(
            b'"event_msg","payload":{"type":"turn_aborted","root_turn_id":"%b","turn_id":"%b","reason":"interrupted",'
            b'"started_at":%d,"completed_at":%d,"duration_ms":%d}}'
            % (self._turn, self._turn, started_ms // 1000, self._ms // 1000, self._ms - started_ms)
        )

    def _compact(self) -> None:
        """Writes the line that replaces the history, and the lines that Codex writes after it."""
        self._context_tokens = _COMPACTED_TOKENS
        self._wait(9_000)
        summary = _SUMMARY_PREFIX + self._texts.prose(self._size_of_text(4_000, 0.5, 20_000))
        history = [self._replacement(b"developer", self._texts.prose(5_000), b"host_skills.instructions")]
        history.extend(
            self._replacement(b"user", self._texts.prose(self._size_of_text(500, 1.2, 30_000)), b"user.text")
            for _ in range(1 + int(self._rng.expovariate(1 / 25)))
        )
        history.append(self._replacement(b"user", summary, b"compaction.summary"))
        previous, window = self._uuid(), self._uuid()
        self._window += 1
        self._line(
            b'"compacted","payload":{"message":"%b","replacement_history":[%b],"retained_context":{'
            b'"verified_answers":[],"incomplete":false,"user_messages_incomplete":false,"next_order":%d},'
            b'"window_number":%d,"first_window_id":"%b","previous_window_id":"%b","window_id":"%b",'
            b'"compaction_response_id":"%b","resume_metadata":{"multi_agent_version":"v1",'
            b'"last_started_turn_id":"%b"}}}'
            % (
                summary,
                b",".join(history),
                self._input_order,
                self._window,
                previous,
                previous,
                window,
                self._id(b"resp"),
                self._turn,
            )
        )
        self._world_state()
        self._turn_context()
        self._settings()
        self._token_count()
        self._item(b'{"type":"ContextCompaction","id":"%b"}' % self._uuid())

    def _replacement(self, role: bytes, text: bytes, kind: bytes) -> bytes:
        """Returns one message of a replacement history."""
        return (
            b'{"type":"message","id":"msg_%b","role":"%b","content":[{"type":"input_text","text":"%b"}],%b,'
            b'"content_item_kinds":["%b"]}}' % (self._uuid(), role, text, self._passthrough(), kind)
        )


def generate(
    out: BinaryIO, size: int, commands: bool = False, seed: int = DEFAULT_SEED, printed: int | None = None
) -> int:
    """Writes a rollout of about `size` bytes to `out`, and returns its size.

    Every command prints about `printed` bytes. By default sizes vary as for real commands.
    """
    return Rollout(out, size, commands, seed, printed).write()


def cached(
    cache: Path, size: int, *, commands: bool = False, printed: int | None = None, before_creating: Callable[[], None]
) -> Path:
    """Returns a rollout in the folder `cache`. If it is missing, calls `before_creating` and creates it."""
    kind = ("-commands" if commands else "") + ("" if printed is None else f"-printed{printed}")
    path = cache / f"rollout-v{VERSION}-seed{DEFAULT_SEED}-{size}{kind}.jsonl"
    if not path.exists():
        before_creating()
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as out:
            generate(out, size, commands, printed=printed)
        unfinished.rename(path)
    return path


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, required=True, help="target size, such as 100MB, 1GB or plain bytes")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--commands", action="store_true", help="write CommandExecution items as well")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of everything random (%(default)s)")
    arguments = parser.parse_args()
    with arguments.out.open("wb") as out:
        written = generate(out, arguments.size, arguments.commands, arguments.seed)
    print(f"{written:,} bytes")


if __name__ == "__main__":
    main()
