"""Snapshots of folders, to check that nothing has changed."""

from pathlib import Path


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Returns the content of every file below a folder by relative path, and `None` for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
