"""The agent's codex as its settings name it: a command that may bring arguments of its own."""

from __future__ import annotations

import shlex


def program_of(command: str) -> str:
    """Give the program that a command runs: its first word that sets no variable.

    Args:
        command: The agent's codex, as a shell would run it (``codex``, ``env X=1 /opt/codex --flag``).
    """
    for word in _words(command):
        name, is_setting, _ = word.partition("=")
        if word != "env" and not (is_setting and name.isidentifier()):
            return word
    return "codex"


def for_subcommand(command: str) -> str:
    """Give the command with which codex runs a subcommand such as ``app-server`` or ``update``.

    Those refuse ``--profile``, which only a session takes (seen on 0.138, 0.163 and 0.169).

    Args:
        command: The agent's codex, as a shell would run it.
    """
    kept: list[str] = []
    words = iter(_words(command))
    is_without = True
    for word in words:
        if word in {"-p", "--profile"}:
            next(words, None)
        elif not word.startswith("--profile="):
            kept.append(word)
            continue
        is_without = False
    # As it was written, for what a shell makes of it.
    return command if is_without else shlex.join(kept)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()
