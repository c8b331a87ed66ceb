"""What is found, tried and installed on another host when an agent is created there."""

import re
import time
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.machine import MakeMachine, run_mngr, until
from tests.support.remote_host import HOME, IN_LOCAL_BIN, HomeDisk, MakeHost, Options, RemoteHost, native_codex
from tests.support.rule_based_model import Model, runs, says

pytestmark = pytest.mark.slow

INSTALLED = HOME / ".local/share/mngr-codex/codex"


def test_codex_outside_path_is_run_by_its_path(make_host: MakeHost, model: Model) -> None:
    """Debian's ssh sessions do not have ``~/.local/bin`` on PATH."""
    host = make_host(Options(codex=IN_LOCAL_BIN))
    assert host.run("command -v codex", check=False).returncode != 0
    machine = host.machine
    agent = host.create()
    machine.mngr("message", "t", "-m", "Hello.")
    until(lambda: agent.answers()[-1:] == ["You said: Hello."], description="the answer")
    machine.mngr("stop", "t")
    machine.mngr("start", "t")
    machine.mngr("message", "t", "-m", "Again.")
    until(lambda: agent.answers()[-1:] == ["You said: Again."], description="the answer after the start")
    assert machine.listed()["t"]["state"] == "WAITING"
    # The command can set variables and have arguments.
    other = host.create("u", "-S", "agent_types.codex.command=env A=1 codex --search")
    machine.mngr("message", "u", "-m", "Hello.")
    until(lambda: other.answers()[-1:] == ["You said: Hello."], description="the answer")
    (pid,) = other.codex_pids()
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert words[:2] == [str(IN_LOCAL_BIN), "--search"]


def test_codex_is_sent_to_a_host_that_cannot_install_it(make_host: MakeHost) -> None:
    """The line breaks in the middle of the transfer, which then continues."""
    host = make_host(Options(codex=None), proxy_delay_seconds=0.0)
    machine = host.machine
    ours = machine.folder / "bin" / "codex"
    ours.unlink()
    ours.symlink_to(native_codex(machine.codex))
    arguments = ("create", f"t@{host.address}", "codex", "--yes", "--no-connect")
    share = host.path(INSTALLED.parent)
    with machine.running_mngr(*arguments) as running:

        def is_half_there() -> bool:
            assert running.process.poll() is None, running.output.read_text()
            return any(part.stat().st_size > 20_000_000 for part in share.glob("*.part"))

        until(is_half_there, description="the transfer", seconds=120)
        host.proxy.reset()
        assert running.process.wait(180) == 0, running.output.read_text()
        output = running.output.read_text()
    assert "has none of npm, uv and pip" in output and "Sent 90 % of Codex" in output
    (installed,) = host.path(INSTALLED).iterdir()
    assert {each.name for each in installed.iterdir()} >= {"bin", "codex-resources", "codex-path"}
    assert not list(share.glob("*.part"))
    shown = host.run("~/.local/bin/codex --version").stdout
    assert re.fullmatch(rf"codex\S* {re.escape(installed.name)}\n", shown)
    agent = host.agent()
    machine.mngr("message", "t", "-m", "Hello.")
    until(lambda: agent.answers()[-1:] == ["You said: Hello."], description="the answer")


def test_a_full_disk_is_noticed_before_codex_is_sent(make_host: MakeHost) -> None:
    host = make_host(Options(codex=None, home_disk=HomeDisk(megabytes=100)))
    machine = host.machine
    ours = machine.folder / "bin" / "codex"
    ours.unlink()
    ours.symlink_to(native_codex(machine.codex))
    ran = machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect", status=1)
    assert "MB are needed" in ran.stderr and "hint: " in ran.stderr
    assert not list(host.path(HOME / ".mngr").glob("agents/*"))


