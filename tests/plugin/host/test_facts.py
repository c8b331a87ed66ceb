"""What is read about a host before an agent is created."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from mngr_codex.plugin.host import facts
from mngr_codex.plugin.host.facts import HostFacts, UserFile, parse, read
from mngr_codex.plugin.host.program import Platform
from tests.support.folder_snapshot import snapshot

TOOLS = ("sh", "bash", "uname", "cat", "wc", "sed", "grep", "mktemp", "rm", "tail", "env", "chmod")


@pytest.fixture
def binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH. It has no Codex and nothing that installs it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        which = subprocess.run(["which", name], capture_output=True, text=True)
        folder.joinpath(name).symlink_to(which.stdout.strip())
    monkeypatch.setenv("PATH", str(folder))
    return folder


def add(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


CODEX = 'echo "codex-cli 0.163.0"; [ "$CODEX_HOME" = /dev/null ] || echo "wrong home"'


def test_a_codex_on_path_is_run_by_its_name(host: Any, binaries: Path, home: Path) -> None:
    add(binaries / "codex", CODEX)
    add(home / ".local/bin/codex", "echo codex-cli 0.1.0")
    found = read(host, "codex --profile x")
    assert (found.command, found.version, found.is_codex_found) == ("codex --profile x", "0.163.0", True)
    assert found.codex_path is None and found.home == str(home) and found.user_codex_home == f"{home}/.codex"
    assert found.platform == Platform.from_uname(" ".join((os.uname().sysname, os.uname().machine)))


def test_codex_is_found_outside_path(host: Any, binaries: Path, home: Path, tmp_path: Path) -> None:
    assert not read(host, "codex").is_codex_found
    prefix = tmp_path / "npm's prefix"
    add(binaries / "npm", f'echo "{prefix}"')
    missing = read(host, "codex")
    assert not missing.is_codex_found and missing.version is None and missing.installer == "npm"
    add(prefix / "bin/codex", CODEX)
    found = read(host, "env A=1 codex -c a=b")
    path = str(prefix / "bin/codex")
    assert (found.codex_path, found.version) == (path, "0.163.0")
    result = subprocess.run(["sh", "-c", f"{found.command}"], capture_output=True, text=True, env={"CODEX_HOME": "x"})
    assert "codex-cli 0.163.0" in result.stdout
    add(home / ".local/bin/codex", "echo codex-cli 0.171.0")
    found = read(host, "codex")
    assert (found.command, found.version) == (f"{home}/.local/bin/codex", "0.171.0")


@pytest.mark.parametrize("name", ["uv", "python3", "python"])
def test_the_program_that_can_install_codex_is_found(host: Any, binaries: Path, name: str) -> None:
    assert read(host, "codex").installer is None
    add(binaries / name, "exit 0")
    assert read(host, "codex").installer == ("uv" if name == "uv" else "pip")
    assert read(host, "/opt/codex").installer is None


def test_a_command_that_is_not_codex_is_only_looked_up(host: Any, binaries: Path, home: Path, tmp_path: Path) -> None:
    add(home / ".local/bin/codex", CODEX)
    script = tmp_path / "my codex"
    assert not read(host, f"'{script}' --flag").is_codex_found
    add(script, "echo codex-cli 0.140.0")
    found = read(host, f"'{script}' --flag")
    assert (found.is_codex_found, found.version, found.command) == (True, "0.140.0", f"'{script}' --flag")


def test_a_command_with_an_open_quote_is_no_error(host: Any, binaries: Path) -> None:
    add(binaries / "codex", CODEX)
    found = read(host, 'codex "')
    assert found.version is None and found.platform.system == "Linux"


def test_the_users_files_are_read_unchanged(host: Any, binaries: Path, home: Path) -> None:
    codex_home = home / ".codex"
    contents = {
        "config.toml": b'\xef\xbb\xbfmodel = "x"\r\n  # trailing  \n\n\n',
        "hooks.json": b"",
        "models_cache.json": b"\x00\xff" * 50_000,
        "version.json": b'{"latest_version": "0.171.0"}',
        "work.config.toml": b"file 5 config.toml\nsystem x\n",
        "a b.config.toml": b"x",
    }
    codex_home.mkdir()
    for name, content in {**contents, "other.toml": b"no", "odd\nname.config.toml": b"no"}.items():
        (codex_home / name).write_bytes(content)
    before = snapshot(home)
    found = read(host, "codex")
    assert snapshot(home) == before
    assert {name: file.content for name, file in found.files.items()} == contents
    assert found.text("config.toml") == 'model = "x"\r\n  # trailing  \n\n\n'
    assert found.profiles == ("a b.config.toml", "work.config.toml") and found.latest_version == "0.171.0"
    with pytest.raises(UnicodeDecodeError):
        found.text("models_cache.json")
    assert found.text("none") is None


def test_a_file_that_cannot_be_read_has_the_reason(host: Any, binaries: Path, home: Path) -> None:
    (home / ".codex" / "config.toml").mkdir(parents=True)
    with pytest.raises(OSError, match=r"^Is a directory$"):
        read(host, "codex").text("config.toml")


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        (None, (False, False)),
        ("", (False, False)),
        ('{"OPENAI_API_KEY":"x"}', (True, False)),
        ('{"tokens":{"refresh_token" : "x"}}', (True, True)),
    ],
)
def test_the_login_is_found(
    host: Any, binaries: Path, home: Path, login: str | None, expected: tuple[bool, bool]
) -> None:
    if login is not None:
        (home / ".codex").mkdir()
        (home / ".codex" / "auth.json").write_text(login)
    found = read(host, "codex")
    assert (found.is_logged_in, found.has_account) == expected


@pytest.mark.parametrize("name", facts.TOKENS)
def test_a_token_in_the_environment_is_found(
    host: Any, binaries: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "")
    assert not read(host, "codex").has_token
    monkeypatch.setenv(name, "x")
    assert read(host, "codex").has_token


def test_another_home_of_codex_is_used(host: Any, binaries: Path, tmp_path: Path) -> None:
    other = tmp_path / "other home"
    other.mkdir()
    (other / "config.toml").write_text("a = 1\n")
    found = read(host, "codex", other)
    assert found.user_codex_home == str(other) and found.text("config.toml") == "a = 1\n"


def test_incomplete_answers_are_ignored() -> None:
    assert parse(b"", "codex") == HostFacts(command="codex")
    assert parse(b"system\nversion x\nfile 9 a", "codex").files == {"a": UserFile()}
