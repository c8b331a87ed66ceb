"""The named differences between our stream and the published converter's.

`published_view` removes the records that only we write. `reconcile` removes the differences within a pair of records.
Both add the names of the differences they find to `used`, so that a test can check that each one occurs.
"""

import copy
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.program import Record
from tests.support.recordings import parse

#: Calls that the published converter knows. It skips all others.
_PUBLISHED_CALLS = ("function_call", "custom_tool_call")

#: The outputs of these calls. The published converter skips all other outputs.
_PUBLISHED_OUTPUTS = tuple(f"{call}_output" for call in _PUBLISHED_CALLS)

#: Lines that end a turn.
_TURN_ENDS = ("task_complete", "turn_aborted", "task_started", "session_meta")

_IMAGE_PART = re.compile(r'\{"type":"input_image"[^{}]*\}')

#: A placeholder for bytes in an output, with the blank lines around it.
_PLACEHOLDER = re.compile(r"(?:\n\n)?\[[^\[\]\n]* bytes?\](?:\n\n)?")

#: The parts of messages that the published converter reads, by role.
_PUBLISHED_PARTS = {"user": "input_text", "assistant": "output_text"}


@dataclass
class Rollout:
    """The properties of the input that the rules need."""

    kinds: list[str]
    """The kind of each line: its `type`, or `payload.type` of an event or a response item."""
    timestamps: list[str]
    other_call_ids: set[str]
    """Ids of the calls and outputs that the published converter does not know."""
    usages: list[tuple[int, int] | None]
    """Input and output tokens of each line, if it is a token count."""
    usage_records: set[tuple[int, int]]
    """Input and output tokens of the records of responses."""
    texts: list[list[str] | None]
    """The texts that the published converter reads of each line, if it is a message."""
    user_commands: set[str]
    """The timestamps of the commands that the user ran."""
    has_copy: bool = False
    """Whether it can begin with copied history."""
    used: set[str] = field(default_factory=set)
    """The names of the differences that were found."""

    def line_of(self, record: Record) -> int:
        """Returns the index of the first line with a record's timestamp."""
        return self.timestamps.index(record["timestamp"])

    def texts_of(self, record: Record) -> list[str] | None:
        """Returns the texts of the message that became a step, as the published converter reads them."""
        if record["type"] != "step" or "tool_calls" in record or "reasoning_content" in record:
            return None
        lines = zip(self.timestamps, self.texts, strict=True)
        messages = [texts for timestamp, texts in lines if timestamp == record["timestamp"] and texts is not None]
        found = [texts for texts in messages if any(text in record["message"] for text in texts)]
        return next(iter(found or messages), None)


def read_rollout(lines: Iterable[bytes]) -> Rollout:
    rollout = Rollout([], [], set(), [], set(), [], set())
    for line in map(parse, lines):
        payload = line["payload"] if isinstance(line["payload"], dict) else {}
        kind = payload.get("type", "") if line["type"] in ("event_msg", "response_item") else line["type"]
        rollout.kinds.append(kind)
        rollout.timestamps.append(line["timestamp"])
        last = (payload.get("info") or {}).get("last_token_usage") if kind == "token_count" else None
        rollout.usages.append((last["input_tokens"], last["output_tokens"]) if last else None)
        rollout.has_copy |= "forked_from_id" in payload
        if kind == "token_usage_record":
            rollout.usage_records.add((payload["usage"]["input_tokens"], payload["usage"]["output_tokens"]))
        role, content = payload.get("role"), payload.get("content")
        part_type = _PUBLISHED_PARTS.get(str(role))
        is_message = kind == "message" and part_type is not None
        parts = [part for part in content if isinstance(part, dict)] if is_message and isinstance(content, list) else []
        read = [part["text"] for part in parts if part.get("type") == part_type and part.get("text")]
        rollout.texts.append(read if is_message else None)
        if kind == "item_completed" and (payload.get("item") or {}).get("source") == "user_shell":
            rollout.user_commands.add(line["timestamp"])
        if kind.endswith(("_call", "_output")) and kind not in (*_PUBLISHED_CALLS, *_PUBLISHED_OUTPUTS):
            rollout.other_call_ids.add(str(payload.get("call_id") or payload.get("id")))
    return rollout


@dataclass
class View:
    """Our stream without the records that only we write."""

    records: list[Record]
    moved_metrics: dict[int, list[Record]]
    """Metrics of removed calls, by the position of the agent step before each call."""


