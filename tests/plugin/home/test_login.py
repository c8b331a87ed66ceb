"""Whether an agent's Codex needs a login, and how the user logs it in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mngr_codex.plugin.home.login import LoginPlace, login_hint, login_notice, needs_login
from mngr_codex.plugin.host.facts import command_of


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        ({}, True),
        ({"model_provider": "openai"}, True),
        ({"model_provider": "ollama"}, False),
        ({"model_provider": "p", "model_providers": {"p": {"requires_openai_auth": False}}}, False),
        ({"model_provider": "p", "model_providers": {"p": {"requires_openai_auth": True}}}, True),
    ],
)
def test_openais_models_need_a_login(config: dict[str, Any], needed: bool) -> None:
    assert needs_login(config) is needed


HERE = LoginPlace()


class Remote:
    """A host that is reached over ssh."""

    is_local = False
    id = "host-1"
    host_dir = Path("/home/alice/.mngr")

    def __init__(self, port: int | None = 2222, known_hosts: Path | None = None) -> None:
        self.port, self.known_hosts = port, known_hosts

    def get_name(self) -> str:
        return "box"

    def get_ssh_connection_info(self) -> tuple[str, str, int, Path] | None:
        return None if self.port is None else ("alice", "10.0.0.1", self.port, Path("/h/a key"))

    def get_ssh_known_hosts_path(self) -> Path | None:
        return self.known_hosts


def place(*arguments: Any) -> LoginPlace:
    remote: Any = Remote(*arguments)
    return LoginPlace.of(remote)


def test_a_login_on_this_machine_is_a_plain_command() -> None:
    local: Any = SimpleNamespace(is_local=True)
    assert LoginPlace.of(local) == HERE and HERE.action == "run `codex login`"
    hint = "run `codex login`, then `mngr stop t` and `mngr start t`; or log in with `mngr connect t`"
    assert login_hint(HERE, "t") == hint
    notice = login_notice(HERE, {}, "/h/.codex", agent_name="t")
    assert "/h/.codex/auth.json does not exist" in notice and "`mngr connect t`" in notice


def test_a_login_on_another_host_names_the_host_and_the_command() -> None:
    """Without a browser on the host, only a login with a code works there."""
    far = place()
    ssh = "ssh -t -i '/h/a key' -p 2222 alice@10.0.0.1 codex login --device-auth"
    assert far.action == f"run `{ssh}`"
    notice = login_notice(far, {}, "/home/alice/.codex", agent_name="t")
    assert "Codex is not logged in on host box: /home/alice/.codex/auth.json does not exist" in notice
    assert ssh in notice and "`mngr connect t`" in notice
    assert ssh in login_hint(far, "t") and "`mngr connect t`" in login_hint(far, "t")
    known = "-o 'UserKnownHostsFile=/h/known hosts'"
    assert f"'/h/a key' {known} alice@" in place(22, Path("/h/known hosts")).action
    assert place(None).action == "run `codex login --device-auth` on host box"


def test_a_hint_names_the_codex_that_was_found() -> None:
    """A command over ssh does not search ``~/.local/bin``, where mngr has installed Codex."""
    remote: Any = Remote()
    found = LoginPlace.of(remote, "/home/alice/.local/bin/codex --profile work")
    assert found.action.endswith("alice@10.0.0.1 /home/alice/.local/bin/codex login --device-auth`")


def test_the_codex_of_an_agent_is_looked_up_on_its_host(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codex = home / ".local" / "bin" / "codex"
    codex.parent.mkdir(parents=True)
    codex.write_text("#!/bin/sh\necho codex-cli 0.163.0\n")
    codex.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    local = SimpleNamespace(is_local=True)
    agent: Any = SimpleNamespace(host=local, agent_config=SimpleNamespace(command="codex"))
    assert LoginPlace.of(agent.host, command_of(agent)).action == f"run `{codex} login`"


def test_a_host_that_cannot_be_asked_gets_a_hint_without_a_path() -> None:
    agent: Any = SimpleNamespace(host=Remote(), agent_config=SimpleNamespace(command="codex"))
    assert LoginPlace.of(agent.host, command_of(agent)).action.endswith(" codex login --device-auth`")


def test_the_notice_explains_a_keyring() -> None:
    assert "keyring" not in login_notice(HERE, {}, "/h/.codex")
    assert "keyring" in login_notice(HERE, {"cli_auth_credentials_store": "auto"}, "/h/.codex")
