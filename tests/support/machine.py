"""A user's machine for the real mngr and the real Codex: home, tmux server, mngr profile, repository."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

Json = dict[str, Any]

SECONDS = 60
PROFILE = "e2e"

type MakeMachine = Callable[..., Machine]


@dataclass(frozen=True)
class CommandResult:
    """The result of an mngr command."""

    status: int
    stdout: str
    stderr: str
    cpu_seconds: float = field(compare=False)
    """The CPU time of the command, with that of the programs it ran."""


def until[T](condition: Callable[[], T], *, description: str, seconds: float = SECONDS) -> T:
    """Polls until the condition is true, and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"timed out after {seconds} s waiting for {description}"
        time.sleep(0.03)


@dataclass(frozen=True)
class MngrServer:
    """A server that runs mngr commands for any number of machines."""

    socket: Path
    python: str
    """The interpreter with the mngr that it runs."""


@contextmanager
def mngr_server(folder: Path, python: str = sys.executable) -> Iterator[MngrServer]:
    """Starts a server that runs the mngr of an interpreter's environment."""
    path = folder / "mngr.sock"
    home = folder / "home"
    home.mkdir()
    # mngr loads plugins by the settings in the home in which it starts, so this home has none.
    environment = {"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8"}
    command: list[str | Path] = [python, Path(__file__).with_name("mngr_server.py"), path]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:

        def is_listening() -> bool:
            assert server.poll() is None, (folder / "log").read_text()
            with socket.socket(socket.AF_UNIX) as connection:
                return connection.connect_ex(str(path)) == 0

        until(is_listening, description="the server of mngr commands")
        yield MngrServer(path, python)
    finally:
        server.kill()
        server.wait()


def run_mngr(
    server: MngrServer, folder: Path, *arguments: str, environment: Mapping[str, str], outputs: Path, prelude: str = ""
) -> CommandResult:
    """Has the server run an mngr command in a folder, and waits until it exits.

    The output files have the path `outputs` and the suffixes `.stdout` and `.stderr`. The prelude is Python code that
    runs before the command.
    """
    files = {name: f"{outputs}.{name}" for name in ("stdout", "stderr")}
    request = {"arguments": arguments, "environment": dict(environment), "folder": str(folder), "prelude": prelude}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(180)
        connection.connect(str(server.socket))
        connection.sendall(json.dumps(request | files).encode() + b"\n")
        answer = connection.makefile().readline()
    stdout, stderr = (Path(file).read_text(errors="replace") for file in files.values())
    assert answer, f"mngr {' '.join(arguments)} crashed: {stderr}"
    status, cpu_seconds = answer.split()
    return CommandResult(int(status), stdout, stderr, float(cpu_seconds))


@dataclass(frozen=True)
class RunningCommand:
    """An mngr command that runs in the background."""

    process: subprocess.Popen[bytes]
    output: Path

    def shows(self, text: str) -> bool:
        """Whether the output has the text, which a command that has ended must have."""
        output = self.output.read_text(errors="replace")
        assert text in output or self.process.poll() is None, f"the command has ended without {text!r}:\n{output}"
        return text in output

    def lines(self) -> list[Json]:
        """Returns the JSON lines of the output."""
        *complete, _ = self.output.read_text(errors="replace").split("\n")
        return [json.loads(line) for line in complete if line.startswith("{")]


