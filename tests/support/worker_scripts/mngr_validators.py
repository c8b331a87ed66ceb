"""Validates a common transcript with mngr's record schema, mngr's document builder and harbor's validator.

Request: {"path"}. Answer: {"read": records, "invalid": [line and problem], "warnings": [text], "errors": [text],
"final_metrics": {…}}. "read" is the number of records that mngr found in the stream.
"""

import json
import sys
from pathlib import Path
from typing import Any

from harbor.utils.trajectory_validator import TrajectoryValidator
from imbue.mngr.agents.common_transcript_records import validate_common_transcript_record
from imbue.mngr.agents.trajectory_build import TrajectoryEnrichment, build_trajectory_from_records, parse_stream_content
from imbue.mngr.errors import MngrError

_ENRICHMENT = TrajectoryEnrichment(
    agent_name="codex", agent_version="unknown", session_id="agent-1", trajectory_id="agent-1"
)


def validate(content: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"read": 0, "invalid": [], "warnings": [], "errors": [], "final_metrics": None}
    for number, line in enumerate(content.split("\n")[:-1], start=1):
        problem = validate_common_transcript_record(json.loads(line))
        if problem is not None:
            answer["invalid"].append(f"line {number}: {problem}")
    try:
        records = parse_stream_content(content, "the stream")
        result = build_trajectory_from_records(records, _ENRICHMENT, {})
    except MngrError as error:
        answer["errors"].append(str(error))
        return answer
    document = result.trajectory.model_dump(mode="json", exclude_none=True)
    validator = TrajectoryValidator()
    validator.validate(document)
    answer["read"] = len(records)
    answer["warnings"] = list(result.warnings)
    answer["errors"] = validator.get_errors()
    answer["final_metrics"] = document["final_metrics"]
    return answer


def main() -> None:
    for line in sys.stdin:
        content = Path(json.loads(line)["path"]).read_bytes().decode()
        print(json.dumps(validate(content)), flush=True)


if __name__ == "__main__":
    main()
