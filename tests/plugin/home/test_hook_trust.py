"""The trust in hooks, decided from what codex lists, and codex itself asked on mngr's own host."""

import json
import subprocess
from pathlib import Path

import pytest

from mngr_codex.plugin.home.hook_trust import (
    CodexReport,
    Hook,
    HookTrust,
    ask_codex,
    ask_codex_before_consent,
    decide,
    parse_answers,
    trusted_hashes,
)
from tests.support.folder_snapshot import snapshot

OWN = ("/state/commands/mngr-codex hook user-prompt-submit", "/state/commands/mngr-codex hook stop")


def hook(
    event: str, command: str, *, source: str = "user", path: str = "/state/home/hooks.json", managed: bool = False
) -> Hook:
    return Hook(
        key=f"{path}:{event}:{command}",
        event=event,
        command=command,
        source=source,
        source_path=path,
        current_hash=f"sha256:{event}:{command}",
        is_managed=managed,
    )


OWN_HOOKS = (hook("userPromptSubmit", OWN[0]), hook("stop", OWN[1]))
OF_REPOSITORY = hook("stop", "./notify", source="project", path="/repository/.codex/hooks.json")
OF_USER = hook("stop", "say done")


def decided(*hooks: Hook, **trust: object) -> HookTrust:
    return decide(CodexReport(hooks=hooks), own_commands=OWN, codex_home="/state/home", **trust)  # type: ignore[arg-type]


def test_own_hooks_are_trusted_by_their_hashes() -> None:
    trust = decided(*OWN_HOOKS)
    assert trust.state == {own.key: {"trusted_hash": own.current_hash} for own in OWN_HOOKS}
    assert trust.problem is None and trust.notice is None


def test_a_repositorys_hook_is_switched_off_and_named() -> None:
    trust = decided(*OWN_HOOKS, OF_REPOSITORY)
    assert trust.state[OF_REPOSITORY.key] == {"trusted_hash": OF_REPOSITORY.current_hash, "enabled": False}
    assert trust.switched_off == (OF_REPOSITORY,)
    assert trust.notice is not None
    assert "./notify" in trust.notice and "trust_repo_hooks = true" in trust.notice


@pytest.mark.parametrize("consent", [{"trusts_repository": True}, {"consented_hashes": {OF_REPOSITORY.current_hash}}])
def test_a_repositorys_hook_runs_with_consent(consent: dict[str, object]) -> None:
    trust = decided(*OWN_HOOKS, OF_REPOSITORY, **consent)
    assert trust.state[OF_REPOSITORY.key] == {"trusted_hash": OF_REPOSITORY.current_hash}
    assert trust.trusted == (OF_REPOSITORY,) and trust.notice is None


def test_consent_to_one_hook_is_none_to_another() -> None:
    other = hook("preToolUse", "./other", source="project", path="/repository/.codex/hooks.json")
    trust = decided(*OWN_HOOKS, OF_REPOSITORY, other, consented_hashes={OF_REPOSITORY.current_hash})
    assert trust.trusted == (OF_REPOSITORY,) and trust.switched_off == (other,)


def test_the_users_own_hook_runs_if_the_user_trusts_it_in_their_codex() -> None:
    assert decided(*OWN_HOOKS, OF_USER, user_hashes={OF_USER.current_hash}).trusted == (OF_USER,)
    trust = decided(*OWN_HOOKS, OF_USER)
    assert trust.switched_off == (OF_USER,)
    assert trust.notice is not None and "trust_repo_hooks" not in trust.notice


def test_what_the_user_trusts_elsewhere_lets_no_hook_of_a_repository_run() -> None:
    assert decided(*OWN_HOOKS, OF_REPOSITORY, user_hashes={OF_REPOSITORY.current_hash}).switched_off == (OF_REPOSITORY,)


@pytest.mark.parametrize("source", ["project", "unknown", "", "somethingNew"])
def test_a_repository_cannot_pass_off_its_hook_as_our_own(source: str) -> None:
    forged = hook("stop", OWN[1], source=source, path="/repository/home/hooks.json")
    assert decided(*OWN_HOOKS, forged).switched_off == (forged,)


def test_a_managed_hook_is_left_to_the_administrator() -> None:
    managed = hook("stop", "audit", source="mdm", managed=True)
    trust = decided(*OWN_HOOKS, managed)
    assert managed.key not in trust.state and trust.notice is None


def test_own_hooks_that_are_not_listed_are_a_problem() -> None:
    assert "stop" in (decided(OWN_HOOKS[0]).problem or "")
    assert decide(CodexReport(problem="too old"), own_commands=OWN, codex_home="/h").problem == "too old"