def test_a_host_without_user_namespaces_is_reported(make_host: MakeHost, make_machine: MakeMachine) -> None:
    machine = make_machine(sandbox_mode="workspace-write")
    host = make_host(Options(has_user_namespaces=False), machine=machine)
    created = machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect")
    assert f"sandbox does not start on host {host.name}" in created.stderr
    assert 'sandbox_mode = "danger-full-access"' in created.stderr
    agent = host.agent()
    machine.mngr("message", "t", "-m", "Hello.")
    until(lambda: agent.answers()[-1:] == ["You said: Hello."], description="the answer")


def test_a_sandbox_that_works_is_not_reported(make_host: MakeHost, make_machine: MakeMachine) -> None:
    machine = make_machine(sandbox_mode="workspace-write")
    host = make_host(machine=machine)
    created = machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect")
    assert "sandbox" not in created.stderr


def test_a_program_that_does_not_run_is_reported_and_left_out(host: RemoteHost, model: Model) -> None:
    machine = host.machine
    host.add_program("uname", '[ "$*" = -sm ] && echo "Linux aarch64" || exec /usr/bin/uname "$@"\n')
    wheel = machine.folder / f"mngr_codex-{version('mngr-codex')}-py3-none-manylinux_2_17_aarch64.whl"
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"mngr_codex-{version('mngr-codex')}.data/scripts/mngr-codex", header)
    setting = f"agent_types.codex.program_wheels={wheel}"
    created = machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect", "-S", setting)
    assert "cannot run the mngr-codex program on the agent's host" in created.stderr
    agent = host.agent()
    assert not (agent.state / "commands/mngr-codex").exists()
    assert "mngr-codex" not in (agent.state / "plugin/codex/home/hooks.json").read_text()
    model.on("slowly", runs("sleep 3"), says("Done."))
    machine.mngr("message", "t", "-m", "Do it slowly.")
    assert machine.listed()["t"]["state"] == "WAITING"
    rollouts = agent.state / "plugin/codex/home/sessions"
    until(lambda: any('"Done."' in file.read_text() for file in rollouts.rglob("*.jsonl")), description="the answer")


def test_a_home_without_programs_is_refused_at_once(make_host: MakeHost) -> None:
    host = make_host(Options(home_disk=HomeDisk(is_executable=False)))
    begun = time.monotonic()
    ran = host.machine.mngr("create", f"t@{host.address}", "codex", "--yes", "--no-connect", status=1)
    assert time.monotonic() - begun < 15
    assert f"programs in {HOME / '.mngr'} on its host cannot be run" in ran.stderr and "hint: " in ran.stderr
    assert not list(host.path(HOME / ".mngr").glob("agents/*"))


COUNT = """
import paramiko, traceback
_open = paramiko.Transport.open_channel
def _counted(self, *arguments, **options):
    names = [frame.filename for frame in traceback.extract_stack()]
    ours = max((at for at, name in enumerate(names) if "/mngr_codex/" in name), default=-1)
    # What mngr does when the plugin lets it start the agent is not counted.
    by_mngr = any("/imbue/mngr/hosts/host.py" in name for name in names[ours:])
    if ours >= 0:
        with open({path!r}, "a") as file:
            file.write(f"{{'mngr' if by_mngr else 'ours'}} {{names[ours]}}\\n")
    return _open(self, *arguments, **options)
paramiko.Transport.open_channel = _counted
"""


def test_a_creation_takes_few_round_trips(host: RemoteHost) -> None:
    machine = host.machine
    log = machine.folder / "channels"
    ran = run_mngr(
        machine._server,
        machine.repository,
        "create",
        f"t@{host.address}",
        "codex",
        "--yes",
        "--no-connect",
        environment=machine.environment,
        outputs=machine.folder / "counted",
        prelude=COUNT.format(path=str(log)),
    )
    assert ran.status == 0, ran.stderr
    opened = log.read_text().splitlines()
    # Reading the terminal while Codex starts takes as many as the start is long.
    before_start = [line for line in opened if line.startswith("ours") and "/messages/" not in line]
    assert len(before_start) <= 5, opened
