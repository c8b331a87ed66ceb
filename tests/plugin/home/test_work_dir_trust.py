"""Consent to work in a folder, by everything that can be agreed to beforehand and asked."""

from __future__ import annotations

import json
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.home.hook_trust import CodexReport, Hook
from mngr_codex.plugin.home.work_dir_trust import BYPASS, Attendance, Consent, decide, is_trusted, obtain
from tests.support.folder_snapshot import snapshot

FOLDER = "/home/user/project"
HOOK = Hook(
    key="k",
    event="stop",
    command="./notify\x1b[2K\n--all",
    source="project",
    source_path=f"{FOLDER}/.codex/hooks.json",
    current_hash="sha256:1",
)
WITHOUT = CodexReport(version="0.163.0", hooks=())
WITH = CodexReport(version="0.163.0", hooks=(HOOK,))
UNABLE = CodexReport(version="0.128.0", problem="it is old")
MISSING = CodexReport(problem="codex: command not found")


def attendance(
    interactive: bool = False, yes: bool = False, dismissed: bool = False, trusts_hooks: bool = False
) -> Attendance:
    return Attendance(
        is_interactive=interactive,
        is_auto_approved=yes,
        is_dialog_dismissed=dismissed,
        trusts_repository_hooks=trusts_hooks,
    )


