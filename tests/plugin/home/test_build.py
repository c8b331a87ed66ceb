"""An agent's CODEX_HOME: put together as a pure function, made on mngr's own host, and looked at by the real codex."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mngr_codex.plugin.home import build
from mngr_codex.plugin.home.build import (
    HOOKS,
    ProvisionedHome,
    build_config,
    cached_upgrades,
    carried,
    check_overrides,
    hooks,
    login_notice,
    merge,
    needs_login,
    own_commands,
    render,
)
from mngr_codex.plugin.home.hook_trust import BYPASS
from tests.support.codex_tui import tui
from tests.support.folder_snapshot import snapshot

PROVIDER = {
    "model_provider": "mock",
    "model_providers": {
        "mock": {
            "name": "mock",
            "base_url": "http://127.0.0.1:9/v1",
            "wire_api": "responses",
            "requires_openai_auth": False,
        }
    },
}


# -- config.toml


def test_the_later_layer_wins_and_tables_are_merged() -> None:
    config = build_config(
        user_config={"model": "users", "tui": {"theme": "dark"}, "notice": {"hide_full_access_warning": False}},
        settings={"model": "settings", "sandbox_mode": "read-only"},
        overrides={"sandbox_mode": "workspace-write", "notice": {"mine": 1}, "tui": {"animations": False}},
        trusted_paths=["/work"],
        model_upgrades={"old": "new"},
        hook_state={"a:stop:0:0": {"trusted_hash": "sha256:a"}},
    )
    assert config["model"] == "settings" and config["sandbox_mode"] == "workspace-write"
    assert config["tui"]["theme"] == "dark" and config["tui"]["animations"] is False
    assert config["notice"]["hide_full_access_warning"] is True and config["notice"]["mine"] == 1
    assert config["notice"]["model_migrations"] == {"old": "new"}
    assert config["projects"] == {"/work": {"trust_level": "trusted"}}
    assert config["hooks"]["state"] == {"a:stop:0:0": {"trusted_hash": "sha256:a"}}
    assert config["cli_auth_credentials_store"] == "file" and config["check_for_update_on_startup"] is False
    assert config["features"]["daemon_auto_start"] is False


@pytest.mark.parametrize(
    ("users", "settings", "expected"),
    [
        ({}, {}, "workspace-write"),
        ({"sandbox_mode": "read-only"}, {}, "read-only"),
        ({"sandbox_mode": "read-only"}, {"sandbox_mode": "danger-full-access"}, "danger-full-access"),
    ],
)
def test_the_user_s_sandbox_is_loosened_by_nothing_but_a_setting(
    users: dict[str, str], settings: dict[str, str], expected: str
) -> None:
    assert build_config(user_config=users, settings=settings, overrides={})["sandbox_mode"] == expected


def test_an_override_of_null_takes_a_key_away() -> None:
    assert merge({"a": 1, "b": {"c": 1, "d": 2}}, {"a": None, "b": {"c": None}}) == {"b": {"d": 2}}


def test_merging_changes_neither_table() -> None:
    below, above = {"a": {"b": 1}}, {"a": {"c": 2}}
    merge(below, above)["a"]["d"] = 3
    assert below == {"a": {"b": 1}} and above == {"a": {"c": 2}}


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"cli_auth_credentials_store": "keyring"}, '"file"'),
        ({"check_for_update_on_startup": True}, "false"),
        ({"features": {"hooks": False}}, "true"),
        ({"features": {"daemon_auto_start": True}}, "false"),
        ({"hooks": {"state": {"x": {"trusted_hash": "y"}}}}, "trust_repo_hooks"),
    ],
)
def test_overrides_that_would_break_the_agent_are_refused(overrides: dict[str, Any], named: str) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    with pytest.raises(errors.ConfigParseError, match=named):
        check_overrides(overrides)


def test_other_overrides_are_taken() -> None:
    check_overrides({"cli_auth_credentials_store": "file", "features": {"hooks": True, "x": 1}, "hooks": {"Stop": []}})


def test_what_is_the_users_alone_is_not_carried_over() -> None:
    kept = carried(
        {
            "projects": {"/other": {"trust_level": "trusted"}},
            "sqlite_home": "/fast",
            "hooks": {"state": {"x": {"trusted_hash": "y"}}, "Stop": [{"hooks": []}]},
            "mcp_servers": {"files": {"command": "files", "args": ["-v"]}},
            "model_instructions_file": "mine.md",
            "agents": {"reviewer": {"config_file": "agents/reviewer.toml"}},
            "model_catalog_json": "/absolute.json",
            "experimental_compact_prompt_file": "~/prompt.md",
        },
        "/home/user/.codex",
    )
    assert kept == {
        "mcp_servers": {"files": {"command": "files", "args": ["-v"]}},
        "model_instructions_file": "/home/user/.codex/mine.md",
        "agents": {"reviewer": {"config_file": "/home/user/.codex/agents/reviewer.toml"}},
        "model_catalog_json": "/absolute.json",
        "experimental_compact_prompt_file": "~/prompt.md",
    }


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = (
    text
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.just(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))


@given(st.dictionaries(text, values, max_size=4))
def test_what_is_written_is_read_again(table: dict[str, Any]) -> None:
    assert tomllib.loads(render(table)) == table


@pytest.mark.parametrize("cache", [None, "", "nonsense", "[]", '{"models": 3}', '{"models": [1, {"slug": 2}]}'])
def test_a_cache_of_models_that_is_broken_says_nothing(cache: str | None) -> None:
    assert cached_upgrades(cache) == {}


def test_a_cache_of_models_tells_what_replaces_what() -> None:
    models = [{"slug": "old", "upgrade": {"model": "new"}}, {"slug": "new", "upgrade": None}]
    assert cached_upgrades(json.dumps({"models": models})) == {"old": "new"}


# -- hooks.json and login


def test_the_users_hooks_come_behind_our_own() -> None:
    of_user = {"hooks": [{"type": "command", "command": "say done"}]}
    program = Path("/a b/mngr-codex")
    of_config = {"Stop": [of_user], "state": {"x": {"trusted_hash": "y"}}}
    groups = hooks(program, {"Stop": [of_user], "PostCompact": [of_user], "SessionStart": "nonsense"}, of_config)[
        "hooks"
    ]
    assert groups["Stop"][1:] == [of_user, of_user] and groups["PostCompact"] == [of_user] and "state" not in groups
    first = [groups[event][0]["hooks"][0]["command"] for event in HOOKS]
    assert tuple(first) == own_commands(program)
    assert "'/a b/mngr-codex' hook stop" in first


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        ({}, True),
        ({"model_provider": "openai"}, True),
        ({"model_provider": "ollama"}, False),
        (PROVIDER, False),
        ({"model_provider": "p", "model_providers": {"p": {"requires_openai_auth": True}}}, True),
    ],
)
def test_a_login_is_needed_for_openais_models(config: dict[str, Any], needed: bool) -> None:
    assert needs_login(config) is needed


def test_a_keyring_is_named_as_what_cannot_be_shared() -> None:
    assert "codex login" in login_notice({}, "/h/.codex") and "keyring" not in login_notice({}, "/h/.codex")
    assert "keyring" in login_notice({"cli_auth_credentials_store": "auto"}, "/h/.codex")


# -- on a host, with the real codex


class World:
    """A user with a home, an agent's home to be, and a work dir."""

    def __init__(self, host: Any, codex: str, home: Path, tmp_path: Path) -> None:
        self.host, self.codex, self.home = host, codex, home
        self.user = home / ".codex"
        self.codex_home = tmp_path / "state dir" / "plugin" / "codex" / "home"
        self.work_dir = tmp_path / "work"
        self.work_dir.mkdir()
        self.program = tmp_path / "state dir" / "commands" / "mngr-codex"
        self.program.parent.mkdir(parents=True)
        self.program.write_text(f'#!/bin/sh\necho "$2" >>{json.dumps(str(tmp_path / "ran"))}\n')
        self.program.chmod(0o755)
        self.overrides: dict[str, Any] = PROVIDER

    def write(self, name: str, content: str) -> None:
        path = self.user / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def provision(self, **how: Any) -> ProvisionedHome:
        return build.provision(
            self.host,
            codex_home=self.codex_home,
            work_dir=self.work_dir,
            **{
                "program": self.program,
                "command": self.codex,
                "settings": {"model": "gpt-5.5", "sandbox_mode": "workspace-write"},
                "overrides": self.overrides,
                **how,
            },
        )

    def config(self) -> dict[str, Any]:
        return tomllib.loads((self.codex_home / "config.toml").read_text())


