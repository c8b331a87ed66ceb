"""`mngr transcript`: ours for codex agents of this machine, with the output of mngr's own; mngr's own for all else."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from tests.support.machine import CommandResult, mngr_server, run_mngr, until
from tests.support.program import convert, convert_file
from tests.support.recordings import DATA
from tests.support.rollout_builder import turn

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

#: What mngr's own command says in these tests, before all else.
MNGRS_OWN = "(mngr's own command)"
PROBE = f"""
import imbue.mngr.cli.transcript as mngrs
def told(of=mngrs.setup_command_context, **how):
    print({MNGRS_OWN!r}, file=sys.stderr, flush=True)
    return of(**how)
mngrs.setup_command_context = told
"""
#: As if the plugin had left mngr's command alone.
WITHOUT_OURS = "from imbue.mngr.cli.transcript import transcript\ncli.add_command(transcript)\n"

ID = "agent-" + "1" * 32
OTHER_ID = "agent-" + "2" * 32


def recorded(name: str) -> bytes:
    return convert_file(DATA / "0.163.0" / name).stdout


def records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in recorded(name).splitlines()]


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """What runs mngr's commands."""
    with tempfile.TemporaryDirectory(prefix="mc-") as name, mngr_server(Path(name)) as path:
        yield path


@dataclass
class Machine:
    """A user's machine with agents of which there are but the files."""

    folder: Path
    server: Path
    environment: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def __post_init__(self) -> None:
        self.profile.mkdir(parents=True)
        (self.host_dir / "config.toml").write_text('profile = "tests"\n')
        self.settings('enabled_backends = ["local"]')
        self.environment |= {
            "HOME": str(self.folder),
            "MNGR_HOST_DIR": str(self.host_dir),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
        }

    @property
    def host_dir(self) -> Path:
        return self.folder / ".mngr"

    @property
    def profile(self) -> Path:
        return self.host_dir / "profiles" / "tests"

    def settings(self, *lines: str) -> None:
        (self.profile / "settings.toml").write_text("\n".join(lines) + "\n")

    def agent(self, stream: bytes | None = None, *, name: str = "t", agent_id: str = ID, **data: Any) -> Path:
        """Makes an agent; gives the file of its transcript."""
        state_dir = self.host_dir / "agents" / agent_id
        state_dir.mkdir(parents=True)
        known = {"id": agent_id, "name": name, "type": "codex", "command": "codex", "work_dir": str(self.folder)}
        times = {"create_time": "2026-11-22T07:00:00+00:00"}
        (state_dir / "data.json").write_text(json.dumps(known | times | data))
        file = state_dir / "events/codex/common_transcript/events.jsonl"
        if stream is not None:
            file.parent.mkdir(parents=True)
            file.write_bytes(stream)
        return file

    def mngr(self, *arguments: str, prelude: str = "") -> CommandResult:
        self.runs += 1
        outputs = self.folder / f"run-{self.runs}"
        where = {"environment": self.environment, "outputs": outputs}
        return run_mngr(self.server, self.folder, *arguments, **where, prelude=PROBE + prelude)  # type: ignore[arg-type]

    def ours(self, *arguments: str, prelude: str = "") -> CommandResult:
        """Runs `mngr transcript`, which must be answered by the program."""
        ran = self.mngr("transcript", *arguments, prelude=prelude)
        assert MNGRS_OWN not in ran.stderr, f"was left to mngr: {arguments}"
        return ran

    def mngrs(self, *arguments: str, prelude: str = "") -> CommandResult:
        """Runs `mngr transcript`, which must be answered by mngr as it would be without us."""
        ran = self.mngr("transcript", *arguments, prelude=prelude)
        assert ran.stderr.count(MNGRS_OWN) == 1, f"was not left to mngr: {arguments}\n{ran.stderr}"
        assert ran == self.without_ours(*arguments, prelude=prelude)
        return ran

    def without_ours(self, *arguments: str, prelude: str = "") -> CommandResult:
        ran = self.mngr("transcript", *arguments, prelude=WITHOUT_OURS + prelude)
        assert MNGRS_OWN in ran.stderr
        return ran

    def same(self, *arguments: str) -> str:
        """Runs ours, whose output and status must be those of mngr's own; gives the output."""
        ours, mngrs = self.ours(*arguments), self.without_ours(*arguments)
        assert (ours.status, ours.stdout) == (mngrs.status, mngrs.stdout)
        return ours.stdout


