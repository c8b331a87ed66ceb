"""Codex is found, installed with what a host has, and held to the version that was asked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mngr_codex.plugin.host.install import OLDEST, ensure_installed, install_command, too_old_notice
from mngr_codex.plugin.host.updates import is_newer


def test_too_old_is_told_with_what_still_works() -> None:
    for version in ("0.128.0", "0.64.0", f"{OLDEST}-alpha.1"):
        notice = too_old_notice(version)
        assert notice is not None and version in notice
        for words in ("hooks", "sent messages", "WAITING", "codex update"):
            assert words in notice
    for current in (OLDEST, "0.163.0", "1.0.0", "unknown", None):
        assert too_old_notice(current) is None


class Machine:
    """A PATH with nothing on it but what a test puts there, over a home of its own."""

    def __init__(self, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin, self.log, self.home = folder / "bin", folder / "log", home
        self.bin.mkdir()
        for name in ("sh", "bash", "mkdir", "ln", "cat", "chmod", "env", "cp"):
            self.bin.joinpath(name).symlink_to(
                subprocess.run(["which", name], capture_output=True, text=True).stdout.strip()
            )
        monkeypatch.setenv("PATH", str(self.bin))

    def has(self, name: str, script: str) -> None:
        """Puts a program there that notes what it is called with."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{script}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, env=dict(os.environ))


@pytest.fixture
def machine(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    folder = tmp_path / "machine"
    folder.mkdir()
    return Machine(folder, home, monkeypatch)


@pytest.mark.parametrize(("version", "package"), [(None, "@openai/codex@latest"), ("0.163.0", "@openai/codex@0.163.0")])
def test_npm_installs_codex(machine: Machine, version: str | None, package: str) -> None:
    machine.has("npm", "exit 0")
    machine.has("uv", "exit 0")
    assert machine.run(install_command(version)).returncode == 0
    assert machine.calls() == [f"npm install -g {package}"]


def test_npm_installs_into_the_home_where_it_may_not_elsewhere(machine: Machine) -> None:
    machine.has("npm", 'case "$*" in *--prefix*) exit 0;; esac; exit 1')
    assert machine.run(install_command()).returncode == 0
    assert machine.calls()[-1] == f"npm install -g --prefix {machine.home}/.local @openai/codex@latest"
    machine.has("npm", "exit 1")
    assert machine.run(install_command()).returncode != 0


INSTALLS = """\
folder=; was=; for word; do [ "$was" = --target ] && folder=$word; was=$word; done
[ -z "$folder" ] || { mkdir -p "$folder/codex_cli_bin/bin"; cat >"$folder/codex_cli_bin/bin/codex" <<'END'
#!/bin/sh
echo codex-cli 0.163.0
END
chmod 755 "$folder/codex_cli_bin/bin/codex"; }"""


@pytest.mark.parametrize("tool", ["uv", "python3", "python"])
def test_without_npm_the_wheel_is_taken(machine: Machine, tool: str) -> None:
    machine.has(tool, INSTALLS)
    assert machine.run(install_command("0.163.0")).returncode == 0
    assert machine.calls()[-1].endswith("openai-codex-cli-bin==0.163.0")
    assert machine.run(f"{machine.home}/.local/bin/codex --version").stdout == "codex-cli 0.163.0\n"


def test_without_any_tool_it_is_said_what_is_needed(machine: Machine) -> None:
    ran = machine.run(install_command())
    assert ran.returncode != 0 and "npm" in ran.stderr and "pip" in ran.stderr


@pytest.fixture
def mngr_ctx(host: Any) -> Callable[..., Any]:
    """What mngr's gate looks at."""

    def make(*, yes: bool = False) -> Any:
        return SimpleNamespace(is_auto_approve=yes, is_interactive=False, config=host.mngr_ctx.config)

    return make


def test_a_missing_codex_is_installed_on_consent_alone(
    host: Any, mngr_ctx: Callable[..., Any], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    machine.has(
        "npm", f"printf '#!/bin/sh\\necho codex-cli 0.163.0\\n' >{machine.bin}/codex; chmod 755 {machine.bin}/codex"
    )
    with pytest.raises(errors.AgentInstallationError, match="npm install -g @openai/codex@0"):
        ensure_installed(host, mngr_ctx(), command="codex", version="0.163.0")
    assert machine.calls() == []
    assert ensure_installed(host, mngr_ctx(yes=True), command="codex", version="0.163.0") == "0.163.0"
    assert ensure_installed(host, mngr_ctx(), command="codex") == "0.163.0"
    assert machine.calls() == ["npm install -g @openai/codex@0.163.0"]
    with pytest.raises(errors.AgentInstallationError, match=r"0\.163\.0 is installed.*asks for version 0\.169\.0"):
        ensure_installed(host, mngr_ctx(yes=True), command="codex", version="0.169.0")


def test_a_codex_that_was_installed_where_nobody_looks_is_told(
    host: Any, mngr_ctx: Callable[..., Any], machine: Machine
) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    machine.has("uv", INSTALLS)
    with pytest.raises(errors.AgentInstallationError, match="not on PATH"):
        ensure_installed(host, mngr_ctx(yes=True), command="codex")


def test_a_program_of_the_users_is_not_installed(host: Any, mngr_ctx: Callable[..., Any], machine: Machine) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    machine.has("npm", "exit 0")
    with pytest.raises(errors.AgentInstallationError, match="/opt/none/codex"):
        ensure_installed(host, mngr_ctx(yes=True), command="/opt/none/codex --flag")
    assert machine.calls() == []


def test_the_real_codex_is_new_enough(host: Any, mngr_ctx: Callable[..., Any], codex: str) -> None:
    version = ensure_installed(host, mngr_ctx(), command=codex)
    assert version is not None and not is_newer(OLDEST, version)
