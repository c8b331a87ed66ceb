"""Updates of Codex: detected from files, applied by the policy, and never blocking an agent."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin.host.facts import read
from mngr_codex.plugin.host.updates import Action, Versions, check, decide, is_newer
from tests.support.folder_snapshot import snapshot


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("0.169.0", "0.163.0"),
        ("0.100.0", "0.99.9"),
        ("1.0.0", "0.999.0"),
        ("0.170.0", "0.170.0-alpha.3"),
        ("0.170.0-alpha.10", "0.170.0-alpha.9"),
        ("v0.2.0", "0.1.0"),
    ],
)
def test_versions_are_compared_as_numbers(newer: str, older: str) -> None:
    assert is_newer(newer, older) and not is_newer(older, newer) and not is_newer(newer, newer)


@pytest.mark.parametrize("version", ["", "latest", "1.2", "nonsense 0.1.0"])
def test_a_malformed_version_is_not_newer(version: str) -> None:
    assert not is_newer(version, "0.0.1") and not is_newer("0.0.1", version)


OUTDATED = Versions("0.163.0", "0.169.0")


@pytest.mark.parametrize(("local", "interactive", "yes"), [*product([False, True], repeat=3)])
def test_the_policy_decides(local: bool, interactive: bool, yes: bool) -> None:
    def decided(policy: Any, versions: Versions = OUTDATED, pinned: str | None = None) -> Action:
        return decide(policy, versions, pinned=pinned, is_local=local, is_interactive=interactive, is_auto_approved=yes)

    assert decided("AUTO") is Action.UPDATE
    assert decided("ASK") is (Action.ASK if local and interactive and not yes else Action.NOTICE)
    assert decided("NEVER") is Action.NOTICE
    for policy in ("AUTO", "ASK", "NEVER"):
        assert decided(policy, pinned="0.163.0") is Action.NOTHING
        for versions in (Versions("0.169.0", "0.169.0"), Versions("0.170.0", "0.169.0"), Versions(None, "0.169.0")):
            assert decided(policy, versions) is Action.NOTHING


class Codex:
    """A fake Codex that logs its arguments, and whose updates can fail."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.log, self.program, self.home = folder / "log", folder / "codex", home
        version = folder / "version"
        self.newest = folder / "newest"
        version.write_text("0.163.0")
        self.newest.write_text("0.169.0")
        self.program.write_text(
            f'#!/bin/sh\necho "$1 ${{CODEX_HOME-unset}}" >>{self.log}\n'
            f'case $1 in --version) echo "codex-cli $(cat {version})";;\n'
            f"update) if [ -e {folder}/broken ]; then echo 'Error: it is read-only' >&2; exit 1; fi\n"
            f"cat {self.newest} >{version}; echo done;; esac\n"
        )
        self.program.chmod(0o755)
        self.broken = folder / "broken"

    def write_version_file(self, content: str) -> None:
        (self.home / ".codex").mkdir()
        (self.home / ".codex" / "version.json").write_text(content)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def fake_codex(tmp_path: Path, home: Path) -> Codex:
    folder = tmp_path / "codex"
    folder.mkdir()
    return Codex(folder, home)


def checked(host: Any, codex: Codex, policy: str = "ASK", **how: Any) -> str | None:
    return check(
        host,
        read(host, str(codex.program)),
        **{
            "policy": policy,
            "pinned": None,
            "is_interactive": False,
            "is_auto_approved": False,
            **how,
        },
    )


LATEST = json.dumps({"latest_version": "0.169.0", "last_checked_at": "2026-11-26T00:00:00Z", "dismissed_version": None})


def test_auto_updates_in_the_users_own_home(host: Any, fake_codex: Codex) -> None:
    fake_codex.write_version_file(LATEST)
    assert checked(host, fake_codex, "AUTO") == "Codex was updated from 0.163.0 to 0.169.0."
    assert "update unset" in fake_codex.calls()
    assert checked(host, fake_codex, "AUTO") is None


def test_an_update_that_changed_nothing_is_reported(host: Any, fake_codex: Codex) -> None:
    """Some package managers succeed without an update."""
    fake_codex.write_version_file(LATEST)
    fake_codex.newest.write_text("0.163.0")
    notice = checked(host, fake_codex, "AUTO") or ""
    assert (
        "the update of Codex changed nothing: it is still 0.163.0, and 0.169.0 is newer: done" in notice
        and "hint: run `" in notice
    )


def test_a_failed_update_is_not_an_error(host: Any, fake_codex: Codex) -> None:
    fake_codex.write_version_file(LATEST)
    fake_codex.broken.touch()
    notice = checked(host, fake_codex, "AUTO") or ""
    assert "cannot update Codex from 0.163.0 to 0.169.0: Error: it is read-only\nhint: run `" in notice


def test_the_real_codex_says_why_it_cannot_update_itself(host: Any, codex: str, home: Path) -> None:
    (home / ".codex").mkdir()
    (home / ".codex" / "version.json").write_text('{"latest_version": "99.0.0"}')
    notice = check(host, read(host, codex), policy="AUTO", pinned=None, is_interactive=False, is_auto_approved=False)
    assert notice is not None and " to 99.0.0: Error: Could not detect" in notice


@pytest.mark.parametrize("policy", ["ASK", "NEVER"])
def test_otherwise_there_is_a_notice(host: Any, fake_codex: Codex, policy: str) -> None:
    fake_codex.write_version_file(LATEST)
    notice = checked(host, fake_codex, policy)
    assert notice is not None and "0.169.0" in notice and "0.163.0" in notice
    assert not any(call.startswith("update") for call in fake_codex.calls())


@pytest.mark.parametrize("answer", [True, False])
def test_ask_asks_the_user(host: Any, fake_codex: Codex, answer: bool) -> None:
    fake_codex.write_version_file(LATEST)
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return answer

    notice = checked(host, fake_codex, is_interactive=True, ask=ask)
    assert len(questions) == 1 and "0.169.0" in questions[0]
    assert (notice is not None) is answer


def test_a_pinned_codex_is_not_checked(host: Any, fake_codex: Codex) -> None:
    fake_codex.write_version_file(LATEST)
    assert checked(host, fake_codex, "AUTO", pinned="0.163.0") is None
    assert not any(call.startswith("update") for call in fake_codex.calls())


@pytest.mark.parametrize(
    "content", ["", "nonsense", "[]", '{"latest_version": 3}', '{"latest_version": "soon"}', "[" * 100_000]
)
def test_a_malformed_version_file_is_ignored(host: Any, fake_codex: Codex, content: str) -> None:
    fake_codex.write_version_file(content)
    assert checked(host, fake_codex, "AUTO") is None


def test_the_real_codex_reports_its_version_without_touching_the_home(host: Any, codex: str, home: Path) -> None:
    before = snapshot(home)
    version = read(host, codex).version
    assert version is not None and is_newer(version, "0.1.0")
    assert snapshot(home) == before
    assert read(host, "/nowhere/codex").version is None
    assert read(host, codex).latest_version is None
