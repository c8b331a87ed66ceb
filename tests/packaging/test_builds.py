"""Source distribution, wheel and editable install. `make test-packaging` also runs those that compile."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.project import ELF_MAGIC, ROOT, workspace_version

BUILD_SDIST = """
import sys
sys.path.insert(0, "build_backend")
import mngr_codex_build
mngr_codex_build.build_sdist(sys.argv[1])
"""
CRATES = ("core", "cli", "python")
WHEEL_BYTES = 8 * 1024 * 1024
BUILD_SECONDS = 900

compiles = pytest.mark.skipif("MNGR_CODEX_TEST_BUILDS" not in os.environ, reason="slow: run `make test-packaging`")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", BUILD_SDIST, folder, cwd=ROOT)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds from the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-cache-dir", "--wheel-dir", str(folder)]
    run(sys.executable, "-m", "pip", "wheel", *options, sdist)
    (archive,) = folder.iterdir()
    return archive


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Runs a command with this Python's maturin, and a target folder that later runs reuse."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "CARGO_TARGET_DIR": str(ROOT / "target" / "packaging"),
    }
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stderr


def test_sdist_has_all_sources_and_no_build_products(sdist: Path) -> None:
    top = f"mngr_codex-{workspace_version()}"
    assert sdist.name == f"{top}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {member.name.removeprefix(f"{top}/") for member in archive}
    needed = {"Cargo.lock", "Cargo.toml", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    needed |= {"build_backend/mngr_codex_build.py", "python/mngr_codex/__init__.py", "python/mngr_codex/_core.pyi"}
    needed |= {f"rust/{crate}/Cargo.toml" for crate in CRATES}
    needed |= {source.relative_to(ROOT).as_posix() for source in (ROOT / "rust").glob("*/src/**/*.rs")}
    assert needed <= names
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {".cargo", "build_backend", "python", "rust"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".so", ".pyc"))]


@compiles
def test_wheel_has_the_package_and_the_program(wheel: Path) -> None:
    version = workspace_version()
    assert wheel.name.startswith(f"mngr_codex-{version}-cp312-abi3-")
    assert wheel.stat().st_size <= WHEEL_BYTES
    with zipfile.ZipFile(wheel) as archive:
        program = archive.getinfo(f"mngr_codex-{version}.data/scripts/mngr-codex")
        assert program.external_attr >> 16 & 0o777 == 0o755
        if sys.platform == "linux":
            assert archive.read(program).startswith(ELF_MAGIC)
        names = archive.namelist()
    assert "mngr_codex/_core.abi3.so" in names
    assert f"mngr_codex-{version}.data/data/share/man/man1/mngr-codex.1" in names
    assert {name.partition("/")[0] for name in names} == {
        "mngr_codex",
        f"mngr_codex-{version}.data",
        f"mngr_codex-{version}.dist-info",
    }


@compiles
def test_editable_install_puts_the_program_on_path(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (project,) = tmp_path.iterdir()
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run(*pip, "install", "--quiet", "maturin", "orjson")
    run(*pip, "install", "--quiet", "--no-build-isolation", "--no-deps", "--editable", project)
    run(environment / "bin" / "mngr-codex", "--version")
    package = project / "python" / "mngr_codex" / "__init__.py"
    run(python, "-c", f"import mngr_codex; assert mngr_codex.__file__ == {str(package)!r}, mngr_codex.__file__")
