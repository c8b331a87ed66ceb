"""The demo: a real codex session with a scripted model, converted and shown.

    python demo/demo.py --codex /path/to/codex

Run by `make demo` with the Python of the environment that mngr-codex is installed in. Needs no login and no network,
and touches neither the user's home nor the user's codex: codex gets a home of its own in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from scripted_model import Answer, Json, Response, ScriptedModel, Usage, message, reasoning, shell_call

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".demo"
ROLLOUT = KEPT / "rollout.jsonl"
TRANSCRIPT = KEPT / "transcript.jsonl"

PROMPT = "Which of these notes is the longest?"
NOTES = {
    "garden.md": "Water the tomatoes. Prune the roses before the first frost.\n",
    "reading.md": "Two chapters a night.\n",
    "travel.md": "Night train to Vienna, then the slow boat down the Danube to Budapest. Pack a coat.\n",
}
CODEX_SECONDS = 60


def script() -> list[Answer]:
    """What the model says: it thinks, calls the shell once, thinks about what came back, and answers."""

    def looks(request: Json) -> Response:
        return Response(
            [
                reasoning("**Planning**\n\nThe notes are few, so counting their words tells."),
                message("I will count the words of each note.", final=False),
                shell_call(request, "wc -w *.md | sort -n"),
            ],
            Usage(input=4200, cached_input=3072, output=96, reasoning_output=24),
        )

    return [
        looks,
        Response(
            [
                reasoning("**Comparing**\n\nThe last line before the total is the longest note."),
                message("`travel.md` is the longest: 16 words, against 10 in `garden.md` and 4 in `reading.md`."),
            ],
            Usage(input=4350, cached_input=4096, output=58, reasoning_output=16),
        ),
    ]


def configuration(base_url: str) -> str:
    """The config.toml of the demo's codex."""
    return f"""\
model = "gpt-5.5"
model_reasoning_effort = "medium"
model_provider = "scripted"
approval_policy = "never"
# The only command is the script's own, and not every machine lets codex make a sandbox.
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[model_providers.scripted]
name = "scripted"
base_url = "{base_url}"
wire_api = "responses"
requires_openai_auth = false
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false

# Each of these looks on the network for more (seen on 0.163); with them off, codex talks to the model alone.
[features]
apps = false
plugins = false
"""


def environment(home: Path) -> dict[str, str]:
    """What the demo's codex finds in its environment; its own home is `.codex` in `home`."""
    return {
        "HOME": str(home),
        "CODEX_HOME": str(home / ".codex"),
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        # The user's proxies must not come between codex and the model.
        "NO_PROXY": "127.0.0.1,localhost",
    }


def run_codex(codex: Path, home: Path, base_url: str) -> Path:
    """Runs one `codex exec` session; gives the rollout that it wrote."""
    codex_home = home / ".codex"
    notes = home / "notes"
    codex_home.mkdir(parents=True)
    notes.mkdir()
    for name, text in NOTES.items():
        (notes / name).write_text(text, encoding="utf-8")
    (codex_home / "config.toml").write_text(configuration(base_url), encoding="utf-8")
    began = time.monotonic()
    try:
        session = subprocess.Popen(
            [codex, "exec", "--skip-git-repo-check", PROMPT],
            cwd=notes,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        fail(f"codex did not run: {error}")
    try:
        answer, said = session.communicate(timeout=CODEX_SECONDS)
    except BaseException as error:
        os.killpg(session.pid, signal.SIGKILL)  # the group that start_new_session made: codex and its commands
        _, said = session.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            fail(f"codex was not done after {CODEX_SECONDS} s", said)
        raise
    if session.returncode != 0:
        fail(f"codex ended with status {session.returncode}", said)
    rollouts = list((codex_home / "sessions").rglob("rollout-*.jsonl"))
    if len(rollouts) != 1:
        fail(f"codex wrote {len(rollouts)} rollouts, not one", said)
    tell("codex", f"answered in {time.monotonic() - began:.1f} s: {answer.strip()}")
    return rollouts[0]


def convert() -> None:
    """Converts the kept rollout with the installed program."""
    program = Path(sys.executable).with_name("mngr-codex")
    command: list[str | Path] = [program, "convert", ROLLOUT, "--output", TRANSCRIPT, "--agent-id", "demo"]
    try:
        converting = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        fail(f"mngr-codex did not run: {error}")
    if converting.returncode != 0:
        fail(f"mngr-codex ended with status {converting.returncode}", converting.stderr)
    tell("convert", f"mngr-codex convert {shown(ROLLOUT)} --output {shown(TRANSCRIPT)} --agent-id demo")
    for line in converting.stderr.splitlines():
        tell("", line)


def show() -> None:
    """Prints the kept rollout as a transcript."""
    print(f"\n{' transcript ':-^78}\n", flush=True)
    if subprocess.run([sys.executable, Path(__file__).with_name("show.py"), ROLLOUT]).returncode != 0:
        fail("the transcript could not be shown")
    print(f"\n{'-' * 78}\n", flush=True)


def shown(path: Path) -> str:
    """A path as one would type it in the project's folder."""
    return str(path.relative_to(ROOT))


def tell(step: str, text: str) -> None:
    print(f"{step:<9}{text}", flush=True)


def fail(what: str, said: str = "") -> NoReturn:
    """Ends the demo, with what the failed program said."""
    detail = f", and said:\n{said.rstrip()}" if said.strip() else ""
    sys.exit(f"demo: {what}{detail}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A real codex session with a scripted model, converted and shown.")
    parser.add_argument("--codex", type=Path, required=True, help="the codex binary")
    codex = parser.parse_args().codex.resolve()

    KEPT.mkdir(exist_ok=True)
    for old in (ROLLOUT, TRANSCRIPT):
        old.unlink(missing_ok=True)
    answers = script()
    with tempfile.TemporaryDirectory(prefix="mngr-codex-demo-") as home, ScriptedModel(answers) as model:
        tell("model", f"a scripted one listens on {model.base_url}")
        tell("codex", f"codex exec {PROMPT!r}")
        shutil.copyfile(run_codex(codex, Path(home), model.base_url), ROLLOUT)
        if len(model.requests) != len(answers):
            fail(f"codex asked the model {len(model.requests)} times, not {len(answers)}")
    convert()
    show()
    tell("kept", f"{shown(ROLLOUT)} (what codex wrote), {shown(TRANSCRIPT)} (mngr's common transcript)")


if __name__ == "__main__":
    main()
