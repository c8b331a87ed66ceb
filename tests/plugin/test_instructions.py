"""Output styles."""

from pathlib import Path
from typing import Any

import pytest
from imbue.mngr.errors import UserInputError

from mngr_codex.plugin.config import CodexAgentConfig
from mngr_codex.plugin.instructions import style

TEXT = "---\nname: Terse\n---\nAnswer in one word.\n"


def write(work_dir: Path, text: str | bytes) -> None:
    folder = work_dir / ".agents/output-styles"
    folder.mkdir(parents=True)
    (folder / "terse.md").write_bytes(text.encode() if isinstance(text, str) else text)


def styled(name: str = "Terse") -> CodexAgentConfig:
    return CodexAgentConfig.model_validate({"output_style": name})


def test_a_style_is_found_by_the_name_in_the_file(host: Any, tmp_path: Path) -> None:
    write(tmp_path, TEXT)
    assert style(host, styled(), tmp_path) == [TEXT]
    assert style(host, CodexAgentConfig(), tmp_path) == []


def test_an_unknown_style_is_an_error_with_the_known_ones(host: Any, tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="no output styles are defined"):
        style(host, styled(), tmp_path)
    write(tmp_path, TEXT)
    with pytest.raises(UserInputError, match="'Terse'"):
        style(host, styled("Wordy"), tmp_path)


@pytest.mark.parametrize("text", [b"\xff\xfe---", "---\n[: {\n---\n"])
def test_a_damaged_style_is_an_error_with_its_folder(host: Any, tmp_path: Path, text: str | bytes) -> None:
    write(tmp_path, text)
    with pytest.raises(UserInputError, match=r"cannot read the output styles in .*\.agents/output-styles: "):
        style(host, styled(), tmp_path)
