"""What another host gets of the user's setup on this machine."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path, PurePath
from typing import Any

import pytest

from mngr_codex.plugin.carry import settings
from mngr_codex.plugin.carry.settings import Setup, read


class Home:
    """A Codex home of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: str = "content", *, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)
        return path

    def read(self, *owned: str, with_secrets: bool = False) -> Setup:
        return read(self.folder, owned, with_secrets=with_secrets)

    def config(self, text: str, *, with_secrets: bool = False) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Returns the carried settings and the skipped ones."""
        self.write("config.toml", text)
        setup = self.read(with_secrets=with_secrets)
        return dict(setup.config), setup.skipped


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / ".codex")


def names(setup: Setup) -> set[str]:
    return {str(path) for path in setup.files}


CARRIED = {
    "AGENTS.md",
    "AGENTS.override.md",
    "themes/dark.tmTheme",
    "prompts/review.md",
    "skills/build/SKILL.md",
    "skills/build/.hidden",
    "agents/reviewer.toml",
    "rules/default.rules",
}
SECRET = {".env", "skills/build/.env.local", "skills/build/server.pem", "agents/auth.json"}
NOT_CARRIED = {
    ".credentials.json",
    "auth.json",
    "sessions/2026/11/22/rollout-x.jsonl",
    "history.jsonl",
    "log/codex-tui.log",
    "version.json",
    "state_5.sqlite",
    "skills/.system/x/SKILL.md",
    "skills/build/.git/config",
    "plugins/x/plugin.json",
    ".hidden.config.toml",
}


def test_what_agents_use_is_carried_and_nothing_else(home: Home) -> None:
    for name in (*CARRIED, *SECRET, *NOT_CARRIED):
        home.write(name, name)
    home.write("config.toml", 'model = "m"\n[projects."/x"]\ntrust_level = "trusted"\n')
    home.write("fast.config.toml", 'model = "fast"\n')
    home.write("hooks.json", '{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}}')
    setup = home.read()
    assert names(setup) == CARRIED and setup.has_settings
    assert all(file.content == str(path).encode() for path, file in setup.files.items())
    assert setup.config == {"model": "m"} and setup.profiles == {"fast.config.toml": {"model": "fast"}}
    assert list(setup.hooks) == ["Stop"]
    assert setup.names == sorted(
        {"AGENTS.md", "AGENTS.override.md", "themes", "prompts", "skills", "agents", "rules", "config.toml"}
        | {"fast.config.toml", "hooks.json"}
    )
    shown = "\n".join(setup.skipped)
    assert all(f"{home.folder / name}: it may be secret" in shown for name in SECRET - {".env"})
    assert names(home.read(with_secrets=True)) == CARRIED | SECRET


def test_without_a_codex_home_there_is_nothing(home: Home) -> None:
    assert home.read() == Setup(has_settings=True)


@pytest.mark.parametrize("owned", ["config.toml", "hooks.json", "slow.config.toml"])
def test_settings_of_the_hosts_user_come_first(home: Home, owned: str) -> None:
    """Settings, profiles and hooks belong together."""
    home.write("config.toml", 'model = "m"\n')
    home.write("fast.config.toml")
    home.write("hooks.json", '{"hooks": {"Stop": [{"hooks": []}]}}')
    home.write("AGENTS.md")
    assert home.read(owned).names == ["AGENTS.md"] and not home.read(owned).has_settings


def test_other_files_of_the_hosts_user_come_first_by_name(home: Home) -> None:
    for name in (
        "AGENTS.md",
        "AGENTS.override.md",
        "skills/a/SKILL.md",
        "skills/b/SKILL.md",
        "rules/x.rules",
        "themes/t",
    ):
        home.write(name)
    assert names(home.read("AGENTS.md")) == {"skills/a/SKILL.md", "skills/b/SKILL.md", "rules/x.rules", "themes/t"}
    assert names(home.read("skills/a", "rules/x.rules", "themes")) == {
        "AGENTS.md",
        "AGENTS.override.md",
        "skills/b/SKILL.md",
    }


SECRETS = """\
model = "m"
model_provider = "mine"
[model_providers.mine]
base_url = "https://example.invalid"
env_key = "MINE_KEY"
experimental_bearer_token = "S3CRET"
http_headers = { Authorization = "S3CRET" }
env_http_headers = { X = "VARIABLE" }
[shell_environment_policy]
inherit = "core"
set = { PASSWORD = "S3CRET" }
[otel.exporter.otlp-http]
endpoint = "https://example.invalid"
headers = { x = "S3CRET" }
[otel.exporter.otlp-http.tls]
client-private-key = "key.pem"
[mcp_servers.plain]
command = "npx"
args = ["-y", "server"]
required = true
env_vars = ["VARIABLE"]
[mcp_servers.remote]
url = "https://example.invalid/mcp"
bearer_token_env_var = "VARIABLE"
required = true
[mcp_servers.with_variables]
command = "npx"
env = { DATABASE = "S3CRET" }
[mcp_servers.with_headers]
url = "https://example.invalid/mcp"
http_headers = { x = "S3CRET" }
[mcp_servers.with_argument]
command = "npx"
args = ["--api-key", "S3CRET"]
[mcp_servers.with_parameter]
url = "https://example.invalid/mcp?token=S3CRET"
"""


@pytest.mark.parametrize("target", [".credentials.json", "auth.json", "../.ssh/config"])
def test_a_link_to_a_secret_is_skipped(home: Home, target: str) -> None:
    home.write("skills/a/SKILL.md")
    home.write(target, "S3CRET")
    (home.folder / "skills/a/alias.md").symlink_to(home.folder / target)
    setup = home.read()
    assert names(setup) == {"skills/a/SKILL.md"} and "alias.md" in "".join(setup.skipped)


@pytest.mark.parametrize(
    "settings",
    ['base_url = "https://me@example.invalid/v1"', 'base_url = "u"\nauth = { command = "print-token", args = [] }'],
)
def test_a_provider_that_cannot_be_used_without_what_is_removed_is_skipped(home: Home, settings: str) -> None:
    """Without its address, Codex would send the conversation to OpenAI; without the command it would not start."""
    config, skipped = home.config(f'model_provider = "corp"\n[model_providers.corp]\nenv_key = "KEY"\n{settings}\n')
    assert config == {"model_provider": "corp", "model_providers": {}}
    (name,) = skipped
    assert name.startswith("model_providers.corp in ")


def test_what_may_be_secret_is_skipped_and_named(home: Home) -> None:
    config, skipped = home.config(SECRETS)
    assert "S3CRET" not in repr(config) and "S3CRET" not in repr(skipped)
    assert config == {
        "model": "m",
        "model_provider": "mine",
        "model_providers": {
            "mine": {
                "base_url": "https://example.invalid",
                "env_key": "MINE_KEY",
                "env_http_headers": {"X": "VARIABLE"},
            }
        },
        "shell_environment_policy": {"inherit": "core"},
        "otel": {"exporter": {"otlp-http": {"endpoint": "https://example.invalid", "tls": {}}}},
        "mcp_servers": {
            # Codex would exit if a required program were missing on the host.
            "plain": {"command": "npx", "args": ["-y", "server"], "env_vars": ["VARIABLE"]},
            "remote": {
                "url": "https://example.invalid/mcp",
                "bearer_token_env_var": "VARIABLE",
                "required": True,
            },
        },
    }
    place = f"in {home.folder}/config.toml: it may be secret"
    assert set(skipped) == {
        f"{name} {place}"
        for name in (
            "model_providers.mine.experimental_bearer_token",
            "model_providers.mine.http_headers",
            "shell_environment_policy.set",
            "otel.exporter.otlp-http.headers",
            "otel.exporter.otlp-http.tls.client-private-key",
            "mcp_servers.with_variables",
            "mcp_servers.with_headers",
            "mcp_servers.with_argument",
            "mcp_servers.with_parameter",
        )
    }


ROLES = {
    "agents/secret.toml": 'model = "m"\n[mcp_servers.x]\ncommand = "x"\nenv = { A = "S3CRET" }\n',
    "agents/plain.toml": 'model = "m"\n',
    "agents/damaged.toml": "model =",
}


def test_possible_secrets_of_agent_roles_and_hooks_are_skipped(home: Home) -> None:
    for name, text in ROLES.items():
        home.write(name, text)
    hook = {"type": "command", "command": "curl -H 'Authorization: Bearer S3CRET123'"}
    home.write("hooks.json", json.dumps({"hooks": {"Stop": [{"hooks": [hook]}]}}))
    setup = home.read()
    assert names(setup) == {"agents/plain.toml", "agents/damaged.toml"} and not setup.hooks
    assert set(setup.skipped) == {
        f"{home.folder}/agents/secret.toml with mcp_servers.x: it may be secret",
        f"{home.folder}/hooks.json: it may be secret",
    }
    setup = home.read(with_secrets=True)
    assert names(setup) == set(ROLES) and setup.hooks and not setup.skipped


def test_secrets_are_carried_on_request(home: Home) -> None:
    home.write("key.pem")
    config, skipped = home.config(SECRETS, with_secrets=True)
    expected = tomllib.loads(SECRETS)
    del expected["mcp_servers"]["plain"]["required"]
    assert config == expected and skipped == ()


def test_files_that_settings_name_are_carried(home: Home, tmp_path: Path) -> None:
    home.write("instructions/base.md")
    outside = tmp_path / "elsewhere.md"
    outside.write_text("x")
    text = f"""\
