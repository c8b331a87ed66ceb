"""The instructions that an agent's settings append to Codex's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imbue.mngr.agents.output_styles import read_output_style_files, resolve_output_style
from imbue.mngr.errors import UserInputError
from yaml import YAMLError

if TYPE_CHECKING:
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.config import CodexAgentConfig

_STYLES = ".agents/output-styles"
"""The folder of output styles in a repository, as in imbue-mngr-codex 0.2.0."""


def blocks(config: CodexAgentConfig) -> list[str]:
    """Returns the texts of ``append_system_prompt``, in their order."""
    return [str(block) for block in config.append_system_prompt]


def style(host: OnlineHostInterface, config: CodexAgentConfig, work_dir: Path) -> list[str]:
    """Returns the file of the output style, unchanged, in a list; an empty list if the settings name no style.

    Args:
        host: The host with the directory.
        config: The agent's settings, validated.
        work_dir: The directory with the output styles.

    Raises:
        UserInputError: No file has the name of the style, or a file cannot be read.
    """
    if config.output_style is None:
        return []
    folder = work_dir / _STYLES
    try:
        return [resolve_output_style(config.output_style, read_output_style_files(host, folder))]
    except UserInputError as error:
        raise UserInputError(f"cannot use output_style: {error}\nhint: add a file to {folder}, or unset it") from None
    except (OSError, ValueError, YAMLError) as error:
        raise UserInputError(f"cannot read the output styles in {folder}: {error}") from None
