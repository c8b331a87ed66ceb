"""mngr's real local host in a temporary home, and the real Codex."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home that all programs use as the user's."""
    home = tmp_path / "home"
    tmux = tmp_path / "tmux"
    home.mkdir()
    tmux.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMUX_TMPDIR", str(tmux))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    # No test may use the network.
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    (home / ".gitconfig").write_text(
        "[user]\nname = Tester\nemail = tester@example.invalid\n[init]\ndefaultBranch = main\n"
    )
    return home


@pytest.fixture
def host(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """mngr's local host."""
    pytest.importorskip("imbue.mngr", reason="mngr is not in this environment")
    from imbue.concurrency_group.concurrency_group import ConcurrencyGroup
    from imbue.mngr.api.providers import get_local_host
    from imbue.mngr.config.loader import load_config
    from imbue.mngr.main import get_or_create_plugin_manager

    (home / ".mngr" / "profiles" / "tests").mkdir(parents=True, exist_ok=True)
    (home / ".mngr" / "config.toml").write_text('profile = "tests"\n')
    monkeypatch.chdir(home)
    with ConcurrencyGroup(name="tests") as group:
        yield get_local_host(load_config(get_or_create_plugin_manager(), group))


@pytest.fixture(scope="session")
def codex() -> str:
    """The path of the real Codex that the Makefile installs."""
    path = os.environ.get("MNGR_CODEX_CODEX") or shutil.which("codex", path=str(Path(sys.executable).parent))
    if not path:
        pytest.skip("MNGR_CODEX_CODEX does not name a codex (`make test` sets it)")
    return path
