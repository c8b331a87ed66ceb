"""Checking, installing and pinning Codex on a host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mngr_codex.plugin.host.facts import HostFacts, read
from mngr_codex.plugin.host.install import ensure_installed
from mngr_codex.plugin.host.installer import install_command


class Machine:
    """A PATH with only the programs that a test adds, and a separate home."""

    def __init__(self, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin, self.log, self.home = folder / "bin", folder / "log", home
        self.bin.mkdir()
        for name in (
            "sh",
            "bash",
            "mkdir",
            "ln",
            "cat",
            "chmod",
            "env",
            "cp",
            "uname",
            "wc",
            "sed",
            "grep",
            "mktemp",
            "rm",
            "tail",
        ):
            self.bin.joinpath(name).symlink_to(
                subprocess.run(["which", name], capture_output=True, text=True).stdout.strip()
            )
        monkeypatch.setenv("PATH", str(self.bin))

    def add(self, name: str, script: str) -> None:
        """Adds a program that logs its arguments."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{script}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def installs(self) -> list[str]:
        """Returns the calls that install something."""
        return [call for call in self.calls() if " install " in call]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, env=dict(os.environ))


@pytest.fixture
def machine(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    folder = tmp_path / "machine"
    folder.mkdir()
    return Machine(folder, home, monkeypatch)


@pytest.mark.parametrize(("version", "package"), [(None, "@openai/codex@latest"), ("0.163.0", "@openai/codex@0.163.0")])
def test_npm_installs_codex(machine: Machine, version: str | None, package: str) -> None:
    machine.add("npm", f"echo {machine.home}")
    machine.add("uv", "exit 0")
    assert machine.run(install_command(version)).returncode == 0
    assert machine.installs() == [f"npm install -g --fetch-retries=1 {package}"]


@pytest.mark.parametrize("prefix", ["/dev/null/none", ""])
def test_npm_installs_into_the_home_without_permission_for_its_own_folder(machine: Machine, prefix: str) -> None:
    """Nothing is tried first, which would take minutes without a network."""
    machine.add("npm", f'case "$*" in prefix*) echo "{prefix}";; esac; exit 0')
    assert machine.run(install_command()).returncode == 0
    expected = f"npm install -g --fetch-retries=1 --prefix {machine.home}/.local @openai/codex@latest"
    assert machine.installs() == [expected]
    machine.add("npm", "exit 1")
    assert machine.run(install_command()).returncode != 0


INSTALLS = """\
folder=; last=; for word; do [ "$last" = --target ] && folder=$word; last=$word; done
[ -z "$folder" ] || { mkdir -p "$folder/codex_cli_bin/bin"; cat >"$folder/codex_cli_bin/bin/codex" <<'END'
#!/bin/sh
echo codex-cli 0.163.0
END
chmod 755 "$folder/codex_cli_bin/bin/codex"; }"""


@pytest.mark.parametrize("tool", ["uv", "python3", "python"])
def test_without_npm_the_wheel_is_installed(machine: Machine, tool: str) -> None:
    machine.add(tool, INSTALLS)
    assert machine.run(install_command("0.163.0")).returncode == 0
    assert machine.calls()[-1].endswith("openai-codex-cli-bin==0.163.0")
    assert machine.run(f"{machine.home}/.local/bin/codex --version").stdout == "codex-cli 0.163.0\n"


def test_without_any_tool_the_error_lists_them(machine: Machine) -> None:
    ran = machine.run(install_command())
    assert ran.returncode != 0 and "npm" in ran.stderr and "pip" in ran.stderr


@pytest.fixture
def mngr_ctx(host: Any) -> Callable[..., Any]:
    """Creates contexts with the fields that mngr checks before an installation."""

    def make(*, yes: bool = False) -> Any:
        return SimpleNamespace(is_auto_approve=yes, is_interactive=False, config=host.mngr_ctx.config)

    return make


def ensure(host: Any, ctx: Any, command: str = "codex", version: str | None = None) -> HostFacts:
    return ensure_installed(host, ctx, read(host, command), command=command, version=version)


def test_a_missing_codex_is_installed_only_with_consent(
    host: Any, mngr_ctx: Callable[..., Any], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    machine.add(
        "npm",
        f"case $* in *install*) printf '#!/bin/sh\\necho codex-cli 0.163.0\\n' >{machine.bin}/codex; "
        f"chmod 755 {machine.bin}/codex;; *) echo {machine.home};; esac",
    )
    with pytest.raises(errors.AgentInstallationError, match="npm install -g @openai/codex@0"):
        ensure(host, mngr_ctx(), version="0.163.0")
    assert machine.installs() == []
    assert ensure(host, mngr_ctx(yes=True), version="0.163.0").version == "0.163.0"
    assert ensure(host, mngr_ctx()).version == "0.163.0"
    assert machine.installs() == ["npm install -g --fetch-retries=1 @openai/codex@0.163.0"]
    with pytest.raises(
        errors.AgentInstallationError, match=r"cannot use Codex 0\.163\.0: .* requires version 0\.169\.0"
    ):
        ensure(host, mngr_ctx(yes=True), version="0.169.0")


def test_an_installation_outside_path_is_found(host: Any, mngr_ctx: Callable[..., Any], machine: Machine) -> None:
    machine.add("uv", INSTALLS)
    facts = ensure(host, mngr_ctx(yes=True), "codex --search")
    assert (facts.command, facts.version) == (f"{machine.home}/.local/bin/codex --search", "0.163.0")


def test_an_installation_that_cannot_be_found_is_an_error(
    host: Any, mngr_ctx: Callable[..., Any], machine: Machine
) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    machine.add("npm", "exit 0")
    with pytest.raises(errors.AgentInstallationError, match=r"^cannot find Codex: it was installed, .*\nhint: "):
        ensure(host, mngr_ctx(yes=True))


FAILS_AS_NPM = """\
case $* in prefix*) echo "$HOME/npm"; exit 0; esac
cat >&2 <<'END'
npm error code ECONNREFUSED
npm error errno ECONNREFUSED
npm error FetchError: request to https://host/codex failed, reason: connect ECONNREFUSED
npm error     at ClientRequest.<anonymous> (index.js:130:14)
npm error A complete log of this run can be found in: /home/.npm/_logs/debug-0.log
END
exit 1"""


@pytest.mark.parametrize(
    ("tool", "script", "reason"),
    [
        ("npm", FAILS_AS_NPM, "FetchError: request to https://host/codex failed, reason: connect ECONNREFUSED"),
        ("uv", "echo one >&2; echo '  error: no wheel for it' >&2; echo >&2; exit 1", "error: no wheel for it"),
        ("python3", 'case "$*" in *version) exit 0; esac; exit 1', "it printed no error"),
    ],
)
def test_an_installation_is_tried_once_and_the_error_is_one_line(
    host: Any, mngr_ctx: Callable[..., Any], machine: Machine, tool: str, script: str, reason: str
) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    machine.add(tool, script)
    with pytest.raises(errors.AgentInstallationError) as raised:
        ensure(host, mngr_ctx(yes=True))
    message, hint = str(raised.value).split("\n")
    name = "pip" if tool == "python3" else tool
    assert message == f"cannot install Codex: {name}: {reason}" and hint.startswith("hint: ")
    assert len(machine.installs()) == 1


def test_a_program_that_fails_is_followed_by_the_next_one(
    host: Any, mngr_ctx: Callable[..., Any], machine: Machine
) -> None:
    """npm can be there without access to a registry."""
    errors = pytest.importorskip("imbue.mngr.errors")
    machine.add("npm", FAILS_AS_NPM)
    machine.add("uv", "echo 'error: no wheel for it' >&2; exit 2")
    machine.add("python3", "exit 1")
    with pytest.raises(errors.AgentInstallationError, match=r"^cannot install Codex: npm: FetchError: .*; uv: error: "):
        ensure(host, mngr_ctx(yes=True))
    assert [call.split()[0] for call in machine.installs()] == ["npm", "uv"]
    machine.add("python3", INSTALLS)
    facts = ensure(host, mngr_ctx(yes=True), version="0.163.0")
    assert (facts.command, facts.version) == (f"{machine.home}/.local/bin/codex", "0.163.0")


def test_a_custom_command_is_not_installed(host: Any, mngr_ctx: Callable[..., Any], machine: Machine) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    machine.add("npm", "exit 0")
    with pytest.raises(errors.AgentInstallationError, match="/opt/none/codex"):
        ensure(host, mngr_ctx(yes=True), "/opt/none/codex --flag")
    assert machine.calls() == []


def test_the_version_of_the_real_codex(host: Any, mngr_ctx: Callable[..., Any], codex: str) -> None:
    version = ensure(host, mngr_ctx(), codex).version
    assert version is not None and version[0].isdigit()
