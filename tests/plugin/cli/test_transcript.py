"""``mngr transcript``: the program handles local Codex agents with mngr's output, and mngr handles everything else."""

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
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from tests.support.machine import CommandResult, MngrServer, until
from tests.support.program import convert, convert_file
from tests.support.recordings import DATA
from tests.support.rollout_builder import turn
from tests.support.transcript_machine import BY_MNGR, TRANSCRIPT, WITHOUT_PLUGIN, TranscriptMachine, write_agent

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

ID = "agent-" + "1" * 32
OTHER_ID = "agent-" + "2" * 32


def recorded(name: str) -> bytes:
    return convert_file(DATA / "0.163.0" / name).stdout


def records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in recorded(name).splitlines()]


class Machine(TranscriptMachine):
    """A user's machine, on which both commands can be compared."""

    def agent(self, stream: bytes | None = None, *, agent_id: str = ID, **data: Any) -> Path:
        """Creates an agent and returns the path of its transcript."""
        return write_agent(self.host_dir, stream, agent_id=agent_id, work_dir=self.folder, **data) / TRANSCRIPT

    def as_mngr(self, *arguments: str, prelude: str = "") -> CommandResult:
        """Runs ``mngr transcript``, which mngr must handle exactly as without the plugin."""
        ran = self.by_mngr(*arguments, prelude=prelude)
        assert ran == self.without_plugin(*arguments, prelude=prelude)
        return ran

    def same_output(self, *arguments: str) -> str:
        """Runs ``mngr transcript`` with and without the plugin, compares output and status, and returns the output."""
        ran, expected = self.by_program(*arguments), self.without_plugin(*arguments)
        assert (ran.status, ran.stdout) == (expected.status, expected.stdout)
        return ran.stdout


@pytest.fixture
def machine(tmp_path: Path, server: MngrServer) -> Machine:
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
def test_all_combinations_print_the_same_as_mngr(machine: Machine, stream: Callable[[], bytes], form: str) -> None:
    machine.agent(stream())
    seen = set()
    for roles, window in itertools.product(ROLES, WINDOWS):
        filters = [word for role in roles for word in ("--role", role)]
        seen.add(machine.same_output("t", "--format", form, *filters, *window))
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
def test_every_format_prints_the_same_as_mngr(machine: Machine, stream: Callable[[], bytes]) -> None:
    machine.agent(stream())
    for form in ("json", "JSONL", "Jsonl"):
        machine.same_output("t", "--format", form)
        machine.same_output(ID, "--format", form, "--tail=2", "--full", "--no-preserved", "--headless")
    # The program may decline this one.
    ours, mngrs = (
        run("t", "--format", "atif") for run in (lambda *a: machine.mngr("transcript", *a), machine.without_plugin)
    )
    assert (ours.status, ours.stdout) == (mngrs.status, mngrs.stdout)