@pytest.fixture
def world(host: object, codex: str, home: Path, tmp_path: Path) -> World:
    return World(host, codex, home, tmp_path)


def test_a_home_is_made_without_any_of_the_users(world: World) -> None:
    before = snapshot(world.home)
    made = world.provision()
    assert made.notices == () and made.trust.problem is None
    assert made.codex_version and made.codex_version[0].isdigit()
    assert snapshot(world.home) == before
    config = world.config()
    assert config["projects"] == {str(world.work_dir): {"trust_level": "trusted"}}
    # Of those that this codex knows: 0.138 lacks three of them.
    assert len(config["hooks"]["state"]) >= 8
    assert all(entry.keys() == {"trusted_hash"} for entry in config["hooks"]["state"].values())
    assert "gpt-5.5" in config["notice"]["model_migrations"] or made.codex_version not in {"0.163.0", "0.169.0"}
    assert (world.codex_home / "config.toml").stat().st_mode & 0o777 == 0o600


def test_the_users_things_are_carried_over_and_only_read(world: World) -> None:
    world.write(
        "config.toml",
        '# mine\nmodel = "users"\n[mcp_servers.files]\ncommand = "files"\n[projects."/x"]\ntrust_level = "trusted"\n',
    )
    world.write("work.config.toml", 'model_instructions_file = "mine.md"\nfeatures.hooks = false\n')
    world.write(".env", "KEY_OF_A_PROVIDER=1\n")
    world.write("AGENTS.md", "Be brief.\n")
    world.write("prompts/review.md", "Review.\n")
    world.write("skills/mine/SKILL.md", "---\nname: mine\ndescription: d\n---\n")
    world.write("skills/.system/theirs/SKILL.md", "")
    world.write("rules/default.rules", "rule\n")
    world.write(
        "hooks.json", json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}})
    )
    world.write("auth.json", "{}")
    before = snapshot(world.home)
    made = world.provision()
    assert snapshot(world.home) == before
    config = world.config()
    assert config["mcp_servers"] == {"files": {"command": "files"}} and config["model"] == "gpt-5.5"
    assert list(config["projects"]) == [str(world.work_dir)]
    profile = tomllib.loads((world.codex_home / "work.config.toml").read_text())
    assert profile["model_instructions_file"] == str(world.user / "mine.md")
    # A profile lies over config.toml, so it has to say what the agent needs as well.
    assert profile["features"] == {"hooks": True, "daemon_auto_start": False}
    assert (world.codex_home / "AGENTS.md").read_text() == "Be brief.\n"
    # Providers have their keys there.
    assert (world.codex_home / ".env").read_text() == "KEY_OF_A_PROVIDER=1\n"
    assert (world.codex_home / "prompts" / "review.md").is_symlink()
    assert (world.codex_home / "skills" / "mine").is_symlink() and not (world.codex_home / "skills").is_symlink()
    assert not (world.codex_home / "skills" / ".system" / "theirs").exists()
    # Codex adds to the rules, so they are the agent's own.
    assert not (world.codex_home / "rules" / "default.rules").is_symlink()
    assert [hook.command for hook in made.trust.switched_off] == ["say done"]


