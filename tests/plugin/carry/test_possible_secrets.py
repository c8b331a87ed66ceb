"""No possible secret of the settings leaves this machine, and none is shown."""

from __future__ import annotations

import string
import tomllib
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mngr_codex.plugin.carry.possible_secrets import is_secret_file, without_secrets

WORD = "Zq7Zq7Zq7Zq7Zq7Zq7"
"""A part of every secret here, and of nothing else."""
SECRET_TEXTS = [
    f"sk-{WORD}",
    f"sk-proj-{WORD}",
    f"ghp_{WORD}",
    f"github_pat_{WORD}",
    f"glpat-{WORD}",
    f"xoxb-{WORD}",
    f"npm_{WORD}",
    f"AIza{WORD}",
    f"eyJ{WORD}.{WORD}.x",
    f"Bearer {WORD}",
    f"Authorization: {WORD}",
    f"Basic {WORD}==",
    f"https://user:{WORD}@host.invalid/x",
    f"postgres://user:{WORD}@host.invalid:5432/db?x=1",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{WORD}",
]
SECRET_NAMES = [
    *("token", "experimental_bearer_token", "api_key", "apiKey", "API-KEY", "secret", "client_secret", "password"),
    *("passwd", "passphrase", "Authorization", "authorization", "cookie", "bearer", "client-private-key", "tokens"),
    *("access_key", "credentials"),
]
SECRET_TABLES = ["env", "headers", "http_headers"]
SECRET_ARGUMENTS = [
    ["--api-key", WORD],
    [f"--token={WORD}"],
    ["-H", f"X-Other: {WORD}"],
    ["--header", f"X-Other: {WORD}"],
    [f"--header=X-Other:{WORD}"],
    [f"-HX-Other: {WORD}"],
    ["-u", f"me:{WORD}"],
    ["--user", f"me:{WORD}"],
    ["--user=me:" + WORD],
    ["run", "-e", f"DATABASE={WORD}", "image"],
    [f"https://{WORD}@host.invalid/"],
    ["--auth-token-file", WORD],
    [WORD * 2],
    [f"https://host.invalid/mcp/s/{WORD * 2}/mcp"],
]
SECRET_ADDRESSES = [
    f"https://host.invalid/mcp?api_key={WORD}",
    f"https://host.invalid/mcp?key={WORD}",
    f"https://host.invalid/mcp?a=1&sig={WORD}",
    f"https://host.invalid/s/{WORD * 2}/mcp",
    f"https://{WORD}@host.invalid/mcp",
]

plain_name = st.text(string.ascii_lowercase, min_size=1, max_size=3)
plain_text = st.text("abc DE:/.,'\"\n", max_size=20).filter(lambda text: "://" not in text)
plain_value = st.one_of(plain_text, st.integers(), st.booleans(), st.lists(plain_text, max_size=3))
plain_table: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    plain_name,
    st.recursive(plain_value, lambda inner: st.dictionaries(plain_name, inner, max_size=3), max_leaves=6),
    max_size=4,
)
any_text = st.builds(
    "{}{}{}".format, st.sampled_from(["", "a ", "x=", "\n"]), st.sampled_from(SECRET_TEXTS), plain_text
)
secret_setting: st.SearchStrategy[tuple[str, Any]] = st.one_of(
    st.tuples(plain_name, any_text),
    st.tuples(plain_name, st.lists(any_text, min_size=1, max_size=2)),
    st.tuples(plain_name, st.builds(lambda text: [{"a": [text]}], any_text)),
    st.tuples(st.just("hooks"), st.builds(lambda text: {"Stop": [{"hooks": [{"command": text}]}]}, any_text)),
    st.tuples(st.just("env_http_headers"), st.builds(lambda text: {"X": text}, any_text)),
    st.tuples(st.sampled_from(SECRET_NAMES), st.sampled_from([WORD, [WORD], f"a {WORD}"])),
    st.tuples(plain_name, st.builds(lambda name: [{name: WORD}], st.sampled_from(SECRET_NAMES))),
    st.tuples(st.sampled_from(SECRET_TABLES), st.builds(lambda name: {name: WORD}, plain_name)),
    st.tuples(st.just("shell_environment_policy"), st.just({"set": {"A": WORD}})),
    st.tuples(st.sampled_from(["args", "notify", "command"]), st.sampled_from(SECRET_ARGUMENTS)),
    st.tuples(st.sampled_from(["url", "base_url", "chatgpt_base_url", "endpoint"]), st.sampled_from(SECRET_ADDRESSES)),
)


