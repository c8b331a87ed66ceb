"""Why an agent waits, from its marker files."""

from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin import paths
from mngr_codex.plugin.markers import blocking_reason, is_blocked


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        ((), None),
        ((paths.ACTIVE,), None),
        ((paths.ACTIVE, paths.PERMISSIONS_WAITING), "PERMISSIONS"),
        # The program removes `active` while an approval is open, and keeps it during a question.
        ((paths.PERMISSIONS_WAITING,), "PERMISSIONS"),
        ((paths.ACTIVE, paths.QUESTION_WAITING), "QUESTION"),
        ((paths.QUESTION_WAITING, paths.PERMISSIONS_WAITING), "PERMISSIONS"),
    ],
)
def test_the_reason_of_a_blocked_turn(present: tuple[str, ...], reason: str | None) -> None:
    assert blocking_reason(present) == reason


@pytest.mark.parametrize(
    ("present", "blocked"),
    [
        ((paths.ACTIVE,), False),
        ((paths.ACTIVE, paths.PERMISSIONS_WAITING), True),
        ((paths.ACTIVE, paths.QUESTION_WAITING), True),
    ],
)
def test_an_approval_and_a_question_block(host: Any, tmp_path: Path, present: tuple[str, ...], blocked: bool) -> None:
    """mngr shows an active agent as WAITING while it is blocked."""
    for marker in present:
        (tmp_path / marker).touch()
    assert is_blocked(host, tmp_path) == blocked
