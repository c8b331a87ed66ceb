"""Runs an agent from creation to destruction, with the real mngr and Codex CLI and a scripted model.

    python demo/demo.py --codex /path/to/codex [--login]

`make demo` runs it with the Python of the environment in which mngr-codex is installed. It prints each step as the
command that a user would type. It needs no login and no network, and uses a temporary folder, so the user's home and
agents stay untouched. With `--login` it uses a real model and the user's own login.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

from scripted_model import Answer, Json, Response, ScriptedModel, Usage, message, reasoning, shell_call

ROOT = Path(__file__).resolve().parent.parent
SAVED = ROOT / ".demo" / "transcript.jsonl"
MNGR = Path(sys.executable).with_name("mngr")

NAME = "demo"
QUESTIONS = ("Which of these notes is the longest?", "And which is the shortest?")
NOTES = {
    "garden.md": "Water the tomatoes. Prune the roses before the first frost.\n",
    "reading.md": "Two chapters a night.\n",
    "travel.md": "Night train to Vienna, then the slow boat down the Danube to Budapest. Pack a coat.\n",
}
COMMAND_SECONDS = 120
TURN_SECONDS = 180


class Model(ScriptedModel):
    """Answers the demo's two questions. Codex sends other requests as well, such as one for the session's title."""

    def __init__(self) -> None:
        super().__init__()
        self.seen_running = threading.Event()
        """Set once the listing has shown RUNNING. The first answer waits for it."""

    def scripted(self, request: Json, number: int) -> Answer | None:
        """Returns the answer to a request, chosen by its last user message."""
        prompts = [
            "".join(part.get("text", "") for part in item["content"])
            for item in request["input"]
            if item.get("role") == "user"
        ]
        has_output = any(str(item.get("type")).endswith("_output") for item in request["input"])
        if prompts[-1] == QUESTIONS[0]:
            return self.reply if has_output else self.count_words
        if prompts[-1] == QUESTIONS[1]:
            # The agent was restarted in between. If its session was resumed, the request contains the first question.
            is_resumed = QUESTIONS[0] in prompts
            text = "`reading.md`, with 4 words." if is_resumed else "I don't know which notes you mean."
            return Response([message(text)], Usage(input=4600, cached_input=4350, output=20))
        return Response([message("Notes by length")])

    def count_words(self, request: Json) -> Response:
        """Returns some reasoning and a shell call."""
        return Response(
            [
                reasoning("**Planning**\n\nThere are only a few notes, so I can count their words."),
                message("I'll count the words in each note.", final=False),
                shell_call(request, "wc -w *.md | sort -n"),
            ],
            Usage(input=4200, cached_input=3072, output=96, reasoning_output=24),
        )

    def reply(self, _: Json) -> Response:
        """Waits until the agent was seen running, then returns the answer."""
        self.seen_running.wait(TURN_SECONDS / 2)
        return Response(
            [
                reasoning("**Comparing**\n\nThe last line before the total is the longest note."),
                message("`travel.md` is the longest: 16 words, against 10 in `garden.md` and 4 in `reading.md`."),
            ],
            Usage(input=4350, cached_input=4096, output=58, reasoning_output=16),
        )


def configuration(base_url: str) -> str:
    """Returns the user's config.toml for the demo, whose settings apply to its agents."""
    return f"""\
model = "gpt-5.5"
model_reasoning_effort = "medium"
model_provider = "scripted"
approval_policy = "never"
# The scripted command is harmless, and Codex cannot create a sandbox on every machine.
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

# Both features make network requests (seen on 0.163). Without them Codex only contacts the model.
[features]
apps = false
plugins = false
"""


