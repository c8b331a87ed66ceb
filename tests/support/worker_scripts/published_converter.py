"""Runs the published converter of `imbue-mngr-codex`.

Request: {"input", "output", "agent_id", "complete"}. Answer: {"error": text or null}. The output is replaced.
"""

import json
import runpy
import sys
from importlib.metadata import distribution
from pathlib import Path

_CONVERTER = "imbue/mngr_codex/resources/common_transcript_convert.py"


def main() -> None:
    converter = runpy.run_path(str(distribution("imbue-mngr-codex").locate_file(_CONVERTER)))
    for line in sys.stdin:
        request = json.loads(line)
        Path(request["output"]).unlink(missing_ok=True)
        try:
            converter["convert"](request["input"], request["output"], request["agent_id"], request["complete"])
        except Exception as error:  # the error is part of the answer
            print(json.dumps({"error": repr(error)}), flush=True)
        else:
            print(json.dumps({"error": None}), flush=True)


if __name__ == "__main__":
    main()
