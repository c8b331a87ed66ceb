"""What Codex's app-server reports, asked on mngr's local host."""

import json
import subprocess
from pathlib import Path

import pytest

from mngr_codex.plugin.home.app_server import parse_answers, query_codex, query_codex_before_consent
from mngr_codex.plugin.home.hook_trust import decide
from tests.support.folder_snapshot import snapshot

OWN = ("/state/commands/mngr-codex hook user-prompt-submit", "/state/commands/mngr-codex hook stop")


def test_malformed_answers_are_ignored() -> None:
    assert parse_answers("nonsense\n[]\n{}\n" + json.dumps({"id": 2, "result": {"data": 3}})).hooks == ()
    report = parse_answers(json.dumps({"id": 2, "error": {"code": -32601, "message": "no such method"}}))
    assert report.hooks is None and "no such method" in (report.problem or "")
    folders = [{"hooks": [{"key": "a", "eventName": "stop", "command": "x", "source": "user"}]}]
    report = parse_answers(json.dumps({"id": 2, "result": {"data": folders}}))
    assert report.hooks is None and "without hashes" in (report.problem or "")


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> Path:
    """A repository with a hook, in a folder whose name needs quoting."""
    repository = tmp_path / "a 'repository' of $mine"
    (repository / ".codex").mkdir(parents=True)
    hooks = {"Stop": [{"hooks": [{"type": "command", "command": "touch /nowhere/ran"}]}]}
    (repository / ".codex" / "hooks.json").write_text(json.dumps({"hooks": hooks}))
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    return repository


def test_hooks_of_a_repository_are_listed_before_consent_without_leaving_files(
    host: object, codex: str, repository: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    before = snapshot(home), snapshot(repository)

    report = query_codex_before_consent(host, command=codex, work_dir=repository)  # type: ignore[arg-type]
    assert report.problem is None
    assert [hook.command for hook in report.repository_hooks] == ["touch /nowhere/ran"]
    assert report.version is not None and report.version[0].isdigit()
    # Not compared within the assertion, which would print Codex's large files.
    is_unchanged = (snapshot(home), snapshot(repository)) == before
    assert is_unchanged
    assert list(scratch.iterdir()) == []


def test_hooks_of_a_worktree_have_the_hashes_of_its_repository(
    host: object, codex: str, repository: Path, tmp_path: Path
) -> None:
    worktree = tmp_path / "worktree"
    subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=repository, check=True)
    reports = [query_codex_before_consent(host, command=codex, work_dir=folder) for folder in (repository, worktree)]  # type: ignore[arg-type]
    hashes = [{hook.current_hash for hook in report.repository_hooks} for report in reports]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 1


def test_hooks_are_listed_for_a_symlink(host: object, codex: str, repository: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(repository)
    assert len(query_codex_before_consent(host, command=codex, work_dir=link).repository_hooks) == 1  # type: ignore[arg-type]


def test_codex_lists_an_agents_hooks_and_model_upgrades(
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
    report = query_codex(host, command=codex, codex_home=codex_home, work_dir=repository)  # type: ignore[arg-type]
    trust = decide(report, own_commands=OWN, codex_home=codex_home)
    assert trust.problem is None
    assert [hook.source for hook in trust.disabled] == ["project"]
    assert len(trust.state) == 3
    assert report.model_upgrades.get("gpt-5.5") == "gpt-6-sol" or report.version != "0.163.0"


def test_a_missing_codex_is_reported_as_a_problem(host: object, tmp_path: Path) -> None:
    report = query_codex_before_consent(host, command="/nowhere/codex", work_dir=tmp_path)  # type: ignore[arg-type]
    assert report.hooks is None and report.version is None
    assert "/nowhere/codex" in (report.problem or "")


def test_a_silent_codex_times_out(host: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mngr_codex.plugin.home.app_server.ANSWER_SECONDS", 1)
    silent = tmp_path / "codex"
    silent.write_text("#!/bin/sh\nexec sleep 30\n")
    silent.chmod(0o755)
    report = query_codex_before_consent(host, command=str(silent), work_dir=tmp_path)  # type: ignore[arg-type]
    assert report.hooks is None and report.problem is not None
