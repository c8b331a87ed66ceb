"""What the doctor says of providers and hosts that it cannot read."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")

from imbue.mngr.errors import MngrError

from mngr_codex.plugin.cli.doctor import elsewhere
from mngr_codex.plugin.cli.doctor.finding import Finding


def findings(monkeypatch: pytest.MonkeyPatch, providers: Any) -> list[Finding]:
    monkeypatch.setattr(elsewhere, "get_all_provider_instances_and_skipped", providers)
    context: Any = SimpleNamespace(concurrency_group=None)
    return list(elsewhere.check(elsewhere.find(context)))


def test_a_provider_that_fails_is_reported_and_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("the daemon is gone\nand more")

    broken = SimpleNamespace(name="docker", discover_hosts_and_agents_within_timeouts=fail)
    unused = SimpleNamespace(provider_name="modal", error_message="no token", is_empty=False)
    empty = SimpleNamespace(provider_name="vps", error_message="nothing", is_empty=True)
    found = findings(monkeypatch, lambda _: ([broken], [unused, empty]))
    assert [(each.host, each.said, each.level) for each in found] == [
        ("docker", "the daemon is gone", "problem"),
        ("modal", "no token", "warning"),
    ]


def test_a_provider_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It delays neither the others nor the end of the process."""
    monkeypatch.setattr(elsewhere, "PROVIDER_SECONDS", 0.2)
    release = threading.Event()

    def hang(**_: object) -> None:
        release.wait(60)

    def fail(**_: object) -> None:
        raise TimeoutError("its own limit")

    silent = SimpleNamespace(name="docker", discover_hosts_and_agents_within_timeouts=hang)
    late = SimpleNamespace(name="modal", discover_hosts_and_agents_within_timeouts=fail)
    found = findings(monkeypatch, lambda _: ([silent, late], []))
    assert [(each.host, each.said) for each in found] == [
        ("docker", "it has not listed its hosts within 0 s"),
        ("modal", "its own limit"),
    ]
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())
    release.set()


def test_settings_of_providers_that_cannot_be_used_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise MngrError("no such backend")

    assert [each.said for each in findings(monkeypatch, fail)] == ["no such backend"]


def test_the_space_of_folders_with_spaces_in_their_names_is_checked() -> None:
    space = "/home/a b\t/dev/sda 1000 900 100 90% /home"
    (found,) = elsewhere._disks("box", {"space": space, "files": "/home/a b\t/dev/sda 10 5 5 50% /home"})
    assert "/home/a b" in found.said and found.level == "problem"