def test_the_program_handles_a_document(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    document = json.loads(machine.same_output("t", "--format", "atif"))
    assert (document["agent"]["name"], document["trajectory_id"]) == ("codex", ID)


def test_the_program_declines_a_document(machine: Machine) -> None:
    """The program notices only in the transcript that it cannot create it like mngr."""
    lines = recorded("tools.jsonl").splitlines(keepends=True)
    machine.agent(b"".join(lines[1:]))
    machine.as_mngr("t", "--format", "atif")


def test_rotated_files(machine: Machine) -> None:
    lines = recorded("tools.jsonl").splitlines(keepends=True)
    file = machine.agent(b"".join(lines[10:]))
    file.with_name("events.jsonl.20261122070000000000").write_bytes(b"".join(lines[:10]))
    shown = machine.same_output("t", "--format", "jsonl")
    assert shown.count("\n") == len(lines)


def test_the_human_format_is_the_programs_own(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    shown = machine.by_program("t", "--tail", "2").stdout
    assert "Tools done." in shown and "\x1b" not in shown
    assert shown == machine.by_program("t", "--tail", "2", "--no-pager", "--full").stdout
    assert shown != machine.without_plugin("t", "--tail", "2").stdout


def test_times_are_local_or_in_utc(machine: Machine) -> None:
    machine.environment["TZ"] = "EST5"
    machine.agent(recorded("tools.jsonl"))
    assert "[2026-11-22, EST]\n02:15:02 " in machine.by_program("t").stdout
    assert "[2026-11-22, UTC]\n07:15:02 " in machine.by_program("t", "--utc").stdout
    # mngr shows UTC anyway.
    shown = machine.by_program("t", "--format", "json", "--utc").stdout
    assert shown == machine.without_plugin("t", "--format", "json").stdout


# -- calls that mngr handles


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
def test_options_that_mngr_handles(machine: Machine, arguments: tuple[str, ...]) -> None:
    """This includes invalid ones, which have mngr's messages and status."""
    machine.agent(recorded("plain.jsonl"))
    ran = machine.mngr("transcript", "t", *arguments)
    own = machine.mngr("transcript", "t", *arguments, prelude=WITHOUT_PLUGIN)
    if "-v" in arguments:
        assert (ran.status, ran.stdout, BY_MNGR in ran.stderr) == (own.status, own.stdout, True)
    else:
        assert ran == own
    # Click rejects options that it cannot parse.
    assert BY_MNGR in ran.stderr or ran.status == 2


@pytest.mark.parametrize("target", ["t@localhost", "t@localhost.local"])
def test_a_target_with_the_host(machine: Machine, target: str) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.same_output(target, "--format", "jsonl")


@pytest.mark.parametrize("target", ["t@nowhere", "@localhost", "localhost.local", "T"])
def test_targets_that_only_mngr_resolves(machine: Machine, target: str) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.as_mngr(target, "--format", "jsonl")


def test_an_unknown_agent(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    assert machine.as_mngr("nobody").status == 1
    assert machine.as_mngr(OTHER_ID).status != 0


def test_two_agents_with_the_same_name(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.agent(recorded("tools.jsonl"), agent_id=OTHER_ID)
    assert "Multiple agents" in machine.as_mngr("t", "--format", "jsonl").stderr
    assert json.loads(machine.same_output(OTHER_ID, "--format", "json")) == records("tools.jsonl")


def test_an_agent_named_like_the_id_of_another_one(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"), name=OTHER_ID)
    machine.agent(recorded("tools.jsonl"), name="other", agent_id=OTHER_ID)
    assert json.loads(machine.same_output(OTHER_ID, "--format", "json")) == records("tools.jsonl")


def test_an_agent_of_another_type(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"), type="command")
    machine.agent(recorded("plain.jsonl"), type="no-such-type", name="u", agent_id=OTHER_ID)
    assert machine.as_mngr("t").status == 1
    assert machine.as_mngr("u").status == 1


def test_a_type_derived_from_codex(machine: Machine) -> None:
    machine.settings('enabled_backends = ["local"]', '[agent_types.careful]\nparent_type = "codex"')
    machine.agent(recorded("plain.jsonl"), type="careful")
    machine.same_output("t", "--format", "json")
    assert json.loads(machine.same_output("t", "--format", "atif"))["agent"]["name"] == "careful"


def test_unreadable_data(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    for number, text in enumerate(("{", "\0", '"t"', "[]", '{"name": 5, "id": []}', '{"name":"t","id":"agent-x"}')):
        broken = machine.host_dir / "agents" / f"agent-{number:032}" / "data.json"
        broken.parent.mkdir()
        broken.write_text(text)
    # The last one has the name, and mngr decides whether it counts.
    ran = machine.mngr("transcript", "t", "--format", "jsonl")
    assert BY_MNGR in ran.stderr
    broken.unlink()
    # mngr 0.3.0 crashes on JSON that is not an object.
    assert machine.by_program("t", "--format", "json").status == 0


def test_an_agent_without_a_transcript(machine: Machine) -> None:
    machine.agent()
    for form in ("human", "json", "jsonl", "atif"):
        ran = machine.as_mngr("t", "--format", form)
        assert ran.status == 1 and "No common transcript" in ran.stderr


def test_several_transcripts(machine: Machine) -> None:
    file = machine.agent(recorded("plain.jsonl"))
    other = file.parents[2] / "other/common_transcript" / file.name
    other.parent.mkdir(parents=True)
    other.write_bytes(file.read_bytes())
    assert "Multiple common transcript sources" in machine.as_mngr("t").stderr


def test_the_log_of_a_script_is_no_transcript(machine: Machine) -> None:
    file = machine.agent(recorded("plain.jsonl"))
    log = file.parents[2] / "logs/common_transcript" / file.name
    log.parent.mkdir(parents=True)
    log.write_text('{"type":"common_transcript","source":"logs/common_transcript","level":"INFO"}\n')
    assert machine.same_output("t", "--format", "jsonl")


def test_a_role_without_records(machine: Machine) -> None:
    machine.agent(b"".join(recorded("plain.jsonl").splitlines(keepends=True)[:2]))
    assert machine.same_output("t", "--format", "jsonl", "--role", "tool") == ""
    assert machine.same_output("t", "--format", "json", "--role", "tool") == "[]\n"


def test_a_legacy_format(machine: Machine) -> None:
    machine.agent(b'{"type":"user_message","content":"x"}\n')
    for form in ("human", "json", "jsonl", "atif"):
        assert machine.as_mngr("t", "--format", form).status == 1


def test_an_impossible_type(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"), type="no / type")
    machine.mngr("transcript", "t")
    ran = machine.mngr("transcript", "t", "-f")
    assert ran.status == 2


def test_an_agent_whose_transcript_mngr_embeds(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    labels = {"mngr_claude_subagent_proxy_parent_id": ID, "mngr_claude_subagent_proxy_tool_use_id": "x"}
    machine.agent(recorded("tools.jsonl"), name="child", agent_id=OTHER_ID, labels=labels)
    machine.as_mngr("t", "--format", "atif")
    machine.same_output("child", "--format", "atif")
    machine.same_output("t", "--format", "json")


@pytest.mark.parametrize("program", ["None", "__import__('pathlib').Path('data')"], ids=["gone", "not executable"])
def test_without_the_program(machine: Machine, program: str) -> None:
    machine.agent(recorded("plain.jsonl"))
    (machine.folder / "data").touch(0o644)
    prelude = f"import mngr_codex.plugin.host.program as e\ne.own_program = lambda: {program}\n"
    machine.as_mngr("t", "--format", "jsonl", prelude=prelude)
    ran = machine.mngr("transcript", "t", "--follow", prelude=prelude)
    assert ran.status == 2 and "reinstall mngr-codex" in ran.stderr


@pytest.fixture
def broken_program(machine: Machine) -> str:
    """A prelude that replaces the program with a file that the system cannot execute."""
    broken = machine.folder / "mngr-codex"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    return (
        "import pathlib\nimport mngr_codex.plugin.host.program as e\n"
        f"e.own_program = lambda: pathlib.Path({str(broken)!r})\n"
    )


def test_a_broken_program(machine: Machine, broken_program: str) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.as_mngr("t", prelude=broken_program)
    machine.as_mngr("t", prelude=broken_program + observer("on_after_command"))


@pytest.mark.parametrize("hooks", [("on_before_command",), ("on_before_command", "on_error")])
def test_with_a_broken_program_plugins_are_notified_once(
    machine: Machine, broken_program: str, hooks: tuple[str, ...]
) -> None:
    machine.agent(recorded("plain.jsonl"))
    ran = machine.mngr("transcript", "t", prelude=broken_program + observer(*hooks))
    assert ran.status == 1 and BY_MNGR not in ran.stderr
    assert "cannot run" in ran.stderr and "hint: reinstall mngr-codex" in ran.stderr
    calls = (machine.folder / "seen").read_text().splitlines()
    assert [call.split()[0] for call in calls] == list(hooks)


# -- hosts


def test_a_host_dir_of_the_settings(machine: Machine) -> None:
    """mngr and the plugin read the agents there."""
    machine.agent(recorded("plain.jsonl"))
    machine.environment.pop("MNGR_HOST_DIR")
    elsewhere = machine.folder / "elsewhere"
    machine.settings('enabled_backends = ["local"]', f'default_host_dir = "{elsewhere}"')
    machine.as_mngr("t")
    (machine.host_dir / "agents").rename(elsewhere / "agents")
    machine.same_output("t", "--format", "jsonl")


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
    """The agent is found where mngr finds it, if it does."""
    machine.agent(recorded("plain.jsonl"))
    machine.settings(*settings)
    ran = machine.mngr("transcript", "t", "--format", "jsonl")
    own = machine.without_plugin("t", "--format", "jsonl")
    assert (ran.status, ran.stdout) == (own.status, own.stdout)


def log_of(machine: Machine, *agents: tuple[str, str, str], data: dict[str, Any] | None = None) -> None:
    """Writes mngr's discovery log: agents with their names and providers."""
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
                certified_data=data or {},
            )
            lines.write(make_agent_discovery_event(found).model_dump_json() + "\n")


REMOTE = ('enabled_backends = ["local", "ssh"]',)


#: Announces that mngr looks for an agent on all hosts where it may be.
SEARCHES = "(mngr searches)"
SEARCH_PROBE = f"""
import imbue.mngr.api.find as find
def searching(*arguments, original=find.find_one_agent_and_agents_by_host):
    print({SEARCHES!r}, file=sys.stderr, flush=True)
    return original(*arguments)
find.find_one_agent_and_agents_by_host = searching
"""


def test_with_other_hosts_mngrs_log_decides_whether_other_hosts_are_searched(machine: Machine) -> None:
    machine.settings(*REMOTE)
    machine.agent(recorded("plain.jsonl"))

    def searches(target: str) -> bool:
        machine.same_output(target, "--format", "jsonl")
        return SEARCHES in machine.by_program(target, prelude=SEARCH_PROBE).stderr

    assert searches("t")
    log_of(machine, (OTHER_ID, "other", "ssh"))
    assert searches("t")
    log_of(machine, (ID, "t", "local"))
    assert not searches("t") and not searches(ID)
    log_of(machine, (OTHER_ID, "t", "ssh"))
    assert searches("t") and not searches(ID)


def test_an_agent_of_another_type_on_another_host_is_left_to_mngr(machine: Machine) -> None:
    """The log names its type, so only mngr connects to its host."""
    machine.settings(*REMOTE)
    log_of(machine, (OTHER_ID, "u", "ssh"), data={"type": "claude"})
    assert machine.as_mngr("u", prelude=SEARCH_PROBE).stderr.count(SEARCHES) == 1


def test_a_renamed_agent_of_another_host_is_not_a_candidate(machine: Machine) -> None:
    """The quick search is inconclusive, so mngr reads its log."""
    machine.settings(*REMOTE)
    machine.agent(recorded("plain.jsonl"))
    log_of(machine, (OTHER_ID, "t", "ssh"), (OTHER_ID, "renamed", "ssh"), (ID, "t", "local"))
    machine.same_output("t", "--format", "jsonl")


# -- settings


def test_defaults_from_the_settings(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    backends = 'enabled_backends = ["local"]\n[commands.transcript]'
    machine.settings(backends, 'output_format = "json"', "tail = 2", 'role = ["user"]')
    assert [record["source"] for record in json.loads(machine.same_output("t"))] == ["user"]
    assert len(json.loads(machine.same_output("t", "--role", "agent"))) == 2
    assert machine.same_output("t", "--tail", "1", "--format", "jsonl").count("\n") == 1
    machine.as_mngr("t", "--head", "1")
    machine.settings(backends, 'output-format = "jsonl"', 'head = "3"')
    assert machine.same_output("t").count("\n") == 3
    machine.settings(backends, 'output_format = "atif"')
    machine.same_output("t")


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
def test_defaults_that_mngr_handles(machine: Machine, default: str) -> None:
    machine.agent(recorded("tools.jsonl"))
    machine.settings('enabled_backends = ["local"]', f"[commands.transcript]\n{default}")
    ran, own = (machine.mngr("transcript", "t", prelude=prelude) for prelude in ("", WITHOUT_PLUGIN))
    assert BY_MNGR in ran.stderr
    assert (ran.status, ran.stdout) == (own.status, own.stdout)


def test_settings_from_the_command_line_and_the_environment(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    assert machine.same_output("t", "-S", "commands.transcript.tail=2", "--format", "jsonl").count("\n") == 2
    machine.environment["MNGR__COMMANDS__TRANSCRIPT__OUTPUT_FORMAT"] = "jsonl"
    assert machine.same_output("t", "--head", "2").count("\n") == 2
    assert BY_MNGR in machine.mngr("transcript", "t", "-S", "providers.second.backend=local").stderr


def test_invalid_settings(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.settings('enabled_backends = ["local"]', "[commands.transcript]\nnonsense = 1")
    ran = machine.mngr("transcript", "t")
    assert ran.status == 1 and BY_MNGR in ran.stderr
    assert ran.stderr.count("Unknown parameter 'nonsense'") == 1
    machine.environment["MNGR_ALLOW_UNKNOWN_CONFIG"] = "1"
    assert machine.by_program("t").status == 0
    assert machine.mngr("transcript", "t", "--preserved").stderr.count("Unknown parameter 'nonsense'") == 1
    del machine.environment["MNGR_ALLOW_UNKNOWN_CONFIG"]
    machine.settings('enabled_backends = ["local"]', "nonsense = 1")
    assert machine.as_mngr("t").status == 1


def test_scripts_that_run_before_the_command(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.settings('enabled_backends = ["local"]', '[pre_command_scripts]\ntranscript = ["echo x >>ran"]')
    ran = machine.mngr("transcript", "t")
    assert ran.status == 0 and BY_MNGR in ran.stderr
    assert (machine.folder / "ran").read_text() == "x\n"


def test_follow_by_default(machine: Machine) -> None:
    """The setting is ignored if the transcript cannot be followed."""
    machine.settings('enabled_backends = ["local"]', "[commands.transcript]\nfollow = true\nno_pager = true")
    machine.agent(recorded("plain.jsonl"))
    machine.agent(type="command", name="u", agent_id=OTHER_ID)
    for arguments in (("t", "--format", "json"), ("t", "--head", "1"), ("u",)):
        ran = machine.mngr("transcript", *arguments)
        assert BY_MNGR in ran.stderr and "--follow" not in ran.stderr


def shown_in_a_terminal(machine: Machine, *arguments: str) -> str:
    """Returns the output in a terminal, without colors."""
    mngr = Path(sys.executable).with_name("mngr")
    controlling, terminal = pty.openpty()
    environment = {**machine.environment, "TERM": "xterm"}
    command: list[str | Path] = [mngr, "transcript", "t", *arguments]
    with subprocess.Popen(command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal) as running:
        os.close(terminal)
        shown = b""
        # Reading fails once no other process has the terminal open.
        with contextlib.suppress(OSError):
            while more := os.read(controlling, 65536):
                shown += more
        os.close(controlling)
    assert running.returncode == 0, shown
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


def test_the_pager_from_the_settings(machine: Machine) -> None:
    machine.agent(recorded("tools.jsonl"))
    machine.settings('enabled_backends = ["local"]', "pager = \"sed 's/^/| /'\"")
    assert "|   Tools done." in shown_in_a_terminal(machine)
    for arguments in (("--no-pager",), ("--headless",), ("--format", "jsonl")):
        shown = shown_in_a_terminal(machine, *arguments)
        assert "Tools done." in shown and "\n| " not in shown


# -- plugins

OBSERVER = """
from imbue.mngr import hookimpl
from imbue.mngr.main import get_or_create_plugin_manager
class Observer:
    def record(self, hook, name, params):
        with open("seen", "a") as file:
            file.write(f"{hook} {name} {params['tail']} {params['role']}\\n")
"""


def observer(*hooks: str) -> str:
    methods = [
        f"    @hookimpl\n    def {hook}(self, command_name, command_params):\n"
        f"        self.record({hook!r}, command_name, command_params)\n"
        for hook in hooks
    ]
    return OBSERVER + "".join(methods) + "get_or_create_plugin_manager().register(Observer())\n"


@pytest.mark.parametrize(
    ("hooks", "arguments"),
    [
        (("on_before_command",), ("--tail", "2")),
        (("on_before_command", "on_after_command", "on_error"), ("--tail", "2")),
        (("on_before_command", "on_after_command"), ("--format", "atif")),
    ],
)
def test_plugins_that_observe_commands(machine: Machine, hooks: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Their hooks are called exactly like by mngr's own command."""
    machine.agent(recorded("tools.jsonl"))
    seen = machine.folder / "seen"
    calls = []
    for prelude in ("", WITHOUT_PLUGIN):
        ran = machine.mngr("transcript", "t", *arguments, prelude=prelude + observer(*hooks))
        assert (BY_MNGR in ran.stderr) == (bool(prelude) or "atif" in arguments)
        assert ran.status == 0 and ran.stdout
        calls.append(seen.read_text())
        seen.unlink()
    assert calls[0] == calls[1]
    assert [line.split()[0] for line in calls[0].splitlines()] == [hook for hook in hooks if hook != "on_error"]


def test_plugins_are_notified_of_an_error(machine: Machine) -> None:
    machine.agent(b"[1]\n")
    assert machine.by_program("t", "--format", "json", prelude=observer("on_error")).status == 1
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
    shown = machine.by_program("t", "--format", "jsonl", prelude=changes).stdout
    assert shown == machine.without_plugin("t", "--format", "jsonl", prelude=changes).stdout
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
    machine.by_program("t", prelude=prelude)
    machine.as_mngr("t", "--theirs", "y", "--format", "jsonl", prelude=prelude)


# -- follow


def test_follow_only_works_with_codex_agents(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    machine.agent(recorded("plain.jsonl"), type="command", name="u", agent_id=OTHER_ID)
    for target in ("u", "nobody", "@localhost"):
        for word in ("--follow", "-f"):
            ran = machine.mngr("transcript", target, word)
            assert (ran.status, ran.stdout) == (2, "")
            assert "--follow only works with Codex agents" in ran.stderr


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
def test_options_that_cannot_be_combined_with_follow(machine: Machine, arguments: tuple[str, ...]) -> None:
    machine.agent(recorded("plain.jsonl"))
    ran = machine.mngr("transcript", "t", "--follow", *arguments)
    assert (ran.status, ran.stdout) == (2, "")
    assert BY_MNGR not in ran.stderr and "Error: " in ran.stderr and not ran.stderr.endswith("Error: \n")


def test_following(machine: Machine) -> None:
    """The transcript does not exist yet, and mngr's log does not list the agent."""
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
            until(lambda: shown.read_bytes() == lines[0], description="the first record")
            with file.open("ab") as more:
                more.write(b"".join(lines[1:5]))
            until(lambda: shown.read_bytes() == b"".join(lines[:5]), description="the added records")
            running.send_signal(signal.SIGINT)
            until(lambda: running.poll() is not None, description="the end")
        finally:
            running.kill()
    assert shown.read_bytes() == b"".join(lines[:5])


# -- the command itself


def test_the_help_lists_the_added_options(machine: Machine) -> None:
    for arguments in (("transcript", "--help"), ("help", "transcript")):
        shown = machine.mngr(*arguments).stdout
        options, _, rest = shown.partition("Codex agents\n")
        assert "--preserved-only" in options and "--tail" in options
        assert all(option in rest for option in ("--follow, -f", "--utc", "--no-pager"))
        assert "mngr transcript TARGET [--follow] [--utc] [--no-pager] " in shown


def test_the_command_replaces_mngrs() -> None:
    from imbue.mngr.cli.transcript import transcript
    from imbue.mngr.main import cli

    ours = cli.commands["transcript"]
    assert isinstance(ours, click.Command) and ours is not transcript
    added = {param.name for param in ours.params} - {param.name for param in transcript.params}
    assert added == {"follow", "utc", "no_pager"}
    assert all(param in ours.params for param in transcript.params)


def changed_copy(original: click.Command, change: Callable[[click.Command], None]) -> click.Command:
    changed = copy.copy(original)
    changed.params = list(original.params)
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
    monkeypatch.setattr(mngrs, "transcript", changed_copy(mngrs.transcript, change))
    assert command() is None
    assert mngr_codex.plugin.register_cli_commands() == [codex]


def test_an_mngr_without_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from mngr_codex.plugin.cli.transcript import command

    monkeypatch.setitem(sys.modules, "imbue.mngr.cli.transcript", ModuleType("imbue.mngr.cli.transcript"))
    assert command() is None


def test_an_mngr_with_other_internals(machine: Machine) -> None:
    machine.agent(recorded("plain.jsonl"))
    other = "import imbue.mngr.config.agent_config_registry as registry\ndel registry.resolve_agent_type\n"
    machine.as_mngr("t", "--format", "jsonl", prelude=other)
    ran = machine.mngr("transcript", "t", "-f", prelude=other)
    assert ran.status == 2 and "does not support this version of mngr" in ran.stderr


def test_mngr_used_as_a_library_keeps_its_process(machine: Machine) -> None:
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
    shown = machine.same_output("t", "--format", "json")
    ran = machine.mngr(prelude=library)
    assert (ran.status, ran.stdout) == (0, f"{len(shown)}\n")


def test_another_plugins_transcript_command_takes_precedence() -> None:
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
        # mngr registers the commands in this order, and the last one wins.
        registered = [each for commands in manager.hook.register_cli_commands() for each in commands]
        assert [len(each.params) for each in registered if each.name == "transcript"][-1] == 0


# -- mngr codex transcript


def test_the_programs_own_command(machine: Machine) -> None:
    file = machine.agent(recorded("tools.jsonl"))
    ran = machine.mngr("codex", "transcript", "t", "--format", "jsonl", "--tail", "1")
    assert (ran.status, ran.stdout.encode()) == (0, file.read_bytes().splitlines(keepends=True)[-1])
    assert "rollout" in machine.mngr("codex", "transcript", "--help").stdout
