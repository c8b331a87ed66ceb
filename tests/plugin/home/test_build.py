"""An agent's ``CODEX_HOME``, built on mngr's local host and checked with the real Codex."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.home.build import CodexHome, CodexHomeRequest, build
from mngr_codex.plugin.home.config_toml import render
from mngr_codex.plugin.home.hook_trust import BYPASS
from mngr_codex.plugin.host.facts import read
from mngr_codex.plugin.host.files import write_files
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


class World:
    """A user with a home, and an agent with a work directory and a ``CODEX_HOME`` to build."""

    def __init__(self, host: Any, codex: str, home: Path, tmp_path: Path) -> None:
        self.host, self.codex, self.home = host, codex, home
        self.user = home / ".codex"
        self.codex_home = tmp_path / "state dir" / "plugin" / "codex" / "home"
        self.work_dir = tmp_path / "work"
        self.work_dir.mkdir()
        self.program = tmp_path / "state dir" / "commands" / "mngr-codex"
        self.program.parent.mkdir(parents=True)
        log = json.dumps(str(tmp_path / "ran"))
        self.program.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo mngr-codex 0.1.0; else echo "$2" >>{log}; fi\n'
        )
        self.program.chmod(0o755)
        self.overrides: dict[str, Any] = PROVIDER

    def write(self, name: str, content: str) -> None:
        path = self.user / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def build(self, command: str | None = None, **changes: Any) -> CodexHome:
        defaults = {
            "codex_home": self.codex_home,
            "work_dir": self.work_dir,
            "program": self.program,
            "settings": {"model": "gpt-5.5", "sandbox_mode": "workspace-write"},
            "overrides": self.overrides,
        }
        facts = read(self.host, command or self.codex)
        built = build(self.host, CodexHomeRequest(**{**defaults, **changes}), facts)
        write_files(self.host, built.files)
        return built

    def config(self) -> dict[str, Any]:
        return tomllib.loads((self.codex_home / "config.toml").read_text())


@pytest.fixture
def world(host: object, codex: str, home: Path, tmp_path: Path) -> World:
    return World(host, codex, home, tmp_path)


def test_a_home_is_built_for_a_user_without_one(world: World) -> None:
    before = snapshot(world.home)
    built = world.build()
    assert built.notices == () and built.trust.problem is None
    assert built.codex_version and built.codex_version[0].isdigit()
    # Codex cannot write a login through the link into a folder that does not exist.
    assert snapshot(world.home) == before | {".codex": None}
    assert world.user.stat().st_mode & 0o777 == 0o700
    config = world.config()
    assert config["projects"] == {str(world.work_dir): {"trust_level": "trusted"}}
    # 0.138 lacks three of the events.
    assert len(config["hooks"]["state"]) >= 8
    assert all(entry.keys() == {"trusted_hash"} for entry in config["hooks"]["state"].values())
    assert "gpt-5.5" in config["notice"]["model_migrations"] or built.codex_version not in {
        "0.163.0",
        "0.169.0",
        "0.171.0",
    }
    assert (world.codex_home / "config.toml").stat().st_mode & 0o777 == 0o600


def test_the_users_setup_is_carried_over_and_only_read(world: World) -> None:
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
    built = world.build()
    assert snapshot(world.home) == before
    config = world.config()
    assert config["mcp_servers"] == {"files": {"command": "files"}} and config["model"] == "gpt-5.5"
    assert list(config["projects"]) == [str(world.work_dir)]
    profile = tomllib.loads((world.codex_home / "work.config.toml").read_text())
    assert profile["model_instructions_file"] == str(world.user / "mine.md")
    # Codex merges a profile into config.toml, so the profile contains the pins as well.
    assert profile["features"] == {"hooks": True, "daemon_auto_start": False}
    assert (world.codex_home / "AGENTS.md").read_text() == "Be brief.\n"
    # It contains the API keys of providers.
    assert (world.codex_home / ".env").read_text() == "KEY_OF_A_PROVIDER=1\n"
    assert (world.codex_home / "prompts" / "review.md").is_symlink()
    assert (world.codex_home / "skills" / "mine").is_symlink() and not (world.codex_home / "skills").is_symlink()
    assert not (world.codex_home / "skills" / ".system" / "theirs").exists()
    # Codex adds rules, so they are copied.
    assert not (world.codex_home / "rules" / "default.rules").is_symlink()
    assert [hook.command for hook in built.trust.disabled] == ["say done"]


def test_a_hook_that_the_user_trusts_also_runs_for_the_agent(world: World) -> None:
    world.write(
        "hooks.json", json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}})
    )
    (user_hook,) = world.build().trust.disabled
    world.write("config.toml", render({"hooks": {"state": {"x": {"trusted_hash": user_hook.current_hash}}}}))
    built = world.build()
    assert built.trust.trusted == (user_hook,) and built.notices == ()


def test_hooks_in_the_users_config_are_treated_like_those_in_hooks_json(world: World) -> None:
    group = {"hooks": [{"type": "command", "command": "say done"}]}
    world.write("config.toml", render({"hooks": {"Stop": [group]}}))
    (user_hook,) = world.build().trust.disabled
    state = {"x": {"trusted_hash": user_hook.current_hash}}
    world.write("config.toml", render({"hooks": {"Stop": [group], "state": state}}))
    assert [hook.command for hook in world.build().trust.trusted] == ["say done"]


def test_hooks_from_the_settings_run(world: World) -> None:
    world.overrides = {**PROVIDER, "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}}
    built = world.build()
    assert [hook.command for hook in built.trust.trusted] == ["say done"] and built.trust.disabled == ()


def test_rules_that_codex_added_for_the_agent_are_kept(world: World) -> None:
    world.write("rules/default.rules", "rule\n")
    world.build()
    (world.codex_home / "rules" / "default.rules").write_text("rule\nmore\n")
    world.build()
    assert (world.codex_home / "rules" / "default.rules").read_text() == "rule\nmore\n"


def test_use_user_config_disables_carrying_over(world: World) -> None:
    world.write("config.toml", "no = toml = at all")
    world.write("AGENTS.md", "Be brief.\n")
    built = world.build(carries_user_config=False)
    assert built.trust.problem is None
    assert not (world.codex_home / "AGENTS.md").exists()


def test_an_invalid_config_of_the_users_is_an_error(world: World) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    world.write("config.toml", "no = toml = at all")
    with pytest.raises(
        errors.ConfigParseError, match=r"(?s)cannot parse .*\.codex/config\.toml as TOML: .*hint: .*use_user_config"
    ):
        world.build()


def test_an_invalid_hooks_json_of_the_users_is_skipped_with_a_notice(world: World) -> None:
    world.write("hooks.json", "{")
    built = world.build()
    assert len(built.notices) == 1 and "cannot read" in built.notices[0] and "hooks.json" in built.notices[0]
    assert built.trust.problem is None


def test_an_unreadable_hook_of_the_users_does_not_disable_the_others(world: World) -> None:
    good = {"matcher": "x", "hooks": [{"type": "command", "command": "true"}]}
    broken = {"Stop": [{"hooks": "nonsense"}, good], "UserPromptSubmit": [5], "PreToolUse": "x"}
    world.write("hooks.json", json.dumps({"hooks": broken}))
    built = world.build()
    assert built.trust.problem is None and built.has_live_state
    assert "Stop, UserPromptSubmit, PreToolUse" in built.notices[0]
    written = json.loads((world.codex_home / "hooks.json").read_text())["hooks"]
    assert written["Stop"][1:] == [good] and len(written["UserPromptSubmit"]) == 1


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["not UTF-8", "a folder"])
def test_an_unreadable_config_of_the_users_is_an_error(world: World, content: bytes | None) -> None:
    errors = pytest.importorskip("imbue.mngr.errors")
    path = world.home / ".codex/config.toml"
    path.parent.mkdir(exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(errors.ConfigParseError, match=r"(?s)cannot read .*config\.toml.*hint: .*use_user_config"):
        world.build()


def test_a_byte_order_mark_is_ignored_and_an_invalid_profile_skipped(world: World) -> None:
    world.write("config.toml", '\ufeffreview_model = "users"\n')
    world.write("good.config.toml", 'model = "other"\n')
    world.write("bad.config.toml", "no toml")
    built = world.build()
    assert world.config()["review_model"] == "users"
    assert len(built.notices) == 1 and "bad.config.toml as TOML" in built.notices[0]
    assert (world.codex_home / "good.config.toml").exists() and not (world.codex_home / "bad.config.toml").exists()


def test_settings_that_codex_rejects_are_reported_with_its_reason(world: World) -> None:
    built = world.build(overrides={"features": {"apps": "nonsense"}})
    assert built.trust.problem and not built.has_live_state
    (notice,) = [each for each in built.notices if "does not start with these settings" in each]
    assert "`apps`: " in notice and "invalid type" in notice and f"{world.user}/config.toml" in notice


def test_a_later_login_applies_to_the_agent(world: World) -> None:
    built = world.build(overrides={})
    assert len(built.notices) == 1 and "codex login`" in built.notices[0]
    world.write("auth.json", "{}")
    assert (world.codex_home / "auth.json").read_text() == "{}"
    assert world.build(overrides={}).notices == ()


def test_without_an_app_server_hooks_only_run_with_consent_to_the_flag(world: World, tmp_path: Path) -> None:
    old = tmp_path / "old-codex"
    old.write_text("#!/bin/sh\n[ $1 != --help ] || cat $0.flags\necho 'error: unrecognized subcommand' >&2\nexit 2\n")
    flags = tmp_path / "old-codex.flags"
    flags.write_text(f"  {BYPASS}\n")
    old.chmod(0o755)
    built = world.build(command=str(old))
    assert built.codex_version is None and "unrecognized subcommand" in (built.trust.problem or "")
    assert not built.needs_bypass and not built.has_live_state
    assert world.config()["features"]["hooks"] is False and "state" not in world.config().get("hooks", {})
    assert "without mngr's hooks" in built.notices[0] and "newer Codex" in built.notices[0]
    built = world.build(command=str(old), allows_bypass=True)
    assert built.needs_bypass and built.has_live_state and built.notices == ()
    assert world.config()["features"]["hooks"] is True
    # Even older versions reject the flag, and run hooks without it.
    flags.write_text("")
    assert not world.build(command=str(old), allows_bypass=True).needs_bypass


def test_a_command_with_a_profile_is_supported(world: World) -> None:
    world.write("work.config.toml", 'model = "gpt-5.4"\n')
    built = world.build(command=f"{world.codex} --profile work")
    assert built.trust.problem is None and built.codex_version is not None


def test_hooks_that_an_administrator_excludes_are_reported(world: World, tmp_path: Path) -> None:
    strict = tmp_path / "strict-codex"
    answers = [{"id": 1, "result": {"userAgent": "mngr-codex/0.163.0 (x)"}}, {"id": 2, "result": {"data": []}}]
    lines = "\n".join(json.dumps(answer) for answer in [*answers, {"id": 3, "result": {}}])
    strict.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\ncat >/dev/null\n")
    strict.chmod(0o755)
    built = world.build(command=str(strict), allows_bypass=True)
    assert not built.needs_bypass and not built.has_live_state and "administrator" in built.notices[0]
    assert world.config()["features"]["hooks"] is True


def test_without_a_program_there_are_no_own_hooks(world: World) -> None:
    built = world.build(program=None)
    assert not built.has_live_state and built.trust.problem is None and built.notices == ()
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
def test_the_tui_opens_with_its_composer(world: World, model: str) -> None:
    """No screen about models, trust, hooks or updates appears, although there is a reason for each."""
    hooks = {"Stop": [{"hooks": [{"type": "command", "command": "touch ran-of-repository"}]}]}
    (world.work_dir / ".codex").mkdir()
    (world.work_dir / ".codex" / "hooks.json").write_text(json.dumps({"hooks": hooks}))
    subprocess.run(["git", "init", "-q"], cwd=world.work_dir, check=True)
    world.write("version.json", '{"latest_version":"99.0.0","last_checked_at":"2026-11-26T00:00:00Z"}')
    world.write(
        "hooks.json", json.dumps({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}})
    )
    built = world.build(settings={"model": model})
    assert {hook.source for hook in built.trust.disabled} == {"project", "user"}
    with tui(world.codex, world.work_dir, {"CODEX_HOME": str(world.codex_home)}) as screen:
        shown = screen.until(lambda text: is_composer(text) or any(words in text for words in BLOCKING))
    assert is_composer(shown), shown
    # No background server was installed.
    assert not (world.codex_home / "packages").exists()


@pytest.mark.slow
@pytest.mark.parametrize("location", ["subfolder of a repository", "symlink", "linked worktree"])
def test_the_tui_does_not_ask_for_trust(world: World, tmp_path: Path, location: str) -> None:
    repository = tmp_path / "repository"
    (repository / "sub").mkdir(parents=True)
    (repository / "sub" / "file").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["worktree", "add", "-q", "../linked"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    (tmp_path / "link").symlink_to(repository)
    world.work_dir = {
        "subfolder of a repository": repository / "sub",
        "symlink": tmp_path / "link",
        "linked worktree": tmp_path / "linked",
    }[location]
    assert world.build().notices == ()
    with tui(world.codex, world.work_dir, {"CODEX_HOME": str(world.codex_home)}) as screen:
        shown = screen.until(lambda text: is_composer(text) or any(words in text for words in BLOCKING))
    assert is_composer(shown), shown


@pytest.mark.slow
def test_a_session_from_another_directory_is_resumed(world: World) -> None:
    built = world.build()
    recorded = Path(__file__).parents[2] / "data" / f"{built.codex_version}" / "plain.jsonl"
    if not recorded.exists() or built.codex_version == "0.138.0":
        pytest.skip(f"no recorded session of codex {built.codex_version}, or it always asks for the directory (0.138)")
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
def test_without_the_pins_the_tui_shows_other_screens(world: World) -> None:
    """Checks the premise of the tests above: each of these settings suppresses a screen."""
    built = world.build()
    if built.codex_version not in {"0.163.0", "0.169.0", "0.171.0"}:
        pytest.skip(f"codex {built.codex_version} replaces other models")
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
