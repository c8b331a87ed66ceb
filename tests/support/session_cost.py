"""What a recorded session cost: a simple model of the token counts, apart from the converter's."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.support.program import Record
from tests.support.recordings import parse

#: Input, cached input and output tokens, by the names of Codex.
FIELDS = ("input_tokens", "cached_input_tokens", "output_tokens")

#: The names of the same counts in the metrics of a step.
METRICS = ("prompt_tokens", "cached_tokens", "completion_tokens")

Usage = tuple[int, ...]


def session_cost(lines: Sequence[bytes]) -> Usage:
    """Adds up the usage of all inferences that are not copied history.

    An inference appears in a `token_usage_record`, in a `token_count` with another total than the one before, or in
    both. So each usage counts as often as it occurs in the one kind of line in which it occurs more often.
    """
    parsed = [parse(line) for line in lines]
    counts: Counter[Usage] = Counter()
    records: Counter[Usage] = Counter()
    total: Any = None
    is_own = own_lines(parsed)
    for line, own in zip(parsed, is_own, strict=True):
        payload = line["payload"]
        if line["type"] == "token_usage_record" and own:
            records[usage_of(payload["usage"])] += 1
        elif line["type"] == "event_msg" and payload.get("type") == "token_count" and payload["info"]:
            if payload["info"]["total_token_usage"] != total and own:
                counts[usage_of(payload["info"]["last_token_usage"])] += 1
            total = payload["info"]["total_token_usage"]
    inferences = (counts | records).elements()
    return tuple(map(sum, zip(*inferences, strict=True))) or (0,) * len(FIELDS)


def usage_of(counts: dict[str, int]) -> Usage:
    return tuple(counts.get(field, 0) for field in FIELDS)


def sum_of_metrics(records: list[Record]) -> Usage:
    """Adds up the metrics of a transcript, except those of copied history."""
    steps = [record["metrics"] for record in records if "metrics" in record and not record.get("is_copied_context")]
    return tuple(sum(metrics[name] for metrics in steps) for name in METRICS)


def own_lines(parsed: list[dict[str, Any]]) -> list[bool]:
    """Returns for each line whether it is the session's own: it does not repeat another session's history."""
    meta = parsed[0]["payload"]
    if "subagent_history_start_ordinal" in meta:
        return [line["ordinal"] >= meta["subagent_history_start_ordinal"] for line in parsed]
    if "forked_from_id" not in meta or "history_base" in meta:
        return [True] * len(parsed)
    turns = [(index, line["payload"].get("turn_id")) for index, line in enumerate(parsed)]
    own = [index for index, turn in turns if turn is not None and turn > meta["id"]]
    if not own:
        times = [datetime.fromisoformat(line["timestamp"]) for line in parsed]
        own = [index for index, (one, two) in enumerate(pairwise(times), 1) if (two - one).total_seconds() > 1]
    return [bool(own) and index >= own[0] for index in range(len(parsed))]