class Machine:
    """A user's machine as mngr and Codex see it.

    All its files are in one temporary folder. mngr and tmux find no files of the user who runs the tests.
    """

    def __init__(
        self, folder: Path, codex: Path, base_url: str, server: MngrServer, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.repository = folder / "repository"
        self.codex = codex
        self.base_url = base_url
        self.settings: Json = {"model": "gpt-5.5", "sandbox_mode": "danger-full-access", **(settings or {})}
        #: The settings of mngr's other plugins, by name.
        self.plugin_settings: Json = {}
        #: The settings of mngr's other providers of hosts, by name.
        self.providers: Json = {}
        self.codex_log = folder / "codex.log"
        self._stack = ExitStack()
        self._runs = 0
        self._server = server

    # -- set-up

    def __enter__(self) -> Self:
        with self._stack:
            self._make_home()
            self._make_repository()
            self._stack.enter_context(self._tmux_server())
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make_home(self) -> None:
        binaries = self.folder / "bin"
        for each in (self.home, binaries, self.folder / "tmux", self.home / ".codex", self.profile):
            each.mkdir(parents=True)
        # Logs the arguments, so that tests see `resume` and `update`.
        self.add_program("codex", f'echo "$*" >>"{self.codex_log}"\nexec "{self.codex}" "$@"\n')
        # mngr itself runs mngr commands.
        (binaries / "mngr").symlink_to(Path(self._server.python).with_name("mngr"))
        (self.home / ".mngr" / "config.toml").write_text(f'profile = "{PROFILE}"\n')
        (self.home / ".gitconfig").write_text("[user]\nname = tests\nemail = tests@example.invalid\n")
        (self.home / ".codex" / "auth.json").write_text('{"auth_mode":"apikey","OPENAI_API_KEY":"sk-test"}')
        self.write_settings()

    def write_settings(self, **changed: Any) -> None:
        """Writes mngr's settings, with these changes to the agent type's."""
        import tomlkit

        self.settings = {**self.settings, **changed}
        provider = {
            "name": "scripted",
            "base_url": self.base_url,
            "wire_api": "responses",
            "requires_openai_auth": False,
            "request_max_retries": 0,
            "stream_max_retries": 0,
        }
        own = dict(self.settings.get("config_overrides", {}))
        provider |= own.pop("model_providers", {}).get("scripted", {})
        overrides = {
            "model_provider": "scripted",
            "model_providers": {"scripted": provider},
            "analytics": {"enabled": False},
            "features": {"apps": False, "plugins": False},
            **own,
        }
        types = {"codex": {**self.settings, "config_overrides": overrides}}
        backends = ["local", *sorted({provider["backend"] for provider in self.providers.values()})]
        settings = {"enabled_backends": backends, "agent_types": types, "plugins": self.plugin_settings}
        if self.providers:
            settings["providers"] = self.providers
        (self.profile / "settings.toml").write_text(tomlkit.dumps(settings))

    def add_ssh_host(self, provider: str, name: str, *, host_dir: PurePosixPath, **host: Any) -> None:
        """Adds a host of mngr's ssh provider to mngr's settings."""
        settings = self.providers.setdefault(provider, {"backend": "ssh", "host_dir": str(host_dir), "hosts": {}})
        settings["hosts"][name] = host
        self.write_settings()

    def _make_repository(self) -> None:
        self.repository.mkdir()
        (self.repository / "README.md").write_text("# A repository\n")
        for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "Begin"]):
            subprocess.run(["git", *arguments], cwd=self.repository, env=self.environment, check=True)

    @property
    def profile(self) -> Path:
        """mngr's profile folder."""
        return self.home / ".mngr" / "profiles" / PROFILE

    @property
    def environment(self) -> dict[str, str]:
        """The environment of mngr and of everything that it starts."""
        return {
            "HOME": str(self.home),
            "PATH": f"{self.folder / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "TMUX_TMPDIR": str(self.folder / "tmux"),
            "MNGR_HOST_DIR": str(self.home / ".mngr"),
            # No process may reach the network.
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    @contextmanager
    def _tmux_server(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.kill_agents()

    def kill_agents(self) -> None:
        """Kills all processes of the agents, and the tmux server."""
        for agent_dir in self.agent_dirs():
            self.end_agent(agent_dir)
        subprocess.run(["tmux", "kill-server"], env=self.environment, capture_output=True)

    def kill(self, pid: int) -> None:
        """Kills a process of an agent with SIGKILL."""
        os.kill(pid, 9)

    def end_agent(self, agent_dir: Path) -> None:
        """Kills the processes of an agent, which have its state directory in their environment.

        The watcher is killed first, because it would notice the end of the others.
        """
        needle = f"MNGR_AGENT_STATE_DIR={agent_dir}".encode()
        found: list[tuple[bool, int]] = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if needle in (process / "environ").read_bytes().split(b"\0"):
                    is_watcher = b"\0watch\0" in (process / "cmdline").read_bytes()
                    found.append((not is_watcher, int(process.name)))
            except OSError:
                continue
        for _, pid in sorted(found):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    # -- mngr

    def mngr(self, *arguments: str, status: int | None = 0, folder: Path | None = None) -> CommandResult:
        """Runs an mngr command, which must exit with this status unless it is `None`."""
        self._runs += 1
        outputs = self.folder / f"run-{self._runs}"
        where = folder or self.repository
        ran = run_mngr(self._server, where, *arguments, environment=self.environment, outputs=outputs)
        if status is not None:
            command = f"mngr {' '.join(arguments)} exited with {ran.status}"
            assert ran.status == status, f"{command}:\n{ran.stdout}\n{ran.stderr}"
        return ran

    @contextmanager
    def running_mngr(self, *arguments: str) -> Iterator[RunningCommand]:
        """Runs an mngr command in the background, and kills it at the end with the commands that it runs."""
        self._runs += 1
        output = self.folder / f"run-{self._runs}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [self.folder / "bin" / "mngr", *arguments],
                cwd=self.repository,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            yield RunningCommand(process, output)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def add_program(self, name: str, script: str) -> None:
        """Adds a shell script to PATH."""
        program = self.folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)

    def create(self, name: str = "t", *arguments: str, status: int = 0) -> Agent:
        """Creates an agent."""
        self.mngr("create", name, "codex", "--yes", "--no-connect", *arguments, status=status)
        return self.agent(name)

    def agent(self, name: str) -> Agent:
        """Returns the agent of this name."""
        for state in self.agent_dirs():
            data = state / "data.json"
            if data.exists() and json.loads(data.read_text())["name"] == name:
                return Agent(self, name, state)
        raise LookupError(name)

    def agent_dirs(self) -> list[Path]:
        """Returns the state directories of all agents."""
        return sorted((self.home / ".mngr" / "agents").glob("*"))

    def listed(self) -> dict[str, Json]:
        """Returns the fields that `mngr list` shows for each agent, by name."""
        return {agent["name"]: agent for agent in json.loads(self.mngr("list", "--format", "json").stdout)["agents"]}

    def codex_calls(self) -> list[str]:
        """Returns the arguments of each Codex that was started."""
        return self.codex_log.read_text().splitlines() if self.codex_log.exists() else []


@dataclass(frozen=True)
class Agent:
    """An agent on a machine."""

    machine: Machine
    name: str
    state: Path

    @property
    def is_active(self) -> bool:
        """Whether the marker shows that the agent is RUNNING."""
        return (self.state / "active").exists()

    @property
    def is_in_turn(self) -> bool:
        """Whether a turn is running; Codex may be waiting for an approval in it."""
        return self.is_active or (self.state / "codex_root_active").exists()

    @property
    def listed(self) -> Json:
        """The fields that `mngr list` shows for the agent."""
        return self.machine.listed()[self.name]

    def message(self, text: str, *, status: int = 0) -> CommandResult:
        """Sends a message with `mngr message`."""
        return self.machine.mngr("message", self.name, "-m", text, status=status)

    def wait(self, seconds: float = 30) -> None:
        """Waits until the markers show that no turn is running."""
        until(lambda: not self.is_in_turn, description="WAITING", seconds=seconds)

    def records(self) -> list[Json]:
        """Returns the records that `mngr transcript` prints."""
        shown = self.machine.mngr("transcript", self.name, "--format", "jsonl", "--full").stdout
        return [json.loads(line) for line in shown.splitlines() if line.startswith("{")]

    def answers(self) -> list[str]:
        """Returns the model's messages in the transcript."""
        return [step["message"] for step in self.records() if step.get("source") == "agent" and step.get("message")]

    def pane(self) -> str:
        """Returns the text on the agent's terminal."""
        command = ["tmux", "capture-pane", "-p", "-t", f"=mngr-{self.name}:agent"]
        return subprocess.run(command, env=self.machine.environment, capture_output=True, text=True).stdout

    def press(self, *keys: str) -> None:
        """Presses keys in the agent's terminal."""
        command = ["tmux", "send-keys", "-t", f"=mngr-{self.name}:agent", *keys]
        subprocess.run(command, env=self.machine.environment, check=True)

    def codex_pids(self) -> list[int]:
        """Returns the process ids of the agent's Codex."""
        return self._pids(lambda words: Path(words[0]).name == "codex" if words else False)

    def watcher_pids(self) -> list[int]:
        """Returns the process ids of the agent's watchers."""
        return self._pids(lambda words: words[1:2] == ["watch"])

    def _needle(self) -> bytes:
        """Returns the environment variable that all processes of the agent have."""
        return f"MNGR_AGENT_STATE_DIR={self.state}".encode()

    def _pids(self, matches: Callable[[list[str]], bool]) -> list[int]:
        needle = self._needle()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if matches(words) and needle in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
            except OSError:
                continue
        return found