def test_a_hook_that_the_user_trusts_runs_for_the_agent_too(world: World) -> None:
    world.write(
        "hooks.json", json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}})
    )
    (of_user,) = world.provision().trust.switched_off
    world.write("config.toml", render({"hooks": {"state": {"x": {"trusted_hash": of_user.current_hash}}}}))
    made = world.provision()
    assert made.trust.trusted == (of_user,) and made.notices == ()


def test_hooks_in_the_users_config_count_as_those_in_their_hooks_file(world: World) -> None:
    group = {"hooks": [{"type": "command", "command": "say done"}]}
    world.write("config.toml", render({"hooks": {"Stop": [group]}}))
    (of_user,) = world.provision().trust.switched_off
    state = {"x": {"trusted_hash": of_user.current_hash}}
    world.write("config.toml", render({"hooks": {"Stop": [group], "state": state}}))
    assert [hook.command for hook in world.provision().trust.trusted] == ["say done"]


def test_hooks_that_the_settings_set_run(world: World) -> None:
    world.overrides = {**PROVIDER, "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}}
    made = world.provision()
    assert [hook.command for hook in made.trust.trusted] == ["say done"] and made.trust.switched_off == ()


def test_rules_that_codex_added_for_the_agent_stay(world: World) -> None:
    world.write("rules/default.rules", "rule\n")
    world.provision()
    (world.codex_home / "rules" / "default.rules").write_text("rule\nmore\n")
    world.provision()
    assert (world.codex_home / "rules" / "default.rules").read_text() == "rule\nmore\n"


def test_nothing_is_carried_over_if_the_user_says_so(world: World) -> None:
    world.write("config.toml", "no = toml = at all")
    world.write("AGENTS.md", "Be brief.\n")
    made = world.provision(carries_user_config=False)
    assert made.trust.problem is None
    assert not (world.codex_home / "AGENTS.md").exists()


def test_a_config_of_the_users_that_is_broken_is_named(world: World) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    world.write("config.toml", "no = toml = at all")
    with pytest.raises(errors.ConfigParseError, match=r"\.codex/config\.toml is no TOML.*use_user_config"):
        world.provision()


def test_hooks_of_the_users_that_are_broken_are_skipped_and_named(world: World) -> None:
    world.write("hooks.json", "{")
    made = world.provision()
    assert len(made.notices) == 1 and "hooks.json cannot be read" in made.notices[0]
    assert made.trust.problem is None


def test_one_broken_hook_of_the_users_does_not_cost_the_others(world: World) -> None:
    good = {"matcher": "x", "hooks": [{"type": "command", "command": "true"}]}
    broken = {"Stop": [{"hooks": "nonsense"}, good], "UserPromptSubmit": [5], "PreToolUse": "x"}
    world.write("hooks.json", json.dumps({"hooks": broken}))
    made = world.provision()
    assert made.trust.problem is None and made.has_live_state
    assert "Stop, UserPromptSubmit, PreToolUse" in made.notices[0]
    written = json.loads((world.codex_home / "hooks.json").read_text())["hooks"]
    assert written["Stop"][1:] == [good] and len(written["UserPromptSubmit"]) == 1


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["no UTF-8", "a folder"])
def test_a_config_of_the_users_that_cannot_be_read_is_named(world: World, content: bytes | None) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    path = world.home / ".codex/config.toml"
    path.parent.mkdir(exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(errors.ConfigParseError, match=r"config\.toml cannot be read.*use_user_config"):
        world.provision()


def test_a_byte_order_mark_is_passed_over_and_a_broken_profile_skipped(world: World) -> None:
    world.write("config.toml", '\ufeffreview_model = "users"\n')
    world.write("good.config.toml", 'model = "other"\n')
    world.write("bad.config.toml", "no toml")
    made = world.provision()
    assert world.config()["review_model"] == "users"
    assert len(made.notices) == 1 and "bad.config.toml is no TOML" in made.notices[0]
    assert (world.codex_home / "good.config.toml").exists() and not (world.codex_home / "bad.config.toml").exists()


def test_settings_that_codex_refuses_are_told_by_its_own_words(world: World) -> None:
    made = world.provision(overrides={"features": {"apps": "nonsense"}})
    assert made.trust.problem and not made.has_live_state
    (notice,) = [each for each in made.notices if "does not start with these settings" in each]
    # The value, which may be a secret, is codex's to name.
    assert "`apps`: " in notice and "invalid type" in notice and f"{world.user}/config.toml" in notice


def test_a_later_login_reaches_the_agent(world: World) -> None:
    made = world.provision(overrides={})
    assert len(made.notices) == 1 and "`codex login`" in made.notices[0]
    world.write("auth.json", "{}")
    assert (world.codex_home / "auth.json").read_text() == "{}"
    assert world.provision(overrides={}).notices == ()


def test_a_codex_without_an_app_server_runs_hooks_only_with_consent_to_the_flag(world: World, tmp_path: Path) -> None:
    old = tmp_path / "old-codex"
    old.write_text("#!/bin/sh\n[ $1 != --help ] || cat $0.flags\necho 'error: unrecognized subcommand' >&2\nexit 2\n")
    flags = tmp_path / "old-codex.flags"
    flags.write_text(f"  {BYPASS}\n")
    old.chmod(0o755)
    made = world.provision(command=str(old))
    assert made.codex_version is None and "unrecognized subcommand" in (made.trust.problem or "")
    assert not made.needs_bypass and not made.has_live_state
    assert world.config()["features"]["hooks"] is False and "state" not in world.config().get("hooks", {})
    assert "without mngr's hooks" in made.notices[0] and "newer codex" in made.notices[0]
    made = world.provision(command=str(old), allows_bypass=True)
    assert made.needs_bypass and made.has_live_state and made.notices == ()
    assert world.config()["features"]["hooks"] is True
    # One that is older still refuses the flag, and runs its hooks without.
    flags.write_text("")
    assert not world.provision(command=str(old), allows_bypass=True).needs_bypass


def test_a_command_with_a_profile_can_be_asked(world: World) -> None:
    world.write("work.config.toml", 'model = "gpt-5.4"\n')
    made = world.provision(command=f"{world.codex} --profile work")
    assert made.trust.problem is None and made.codex_version is not None


def test_hooks_that_an_administrator_keeps_out_are_told(world: World, tmp_path: Path) -> None:
    strict = tmp_path / "strict-codex"
    answers = [{"id": 1, "result": {"userAgent": "mngr-codex/0.163.0 (x)"}}, {"id": 2, "result": {"data": []}}]
    lines = "\n".join(json.dumps(answer) for answer in [*answers, {"id": 3, "result": {}}])
    strict.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\ncat >/dev/null\n")
    strict.chmod(0o755)
    made = world.provision(command=str(strict), allows_bypass=True)
    assert not made.needs_bypass and not made.has_live_state and "administrator" in made.notices[0]
    assert world.config()["features"]["hooks"] is True


def test_without_a_program_for_the_host_there_are_no_hooks_of_ours(world: World) -> None:
    made = world.provision(program=None)
    assert not made.has_live_state and made.trust.problem is None and made.notices == ()
    assert json.loads((world.codex_home / "hooks.json").read_text()) == {"hooks": {}}


# -- the TUI


def is_composer(screen: str) -> bool:
    return "? for shortcuts" in screen or "/model to change" in screen


BLOCKING = (
    "Meet GPT",
    "no longer available",
    "Introducing GPT",
    "need review",
    "Do you trust",
    "Sign in",
    "Update avail",
)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gpt-5.5", "gpt-5.4", "gpt-5.2"])
def test_the_tui_opens_on_its_composer(world: World, model: str) -> None:
    """No screen about models, trust, hooks or updates comes first, though all of them have reason to."""
    hooks_of = {"Stop": [{"hooks": [{"type": "command", "command": "touch ran-of-repository"}]}]}
    (world.work_dir / ".codex").mkdir()
    (world.work_dir / ".codex" / "hooks.json").write_text(json.dumps({"hooks": hooks_of}))
    subprocess.run(["git", "init", "-q"], cwd=world.work_dir, check=True)
    world.write("version.json", '{"latest_version":"99.0.0","last_checked_at":"2026-11-26T00:00:00Z"}')
    world.write(
        "hooks.json", json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}})
    )
    made = world.provision(settings={"model": model})
    assert {hook.source for hook in made.trust.switched_off} == {"project", "user"}
    with tui(world.codex, world.work_dir, {"CODEX_HOME": str(world.codex_home)}) as screen:
        shown = screen.until(lambda text: is_composer(text) or any(words in text for words in BLOCKING))
    assert is_composer(shown), shown
    # Nothing that runs on behind the TUI was put there.
    assert not (world.codex_home / "packages").exists()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["subfolder of a repository", "behind a symlink", "linked worktree"])
