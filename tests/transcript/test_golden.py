"""The human-readable form of recordings is the one that was reviewed."""

from pathlib import Path

import pytest

from tests.transcript.golden import FOLDER, golden_files, human_form

FILES = golden_files()


@pytest.mark.parametrize(("file", "recording", "options"), FILES, ids=[file.name for file, _, _ in FILES])
def test_the_human_form_is_the_reviewed_one(file: Path, recording: Path, options: tuple[str, ...]) -> None:
    expected = file.read_text(encoding="utf-8")
    assert human_form(recording, options) == expected, "see tests/transcript/golden.py for how to accept a change"


def test_each_file_belongs_to_a_recording() -> None:
    assert {file for file, _, _ in FILES} == set(FOLDER.iterdir())