@pytest.fixture
def machine(tmp_path: Path, server: Path) -> Machine:
    """A machine without agents."""
    return Machine(tmp_path, server)


# -- the same output

ROLES = ((), ("user",), ("agent",), ("system",), ("tool",), ("user", "tool"), ("tool", "agent", "tool"))
WINDOWS = ((), ("--head", "1"), ("--head", "3"), ("--tail", "1"), ("--tail", "4"), ("--tail", "100000"))

STREAMS: dict[str, Callable[[], bytes]] = {
    "tools": lambda: recorded("tools.jsonl"),
    "unicode": lambda: recorded("unicode.jsonl"),
    "damaged": lambda: b"\n".join((b"", b"{broken", *recorded("image_input.jsonl").splitlines()[:5], b"{" + b"half")),
}


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS.values(), ids=list(STREAMS))
@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_all_combinations_give_what_mngr_gives(machine: Machine, stream: Callable[[], bytes], form: str) -> None:
    machine.agent(stream())
    seen = set()
    for roles, window in itertools.product(ROLES, WINDOWS):
        filters = [word for role in roles for word in ("--role", role)]
        seen.add(machine.same("t", "--format", form, *filters, *window))
    assert len(seen) >= 5


MORE_STREAMS = {
    **STREAMS,
    "nothing": lambda: b"",
    "ends of lines in texts": lambda: (
        convert(turn().assistant("a\u2028b\x85d").call(arguments='{"a":"\\u2028"}')).stdout
    ),
    "numbers": lambda: recorded("tools.jsonl").replace(b'"prompt_tokens":', b'"x":1.50e3,"y":-0.0,"prompt_tokens":'),
    "a subagent": lambda: recorded("spawn.jsonl"),
}


@pytest.mark.parametrize("stream", MORE_STREAMS.values(), ids=list(MORE_STREAMS))
def test_every_format_gives_what_mngr_gives(machine: Machine, stream: Callable[[], bytes]) -> None:
    machine.agent(stream())
    for form in ("json", "JSONL", "Jsonl"):
        machine.same("t", "--format", form)
        machine.same(ID, "--format", form, "--tail=2", "--full", "--no-preserved", "--headless")
    # This one may be left to mngr.
    ours, mngrs = (
        run("t", "--format", "atif") for run in (lambda *a: machine.mngr("transcript", *a), machine.without_ours)
    )
    assert (ours.status, ours.stdout) == (mngrs.status, mngrs.stdout)