class User:
    """Answers questions, and keeps them."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    def __call__(self, question: str) -> bool:
        self.questions.append(question)
        return self.answers.pop(0)


def decided(who: Attendance, report: CodexReport, user: User, trusted: bool = False) -> Consent:
    return decide(FOLDER, who, is_trusted_by_user=trusted, look=lambda: report, ask=user)


def test_where_nobody_can_be_asked_the_agent_is_refused_with_three_ways_out() -> None:
    consent = decided(attendance(), WITHOUT, User())
    assert consent.refusal is not None and FOLDER in consent.refusal
    for way in ("in a terminal", "--yes", "auto_dismiss_dialogs = true"):
        assert way in consent.refusal


@pytest.mark.parametrize(("yes", "dismissed", "trusted"), [*product([False, True], repeat=3)][1:])
def test_what_was_agreed_to_beforehand_is_not_asked_and_is_no_yes_to_hooks(
    yes: bool, dismissed: bool, trusted: bool
) -> None:
    assert decided(attendance(yes=yes, dismissed=dismissed), WITH, User(), trusted) == Consent()
    if yes or dismissed:
        who = attendance(interactive=True, yes=yes, dismissed=dismissed)
        assert decided(who, WITH, User(), trusted) == Consent()


@pytest.mark.parametrize("who", [attendance(), attendance(yes=True), attendance(dismissed=True)])
def test_no_flag_that_runs_all_hooks_without_consent_to_hooks(who: Attendance) -> None:
    assert not decided(who, UNABLE, User(), trusted=True).allows_bypass


def test_the_folder_is_asked_about() -> None:
    user = User(True)
    assert decided(attendance(interactive=True), WITHOUT, user) == Consent()
    assert len(user.questions) == 1 and FOLDER in user.questions[0]
    consent = decided(attendance(interactive=True), WITH, User(False))
    assert consent.refusal is not None and FOLDER in consent.refusal


def test_hooks_are_listed_by_command_and_asked_about_apart() -> None:
    user = User(True, True)
    assert decided(attendance(interactive=True), WITH, user) == Consent(consented_hashes=frozenset({"sha256:1"}))
    assert "./notify" not in user.questions[0] and "./notify" in user.questions[1]
    assert decided(attendance(interactive=True), WITH, User(True, False)) == Consent()


def test_a_command_cannot_hide_itself_from_the_question() -> None:
    user = User(True, True)
    decided(attendance(interactive=True), WITH, user)
    assert "\x1b" not in user.questions[1] and r"./notify\x1b[2K\n--all" in user.questions[1]


def test_a_folder_that_the_users_codex_trusts_is_asked_about_for_its_hooks_alone() -> None:
    user = User(True)
    consent = decided(attendance(interactive=True), WITH, user, trusted=True)
    assert consent.consented_hashes == {"sha256:1"} and "./notify" in user.questions[0]


def test_hooks_that_the_settings_trust_are_not_asked_about() -> None:
    user = User(True)
    assert decided(attendance(interactive=True, trusts_hooks=True), WITH, user) == Consent()
    assert len(user.questions) == 1


def test_a_codex_that_cannot_report_hashes_is_asked_about() -> None:
    user = User(True, True)
    assert decided(attendance(interactive=True), UNABLE, user) == Consent(allows_bypass=True)
    assert BYPASS in user.questions[1] and "it is old" in user.questions[1]
    assert not decided(attendance(interactive=True), UNABLE, User(True, False)).allows_bypass
    assert decided(attendance(yes=True, trusts_hooks=True), UNABLE, User()).allows_bypass


def test_a_codex_that_is_not_installed_yet_is_no_reason_to_ask_for_more() -> None:
    user = User(True)
    assert decided(attendance(interactive=True), MISSING, user) == Consent()
    assert len(user.questions) == 1


@pytest.mark.parametrize("projects", [None, 3, {}, {FOLDER: 3}, {FOLDER: {"trust_level": "untrusted"}}])
def test_what_the_users_codex_does_not_trust(projects: Any) -> None:
    assert not is_trusted({"projects": projects}, [FOLDER])


# -- on a host, with the real codex


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> Path:
    repository = tmp_path / "repository"
    (repository / ".codex").mkdir(parents=True)
    groups = {"Stop": [{"hooks": [{"type": "command", "command": "touch ran"}]}]}
    (repository / ".codex" / "hooks.json").write_text(json.dumps({"hooks": groups}))
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    return repository


def test_consent_is_got_on_a_host_without_leaving_anything(host: Any, codex: str, repository: Path, home: Path) -> None:
    before = snapshot(home), snapshot(repository)
    user = User(True, True)
    consent = obtain(host, attendance(interactive=True), command=codex, folder=repository, ask=user)
    assert len(consent.consented_hashes) == 1 and "touch ran" in user.questions[1]
    assert obtain(host, attendance(), command=codex, folder=repository).refusal is not None
    is_unchanged = (snapshot(home), snapshot(repository)) == before
    assert is_unchanged


def test_the_users_trust_in_a_repository_holds_for_its_worktrees(
    host: Any, codex: str, repository: Path, home: Path, tmp_path: Path
) -> None:
    worktree = tmp_path / "worktree"
    subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=repository, check=True)
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(f'[projects.{json.dumps(str(repository))}]\ntrust_level = "trusted"\n')
    for folder in (repository, worktree, repository / ".codex"):
        assert obtain(host, attendance(), command=codex, folder=folder) == Consent()
    assert obtain(host, attendance(), command=codex, folder=tmp_path).refusal is not None


@pytest.mark.parametrize("git_dir", [".git", ".git/worktrees/worktree"])
def test_a_folder_that_only_says_it_is_a_worktree_is_none(
    host: Any, codex: str, repository: Path, home: Path, tmp_path: Path, git_dir: str
) -> None:
    subprocess.run(["git", "worktree", "add", "-q", str(tmp_path / "worktree")], cwd=repository, check=True)
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(f'[projects.{json.dumps(str(repository))}]\ntrust_level = "trusted"\n')
    forged = tmp_path / "forged"
    forged.mkdir()
    (forged / ".git").write_text(f"gitdir: {repository / git_dir}\n")
    assert obtain(host, attendance(), command=codex, folder=forged).refusal is not None


@pytest.mark.parametrize("rest", ["\nfurther", "\n"])
@pytest.mark.parametrize("git_dir", [".git", ".git/worktrees/worktree"])
def test_a_forged_worktree_whose_name_goes_on_is_none(
    host: Any, codex: str, repository: Path, home: Path, tmp_path: Path, git_dir: str, rest: str
) -> None:
    worktree = tmp_path / "worktree"
    subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=repository, check=True)
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(f'[projects.{json.dumps(str(repository))}]\ntrust_level = "trusted"\n')
    for real in (worktree, repository):
        forged = Path(f"{real}{rest}")
        forged.mkdir()
        (forged / ".git").write_text(f"gitdir: {repository / git_dir}\n")
        assert obtain(host, attendance(), command=codex, folder=forged).refusal is not None


@pytest.mark.parametrize("rest", ["\nfurther", "\n", "\u2028further", "\x0bfurther"])
def test_a_name_of_several_lines_is_not_taken_for_its_first_one(
    host: Any, codex: str, repository: Path, home: Path, rest: str
) -> None:
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(f'[projects.{json.dumps(str(repository))}]\ntrust_level = "trusted"\n')
    for is_repository in (False, True):
        folder = Path(f"{repository}{rest}")
        folder.mkdir(exist_ok=True)
        if is_repository:
            subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        (folder / "inside").mkdir(exist_ok=True)
        for work_dir in (folder, folder / "inside"):
            assert obtain(host, attendance(), command=codex, folder=work_dir).refusal is not None