def published_view(records: list[Record], rollout: Rollout) -> View:
    view = View([], {})
    answered: set[str] = set()
    last_agent_step: int | None = None
    for record in records:
        difference = next((name for name, is_ours in _ONLY_OURS.items() if is_ours(record, rollout, answered)), None)
        if record["type"] == "observation":
            answered.update(result["source_call_id"] for result in record["results"] if "is_error" in result["extra"])
        if difference is not None:
            rollout.used.add(difference)
            if "metrics" in record and "llm_call_count" not in record and last_agent_step is not None:
                view.moved_metrics.setdefault(last_agent_step, []).append(record["metrics"])
            continue
        if record["type"] == "step":
            last_agent_step = len(view.records) if record["source"] == "agent" else None
        view.records.append(copy.deepcopy(record))
    if len(view.records) == 1 < len(records):
        rollout.used.add(HEADER_OF_OURS)
        view.records.clear()
    return view


def _is_session_step(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    extra = record.get("extra", {})
    is_command = extra.get("codex", {}).get("type") == "user_shell_command"
    return record.get("source") == "system" and list(extra) == ["codex"] and not is_command


def _is_cost(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return "llm_call_count" in record


def _is_agent_message(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    is_ours = "author" in record.get("extra", {}) and rollout.texts_of(record) is None
    return record.get("source") == "system" and is_ours


def _is_unowned_command(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return record.get("source") == "system" and "command_execution" in record.get("extra", {})


def _is_other_call(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    calls = record.get("tool_calls", [])
    return any(
        call["tool_call_id"] in rollout.other_call_ids or call["tool_call_id"] == record["event_id"] for call in calls
    )


def _is_other_output(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return any(result["source_call_id"] in rollout.other_call_ids for result in record.get("results", []))


def _is_nested_call(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    extras = [record.get("extra", {}), *(result["extra"] for result in record.get("results", []))]
    return any(extra.get("tool_name") in ("mcp_tool_call", "file_change") for extra in extras)


def _is_unanswered_command(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return any(
        "command_execution" in result["extra"] and result["source_call_id"] not in answered
        for result in record.get("results", [])
    )


def _is_message_of_other_parts(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return rollout.texts_of(record) == []


def _is_second_writer(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    """Whether a step has only later parts of its message: another writer's step has the first one."""
    texts = rollout.texts_of(record)
    is_agents = record.get("source") == "agent" or "author" in record.get("extra", {})
    if texts is None or is_agents or len(texts) < 2 or texts[0] in record["message"]:
        return False
    return any(text in record["message"] for text in texts[1:])


#: Records that only we write: the name of the difference, and whether a record is one.
_ONLY_OURS: dict[str, Callable[[Record, Rollout, set[str]], bool]] = {
    "a step about the session (compaction, end of a turn, new file, unknown kind)": _is_session_step,
    "token counts that no step awaits": _is_cost,
    "a message between agents": _is_agent_message,
    "a command without an owning call": _is_unowned_command,
    "another call than a function's": _is_other_call,
    "the output of another call than a function's": _is_other_output,
    "a command of a call without an output": _is_unanswered_command,
    "a call that a program made itself": _is_nested_call,
    "a message without text of the common type": _is_message_of_other_parts,
    "the second step of a message of two writers": _is_second_writer,
}


def reconcile(position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]) -> None:
    """Removes the named differences from a pair of records. `earlier` has the published ids before it."""
    for name, equalize in _IN_A_RECORD.items():
        before = copy.deepcopy((ours, theirs))
        equalize(position, ours, theirs, view, rollout, earlier)
        if before != (ours, theirs):
            rollout.used.add(name)


def _copied_history(position: int, ours: Record, theirs: Record, *_: Any) -> None:
    for holder in [ours, *(result["extra"] for result in ours.get("results", []))]:
        if holder.pop("is_copied_context", False) and "metrics" not in ours:
            theirs.pop("metrics", None)


def _metrics_in_another_call(position: int, ours: Record, theirs: Record, view: View, *_: Any) -> None:
    moved = view.moved_metrics.get(position, [])
    if "metrics" not in ours and theirs.get("metrics") in moved:
        moved.remove(theirs.pop("metrics"))


def _released_before_its_count(
    position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]
) -> None:
    """A step that was released at the end of its turn, or before any line about usage, never gets metrics."""
    if "metrics" in ours or "metrics" not in theirs:
        return
    start = rollout.line_of(theirs)
    count = rollout.usages.index(_usage(theirs), start)
    unreported = not {"turn_context", "token_count"} & set(rollout.kinds[:count])
    if unreported or any(kind in _TURN_ENDS for kind in rollout.kinds[start:count]):
        del theirs["metrics"]


def _measured_by_a_record(
    position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]
) -> None:
    """The record of a response measures the step before it, even if no token count follows or steps stand between."""
    measured = [record for record in (ours, theirs) if "metrics" in record]
    if ours.get("metrics") != theirs.get("metrics") and any(_usage(r) in rollout.usage_records for r in measured):
        for record in measured:
            del record["metrics"]


def _measured_after_a_count_without_info(
    position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]
) -> None:
    """A token count without info does not end an inference."""
    if "metrics" in ours and "metrics" not in theirs and _usage(ours) in rollout.usages:
        start = rollout.line_of(ours)
        between = range(start, rollout.usages.index(_usage(ours), start))
        if any(rollout.kinds[line] == "token_count" and rollout.usages[line] is None for line in between):
            del ours["metrics"]


def _usage(record: Record) -> tuple[int, int]:
    return record["metrics"]["prompt_tokens"], record["metrics"]["completion_tokens"]


def _images(position: int, ours: Record, theirs: Record, *_: Any) -> None:
    if "images" in ours.get("extra", {}):
        del ours["extra"]
    for own, published in zip(ours.get("results", []), theirs.get("results", []), strict=False):
        if own["extra"].pop("images", None):
            published["content"] = _IMAGE_PART.sub("", published["content"])


def _texts_of_codex(position: int, ours: Record, theirs: Record, *_: Any) -> None:
    """The text of Codex is a system step; unclosed, or by the metadata, it may be the user's."""
    if {ours.get("source"), theirs.get("source")} == {"user", "system"}:
        ours["event_id"] = ours["event_id"].replace(f"-{ours['source']}", f"-{theirs['source']}")
        ours["source"] = theirs["source"]
    if ours.get("extra", {}).get("codex", {}).get("type") == "user_shell_command":
        del ours["extra"]


def _json_between_agents(position: int, ours: Record, theirs: Record, *_: Any) -> None:
    if theirs.get("source") == "agent" and "author" in ours.get("extra", {}):
        sent = json.loads(theirs["message"])
        assert ours["extra"] == {"author": sent["author"], "recipient": sent["recipient"]}
        ours["event_id"] = ours["event_id"].replace("-system", "-assistant")
        ours["message"] = theirs["message"]
        for name in ("extra", "source"):
            del ours[name]
        for name in ("source", "model_name", "reasoning_effort", "metrics"):
            theirs.pop(name, None)


def _separate_parts(
    position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]
) -> None:
    texts = rollout.texts_of(theirs)
    if not texts or "".join(texts) != theirs["message"] or ours["message"] == theirs["message"]:
        return
    shown = [text for text in texts if text in ours["message"]]
    if shown and "\n\n".join(shown) in ours["message"]:
        # Another writer's step has the remaining texts, and the id hashes only its own.
        if len(shown) < len(texts):
            ours["event_id"] = theirs["event_id"]
        ours["message"] = theirs["message"]


def _bytes_in_outputs(position: int, ours: Record, theirs: Record, *_: Any) -> None:
    for own, published in zip(ours.get("results", []), theirs.get("results", []), strict=False):
        pattern = ".*".join(re.escape(text) for text in _PLACEHOLDER.split(own["content"]))
        if own["content"] != published["content"] and re.fullmatch(pattern, published["content"], re.DOTALL):
            own["content"] = published["content"]


def _repeated_id(position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]) -> None:
    if theirs["event_id"] in earlier and ours["event_id"] not in earlier:
        theirs["event_id"] = ours["event_id"]


#: Differences within a record: the name, and a function that removes the difference.
_IN_A_RECORD: dict[str, Callable[..., None]] = {
    "copied history is marked and not measured": _copied_history,
    "metrics are in another call than a function's": _metrics_in_another_call,
    "released steps have no metrics": _released_before_its_count,
    "a response's record measures a step": _measured_by_a_record,
    "a count without info does not end an inference": _measured_after_a_count_without_info,
    "images are described": _images,
    "audio and files in outputs are described": _bytes_in_outputs,
    "texts of Codex are system steps": _texts_of_codex,
    "JSON between agents is a system step": _json_between_agents,
    "parts of a message are shown apart, those of other types too": _separate_parts,
    "repeated ids are made unique": _repeated_id,
}

#: The reason why a stream may be longer or shorter than the published one.
HOLDS_DIFFERENTLY = "steps are held until the end of the turn, and after another call than a function's"

#: A call without an output at the end of complete input, which the published converter holds back.
HOLDS_NOTHING = "complete input holds nothing back"

#: The record of a response releases a step before its token count; a count without info releases none.
RELEASES_BY_RECORD = "a response's record releases a step before its count"
KEEPS_WITHOUT_INFO = "a count without info releases no step"

#: Steps of copied history get no token counts, so they need not wait for them.
HOLDS_NO_COPY = "copied history is not held back"

#: JSON between agents is a system step, which needs no token counts.
HOLDS_NO_AGENT_MESSAGE = "JSON between agents is not held back"

#: We write the header before the first record of any kind.
HEADER_OF_OURS = "a header before records that only we write"

#: Only the published converter attributes a command of the user to a call.
COMMAND_OF_THE_USER = "a command of the user belongs to no call"

ALL = frozenset(
    {
        *_ONLY_OURS,
        *_IN_A_RECORD,
        HOLDS_DIFFERENTLY,
        HOLDS_NOTHING,
        RELEASES_BY_RECORD,
        KEEPS_WITHOUT_INFO,
        HOLDS_NO_COPY,
        HOLDS_NO_AGENT_MESSAGE,
        HEADER_OF_OURS,
        COMMAND_OF_THE_USER,
    }
)


def difference(
    ours: list[Record], published: list[Record], unheld: list[Record], rollout: Rollout, *, complete: bool
) -> str | None:
    """Returns a description of the first difference without a name, or `None`.

    `published` is the published stream, and `unheld` the same stream without held steps. `complete` is whether the
    input was converted as complete.
    """
    view = published_view(ours, rollout)
    published, unheld = (_without_user_commands(stream, rollout) for stream in (published, unheld))
    earlier: set[str] = set()
    for position, own in enumerate(view.records):
        if position == len(unheld):
            return f"record {position} is one too many: {own}"
        theirs = copy.deepcopy(unheld[position])
        event_id = theirs["event_id"]
        reconcile(position, own, theirs, view, rollout, earlier)
        earlier.add(event_id)
        if own != theirs:
            return f"record {position} differs:\n  ours      {own}\n  published {theirs}"
    return _held_differently(len(view.records), published, unheld, rollout, complete=complete)


def _without_user_commands(stream: list[Record], rollout: Rollout) -> list[Record]:
    def is_users(record: Record) -> bool:
        is_command = any("command_execution" in result["extra"] for result in record.get("results", []))
        return is_command and record["timestamp"] in rollout.user_commands

    kept = [record for record in stream if not is_users(record)]
    if len(kept) < len(stream):
        rollout.used.add(COMMAND_OF_THE_USER)
    return kept


def _held_differently(
    length: int, published: list[Record], unheld: list[Record], rollout: Rollout, *, complete: bool
) -> str | None:
    if length == len(published):
        return None
    first = unheld[min(length, len(published))]
    start = rollout.line_of(first) if first["type"] != "header" else 0
    later = rollout.kinds[start:]
    without_info = ("token_count", None) in zip(later, rollout.usages[start:], strict=True)
    others = [kind for kind in later if kind.endswith("_call") and kind not in _PUBLISHED_CALLS]
    turn_over = [kind for kind in later if kind in _TURN_ENDS]
    is_longer = length > len(published)
    names = {
        HOLDS_NO_AGENT_MESSAGE: is_longer and first.get("message", "").startswith('{"author":"/'),
        HOLDS_NO_COPY: is_longer and rollout.has_copy,
        HOLDS_DIFFERENTLY: others or (turn_over and is_longer),
        HOLDS_NOTHING: complete and length == len(unheld),
        RELEASES_BY_RECORD: is_longer and "token_usage_record" in later,
        KEEPS_WITHOUT_INFO: not is_longer and without_info,
    }
    name = next((name for name, applies in names.items() if applies), None)
    if name is None:
        return f"{length} records, the published stream has {len(published)}; the first that only one has: {first}"
    rollout.used.add(name)
    return None