model_instructions_file = "instructions/base.md"
experimental_compact_prompt_file = "{home.folder}/instructions/base.md"
model_catalog_json = "{outside}"
[agents.reviewer]
config_file = "missing.toml"
"""
    config, skipped = home.config(text)
    assert config == {
        "model_instructions_file": "instructions/base.md",
        "experimental_compact_prompt_file": "instructions/base.md",
        "agents": {"reviewer": {}},
    }
    assert names(home.read()) == {"instructions/base.md"}
    assert len(skipped) == 2 and f"{outside} is not in {home.folder}" in skipped[0] and "no file" in skipped[1]


def test_the_size_is_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is carried completely or not at all, and later ones that fit still are."""
    monkeypatch.setattr(settings, "MAXIMUM_BYTES", 1000)
    home.write("AGENTS.md", "a" * 500)
    home.write("skills/big/1", "b" * 300)
    home.write("skills/big/2", "b" * 300)
    home.write("skills/small/SKILL.md", "c" * 500)
    setup = home.read()
    assert names(setup) == {"AGENTS.md", "skills/small/SKILL.md"}
    assert len(setup.skipped) == 1 and setup.skipped[0].startswith(f"{home.folder}/skills/big: ")


def test_links_are_followed_and_odd_files_skipped(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles"
    (elsewhere / "skill").mkdir(parents=True)
    (elsewhere / "skill" / "SKILL.md").write_text("linked")
    (elsewhere / "skill" / "again").symlink_to(elsewhere / "skill")
    home.write("skills/real/run", mode=0o755)
    (home.folder / "skills/linked").symlink_to(elsewhere / "skill")
    (home.folder / "skills/dangling").symlink_to("nothing")
    (home.folder / "skills/loop").symlink_to("loop")
    import os

    os.mkfifo(home.folder / "skills/real/pipe")
    setup = home.read()
    assert names(setup) == {"skills/real/run", "skills/linked/SKILL.md"}
    executable = {str(path): file.is_executable for path, file in setup.files.items()}
    assert executable == {"skills/real/run": True, "skills/linked/SKILL.md": False}
    assert setup.files[PurePath("skills/linked/SKILL.md")].content == b"linked"
    assert any("skills/loop" in each for each in setup.skipped)


@pytest.mark.parametrize("name", ["config.toml", "fast.config.toml", "hooks.json"])
def test_a_damaged_file_affects_no_other_one(home: Home, name: str) -> None:
    home.write("AGENTS.md")
    home.write(name, "model = \n")
    setup = home.read()
    assert setup.names == ["AGENTS.md"]
    assert len(setup.skipped) == 1 and setup.skipped[0].startswith(f"{home.folder / name}: cannot read it: ")