def placed(table: dict[str, Any], place: list[str], name: str, value: Any) -> dict[str, Any]:
    """Returns a table with a value in a table of it."""
    if not place:
        return {**table, name: value}
    inner = table.get(place[0])
    return {**table, place[0]: placed(inner if isinstance(inner, dict) else {}, place[1:], name, value)}


@given(plain_table, st.lists(plain_name, max_size=3), secret_setting)
def test_no_secret_is_kept_or_shown(table: dict[str, Any], place: list[str], setting: tuple[str, Any]) -> None:
    """Everything else is kept."""
    name, value = setting
    settings = placed(table, place, name, value)
    kept, removed = without_secrets(settings)
    assert WORD not in repr(kept) and WORD not in repr(removed)
    (shown,) = removed
    assert shown.split(".")[: len(place) + 1] == [*place, name]
    # The table around the secret can stay, without it.
    rest: dict[str, Any] | None = {} if name == "shell_environment_policy" else None
    assert placed(kept, place, name, rest) == placed(table, place, name, rest)


@given(plain_table)
def test_other_settings_are_kept(table: dict[str, Any]) -> None:
    assert without_secrets(table) == (table, [])


ORDINARY = r"""
model = "gpt-5.2-codex"
model_provider = "mine"
model_auto_compact_token_limit = 200000
tool_output_token_limit = 1000
cli_auth_credentials_store = "file"
mcp_oauth_credentials_store = "auto"
chatgpt_base_url = "https://chatgpt.invalid/backend-api/"
developer_instructions = "Never print a token or a password. Use task-runner-for-everything: basic is fine."
notify = ["python3", "/home/me/.config/notify-2026-with-a-long-name-abcdefgh1/notify.py"]
[model_providers.mine]
base_url = "http://localhost:8080/v1"
env_key = "MINE_API_KEY"
env_key_instructions = "Create a key at https://example.invalid"
query_params = { api-version = "2026-01-01" }
env_http_headers = { Authorization = "MINE_AUTHORIZATION" }
[shell_environment_policy]
exclude = ["*TOKEN*"]
include_only = ["PATH", "HOME"]
[mcp_servers.github-token]
command = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-server-1.0/bin/server"
args = ["-y", "-u", "server.py", "--port", "8080", "@scope/server@1.2.3", "--root", "/home/me/work", "npx:x"]
env_vars = ["GITHUB_TOKEN"]
cwd = "/srv"
[mcp_servers.remote]
url = "https://example.invalid:8443/mcp/v1?x=1"
bearer_token_env_var = "REMOTE_TOKEN"
enabled_tools = ["create_token"]
[[skills.config]]
path = "/home/me/skills/x"
enabled = false
[hooks]
Stop = [{ hooks = [{ type = "command", command = "notify --token-file x" }] }]
"""


def test_ordinary_settings_are_kept() -> None:
    settings = tomllib.loads(ORDINARY)
    assert without_secrets(settings) == (settings, [])


@pytest.mark.parametrize("arguments", SECRET_ARGUMENTS, ids=" ".join)
def test_a_server_with_a_secret_is_removed_as_a_whole(arguments: list[str]) -> None:
    servers = {"mcp_servers": {"a": {"command": "npx", "args": arguments}, "b": {"command": "npx"}}}
    assert without_secrets(servers) == ({"mcp_servers": {"b": {"command": "npx"}}}, ["mcp_servers.a"])


@pytest.mark.parametrize(
    "name",
    [
        *(
            ".npmrc",
            ".netrc",
            ".pypirc",
            ".env",
            ".env.local",
            "prod.env",
            "server.pem",
            "KEY.PEM",
            "id_ed25519",
            "id_rsa",
        ),
        *("credentials.json", "secrets.toml", "store.jks", "service-account-1.json", ".ssh/config", ".aws/credentials"),
    ],
)
def test_files_named_like_secrets(name: str) -> None:
    assert is_secret_file(PurePath("skills/build", name))


@pytest.mark.parametrize("name", ["SKILL.md", "environment.md", "key.md", "tokenizer.py", "secretary.md", ".gitignore"])
def test_ordinary_files(name: str) -> None:
    assert not is_secret_file(PurePath("skills/build", name))
