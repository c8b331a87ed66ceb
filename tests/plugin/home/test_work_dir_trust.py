"""Consent to work in a directory: given in advance, and asked for."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from imbue.mngr.errors import UserInputError

from mngr_codex.plugin.home.app_server import CodexReport, Hook
from mngr_codex.plugin.home.hook_trust import BYPASS
from mngr_codex.plugin.home.trusted_folders import TrustedFolders
from mngr_codex.plugin.home.work_dir_trust import (
    Consent,
    ConsentPolicy,
    Memory,
    UpdatedAgent,
    decide,
    is_trusted,
    obtain,
)
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


def policy(
    interactive: bool = False, yes: bool = False, dismissed: bool = False, trusts_hooks: bool = False
) -> ConsentPolicy:
    return ConsentPolicy(
        is_interactive=interactive,
        is_auto_approved=yes,
        is_dialog_dismissed=dismissed,
        trusts_repository_hooks=trusts_hooks,
    )


class User:
    """Answers questions, and records them."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    def __call__(self, question: str) -> bool:
        self.questions.append(question)
        return self.answers.pop(0)


def decided(policy: ConsentPolicy, report: CodexReport, user: User, trusted: bool = False) -> Consent:
    return decide(FOLDER, policy, is_trusted_by_user=trusted, query=lambda: report, ask=user)


def test_without_a_terminal_the_error_lists_three_ways_to_consent() -> None:
    consent = decided(policy(), WITHOUT, User())
    assert consent.refusal is not None and FOLDER in consent.refusal
    for hint in ("in a terminal", "--yes", "auto_dismiss_dialogs = true"):
        assert hint in consent.refusal


@pytest.mark.parametrize(("yes", "dismissed", "trusted"), [*product([False, True], repeat=3)][1:])
def test_consent_in_advance_is_not_asked_for_and_does_not_cover_hooks(
    yes: bool, dismissed: bool, trusted: bool
) -> None:
    assert decided(policy(yes=yes, dismissed=dismissed), WITH, User(), trusted) == Consent()
    if yes or dismissed:
        given = policy(interactive=True, yes=yes, dismissed=dismissed)
        assert decided(given, WITH, User(), trusted) == Consent()


@pytest.mark.parametrize("given", [policy(), policy(yes=True), policy(dismissed=True)])
def test_the_bypass_needs_consent_to_hooks(given: ConsentPolicy) -> None:
    assert not decided(given, UNABLE, User(), trusted=True).allows_bypass


def test_the_user_is_asked_about_the_directory() -> None:
    user = User(True)
    assert decided(policy(interactive=True), WITHOUT, user) == Consent()
    assert len(user.questions) == 1 and FOLDER in user.questions[0]
    consent = decided(policy(interactive=True), WITH, User(False))
    assert consent.refusal is not None and FOLDER in consent.refusal


def test_the_user_is_asked_about_hooks_separately() -> None:
    user = User(True, True)
    assert decided(policy(interactive=True), WITH, user) == Consent(consented_hashes=frozenset({"sha256:1"}))
    assert "./notify" not in user.questions[0] and "./notify" in user.questions[1]
    assert decided(policy(interactive=True), WITH, User(True, False)) == Consent()


def test_a_command_cannot_hide_from_the_question() -> None:
    user = User(True, True)
    decided(policy(interactive=True), WITH, user)
    assert "\x1b" not in user.questions[1] and r"./notify\x1b[2K\n--all" in user.questions[1]


def test_a_trusted_directory_still_needs_consent_to_its_hooks() -> None:
    user = User(True)
    consent = decided(policy(interactive=True), WITH, user, trusted=True)
    assert consent.consented_hashes == {"sha256:1"} and "./notify" in user.questions[0]


def test_hooks_trusted_by_the_settings_need_no_consent() -> None:
    user = User(True)
    assert decided(policy(interactive=True, trusts_hooks=True), WITH, user) == Consent()
    assert len(user.questions) == 1


def test_a_codex_without_hashes_needs_consent_to_the_bypass() -> None:
    user = User(True, True)
    assert decided(policy(interactive=True), UNABLE, user) == Consent(allows_bypass=True)
    assert BYPASS in user.questions[1] and "it is old" in user.questions[1]
    assert not decided(policy(interactive=True), UNABLE, User(True, False)).allows_bypass
    assert decided(policy(yes=True, trusts_hooks=True), UNABLE, User()).allows_bypass


