"""The project's folder and version."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: The first bytes of a Linux executable.
ELF_MAGIC = b"\x7fELF"


def workspace_version() -> str:
    """Returns the version in `Cargo.toml`."""
    return str(tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"])
