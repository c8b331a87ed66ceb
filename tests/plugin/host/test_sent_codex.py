"""A Codex that was sent to another host, when another version is required or known."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.errors import AgentInstallationError

from mngr_codex.plugin.host import codex_package, install
from mngr_codex.plugin.host.connection import run_with_input
from mngr_codex.plugin.host.facts import HostFacts, Installation, read
from mngr_codex.plugin.host.install import ensure_installed
from mngr_codex.plugin.host.program import Platform
from mngr_codex.plugin.host.updates import check
from tests.support.ssh_server import SshServer

HERE = Platform.from_uname(" ".join((os.uname().sysname, os.uname().machine)))


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has no Codex, and nothing that downloads one."""
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(codex_package, "_downloads", lambda platform, version: iter(()))


def keep(tmp_path: Path, version: str) -> None:
    """Keeps an archive of a Codex that only reports its version."""
    package = tmp_path / f"package-{version}"
    program = package / "bin/codex"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho codex-cli {version}\n")
    program.chmod(0o755)
    (package / "codex-package.json").write_text(json.dumps({"version": version}))
    codex_package._pack(package, HERE, version)


@pytest.fixture
def sent(remote: Any, tmp_path: Path) -> HostFacts:
    """The facts about a host to which Codex 0.163.0 was sent."""
    keep(tmp_path, "0.163.0")
    codex_package.send(remote, read(remote, "codex"), "0.163.0")
    facts = read(remote, "codex")
    assert (facts.version, facts.installation) == ("0.163.0", Installation.SENT)
    return facts


def context(*, is_allowed: bool = True) -> Any:
    config = SimpleNamespace(is_remote_agent_installation_allowed=is_allowed)
    return SimpleNamespace(config=config, is_auto_approve=True, is_interactive=False)


def ensure(host: Any, facts: HostFacts, version: str, *, is_allowed: bool = True) -> HostFacts:
    return ensure_installed(host, context(is_allowed=is_allowed), facts, command="codex", version=version)


def test_the_version_that_the_settings_require_is_sent(remote: Any, sent: HostFacts, tmp_path: Path) -> None:
    assert ensure(remote, sent, "0.163.0") == sent
    keep(tmp_path, "0.171.0")
    with pytest.raises(AgentInstallationError, match=r"0\.163\.0 was sent to host remote, .* mngr may not install it"):
        ensure(remote, sent, "0.171.0", is_allowed=False)
    assert read(remote, "codex").version == "0.163.0"
    assert ensure(remote, sent, "0.171.0").version == "0.171.0"


def test_a_version_that_cannot_be_sent_is_an_error_with_the_reason(remote: Any, sent: HostFacts) -> None:
    with pytest.raises(AgentInstallationError) as raised:
        ensure(remote, sent, "0.171.0")
    said, hint = str(raised.value).split("\n")
    assert said == "cannot send Codex to host remote: this machine has none of npm, uv and pip to download it"
    assert hint == "hint: install Codex yourself on host remote, on PATH or in ~/.local/bin"
    assert read(remote, "codex").version == "0.163.0"


def test_codex_is_sent_to_a_host_whose_programs_cannot_install_it(
    remote: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is nothing to send, the error has all reasons."""
    programs = tmp_path / "programs"
    programs.mkdir()
    fails = {"npm": "npm error self-signed certificate", "uv": "no route", "python3": "no pip", "python": "no pip"}
    for name, said in fails.items():
        (programs / name).write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        (programs / name).chmod(0o755)

    def without_registry(host: Any, command: str, *arguments: Any, **options: Any) -> Any:
        return run_with_input(host, f"PATH={programs}:$PATH; export PATH; {command}", *arguments, **options)

    monkeypatch.setattr(install, "run_with_input", without_registry)
    missing = HostFacts(command="codex", platform=HERE, installer="npm")
    with pytest.raises(AgentInstallationError) as raised:
        ensure(remote, missing, "0.163.0")
    first, second, hint = str(raised.value).split("\n")
    assert first == "cannot install Codex on host remote: npm: self-signed certificate; uv: no route"
    assert second.startswith("cannot send Codex to host remote: ") and hint.startswith("hint: ")
    keep(tmp_path, "0.163.0")
    assert ensure(remote, missing, "0.163.0").installation is Installation.SENT


def test_updates_are_sent_if_the_settings_say_so(remote: Any, sshd: SshServer, sent: HostFacts, tmp_path: Path) -> None:
    (sshd.home / ".codex").mkdir()
    (sshd.home / ".codex/version.json").write_text('{"latest_version": "0.171.0"}')

    def notice(policy: str) -> str | None:
        facts = read(remote, "codex")
        return check(remote, facts, policy=policy, pinned=None, is_interactive=False, is_auto_approved=True)

    available = 'Codex 0.171.0 is available; 0.163.0 is installed on host remote.\nhint: set update_policy = "AUTO"'
    assert (notice("ASK") or "").startswith(available)
    failed = "cannot update Codex on host remote from 0.163.0 to 0.171.0: cannot send Codex to host remote: "
    assert (notice("AUTO") or "").startswith(failed)
    keep(tmp_path, "0.171.0")
    assert notice("AUTO") == "Codex was updated on host remote from 0.163.0 to 0.171.0."
    assert notice("AUTO") is None


def test_hints_about_other_installations_name_the_host(remote: Any, sshd: SshServer) -> None:
    """One by uv or pip cannot update itself either."""
    folder = sshd.home / ".local/share/mngr-codex/codex/codex_cli_bin/bin"
    local_bin = sshd.home / ".local/bin"
    for path in (folder, local_bin, sshd.home / ".codex"):
        path.mkdir(parents=True)
    (sshd.home / ".codex/version.json").write_text('{"latest_version": "0.171.0"}')
    (folder / "codex").write_text("#!/bin/sh\necho codex-cli 0.163.0\n")
    (folder / "codex").chmod(0o755)
    codex = local_bin / "codex"
    for is_ours in (True, False):
        if is_ours:
            codex.symlink_to(folder / "codex")
        else:
            codex.unlink()
            (folder / "codex").rename(codex)
        facts = read(remote, "codex")
        assert facts.installation is (Installation.FROM_PYPI if is_ours else None)
        with pytest.raises(AgentInstallationError) as raised:
            ensure(remote, facts, "0.171.0")
        said, hint = str(raised.value).split("\n")
        assert said == "cannot use Codex 0.163.0 on host remote: the agent type requires version 0.171.0"
        assert hint.startswith("hint: run `ssh -t -i ")
        update = check(remote, facts, policy="NEVER", pinned=None, is_interactive=False, is_auto_approved=True) or ""
        if is_ours:
            assert "'rm ~/.local/bin/codex'` and create the agent again, so that mngr installs 0.171.0" in hint
            assert "'rm ~/.local/bin/codex'`, and the next `mngr create` installs the newest one" in update
        else:
            assert " npm install -g @openai/codex@0.171.0`, or change `version` of the agent type" in hint
            assert f" {codex} update`" in update and "hint: run `ssh -t -i " in update
