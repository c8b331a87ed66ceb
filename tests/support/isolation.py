"""Keeps a test session away from the files of the user who runs it.

The whole session has a stand-in home, which is empty and must stay empty. Tests that need files in a home make one of
their own. The user's real home is never read, so the tests neither slow down nor fail because of what is in it.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

#: Variables that would lead a program to the user's own files, agents, tmux server or account.
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

#: Tools that find their installation or their downloads through HOME, and the variables that name these folders.
TOOL_FOLDERS = {
    "CARGO_HOME": ".cargo",
    "PIP_CACHE_DIR": "Library/Caches/pip" if sys.platform == "darwin" else ".cache/pip",
    "PYENV_ROOT": ".pyenv",
    "RUSTUP_HOME": ".rustup",
    "npm_config_cache": ".npm",
}


class Isolation:
    """The stand-in home of a test session, from `start` to `end`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mngr-codex-tests-"))
        self.home = self.folder / "home"
        self.tmux = self.folder / "tmux"
        self.home.mkdir()
        self.tmux.mkdir()

    def start(self) -> None:
        """Changes the environment of this process, which all processes of the tests inherit."""
        user_home = Path.home()
        for name, folder in TOOL_FOLDERS.items():
            if (user_home / folder).is_dir():
                os.environ.setdefault(name, str(user_home / folder))
        for name in CLEARED:
            os.environ.pop(name, None)
        os.environ["HOME"] = str(self.home)
        os.environ["TMUX_TMPDIR"] = str(self.tmux)

    def end(self) -> None:
        """Removes the stand-in home."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def check(self) -> None:
        """Fails if something was written to the stand-in home, and empties it for the next test."""
        if not any(self.home.iterdir()):
            return
        written = sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))
        shutil.rmtree(self.home)
        self.home.mkdir()
        raise AssertionError(f"written to the user's home: {', '.join(written)}")