def test_a_missing_codex_adds_no_question() -> None:
    user = User(True)
    assert decided(policy(interactive=True), MISSING, user) == Consent()
    assert len(user.questions) == 1


@pytest.mark.parametrize("projects", [None, 3, {}, {FOLDER: 3}, {FOLDER: {"trust_level": "untrusted"}}])
def test_directories_that_the_users_codex_does_not_trust(projects: Any) -> None:
    assert not is_trusted({"projects": projects}, [FOLDER])


@pytest.mark.parametrize("given", [policy(yes=True), policy(dismissed=True), policy(interactive=True, yes=True)])
def test_only_an_answer_is_remembered(tmp_path: Path, given: ConsentPolicy) -> None:
    folders = TrustedFolders(tmp_path)
    memory = Memory(folders, FOLDER)

    def decided(policy: ConsentPolicy, user: User, trusted: bool = False) -> Consent:
        return decide(FOLDER, policy, is_trusted_by_user=trusted, memory=memory, query=lambda: WITH, ask=user)

    decided(given, User())
    decided(policy(), User(), trusted=True)
    assert decided(policy(interactive=True), User(False)).refusal is not None
    assert list(folders) == []
    user = User(True, True)
    decided(policy(interactive=True), user)
    assert "mngr codex trust revoke" in user.questions[0]
    assert folders.is_trusted(FOLDER)
    assert decided(policy(), User()) == Consent()
    again = User(False)
    assert decided(policy(interactive=True), again) == Consent(), "hooks are asked about again"
    assert "./notify" in again.questions[0]


def test_a_damaged_memory_is_never_consent(tmp_path: Path) -> None:
    folders = TrustedFolders(tmp_path)
    folders.add(FOLDER)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_text("{")
    memory = Memory(folders, FOLDER)
    for given in (policy(), policy(interactive=True)):
        with pytest.raises(UserInputError, match="it is damaged"):
            decide(FOLDER, given, is_trusted_by_user=False, memory=memory, query=lambda: WITHOUT, ask=User())


def test_an_answer_that_cannot_be_remembered_still_counts(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    memory = Memory(TrustedFolders(file), FOLDER)
    with pytest.raises(UserInputError, match="Not a directory"):
        memory.is_trusted()
    memory.remember()


# -- with mngr's local host and the real Codex


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> Path:
    repository = tmp_path / "repository"
    (repository / ".codex").mkdir(parents=True)
    groups = {"Stop": [{"hooks": [{"type": "command", "command": "touch ran"}]}]}
    (repository / ".codex" / "hooks.json").write_text(json.dumps({"hooks": groups}))
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    return repository


def test_obtaining_consent_leaves_no_files(host: Any, codex: str, repository: Path, home: Path) -> None:
    before = snapshot(home), snapshot(repository)
    user = User(True, True)
    consent = obtain(host, policy(interactive=True), command=codex, folder=repository, ask=user)
    assert len(consent.consented_hashes) == 1 and "touch ran" in user.questions[1]
    assert obtain(host, policy(), command=codex, folder=repository).refusal is not None
    is_unchanged = (snapshot(home), snapshot(repository)) == before
    assert is_unchanged


def test_an_update_needs_no_further_consent_to_the_same_repository(
    host: Any, codex: str, repository: Path, tmp_path: Path
) -> None:
    """Only if the agent has consent, and not for another folder, whose files mngr can copy into the work directory."""
    worktree = tmp_path / "worktree"
    subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=repository, check=True)
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    config = tmp_path / "agent" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'[projects.{json.dumps(str(worktree))}]\ntrust_level = "trusted"\n')

    def refusal(folder: Path, work_dir: Path = worktree) -> str | None:
        updated = UpdatedAgent(codex_home=config.parent, work_dir=work_dir)
        return obtain(host, policy(), command=codex, folder=folder, updated=updated).refusal

    assert refusal(repository) is None and refusal(worktree) is None
    assert (refusal(other) or "").startswith(f"cannot update the agent: {other} has not")
    assert refusal(repository, work_dir=repository) is not None
    assert refusal(other, work_dir=other) is not None
    for damaged in ("no = = toml", "", f'[projects.{json.dumps(str(worktree))}]\ntrust_level = "untrusted"\n'):
        config.write_text(damaged)
        assert refusal(repository) is not None


