"""Why an agent waits, from its marker files."""

from pathlib import Path
from typing import Any

import pytest

from mngr_codex.plugin import paths
from mngr_codex.plugin.markers import waiting_reason


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        ((), "END_OF_TURN"),
        ((paths.ACTIVE,), None),
        ((paths.ACTIVE, paths.PERMISSIONS_WAITING), "PERMISSIONS"),
        # A marker left after its turn.
        ((paths.PERMISSIONS_WAITING,), "END_OF_TURN"),
    ],
)
def test_the_waiting_reason(host: Any, tmp_path: Path, present: tuple[str, ...], reason: str | None) -> None:
    for marker in present:
        (tmp_path / marker).touch()
    assert waiting_reason(host, tmp_path) == reason
