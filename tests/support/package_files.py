"""Compares the package that tests import with the one in the source tree."""

from pathlib import Path

_SUFFIXES = {".py", ".pyi", ".sh"}


def differing_files(source: Path, installed: Path) -> list[str]:
    """Returns the files of a package, without compiled ones, that two folders do not have with the same content."""
    ours, theirs = _contents(source), _contents(installed)
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def _contents(folder: Path) -> dict[str, bytes]:
    # `make debug` links to the folders of the source tree.
    files = (parent / name for parent, _, names in folder.walk(follow_symlinks=True) for name in names)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.suffix in _SUFFIXES}