def test_trust_in_a_repository_covers_its_worktrees(
    host: Any, codex: str, repository: Path, home: Path, tmp_path: Path
) -> None:
    worktree = tmp_path / "worktree"
    subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=repository, check=True)
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(f'[projects.{json.dumps(str(repository))}]\ntrust_level = "trusted"\n')
    for folder in (repository, worktree, repository / ".codex"):
        assert obtain(host, policy(), command=codex, folder=folder) == Consent()
    assert obtain(host, policy(), command=codex, folder=tmp_path).refusal is not None


@pytest.mark.parametrize("git_dir", [".git", ".git/worktrees/worktree"])
def test_a_forged_worktree_is_not_trusted(
    host: Any, codex: str, repository: Path, home: Path, tmp_path: Path, git_dir: str
) -> None:
    subprocess.run(["git", "worktree", "add", "-q", str(tmp_path / "worktree")], cwd=repository, check=True)
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(f'[projects.{json.dumps(str(repository))}]\ntrust_level = "trusted"\n')
    forged = tmp_path / "forged"
    forged.mkdir()
    (forged / ".git").write_text(f"gitdir: {repository / git_dir}\n")
    assert obtain(host, policy(), command=codex, folder=forged).refusal is not None


@pytest.mark.parametrize("rest", ["\nfurther", "\n"])
@pytest.mark.parametrize("git_dir", [".git", ".git/worktrees/worktree"])
def test_a_forged_worktree_with_a_line_break_in_its_name_is_not_trusted(
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
        assert obtain(host, policy(), command=codex, folder=forged).refusal is not None


@pytest.mark.parametrize("rest", ["\nfurther", "\n", "\u2028further", "\x0bfurther"])
def test_a_name_with_a_line_break_is_not_confused_with_its_first_line(
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
            assert obtain(host, policy(), command=codex, folder=work_dir).refusal is not None


def test_an_answer_covers_the_repository_and_its_worktrees(
    host: Any, codex: str, repository: Path, tmp_path: Path
) -> None:
    folders = TrustedFolders(tmp_path / "profile")
    worktrees = [tmp_path / "one", tmp_path / "two"]
    for worktree in worktrees:
        subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=repository, check=True)
    link = tmp_path / "link"
    link.symlink_to(worktrees[0])
    given = policy(interactive=True, trusts_hooks=True)
    assert obtain(host, given, command=codex, folder=link, trusted_folders=folders, ask=User(True)) == Consent()
    assert [found.folder for found in folders] == [str(repository)]
    for folder in (repository, *worktrees, link, repository / ".codex"):
        assert obtain(host, policy(), command=codex, folder=folder, trusted_folders=folders) == Consent()
    link.unlink()
    outside = tmp_path / "outside"
    outside.mkdir()
    link.symlink_to(outside)
    for folder in (tmp_path, outside, link):
        assert obtain(host, policy(), command=codex, folder=folder, trusted_folders=folders).refusal is not None


def test_a_repository_cannot_claim_a_trusted_folder_that_contains_it(
    host: Any, codex: str, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    claiming = folder / "claiming"
    subprocess.run(["git", "init", "-q", str(claiming)], check=True)
    subprocess.run(["git", "config", "core.worktree", str(folder)], cwd=claiming, check=True)
    folders = TrustedFolders(tmp_path / "profile")
    folders.add(str(folder))
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(f'[projects.{json.dumps(str(folder))}]\ntrust_level = "trusted"\n')
    assert obtain(host, policy(), command=codex, folder=folder, trusted_folders=folders) == Consent()
    assert obtain(host, policy(), command=codex, folder=claiming, trusted_folders=folders).refusal is not None


def test_a_codex_outside_path_is_asked_for_the_hooks(
    host: Any, codex: str, repository: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".local/bin").mkdir(parents=True)
    (home / ".local/bin/codex").symlink_to(codex)
    monkeypatch.setenv("PATH", os.defpath)
    user = User(True, False)
    assert obtain(host, policy(interactive=True), command="codex", folder=repository, ask=user) == Consent()
    assert len(user.questions) == 2 and "contains hooks" in user.questions[1]
