"""Keeps a test session away from the files of the user who runs it.

All tests run with a temporary home, which is empty and must stay empty. A test that needs files in a home creates its
own. The user's real home is never read, so its size and its changes do not affect the tests.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

#: Variables that name files, agents, the tmux server or the account of the user.
CLEARED = (
    "CODEX_HOME",
    "GIT_CONFIG_GLOBAL",
    "MNGR_AGENT_STATE_DIR",
    "MNGR_HOST_DIR",
    "MNGR_PREFIX",
    "MNGR_ROOT_NAME",
    "OPENAI_API_KEY",
    "TMUX",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
)

#: Variables that name the folders of tools, and their defaults in the home.
TOOL_FOLDERS = {
    "CARGO_HOME": ".cargo",
    "PIP_CACHE_DIR": "Library/Caches/pip" if sys.platform == "darwin" else ".cache/pip",
    "PYENV_ROOT": ".pyenv",
    "RUSTUP_HOME": ".rustup",
    "npm_config_cache": ".npm",
}


class Isolation:
    """The temporary home of a test session."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mngr-codex-tests-"))
        self.home = self.folder / "home"
        self.tmux = self.folder / "tmux"
        self.home.mkdir()
        self.tmux.mkdir()

    def start(self) -> None:
        """Changes the environment of this process, which the tests' processes inherit."""
        user_home = Path.home()
        for name, folder in TOOL_FOLDERS.items():
            if (user_home / folder).is_dir():
                os.environ.setdefault(name, str(user_home / folder))
        for name in CLEARED:
            os.environ.pop(name, None)
        os.environ["HOME"] = str(self.home)
        # Times are shown in the local time zone.
        os.environ["TZ"] = "UTC"
        os.environ["TMUX_TMPDIR"] = str(self.tmux)
        # A shell in a terminal that a test ends would write its history to the home, after the test or during the next.
        os.environ["HISTFILE"] = ""

    def end(self) -> None:
        """Removes the temporary home."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def check(self) -> None:
        """Raises an error if the temporary home is not empty, and empties it for the next test."""
        if not any(self.home.iterdir()):
            return
        written = sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))
        shutil.rmtree(self.home)
        self.home.mkdir()
        raise AssertionError(f"written to the user's home: {', '.join(written)}")