class Demo:
    """The demo's own home, mngr settings, tmux server, and repository with notes."""

    def __init__(self, folder: Path, codex: Path, model: Model | None, login: Path | None) -> None:
        self._model = model
        self.home = folder / "home"
        self.notes = self.home / "notes"
        binaries, profile, codex_home = folder / "bin", self.home / ".mngr/profiles/demo", self.home / ".codex"
        for each in (binaries, profile, codex_home, self.notes, folder / "tmux"):
            each.mkdir(parents=True)
        (binaries / "codex").symlink_to(codex)
        self.environment = {
            "HOME": str(self.home),
            "PATH": os.pathsep.join(
                [str(binaries), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
            ),
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": os.environ.get("TERM", "xterm-256color"),
            "TMUX_TMPDIR": str(folder / "tmux"),
            # Requests to a model on this machine must not go through the user's proxy.
            "NO_PROXY": "127.0.0.1,localhost",
        }
        # Times are shown in the user's time zone.
        self.environment |= {name: value for name, value in os.environ.items() if name == "TZ"}
        if model is not None:
            (codex_home / "config.toml").write_text(configuration(model.base_url), encoding="utf-8")
        if login is not None:
            (codex_home / "auth.json").symlink_to(login)
            proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
            self.environment |= proxies
        (self.home / ".mngr/config.toml").write_text('profile = "demo"\n')
        (profile / "settings.toml").write_text(
            'enabled_backends = ["local"]\n[agent_types.codex]\nauto_allow_permissions = true\n'
        )
        (self.home / ".gitconfig").write_text("[user]\nname = demo\nemail = demo@example.invalid\n")
        for name, text in NOTES.items():
            (self.notes / name).write_text(text, encoding="utf-8")
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "Notes"]):
            subprocess.run(["git", *arguments], cwd=self.notes, env=self.environment, check=True)

    def mngr(self, *arguments: str, is_shown: bool = True, shows_output: bool = True) -> str:
        """Prints and runs an mngr command, and returns its output."""
        if is_shown:
            print(f"\n$ {shlex.join(['mngr', *arguments])}", flush=True)
        try:
            ran = subprocess.run(
                [MNGR, *arguments],
                cwd=self.notes,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            fail(f"cannot run mngr: {error}")
        if ran.returncode != 0:
            fail(f"`{shlex.join(['mngr', *arguments])}` failed with status {ran.returncode}", ran.stdout + ran.stderr)
        if is_shown and shows_output:
            for line in (ran.stderr + ran.stdout).strip("\n").splitlines():
                print(f"  {line}".rstrip(), flush=True)
        return ran.stdout

    def state(self) -> str:
        """Returns the agent's state from `mngr list`, with the reason if it is waiting."""
        (agent,) = json.loads(self.mngr("list", "--format", "json", is_shown=False))["agents"]
        reason = agent["plugin"].get("codex", {}).get("waiting_reason")
        return f"{agent['state']} ({reason})" if reason else str(agent["state"])

    def watch(self) -> None:
        """Polls the listing until the agent is waiting, and prints each change of its state."""
        print(f"\n$ watch mngr list            # until {NAME} is waiting", flush=True)
        begun, seen = time.monotonic(), ""
        while not seen.startswith("WAITING"):
            if time.monotonic() - begun > TURN_SECONDS:
                fail(f"{NAME} was still {seen} after {TURN_SECONDS} s")
            state = self.state()
            if state != seen:
                print(f"  {time.monotonic() - begun:4.1f} s  {NAME}  {state}", flush=True)
                seen = state
            if self._model is not None and state == "RUNNING":
                self._model.seen_running.set()

    def transcript(self, *options: str) -> None:
        """Prints the messages of the transcript."""
        self.mngr("transcript", NAME, "--role", "user", "--role", "agent", *options)

    @contextmanager
    def cleanup(self) -> Iterator[None]:
        """Destroys the agent and its tmux server at the end, even if the demo fails."""
        try:
            yield
        finally:
            for arguments in ([str(MNGR), "destroy", NAME, "--force"], ["tmux", "kill-server"]):
                subprocess.run(
                    arguments, cwd=self.notes, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True
                )


def run_steps(demo: Demo) -> None:
    """Runs the steps of the demo in order."""
    demo.mngr("create", NAME, "codex", "--yes", "--no-connect")
    demo.mngr("message", NAME, "-m", QUESTIONS[0])
    demo.watch()
    demo.transcript()
    demo.mngr("stop", NAME)
    demo.mngr("start", NAME)
    demo.mngr("message", NAME, "-m", QUESTIONS[1])
    demo.watch()
    demo.transcript("--tail", "1")
    demo.mngr("codex", "doctor", NAME)
    demo.mngr("destroy", NAME, "--force")
    SAVED.parent.mkdir(exist_ok=True)
    preserved = demo.mngr("transcript", NAME, "--preserved", "--format", "jsonl", shows_output=False)
    SAVED.write_text(preserved, encoding="utf-8")
    print(f"  {preserved.count(chr(10))} records, saved to {SAVED.relative_to(ROOT)}", flush=True)


def fail(problem: str, output: str = "") -> NoReturn:
    """Ends the demo with an error message and the output of the failed program."""
    detail = f":\n{output.rstrip()}" if output.strip() else ""
    sys.exit(f"demo: {problem}{detail}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Run an agent from creation to destruction, with the real mngr and Codex CLI."
    )
    parser.add_argument("--codex", type=Path, required=True, help="the codex binary")
    parser.add_argument("--login", action="store_true", help="use a real model and the login in ~/.codex")
    arguments = parser.parse_args()
    if not os.access(arguments.codex, os.X_OK):
        fail(f"{arguments.codex} is not an executable file")
    login = None
    if arguments.login:
        login = Path.home() / ".codex" / "auth.json"
        if not login.exists():
            fail(f"cannot find {login}\nhint: run `codex login`")
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mngr-codex-", ignore_cleanup_errors=True))
        )
        model = None if login else stack.enter_context(Model())
        demo = Demo(folder, arguments.codex.resolve(), model, login)
        stack.enter_context(demo.cleanup())
        model_name = "your login" if login else "a scripted model"
        print(f"Running in {folder} with Codex {version(arguments.codex)} and {model_name}.", flush=True)
        run_steps(demo)
    transcript = SAVED.relative_to(ROOT)
    print(f"\nDone. To show the saved transcript: .venv/bin/mngr-codex transcript {transcript}")
    print("README.md explains how to install mngr-codex for your own mngr.", flush=True)


def version(codex: Path) -> str:
    """Returns the version of a codex binary."""
    # Even `codex --version` writes to ~/.codex unless CODEX_HOME points elsewhere.
    environment = {**os.environ, "CODEX_HOME": os.devnull}
    output = subprocess.run([codex, "--version"], env=environment, capture_output=True, text=True).stdout
    found = re.search(r"\d\S*", output)
    return found[0] if found else "(unknown version)"


if __name__ == "__main__":
    main()
