"""How the package's modules depend on each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "mngr_codex"


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(file: Path, modules: frozenset[str]) -> Iterator[str]:
    """Yields the package's modules that a file imports: at its top, in functions and for type checking alike."""
    name = module_name(file)
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                # Importing a submodule counts as a dependency on the submodule, not on its package.
                imported = f"{source}.{alias.name}" if f"{source}.{alias.name}" in modules else source
                if imported in modules:
                    yield imported


def dependencies() -> dict[str, set[str]]:
    files = {module_name(file): file for file in PACKAGE.rglob("*.py")}
    modules = frozenset(files)
    return {name: set(imported_modules(file, modules)) for name, file in files.items()}


def test_modules_do_not_import_each_other_in_a_cycle() -> None:
    graph = dependencies()
    assert graph["mngr_codex.plugin.listing"] >= {"mngr_codex.plugin.agent", "mngr_codex.plugin.paths"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_the_library_does_not_import_the_plugin() -> None:
    """``mngr_codex`` works without mngr."""
    assert not any(name.startswith("mngr_codex.plugin") for name in dependencies()["mngr_codex"])
