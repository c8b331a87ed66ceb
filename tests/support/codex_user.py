"""A user who runs Codex without mngr, with the hooks of `mngr-codex hooks install`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.codex_tui import Screen, tui
from tests.support.machine import until
from tests.support.program import Completed, run

sys.path.append(str(Path(__file__).parents[2] / "demo"))

from demo import configuration

Json = dict[str, Any]


class CodexUser:
    """A home with a Codex whose model is scripted, and folders to work in."""

    def __init__(self, codex: Path, folder: Path, base_url: str, *, has_daemon: bool) -> None:
        self.codex = codex
        self.home = folder / "home"
        self.codex_home = self.home / ".codex"
        self.codex_home.mkdir(parents=True)
        self.work_dirs = {name: folder / name for name in ("one", "two")}
        trusted = ""
        for work_dir in self.work_dirs.values():
            work_dir.mkdir()
            trusted += f'[projects."{work_dir}"]\ntrust_level = "trusted"\n'
        # This model opens no dialog about newer ones.
        config = configuration(base_url).replace("gpt-5.5", "gpt-5.4").replace("[features]", f"{trusted}[features]")
        config += "" if has_daemon else "daemon_auto_start = false\n"
        (self.codex_home / "config.toml").write_text(config)

    def environment(self, **variables: str) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        return {"HOME": str(self.home), "PATH": path, "NO_PROXY": "127.0.0.1,localhost", **variables}

    def install_hooks(self) -> None:
        done = run("hooks", "install", env=self.environment())
        assert (done.status, done.stderr) == (0, "") and b"Installed 13 hooks" in done.stdout, done

    @contextmanager
    def tui(self, work_dir: str, *, reviews_hooks: bool = False, **variables: str) -> Iterator[Screen]:
        """Runs the TUI in one of the folders, and trusts the hooks if it asks for that."""
        with tui(str(self.codex), self.work_dirs[work_dir], self.environment(**variables)) as screen:
            if reviews_hooks:
                screen.until(lambda text: "Hooks need review" in text and "Trust all and continue" in text)
                # The screen ignores keys for an instant.
                time.sleep(0.5)
                screen.type("2")
                screen.until(lambda text: "› 2. Trust all and continue" in text)
                screen.type("Enter")
                screen.until(lambda text: "Hooks need review" not in text)
            screen.until(lambda text: "for shortcuts" in text)
            yield screen

    def prompt(self, screen: Screen, text: str) -> None:
        screen.type(text)
        screen.until(lambda shown: text in shown)
        screen.type("Enter")

    def start_daemon(self, work_dir: Path, **variables: str) -> int:
        """Starts Codex's daemon in its own shell, and returns its process id."""
        command = [str(self.codex), "app-server", "daemon", "start"]
        environment = self.environment(**variables)
        done = subprocess.run(command, cwd=work_dir, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return until(lambda: next(iter(self.daemons()), 0), description="the daemon")

    def processes(self, *words: str, executable: str = "") -> list[int]:
        """Returns the processes with this home whose command line contains these words."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                variables = (process / "environ").read_bytes().decode(errors="replace").split("\0")
                is_own = f"HOME={self.home}" in variables
                if is_own and set(words) <= set(command) and executable in ("", (process / "exe").readlink().name):
                    found.append(int(process.name))
        return found

    def daemons(self) -> list[int]:
        return self.processes("app-server", "unix://")

    def kill_processes(self) -> None:
        """Kills what Codex has left running, such as its daemon and the daemon's updater."""
        while processes := self.processes():
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)

    def run_status(self, *options: str, environment: Mapping[str, str] | None = None) -> Completed:
        done = run("status", *options, env=environment or self.environment())
        assert done.status == 0, done
        return done

    def status(self, *options: str, environment: Mapping[str, str] | None = None) -> list[Json]:
        sessions: list[Json] = json.loads(self.run_status("--json", *options, environment=environment).stdout)
        return sessions

    def states(self, *options: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """Returns the state of the session in each folder."""
        return {Path(each["cwd"]).name: each["state"] for each in self.status(*options, environment=environment)}