def test_a_document_is_ours(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    document = json.loads(machine.same("t", "--format", "atif"))
    assert (document["agent"]["name"], document["trajectory_id"]) == ("codex", ID)


def test_a_document_that_is_left_to_mngr(machine: Machine) -> None:
    """The program sees only in the transcript that it cannot make it."""
    lines = recorded("tools.jsonl").splitlines(keepends=True)
    machine.agent(b"".join(lines[1:]))
    machine.mngrs("t", "--format", "atif")


def test_files_that_were_rotated(machine: Machine) -> None:
    lines = recorded("tools.jsonl").splitlines(keepends=True)
    file = machine.agent(b"".join(lines[10:]))
    file.with_name("events.jsonl.20261122070000000000").write_bytes(b"".join(lines[:10]))
    shown = machine.same("t", "--format", "jsonl")
    assert shown.count("\n") == len(lines)


def test_people_are_shown_the_programs_own_view(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    shown = machine.ours("t", "--tail", "2").stdout
    assert "Tools done." in shown and "\x1b" not in shown
    assert shown == machine.ours("t", "--tail", "2", "--no-pager", "--full").stdout
    assert shown != machine.without_ours("t", "--tail", "2").stdout


# -- what is mngr's


@pytest.mark.parametrize(
    "arguments",
    [
        ("--head", "1", "--tail", "1"),
        ("--tail", "0"),
        ("--tail", "x"),
        ("--role", "nobody"),
        ("--format", "atif", "--role", "user"),
        ("--format", "atif", "--tail", "1"),
        ("--format", "{name}"),
        ("--format", "xml"),
        ("--output", "x.json"),
        ("--preserved",),
        ("--preserved-only",),
        ("--preserved-only", "--no-preserved"),
        ("--quiet",),
        ("-v", "--format", "jsonl"),
        ("--safe",),
        ("--log-file", "x.log"),
        ("--log-commands",),
        ("--no-log-commands",),
        ("--disable-plugin", "nothing"),
        ("--enable-plugin", "mngr_codex"),
        ("-S", "nonsense"),
        ("--nonsense",),
        ("too", "many"),
    ],
    ids=" ".join,
)
def test_options_that_mngr_answers(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Wrong ones too: messages and status are those that mngr has for them."""
    machine.agent(recorded("plain.jsonl"))
    ran = machine.mngr("transcript", "t", *arguments)
    own = machine.mngr("transcript", "t", *arguments, prelude=WITHOUT_OURS)
    if "-v" in arguments:
        assert (ran.status, ran.stdout, MNGRS_OWN in ran.stderr) == (own.status, own.stdout, True)
    else:
        assert ran == own
    # Click itself refuses what it cannot parse.
    assert MNGRS_OWN in ran.stderr or ran.status == 2


@pytest.mark.parametrize(
    "target", ["t@localhost", "t@localhost.local", "t@nowhere", "@localhost", "localhost.local", "T"]
)
def test_targets_that_mngr_finds_or_does_not(machine: Machine, target: str) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.mngrs(target, "--format", "jsonl")


def test_an_agent_that_is_not_there(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    assert machine.mngrs("nobody").status == 1
    assert machine.mngrs(OTHER_ID).status != 0


def test_two_agents_of_one_name(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.agent(recorded("tools.jsonl"), agent_id=OTHER_ID)
    assert "Multiple agents" in machine.mngrs("t", "--format", "jsonl").stderr
    assert json.loads(machine.same(OTHER_ID, "--format", "json")) == records("tools.jsonl")


def test_an_agent_that_is_called_like_another_id(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"), name=OTHER_ID)
    machine.agent(recorded("tools.jsonl"), name="other", agent_id=OTHER_ID)
    assert json.loads(machine.same(OTHER_ID, "--format", "json")) == records("tools.jsonl")


def test_an_agent_of_another_type(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"), type="command")
    machine.agent(recorded("plain.jsonl"), type="no-such-type", name="u", agent_id=OTHER_ID)
    assert machine.mngrs("t").status == 1
    assert machine.mngrs("u").status == 1


def test_a_type_whose_parent_is_codex(machine: Machine) -> None:
    machine.settings('enabled_backends = ["local"]', '[agent_types.careful]\nparent_type = "codex"')
    machine.agent(recorded("plain.jsonl"), type="careful")
    machine.same("t", "--format", "json")
    assert json.loads(machine.same("t", "--format", "atif"))["agent"]["name"] == "careful"


def test_data_that_cannot_be_read(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    for number, text in enumerate(("{", "\0", '"t"', "[]", '{"name": 5, "id": []}', '{"name":"t","id":"agent-x"}')):
        broken = machine.host_dir / "agents" / f"agent-{number:032}" / "data.json"
        broken.parent.mkdir()
        broken.write_text(text)
    # The last one has the name, and mngr is to say whether it counts.
    ran = machine.mngr("transcript", "t", "--format", "jsonl")
    assert MNGRS_OWN in ran.stderr
    broken.unlink()
    # mngr 0.3.0 crashes at what is JSON and no object.
    assert machine.ours("t", "--format", "json").status == 0


def test_an_agent_without_a_transcript(machine: Machine) -> None:
    machine.agent()
    for form in ("human", "json", "jsonl", "atif"):
        ran = machine.mngrs("t", "--format", form)
        assert ran.status == 1 and "No common transcript" in ran.stderr


def test_several_transcripts(machine: Machine) -> None:
    file = machine.agent(recorded("plain.jsonl"))
    other = file.parents[2] / "other/common_transcript" / file.name
    other.parent.mkdir(parents=True)
    other.write_bytes(file.read_bytes())
    assert "Multiple common transcript sources" in machine.mngrs("t").stderr


def test_a_role_that_nothing_has(machine: Machine) -> None:
    machine.agent(b"".join(recorded("plain.jsonl").splitlines(keepends=True)[:2]))
    assert machine.same("t", "--format", "jsonl", "--role", "tool") == ""
    assert machine.same("t", "--format", "json", "--role", "tool") == "[]\n"


def test_a_form_that_mngr_no_longer_reads(machine: Machine) -> None:
    machine.agent(b'{"type":"user_message","content":"x"}\n')
    for form in ("human", "json", "jsonl", "atif"):
        assert machine.mngrs("t", "--format", form).status == 1


def test_a_type_that_no_agent_can_have(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"), type="no / type")
    machine.mngr("transcript", "t")
    ran = machine.mngr("transcript", "t", "-f")
    assert ran.status == 2


def test_an_agent_whose_transcript_mngr_embeds(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    labels = {"mngr_claude_subagent_proxy_parent_id": ID, "mngr_claude_subagent_proxy_tool_use_id": "x"}
    machine.agent(recorded("tools.jsonl"), name="child", agent_id=OTHER_ID, labels=labels)
    machine.mngrs("t", "--format", "atif")
    machine.same("child", "--format", "atif")
    machine.same("t", "--format", "json")


@pytest.mark.parametrize("what", ["None", "__import__('pathlib').Path('data')"], ids=["gone", "not executable"])
def test_without_the_program(machine: Machine, what: str) -> None:
    machine.agent(recorded("plain.jsonl"))
    (machine.folder / "data").touch(0o644)
    gone = f"import mngr_codex.plugin.host.program as e\ne.own_program = lambda: {what}\n"
    machine.mngrs("t", "--format", "jsonl", prelude=gone)
    ran = machine.mngr("transcript", "t", "--follow", prelude=gone)
    assert ran.status == 2 and "Install mngr-codex anew" in ran.stderr


def test_a_program_that_does_not_run(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    broken = machine.folder / "mngr-codex"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    path = f"__import__('pathlib').Path({str(broken)!r})"
    machine.mngrs("t", prelude=f"import mngr_codex.plugin.host.program as e\ne.own_program = lambda: {path}\n")


# -- hosts


def test_a_host_dir_of_the_settings(machine: Machine) -> None:
    """mngr reads the agents there, and so do we."""
    machine.agent(recorded("plain.jsonl"))
    machine.environment.pop("MNGR_HOST_DIR")
    elsewhere = machine.folder / "elsewhere"
    machine.settings('enabled_backends = ["local"]', f'default_host_dir = "{elsewhere}"')
    machine.mngrs("t")
    (machine.host_dir / "agents").rename(elsewhere / "agents")
    machine.same("t", "--format", "jsonl")


@pytest.mark.parametrize(
    "settings",
    [
        ('enabled_backends = ["ssh"]',),
        ('enabled_backends = ["local"]', '[providers.local]\nbackend = "local"\nis_enabled = false'),
        ('enabled_backends = ["local"]', '[providers.second]\nbackend = "local"\nhost_dir = "~/second"'),
        ('enabled_backends = ["local"]', '[providers.local]\nbackend = "local"\nhost_dir = "~/second"'),
    ],
    ids=["other backend", "disabled", "second", "elsewhere"],
)
def test_providers_of_the_settings(machine: Machine, settings: tuple[str, ...]) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.settings(*settings)
    machine.mngrs("t", "--format", "jsonl")


def log_of(machine: Machine, *agents: tuple[str, str, str]) -> None:
    """Writes, as mngr does, what it has found: agents with their names and providers."""
    from imbue.mngr.api.discovery_events import make_agent_discovery_event
    from imbue.mngr.primitives import AgentId, AgentName, DiscoveredAgent, HostId, ProviderInstanceName

    log = machine.host_dir / "events/mngr/discovery/events.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as lines:
        for agent_id, name, provider in agents:
            found = DiscoveredAgent(
                host_id=HostId("host-" + ("a" if provider == "local" else "b") * 32),
                agent_id=AgentId(agent_id),
                agent_name=AgentName(name),
                provider_name=ProviderInstanceName(provider),
            )
            lines.write(make_agent_discovery_event(found).model_dump_json() + "\n")


REMOTE = ('enabled_backends = ["local", "ssh"]',)


def test_where_there_are_other_hosts_mngrs_log_tells_whether_to_look_there(machine: Machine) -> None:
    machine.settings(*REMOTE)
    machine.agent(recorded("plain.jsonl"))
    machine.mngrs("t", "--format", "jsonl")
    log_of(machine, (OTHER_ID, "other", "ssh"))
    machine.mngrs("t", "--format", "jsonl")
    log_of(machine, (ID, "t", "local"))
    machine.same("t", "--format", "jsonl")
    machine.same(ID, "--format", "jsonl")
    log_of(machine, (OTHER_ID, "t", "ssh"))
    machine.mngrs("t", "--format", "jsonl")
    machine.same(ID, "--format", "jsonl")


def test_an_agent_of_another_host_that_was_renamed_is_forgotten(machine: Machine) -> None:
    """Not at a glance: mngr itself reads its log then."""
    machine.settings(*REMOTE)
    machine.agent(recorded("plain.jsonl"))
    log_of(machine, (OTHER_ID, "t", "ssh"), (OTHER_ID, "renamed", "ssh"), (ID, "t", "local"))
    machine.same("t", "--format", "jsonl")


# -- settings


def test_defaults_of_the_settings(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    backends = 'enabled_backends = ["local"]\n[commands.transcript]'
    machine.settings(backends, 'output_format = "json"', "tail = 2", 'role = ["user"]')
    assert [record["source"] for record in json.loads(machine.same("t"))] == ["user"]
    assert len(json.loads(machine.same("t", "--role", "agent"))) == 2
    assert machine.same("t", "--tail", "1", "--format", "jsonl").count("\n") == 1
    machine.mngrs("t", "--head", "1")
    machine.settings(backends, 'output-format = "jsonl"', 'head = "3"')
    assert machine.same("t").count("\n") == 3
    machine.settings(backends, 'output_format = "atif"')
    machine.same("t")


@pytest.mark.parametrize(
    "default",
    [
        "preserved = true",
        "tail = 0",
        'tail = "many"',
        'role = ["nobody"]',
        'role = "user"',
        "bogus = 1",
        "quiet = true",
    ],
)
def test_defaults_that_are_mngrs_business(machine: Machine, default: str) -> None:
    machine.agent(recorded("tools.jsonl"))
    machine.settings('enabled_backends = ["local"]', f"[commands.transcript]\n{default}")
    ran, own = (machine.mngr("transcript", "t", prelude=prelude) for prelude in ("", WITHOUT_OURS))
    assert MNGRS_OWN in ran.stderr
    assert (ran.status, ran.stdout) == (own.status, own.stdout)


def test_settings_of_the_command_line_and_the_environment(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    assert machine.same("t", "-S", "commands.transcript.tail=2", "--format", "jsonl").count("\n") == 2
    machine.environment["MNGR__COMMANDS__TRANSCRIPT__OUTPUT_FORMAT"] = "jsonl"
    assert machine.same("t", "--head", "2").count("\n") == 2
    assert MNGRS_OWN in machine.mngr("transcript", "t", "-S", "providers.second.backend=local").stderr


def test_settings_that_are_wrong(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.settings('enabled_backends = ["local"]', "[commands.transcript]\nnonsense = 1")
    ran = machine.mngr("transcript", "t")
    assert ran.status == 1 and MNGRS_OWN in ran.stderr
    assert ran.stderr.count("Unknown parameter 'nonsense'") == 1
    machine.environment["MNGR_ALLOW_UNKNOWN_CONFIG"] = "1"
    assert machine.ours("t").status == 0
    assert machine.mngr("transcript", "t", "--preserved").stderr.count("Unknown parameter 'nonsense'") == 1
    del machine.environment["MNGR_ALLOW_UNKNOWN_CONFIG"]
    machine.settings('enabled_backends = ["local"]', "nonsense = 1")
    assert machine.mngrs("t").status == 1


def test_scripts_that_run_before_the_command(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.settings('enabled_backends = ["local"]', '[pre_command_scripts]\ntranscript = ["echo x >>ran"]')
    ran = machine.mngr("transcript", "t")
    assert ran.status == 0 and MNGRS_OWN in ran.stderr
    assert (machine.folder / "ran").read_text() == "x\n"


def test_follow_by_default(machine: Machine) -> None:
    """A setting that cannot be followed is passed over."""
    machine.settings('enabled_backends = ["local"]', "[commands.transcript]\nfollow = true\nno_pager = true")
    machine.agent(recorded("plain.jsonl"))
    machine.agent(type="command", name="u", agent_id=OTHER_ID)
    for arguments in (("t", "--format", "json"), ("t", "--head", "1"), ("u",)):
        ran = machine.mngr("transcript", *arguments)
        assert MNGRS_OWN in ran.stderr and "--follow" not in ran.stderr


def seen_in_a_terminal(machine: Machine, *arguments: str) -> str:
    """What a person sees, without its colours."""
    mngr = Path(sys.executable).with_name("mngr")
    controlling, terminal = pty.openpty()
    environment = {**machine.environment, "TERM": "xterm"}
    command: list[str | Path] = [mngr, "transcript", "t", *arguments]
    with subprocess.Popen(command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal) as running:
        os.close(terminal)
        shown = b""
        # What is read from a terminal that all others have left is an error.
        with contextlib.suppress(OSError):
            while more := os.read(controlling, 65536):
                shown += more
        os.close(controlling)
    assert running.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


def test_the_pager_of_the_settings(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    machine.settings('enabled_backends = ["local"]', "pager = \"sed 's/^/| /'\"")
    assert "|   Tools done." in seen_in_a_terminal(machine)
    for arguments in (("--no-pager",), ("--headless",), ("--format", "jsonl")):
        shown = seen_in_a_terminal(machine, *arguments)
        assert "Tools done." in shown and "\n| " not in shown


# -- plugins

WATCHER = """
from imbue.mngr import hookimpl
from imbue.mngr.main import get_or_create_plugin_manager
class Watcher:
    def say(self, what, name, params):
        with open("seen", "a") as file:
            file.write(f"{what} {name} {params['tail']} {params['role']}\\n")
"""


def watcher(*hooks: str) -> str:
    methods = [
        f"    @hookimpl\n    def {hook}(self, command_name, command_params):\n"
        f"        self.say({hook!r}, command_name, command_params)\n"
        for hook in hooks
    ]
    return WATCHER + "".join(methods) + "get_or_create_plugin_manager().register(Watcher())\n"


@pytest.mark.parametrize(
    ("hooks", "arguments"),
    [
        (("on_before_command",), ("--tail", "2")),
        (("on_before_command", "on_after_command", "on_error"), ("--tail", "2")),
        (("on_before_command", "on_after_command"), ("--format", "atif")),
    ],
)
def test_plugins_that_watch_commands(machine: Machine, hooks: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """They are told the same as by mngr's own."""
    machine.agent(recorded("tools.jsonl"))
    seen = machine.folder / "seen"
    told = []
    for prelude in ("", WITHOUT_OURS):
        ran = machine.mngr("transcript", "t", *arguments, prelude=prelude + watcher(*hooks))
        assert (MNGRS_OWN in ran.stderr) == (bool(prelude) or "atif" in arguments)
        assert ran.status == 0 and ran.stdout
        told.append(seen.read_text())
        seen.unlink()
    assert told[0] == told[1]
    assert [line.split()[0] for line in told[0].splitlines()] == [hook for hook in hooks if hook != "on_error"]


def test_plugins_are_told_of_an_error(machine: Machine) -> None:
    machine.agent(b"[1]\n")
    assert machine.ours("t", "--format", "json", prelude=watcher("on_error")).status == 1
    assert (machine.folder / "seen").read_text().startswith("on_error transcript None")


def test_a_plugin_that_changes_options(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    changes = """
from imbue.mngr import hookimpl
from imbue.mngr.main import get_or_create_plugin_manager
class Changes:
    @hookimpl
    def override_command_options(self, command_name, command_class, params):
        params["tail"] = 3
get_or_create_plugin_manager().register(Changes())
"""
    shown = machine.ours("t", "--format", "jsonl", prelude=changes).stdout
    assert shown == machine.without_ours("t", "--format", "jsonl", prelude=changes).stdout
    assert shown.count("\n") == 3


OPTION = """
import click
from imbue.mngr.main import cli
for command in {id(each): each for each in (cli.commands["transcript"], transcript)}.values():
    command.params.append(click.Option(["--theirs"], default="x"))
"""


def test_another_plugins_option(machine: Machine) -> None:
    prelude = "from imbue.mngr.cli.transcript import transcript\n" + OPTION
    machine.agent(recorded("plain.jsonl"))
    machine.ours("t", prelude=prelude)
    machine.mngrs("t", "--theirs", "y", "--format", "jsonl", prelude=prelude)


# -- follow


def test_follow_goes_with_codex_agents_of_this_machine_only(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.agent(recorded("plain.jsonl"), type="command", name="u", agent_id=OTHER_ID)
    for target in ("u", "nobody", "t@localhost", "@localhost"):
        for word in ("--follow", "-f"):
            ran = machine.mngr("transcript", target, word)
            assert (ran.status, ran.stdout) == (2, "")
            assert "--follow goes with codex agents of this machine only" in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--format", "json"),
        ("--format", "atif"),
        ("--head", "1"),
        ("--preserved",),
        ("--output", "x"),
        ("--safe",),
        ("--role", "nobody"),
    ],
    ids=" ".join,
)
def test_what_does_not_go_with_follow(machine: Machine, arguments: tuple[str, ...]) -> None:
    machine.agent(recorded("plain.jsonl"))
    ran = machine.mngr("transcript", "t", "--follow", *arguments)
    assert (ran.status, ran.stdout) == (2, "")
    assert MNGRS_OWN not in ran.stderr and "Error: " in ran.stderr and not ran.stderr.endswith("Error: \n")


def test_following(machine: Machine) -> None:
    """A transcript that is not there yet, of an agent that mngr's log does not know."""
    machine.settings(*REMOTE)
    file = machine.agent()
    lines = recorded("tools.jsonl").splitlines(keepends=True)
    mngr = Path(sys.executable).with_name("mngr")
    command: list[str | Path] = [mngr, "transcript", "t", "--follow", "--format", "jsonl"]
    shown = machine.folder / "shown"
    with shown.open("wb") as out, subprocess.Popen(command, env=machine.environment, stdout=out) as running:
        try:
            file.parent.mkdir(parents=True)
            file.write_bytes(lines[0])
            until(lambda: shown.read_bytes() == lines[0], what="the first record")
            with file.open("ab") as more:
                more.write(b"".join(lines[1:5]))
            until(lambda: shown.read_bytes() == b"".join(lines[:5]), what="what was added")
            running.send_signal(signal.SIGINT)
            until(lambda: running.poll() is not None, what="the end")
        finally:
            running.kill()
    assert shown.read_bytes() == b"".join(lines[:5])


# -- the command itself


def test_help_tells_of_ours(machine: Machine) -> None:
    for arguments in (("transcript", "--help"), ("help", "transcript")):
        shown = machine.mngr(*arguments).stdout
        options, _, rest = shown.partition("Codex agents of this machine\n")
        assert "--preserved-only" in options and "--tail" in options
        assert "--follow, -f" in rest and "--no-pager" in rest
        assert "mngr transcript TARGET --follow" in shown


def test_ours_takes_the_place_of_mngrs_command() -> None:
    from imbue.mngr.cli.transcript import transcript
    from imbue.mngr.main import cli

    ours = cli.commands["transcript"]
    assert isinstance(ours, click.Command) and ours is not transcript
    assert {param.name for param in ours.params} - {param.name for param in transcript.params} == {"follow", "no_pager"}
    assert all(param in ours.params for param in transcript.params)


def later(mngrs: click.Command, change: Callable[[click.Command], None]) -> click.Command:
    changed = copy.copy(mngrs)
    changed.params = list(mngrs.params)
    change(changed)
    return changed


def drop(command: click.Command) -> None:
    command.params = [param for param in command.params if param.name != "full"]


@pytest.mark.parametrize(
    "change",
    [
        lambda command: command.params.append(click.Option(["--since"])),
        lambda command: command.params.append(click.Option(["--log-format", "-f"], expose_value=False)),
        lambda command: command.params.append(click.Argument(["more"])),
        drop,
    ],
    ids=["another option", "a word of ours", "another argument", "one less"],
)
def test_a_later_mngr_keeps_its_command(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[click.Command], None]
) -> None:
    import imbue.mngr.cli.transcript as mngrs

    import mngr_codex.plugin
    from mngr_codex.plugin.cli.codex import codex
    from mngr_codex.plugin.cli.transcript import command

    assert command() is not None
    monkeypatch.setattr(mngrs, "transcript", later(mngrs.transcript, change))
    assert command() is None
    assert mngr_codex.plugin.register_cli_commands() == [codex]


def test_an_mngr_whose_command_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from mngr_codex.plugin.cli.transcript import command

    monkeypatch.setitem(sys.modules, "imbue.mngr.cli.transcript", ModuleType("imbue.mngr.cli.transcript"))
    assert command() is None


def test_an_mngr_that_is_another_inside(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    other = "import imbue.mngr.config.agent_config_registry as registry\ndel registry.resolve_agent_type\n"
    machine.mngrs("t", "--format", "jsonl", prelude=other)
    ran = machine.mngr("transcript", "t", "-f", prelude=other)
    assert ran.status == 2 and "does not get along with this mngr" in ran.stderr


def test_mngr_as_a_library_keeps_its_process(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    library = """
import io
sys.stdout = shown = io.StringIO()
try:
    cli(["transcript", "t", "--format", "json"], prog_name="mngr")
except SystemExit:
    pass
sys.stdout = sys.__stdout__
print(len(shown.getvalue()))
sys.exit(0)
"""
    shown = machine.same("t", "--format", "json")
    ran = machine.mngr(prelude=library)
    assert (ran.status, ran.stdout) == (0, f"{len(shown)}\n")


def test_another_plugins_command_of_that_name_comes_before_ours() -> None:
    import pluggy
    from imbue.mngr import hookimpl
    from imbue.mngr.plugins import hookspecs

    import mngr_codex.plugin

    class Other:
        @hookimpl
        def register_cli_commands(self) -> list[click.Command]:
            return [click.Command("transcript")]

    other = Other()
    for plugins in itertools.permutations((mngr_codex.plugin, other)):
        manager = pluggy.PluginManager("mngr")
        manager.add_hookspecs(hookspecs)
        for plugin in plugins:
            manager.register(plugin)
        # mngr puts one over the other, in this order.
        registered = [each for commands in manager.hook.register_cli_commands() for each in commands]
        assert [len(each.params) for each in registered if each.name == "transcript"][-1] == 0


# -- mngr codex transcript


def test_the_programs_own_command(machine: Machine) -> None:
    file = machine.agent(recorded("tools.jsonl"))
    ran = machine.mngr("codex", "transcript", "t", "--format", "jsonl", "--tail", "1")
    assert (ran.status, ran.stdout.encode()) == (0, file.read_bytes().splitlines(keepends=True)[-1])
    assert "rollout" in machine.mngr("codex", "transcript", "--help").stdout