def test_the_users_trust_is_read_from_their_config() -> None:
    config = {
        "hooks": {
            "state": {
                "a": {"trusted_hash": "sha256:a"},
                "b": {"trusted_hash": "sha256:b", "enabled": False},
                "c": {"enabled": True},
                "d": "nonsense",
            }
        }
    }
    assert trusted_hashes(config) == {"sha256:a"}
    assert trusted_hashes({}) == trusted_hashes({"hooks": {"state": 3}}) == frozenset()


def test_answers_that_are_broken_are_passed_over() -> None:
    assert parse_answers("nonsense\n[]\n{}\n" + json.dumps({"id": 2, "result": {"data": 3}})).hooks == ()
    report = parse_answers(json.dumps({"id": 2, "error": {"code": -32601, "message": "no such method"}}))
    assert report.hooks is None and "no such method" in (report.problem or "")
    folders = [{"hooks": [{"key": "a", "eventName": "stop", "command": "x", "source": "user"}]}]
    report = parse_answers(json.dumps({"id": 2, "result": {"data": folders}}))
    assert report.hooks is None and "without hashes" in (report.problem or "")


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> Path:
    """A repository that brings a hook, in a folder whose name is no plain word."""
    repository = tmp_path / "a 'repository' of $mine"
    (repository / ".codex").mkdir(parents=True)
    hooks = {"Stop": [{"hooks": [{"type": "command", "command": "touch /nowhere/ran"}]}]}
    (repository / ".codex" / "hooks.json").write_text(json.dumps({"hooks": hooks}))
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    return repository


def test_codex_lists_the_hooks_of_a_repository_before_anybody_agreed_and_leaves_nothing(
    host: object, codex: str, repository: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    before = snapshot(home), snapshot(repository)

    report = ask_codex_before_consent(host, command=codex, work_dir=repository)  # type: ignore[arg-type]
    assert report.problem is None
    assert [hook.command for hook in report.repository_hooks] == ["touch /nowhere/ran"]
    assert report.version is not None and report.version[0].isdigit()
    # Compared by ==, not shown: codex's files are large.
    is_unchanged = (snapshot(home), snapshot(repository)) == before
    assert is_unchanged
    assert list(scratch.iterdir()) == []


def test_a_worktrees_hooks_have_the_hashes_of_the_main_checkout(
    host: object, codex: str, repository: Path, tmp_path: Path
) -> None:
    worktree = tmp_path / "worktree"
    subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=repository, check=True)
    asked = [ask_codex_before_consent(host, command=codex, work_dir=folder) for folder in (repository, worktree)]  # type: ignore[arg-type]
    hashes = [{hook.current_hash for hook in report.repository_hooks} for report in asked]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 1


def test_a_folder_behind_a_symlink_is_asked_about(host: object, codex: str, repository: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(repository)
    assert len(ask_codex_before_consent(host, command=codex, work_dir=link).repository_hooks) == 1  # type: ignore[arg-type]


def test_codex_lists_what_is_in_the_agents_home_and_what_it_would_replace(
    host: object, codex: str, repository: Path, tmp_path: Path
) -> None:
    codex_home = tmp_path / "state" / "home"
    codex_home.mkdir(parents=True)
    groups = {
        event: [{"hooks": [{"type": "command", "command": command}]}]
        for event, command in zip(("UserPromptSubmit", "Stop", "NoSuchEvent"), (*OWN, "x"), strict=True)
    }
    (codex_home / "hooks.json").write_text(json.dumps({"hooks": groups}))
    (codex_home / "config.toml").write_text(f"[projects.{json.dumps(str(repository))}]\ntrust_level = 'trusted'\n")
    report = ask_codex(host, command=codex, codex_home=codex_home, work_dir=repository)  # type: ignore[arg-type]
    trust = decide(report, own_commands=OWN, codex_home=codex_home)
    assert trust.problem is None
    assert [hook.source for hook in trust.switched_off] == ["project"]
    assert len(trust.state) == 3
    assert report.model_upgrades.get("gpt-5.5") == "gpt-6-sol" or report.version != "0.163.0"


def test_a_codex_that_is_not_there_is_a_problem_and_no_error(host: object, tmp_path: Path) -> None:
    report = ask_codex_before_consent(host, command="/nowhere/codex", work_dir=tmp_path)  # type: ignore[arg-type]
    assert report.hooks is None and report.version is None
    assert "/nowhere/codex" in (report.problem or "")


def test_a_codex_that_says_nothing_is_given_up(host: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mngr_codex.plugin.home.hook_trust.ANSWER_SECONDS", 1)
    silent = tmp_path / "codex"
    silent.write_text("#!/bin/sh\nexec sleep 30\n")
    silent.chmod(0o755)
    report = ask_codex_before_consent(host, command=str(silent), work_dir=tmp_path)  # type: ignore[arg-type]
    assert report.hooks is None and report.problem is not None
