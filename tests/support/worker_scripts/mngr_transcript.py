"""Shows a common transcript with the functions of `mngr transcript`.

Request: {"paths" (the oldest first), "roles", "head", "tail", "format", "agent" (type and id)}. Answer: {"shown"}, or
{"error"} if mngr refuses. mngr itself only decodes and joins the files before it calls these functions.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from imbue.mngr.agents.trajectory_build import TrajectoryEnrichment, build_trajectory_from_records, parse_stream_content
from imbue.mngr.cli.transcript import _emit_transcript, _parse_transcript_events
from imbue.mngr.config.data_types import OutputOptions
from imbue.mngr.errors import MngrError
from imbue.mngr.primitives import OutputFormat
from loguru import logger


def content_of(paths: list[str]) -> str:
    segments = [Path(path).read_bytes().decode("utf-8", "replace") for path in paths]
    return "".join(segment if segment.endswith("\n") or not segment else f"{segment}\n" for segment in segments)


def show(request: dict[str, Any]) -> str:
    content = content_of(request["paths"])
    if request["format"] == "atif":
        name, identity = request["agent"]
        about = TrajectoryEnrichment(
            agent_name=name, agent_version="unknown", session_id=identity, trajectory_id=identity
        )
        built = build_trajectory_from_records(parse_stream_content(content, "the stream"), about, {})
        return json.dumps(built.trajectory.to_json_dict(), indent=2) + "\n"
    events = _parse_transcript_events(content, tuple(request["roles"]), "the stream")
    if request["head"] is not None:
        events = events[: request["head"]]
    elif request["tail"] is not None:
        events = events[-request["tail"] :]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        _emit_transcript(events, OutputOptions(output_format=OutputFormat(request["format"].upper())), is_full=False)
    return out.getvalue()


def main() -> None:
    logger.remove()
    for line in sys.stdin:
        try:
            answer = {"shown": show(json.loads(line))}
        except (MngrError, ValueError, AttributeError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