def test_the_tui_asks_for_no_trust_wherever_the_work_dir_is(world: World, tmp_path: Path, place: str) -> None:
    repository = tmp_path / "repository"
    (repository / "sub").mkdir(parents=True)
    (repository / "sub" / "file").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["worktree", "add", "-q", "../linked"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    (tmp_path / "link").symlink_to(repository)
    world.work_dir = {
        "subfolder of a repository": repository / "sub",
        "behind a symlink": tmp_path / "link",
        "linked worktree": tmp_path / "linked",
    }[place]
    assert world.provision().notices == ()
    with tui(world.codex, world.work_dir, {"CODEX_HOME": str(world.codex_home)}) as screen:
        shown = screen.until(lambda text: is_composer(text) or any(words in text for words in BLOCKING))
    assert is_composer(shown), shown


@pytest.mark.slow
def test_a_session_of_another_folder_is_resumed_here(world: World) -> None:
    made = world.provision()
    recorded = Path(__file__).parents[2] / "data" / f"{made.codex_version}" / "plain.jsonl"
    if not recorded.exists() or made.codex_version == "0.138.0":
        pytest.skip(f"there is no session of codex {made.codex_version}, or it asks whatever it is set to (0.138)")
    session = json.loads(recorded.read_text().splitlines()[0])["payload"]["id"]
    other = world.home / "other"
    other.mkdir()
    sessions = world.codex_home / "sessions" / "2026" / "11" / "20"
    sessions.mkdir(parents=True)
    content = re.sub(r'"cwd":"[^"]*"', f'"cwd":{json.dumps(str(other))}', recorded.read_text())
    (sessions / f"rollout-2026-11-20T10-00-00-{session}.jsonl").write_text(content)
    with tui(world.codex, world.work_dir, {"CODEX_HOME": str(world.codex_home)}, "resume", session) as screen:
        shown = screen.until(lambda text: is_composer(text) or "Use session directory" in text)
    assert "Use session directory" not in shown


@pytest.mark.slow
def test_without_our_settings_the_tui_does_not(world: World) -> None:
    """What the test above relies on: each of these settings keeps a screen away."""
    made = world.provision()
    if made.codex_version not in {"0.163.0", "0.169.0"}:
        pytest.skip(f"codex {made.codex_version} replaces other models")
    config = world.config()
    del config["notice"]
    (world.codex_home / "config.toml").write_text(render(config))
    with tui(world.codex, world.work_dir, {"CODEX_HOME": str(world.codex_home)}) as screen:
        screen.until(lambda text: "Meet GPT-6 Sol" in text)
    del config["hooks"]
    config["notice"] = {"model_migrations": {"gpt-5.5": "gpt-6-sol"}}
    (world.codex_home / "config.toml").write_text(render(config))
    with tui(world.codex, world.work_dir, {"CODEX_HOME": str(world.codex_home)}) as screen:
        screen.until(lambda text: "need review" in text)
