"""What may differ between our stream and the published converter's, by name, and nothing else.

`published_view` takes from our stream what only we write. `reconcile` evens out, for one pair of records, what we write
differently. Both note in `used` which difference they met, so that a test can tell that every one of them is needed.
"""

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.program import Record
from tests.support.recordings import parse

#: Calls that the published converter knows; it leaves out all others.
_PUBLISHED_CALLS = ("function_call", "custom_tool_call")

#: What answers them; the published converter leaves out all other outputs, whether their call stands there or not.
_PUBLISHED_OUTPUTS = tuple(f"{call}_output" for call in _PUBLISHED_CALLS)

#: Lines after which a turn is over.
_TURN_ENDS = ("task_complete", "turn_aborted", "task_started", "session_meta")

_IMAGE_PART = re.compile(r'\{"type":"input_image"[^{}]*\}')


@dataclass
class Rollout:
    """What the rules must know of the input."""

    kinds: list[str]
    """`type`, or `payload.type` of an event or a response item, of each line."""
    timestamps: list[str]
    further_call_ids: set[str]
    """Ids of calls that the published converter does not know, told by the calls and by their outputs."""
    usages: list[tuple[int, int] | None]
    """Input and output tokens of each line that is a token count."""
    used: set[str] = field(default_factory=set)
    """The differences that were met."""

    def line_of(self, record: Record) -> int:
        """The first line that has a record's timestamp."""
        return self.timestamps.index(record["timestamp"])


def read_rollout(lines: Iterable[bytes]) -> Rollout:
    rollout = Rollout([], [], set(), [])
    for line in map(parse, lines):
        payload = line["payload"] if isinstance(line["payload"], dict) else {}
        kind = payload.get("type", "") if line["type"] in ("event_msg", "response_item") else line["type"]
        rollout.kinds.append(kind)
        rollout.timestamps.append(line["timestamp"])
        last = (payload.get("info") or {}).get("last_token_usage") if kind == "token_count" else None
        rollout.usages.append((last["input_tokens"], last["output_tokens"]) if last else None)
        if kind.endswith(("_call", "_output")) and kind not in (*_PUBLISHED_CALLS, *_PUBLISHED_OUTPUTS):
            rollout.further_call_ids.add(str(payload.get("call_id") or payload.get("id")))
    return rollout


@dataclass
class View:
    """Our stream as the published converter would have written it."""

    records: list[Record]
    moved_metrics: dict[int, list[Record]]
    """Metrics of calls that were taken out, by the position of the agent step before each one."""


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
            if "metrics" in record and last_agent_step is not None:
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
    return record.get("source") == "system" and list(record.get("extra", {})) == ["codex"]


