"""Which of the user's files are deployed."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.plugin.deploy.conftest import API_KEY_LOGIN, Deployer

CARRIED = (
    "AGENTS.md",
    "AGENTS.override.md",
    "themes/dark.tmTheme",
    ".env",
    ".credentials.json",
    "prompts/review.md",
    "skills/build/SKILL.md",
    "skills/build/.hidden",
    "agents/reviewer.toml",
    "rules/default.rules",
    "fast.config.toml",
)
NOT_CARRIED = (
    "sessions/2026/11/22/rollout-x.jsonl",
    "archived_sessions/rollout-y.jsonl",
    "history.jsonl",
    "log/codex-tui.log",
    "models_cache.json",
    "version.json",
    "state_5.sqlite",
    "state_5.sqlite-wal",
    "skills/.system/x/SKILL.md",
    "skills/build/.git/config",
    "plugins/x/plugin.json",
    ".hidden.config.toml",
    "tmp/arg0/x",
)


def test_what_agents_get_is_deployed_and_nothing_else(deployer: Deployer) -> None:
    for name in (*CARRIED, *NOT_CARRIED):
        deployer.write(name, "x = 1\n")
    deployer.write("auth.json", API_KEY_LOGIN)
    deployer.write("config.toml", 'model = "gpt-5.5"\n')
    found = deployer.files()
    assert set(found) == {f"~/.codex/{name}" for name in (*CARRIED, "auth.json", "config.toml")}
    assert found["~/.codex/auth.json"] == API_KEY_LOGIN
    assert found["~/.codex/config.toml"] == 'model = "gpt-5.5"\n'


def test_without_a_codex_home_only_the_users_files_are_missing(
    deployer: Deployer, schedule_add: Callable[..., click.Context], monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    assert (deployer.files(), deployer.variables(), warnings) == ({}, {}, [])
    (deployer.repository / ".codex").mkdir()
    (deployer.repository / ".codex" / "config.local.toml").write_text("x")
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", "token")
    with schedule_add("nightly codex"):
        assert deployer.files() == {".codex/config.local.toml": "x"}
        assert deployer.variables() == {"CODEX_ACCESS_TOKEN": "token"}
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        assert set(deployer.files()) == {".codex/config.local.toml", "~/.codex/auth.json"}
        assert deployer.variables() == {}
    assert warnings == []


def test_files_of_the_home_and_of_the_repository_can_be_excluded(deployer: Deployer) -> None:
    deployer.write("AGENTS.md")
    deployer.write("auth.json", API_KEY_LOGIN)
    local = deployer.repository / ".codex" / "agents" / "a.local.toml"
    local.parent.mkdir(parents=True)
    local.write_text("local")
    (deployer.repository / ".codex" / "config.toml").write_text("in Git")
    assert deployer.files(user=False) == {".codex/agents/a.local.toml": "local"}
    assert set(deployer.files(project=False)) == {"~/.codex/AGENTS.md", "~/.codex/auth.json"}
    assert deployer.files(user=False, project=False) == {}


def test_a_repository_in_the_home_does_not_deploy_the_codex_home(deployer: Deployer) -> None:
    deployer.write("plugins/x.local.json")
    deployer.repository = deployer.home
    assert deployer.files(user=False) == {}


def test_use_user_config_applies(deployer: Deployer) -> None:
    """Unless another Codex type uses it."""
    deployer.write("AGENTS.md")
    deployer.write("auth.json", API_KEY_LOGIN)
    deployer.set_types(codex={"use_user_config": False})
    assert set(deployer.files()) == {"~/.codex/auth.json"}
    deployer.set_types(codex={"use_user_config": False}, reviewer={"use_user_config": True})
    assert set(deployer.files()) == {"~/.codex/auth.json", "~/.codex/AGENTS.md"}


def test_another_codex_home_is_deployed_to_the_usual_place(
    deployer: Deployer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """But not that of the agent in whose shell mngr runs."""
    deployer.write("AGENTS.md", "usual")
    other = tmp_path / "other"
    other.mkdir()
    (other / "AGENTS.md").write_text("other")
    monkeypatch.setenv("CODEX_HOME", str(other))
    assert deployer.files() == {"~/.codex/AGENTS.md": "other"}
    monkeypatch.setenv("MNGR_AGENT_STATE_DIR", str(tmp_path))
    assert deployer.files() == {"~/.codex/AGENTS.md": "usual"}


def test_settings_of_this_machine_are_left_out(deployer: Deployer) -> None:
    deployer.write(
        "config.toml",
        'model = "gpt-5.5"\nlog_dir = "/l"\nsqlite_home = "/s"\n[projects."/home/me/x"]\ntrust_level = "trusted"\n'
        '[mcp_servers.m]\ncommand = "m"\n',
    )
    deployed = tomllib.loads(deployer.files()["~/.codex/config.toml"])
    assert deployed == {"model": "gpt-5.5", "mcp_servers": {"m": {"command": "m"}}}


def test_files_that_settings_name_are_deployed(deployer: Deployer, warnings: list[str]) -> None:
    """With paths that are valid in another home."""
    named = deployer.write("texts/instructions.md", "Be brief.")
    deployer.write(
        "config.toml",
        f'model_instructions_file = "{named}"\nexperimental_compact_prompt_file = "texts/../compact.md"\n'
        'model_catalog_json = "/elsewhere/models.json"\n',
    )
    deployer.write("compact.md", "Compact.")
    found = deployer.files()
    config = tomllib.loads(found["~/.codex/config.toml"])
    assert config["model_instructions_file"] == "texts/instructions.md"
    assert config["experimental_compact_prompt_file"] == "compact.md"
    assert found["~/.codex/texts/instructions.md"] == "Be brief." and found["~/.codex/compact.md"] == "Compact."
    assert len(warnings) == 1 and "/elsewhere/models.json" in warnings[0]


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        ("~nosuchuser/x.md", "it is no file"),
        ("x" * 300, "File name too long"),
        ("missing.md", "missing.md, which is not deployed"),
        (r"a\u0000b", "is not deployed"),
    ],
)
def test_a_path_that_cannot_be_deployed_affects_no_other_file(
    deployer: Deployer, warnings: list[str], value: str, warning: str
) -> None:
    deployer.write("AGENTS.md")
    deployer.write("auth.json", API_KEY_LOGIN)
    deployer.write("config.toml", f'model = "gpt-5.5"\nmodel_instructions_file = "{value}"\n')
    found = deployer.files()
    assert set(found) == {"~/.codex/AGENTS.md", "~/.codex/auth.json", "~/.codex/config.toml"}
    assert tomllib.loads(found["~/.codex/config.toml"])["model"] == "gpt-5.5"
    assert any(warning in each for each in warnings)


@pytest.mark.parametrize("name", ["AGENTS.md", "skills/a", "skills/a/b", "config.toml", "hooks.json"])
def test_a_link_that_cannot_be_followed_affects_no_other_file(
    deployer: Deployer, warnings: list[str], name: str
) -> None:
    """Here because of its length; permissions do not apply to every user."""
    deployer.write("prompts/p.md")
    deployer.write("auth.json", API_KEY_LOGIN)
    link = deployer.codex_home / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("x" * 300)
    local = deployer.repository / ".codex" / "x.local.md"
    local.parent.mkdir()
    local.symlink_to("x" * 300)
    assert set(deployer.files()) == {"~/.codex/prompts/p.md", "~/.codex/auth.json"}
    assert all(
        any(f"{path} is not deployed: File name too long" in each for each in warnings) for path in (link, local)
    )


def test_a_folder_that_cannot_be_listed_causes_a_warning(
    deployer: Deployer, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployer.write("prompts/p.md")
    deployer.write("skills/a/SKILL.md")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("skills/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert set(deployer.files()) == {"~/.codex/prompts/p.md"}
    assert warnings == [f"{deployer.codex_home}/skills/a is not deployed: Permission denied"]


def test_tokens_of_mcp_servers_in_two_places_cause_a_warning(deployer: Deployer, warnings: list[str]) -> None:
    """If they are renewed."""
    server = {"server_name": "m", "access_token": "a"}
    deployer.write(".credentials.json", json.dumps({"m|1": server, "n|2": {**server, "refresh_token": None}}))
    assert set(deployer.files()) == {"~/.codex/.credentials.json"}
    assert warnings == []
    deployer.write(".credentials.json", json.dumps({"m|1": {**server, "refresh_token": "r"}}))
    assert set(deployer.files()) == {"~/.codex/.credentials.json"}
    (warning,) = warnings
    assert ".credentials.json" in warning and "Codex renews them" in warning


def test_hooks_are_deployed_without_those_of_this_machines_program(deployer: Deployer) -> None:
    own = {"hooks": [{"type": "command", "command": "/x/mngr-codex hook stop --state-dir /y"}]}
    mine = {"hooks": [{"type": "command", "command": "notify-me"}]}
    deployer.write("hooks.json", json.dumps({"hooks": {"Stop": [own, mine]}}))
    assert json.loads(deployer.files()["~/.codex/hooks.json"]) == {"hooks": {"Stop": [mine]}}
    deployer.write("hooks.json", json.dumps({"hooks": {"Stop": [own]}}))
    assert deployer.files() == {}


@pytest.mark.parametrize("name", ["config.toml", "fast.config.toml", "hooks.json"])
@pytest.mark.parametrize("content", ["[", "\ufffd\0", '{"hooks": 1}'])
def test_damaged_files_are_left_out(deployer: Deployer, warnings: list[str], name: str, content: str) -> None:
    deployer.write("AGENTS.md")
    deployer.write(name, content)
    assert set(deployer.files()) == {"~/.codex/AGENTS.md"}
    assert len(warnings) == 1 and f"{deployer.codex_home / name} is not deployed" in warnings[0]


def test_unreadable_files_are_left_out(deployer: Deployer, warnings: list[str]) -> None:
    for name in ("AGENTS.md", "auth.json", "skills/a/SKILL.md"):
        path = deployer.write(name)
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user can read every file")
    deployer.write("skills/a/run.sh")
    assert set(deployer.files()) == {"~/.codex/skills/a/run.sh"}
    assert len(warnings) == 3 and all("Permission denied" in each for each in warnings)


def test_links_are_followed(deployer: Deployer, tmp_path: Path) -> None:
    """Also those into a loop, and those without a target."""
    skill = tmp_path / "dotfiles" / "skill"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("linked")
    (skill / "loop").symlink_to(skill)
    (skill / "broken").symlink_to(tmp_path / "missing")
    os.mkfifo(skill / "pipe")
    deployer.write("skills/own/SKILL.md")
    (deployer.codex_home / "skills" / "linked").symlink_to(skill)
    found = deployer.files()
    assert set(found) == {"~/.codex/skills/own/SKILL.md", "~/.codex/skills/linked/SKILL.md"}
    assert found["~/.codex/skills/linked/SKILL.md"] == "linked"


def test_a_link_to_a_large_folder_is_left_out(
    deployer: Deployer, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mngr_codex.plugin.carry.user_files.MAXIMUM_FILES", 3)
    for number in range(4):
        deployer.write(f"skills/large/{number}")
    for number in range(3):
        deployer.write(f"skills/small/{number}")
    assert set(deployer.files()) == {f"~/.codex/skills/small/{number}" for number in range(3)}
    assert len(warnings) == 1 and "skills/large" in warnings[0]


def test_an_unexpected_error_does_not_stop_the_deployment(
    deployer: Deployer, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    deployer.write("AGENTS.md")
    deployer.write("auth.json", API_KEY_LOGIN)
    monkeypatch.setattr("mngr_codex.plugin.deploy.user_files._tree", fail)
    assert set(deployer.files()) == {"~/.codex/auth.json"}
    assert f"{deployer.codex_home}/AGENTS.md is not deployed: RuntimeError: broken" in warnings
    monkeypatch.setattr("mngr_codex.plugin.deploy.login.login_file", fail)
    assert (deployer.files(), warnings[-1]) == ({}, "the login of Codex is not deployed: RuntimeError: broken")
    warnings.clear()
    monkeypatch.setattr("mngr_codex.plugin.deploy.user_files.collect", fail)
    monkeypatch.setattr("mngr_codex.plugin.deploy.login.variables", fail)
    assert (deployer.files(), deployer.variables(A="a")) == ({}, {"A": "a"})
    assert warnings == [
        f"{part} is not deployed: RuntimeError: broken" for part in ("the Codex setup", "Codex's environment")
    ]
