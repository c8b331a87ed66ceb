"""The demo: an agent's whole life, with real mngr, real codex and a scripted model.

    python demo/demo.py --codex /path/to/codex [--login]

Run by `make demo` with the Python of the environment that mngr-codex is installed in. Prints each step as the command
that a user would type. Needs no login and no network, and touches neither the user's home nor the user's agents: all of
it happens in a temporary folder. With `--login` the model is a real one, and the login is the user's own.
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
KEPT = ROOT / ".demo" / "transcript.jsonl"
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
    """Says what the demo needs, whoever asks: codex itself asks for a title of the session on the side."""

    def __init__(self) -> None:
        super().__init__()
        self.is_seen_at_work = threading.Event()
        """Set when the agent has been seen RUNNING, for which the first answer waits."""

    def scripted(self, request: Json, number: int) -> Answer | None:
        """The answer to a request, by the last that a person said in it."""
        said = [
            "".join(part.get("text", "") for part in item["content"])
            for item in request["input"]
            if item.get("role") == "user"
        ]
        has_looked = any(str(item.get("type")).endswith("_output") for item in request["input"])
        if said[-1] == QUESTIONS[0]:
            return self.answers if has_looked else self.looks
        if said[-1] == QUESTIONS[1]:
            # The session was resumed: what was said before is in the request.
            remembers = QUESTIONS[0] in said
            text = "`reading.md`, with 4 words." if remembers else "I do not know of which notes you speak."
            return Response([message(text)], Usage(input=4600, cached_input=4350, output=20))
        return Response([message("Notes by length")])

    def looks(self, request: Json) -> Response:
        """It thinks, and calls the shell."""
        return Response(
            [
                reasoning("**Planning**\n\nThe notes are few, so counting their words tells."),
                message("I will count the words of each note.", final=False),
                shell_call(request, "wc -w *.md | sort -n"),
            ],
            Usage(input=4200, cached_input=3072, output=96, reasoning_output=24),
        )

    def answers(self, _: Json) -> Response:
        """It thinks about what came back until it was seen at work, and answers."""
        self.is_seen_at_work.wait(TURN_SECONDS / 2)
        return Response(
            [
                reasoning("**Comparing**\n\nThe last line before the total is the longest note."),
                message("`travel.md` is the longest: 16 words, against 10 in `garden.md` and 4 in `reading.md`."),
            ],
            Usage(input=4350, cached_input=4096, output=58, reasoning_output=16),
        )


def configuration(base_url: str) -> str:
    """The user's config.toml in the demo, which agents take over."""
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


class Demo:
    """A machine of its own for the demo: home, mngr's settings, tmux server, a repository with notes."""

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
            # The user's proxies must not come between codex and a model on this machine.
            "NO_PROXY": "127.0.0.1,localhost",
        }
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
        """Runs a command of mngr's, shown as one would type it; gives what it printed."""
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
            fail(f"mngr did not run: {error}")
        if ran.returncode != 0:
            fail(f"`{shlex.join(['mngr', *arguments])}` ended with status {ran.returncode}", ran.stdout + ran.stderr)
        if is_shown and shows_output:
            for line in (ran.stderr + ran.stdout).splitlines():
                if line.strip():
                    print(f"  {line}", flush=True)
        return ran.stdout

    def state(self) -> str:
        """What mngr lists of the agent: its state, and why it waits."""
        (agent,) = json.loads(self.mngr("list", "--format", "json", is_shown=False))["agents"]
        reason = agent["plugin"].get("codex", {}).get("waiting_reason")
        return f"{agent['state']} ({reason})" if reason else str(agent["state"])

    def watch(self) -> None:
        """Looks at the listing until the agent waits, and prints each change."""
        print(f"\n$ watch mngr list            # until {NAME} waits", flush=True)
        begun, seen = time.monotonic(), ""
        while not seen.startswith("WAITING"):
            if time.monotonic() - begun > TURN_SECONDS:
                fail(f"{NAME} was not done after {TURN_SECONDS} s: {seen}")
            state = self.state()
            if state != seen:
                print(f"  {time.monotonic() - begun:4.1f} s  {NAME}  {state}", flush=True)
                seen = state
            if self._model is not None and state == "RUNNING":
                self._model.is_seen_at_work.set()

    def transcript(self, *options: str) -> None:
        """What was said, as mngr prints it."""
        self.mngr("transcript", NAME, "--role", "user", "--role", "agent", *options)

    @contextmanager
    def tidied(self) -> Iterator[None]:
        """Ends what is left of the agent, however the demo ends."""
        try:
            yield
        finally:
            for arguments in ([str(MNGR), "destroy", NAME, "--force"], ["tmux", "kill-server"]):
                subprocess.run(
                    arguments, cwd=self.notes, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True
                )


def story(demo: Demo) -> None:
    """The steps."""
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
    KEPT.parent.mkdir(exist_ok=True)
    kept = demo.mngr("transcript", NAME, "--preserved", "--format", "jsonl", shows_output=False)
    KEPT.write_text(kept, encoding="utf-8")
    print(f"  {kept.count(chr(10))} records, kept in {KEPT.relative_to(ROOT)}", flush=True)


def fail(what: str, said: str = "") -> NoReturn:
    """Ends the demo, with what the failed program said."""
    detail = f", and said:\n{said.rstrip()}" if said.strip() else ""
    sys.exit(f"demo: {what}{detail}")


def main() -> None:
    parser = argparse.ArgumentParser(description="An agent's whole life, with real mngr and real codex.")
    parser.add_argument("--codex", type=Path, required=True, help="the codex binary")
    parser.add_argument("--login", action="store_true", help="ask a real model, with the login in ~/.codex")
    arguments = parser.parse_args()
    if not os.access(arguments.codex, os.X_OK):
        fail(f"there is no codex that runs at {arguments.codex}")
    login = None
    if arguments.login:
        login = Path.home() / ".codex" / "auth.json"
        if not login.exists():
            fail(f"there is no {login}. Log in with: codex login")
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mngr-codex-", ignore_cleanup_errors=True))
        )
        model = None if login else stack.enter_context(Model())
        demo = Demo(folder, arguments.codex.resolve(), model, login)
        stack.enter_context(demo.tidied())
        whose = "your login" if login else "a scripted model"
        print(f"In {folder}, with codex {version(arguments.codex)} and {whose}.", flush=True)
        story(demo)
    print("That was all of it. README.md says how to install mngr-codex beside your own mngr.", flush=True)


def version(codex: Path) -> str:
    """The version of codex."""
    # Without a home of its own codex would write into the user's, to tell its version even.
    environment = {**os.environ, "CODEX_HOME": os.devnull}
    told = subprocess.run([codex, "--version"], env=environment, capture_output=True, text=True).stdout
    found = re.search(r"\d\S*", told)
    return found[0] if found else "of no known version"


if __name__ == "__main__":
    main()