def _is_agent_message(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return record.get("source") == "system" and "author" in record.get("extra", {})


def _is_unowned_command(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return record.get("source") == "system" and "command_execution" in record.get("extra", {})


def _is_further_call(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    calls = record.get("tool_calls", [])
    return any(
        call["tool_call_id"] in rollout.further_call_ids or call["tool_call_id"] == record["event_id"] for call in calls
    )


def _is_further_output(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return any(result["source_call_id"] in rollout.further_call_ids for result in record.get("results", []))


def _is_unanswered_command(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return any(
        "command_execution" in result["extra"] and result["source_call_id"] not in answered
        for result in record.get("results", [])
    )


def _is_message_of_images(record: Record, rollout: Rollout, answered: set[str]) -> bool:
    return record.get("source") == "user" and record["message"] == ""


#: Records that only we write: name and how to tell one.
_ONLY_OURS: dict[str, Callable[[Record, Rollout, set[str]], bool]] = {
    "a step about the session (compaction, end of a turn, new file, unknown kind)": _is_session_step,
    "a message between agents": _is_agent_message,
    "a command that no call owns": _is_unowned_command,
    "a call beyond functions": _is_further_call,
    "the output of a call beyond functions": _is_further_output,
    "a command of a call that never answered": _is_unanswered_command,
    "a user message of images only": _is_message_of_images,
}


def reconcile(position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]) -> None:
    """Takes the known differences out of a pair of records, in place; `earlier` holds the published ids before them."""
    for name, even_out in _IN_A_RECORD.items():
        before = copy.deepcopy((ours, theirs))
        even_out(position, ours, theirs, view, rollout, earlier)
        if before != (ours, theirs):
            rollout.used.add(name)


def _copied_history(position: int, ours: Record, theirs: Record, *_: Any) -> None:
    for place in [ours, *(result["extra"] for result in ours.get("results", []))]:
        if place.pop("is_copied_context", False) and "metrics" not in ours:
            theirs.pop("metrics", None)


def _metrics_on_a_further_call(position: int, ours: Record, theirs: Record, view: View, *_: Any) -> None:
    moved = view.moved_metrics.get(position, [])
    if "metrics" not in ours and theirs.get("metrics") in moved:
        moved.remove(theirs.pop("metrics"))


def _let_go_before_its_count(
    position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]
) -> None:
    """A step that was let go when its turn ended, or while nothing had told of usage, is never measured later."""
    if "metrics" in ours or "metrics" not in theirs:
        return
    usage = (theirs["metrics"]["prompt_tokens"], theirs["metrics"]["completion_tokens"])
    start = rollout.line_of(theirs)
    count = rollout.usages.index(usage, start)
    unreported = not {"turn_context", "token_count"} & set(rollout.kinds[:count])
    if unreported or any(kind in _TURN_ENDS for kind in rollout.kinds[start:count]):
        del theirs["metrics"]


def _images(position: int, ours: Record, theirs: Record, *_: Any) -> None:
    if "images" in ours.get("extra", {}):
        del ours["extra"]
    for own, published in zip(ours.get("results", []), theirs.get("results", []), strict=False):
        if own["extra"].pop("images", None):
            published["content"] = _IMAGE_PART.sub("", published["content"])


def _repeated_id(position: int, ours: Record, theirs: Record, view: View, rollout: Rollout, earlier: set[str]) -> None:
    if theirs["event_id"] in earlier and ours["event_id"] not in earlier:
        theirs["event_id"] = ours["event_id"]


#: What we write differently in a record: name and how to even it out.
_IN_A_RECORD: dict[str, Callable[..., None]] = {
    "copied history is marked and not measured": _copied_history,
    "metrics stand on a call beyond functions": _metrics_on_a_further_call,
    "what was let go is never measured": _let_go_before_its_count,
    "images are described": _images,
    "a repeated id is told apart": _repeated_id,
}

#: A stream may be longer or shorter than the published one, by this rule.
HOLDS_DIFFERENTLY = "what is held back ends with the turn, and waits behind a call beyond functions"

#: The header comes with the first record, whichever that is.
HEADER_OF_OURS = "a header before records that only we write"

ALL = frozenset({*_ONLY_OURS, *_IN_A_RECORD, HOLDS_DIFFERENTLY, HEADER_OF_OURS})


def difference(ours: list[Record], published: list[Record], unheld: list[Record], rollout: Rollout) -> str | None:
    """What differs beyond the known differences, or None.

    `published` is the published stream, `unheld` the same with nothing held back.
    """
    view = published_view(ours, rollout)
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
    return _held_differently(len(view.records), published, unheld, rollout)


def _held_differently(length: int, published: list[Record], unheld: list[Record], rollout: Rollout) -> str | None:
    if length == len(published):
        return None
    first = unheld[min(length, len(published))]
    later = rollout.kinds[rollout.line_of(first) if first["type"] != "header" else 0 :]
    further = [kind for kind in later if kind.endswith("_call") and kind not in _PUBLISHED_CALLS]
    turn_over = [kind for kind in later if kind in _TURN_ENDS]
    if further or (turn_over and length > len(published)):
        rollout.used.add(HOLDS_DIFFERENTLY)
        return None
    return f"{length} records, the published stream has {len(published)}; the first that only one has: {first}"
