"""Parses the ``command`` setting, which may contain arguments besides the program."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile


def program_of(command: str) -> str:
    """Returns the program that a command runs: its first word that does not set a variable.

    Args:
        command: The ``command`` setting, as a shell would run it (``codex``, ``env X=1 /opt/codex --flag``).
    """
    return next(iter(_program_and_arguments(command)), "codex")


def arguments_of(command: str) -> list[str]:
    """Returns the arguments in a command, without the program and the variables before it.

    Args:
        command: The ``command`` setting, as a shell would run it.
    """
    return _program_and_arguments(command)[1:]


def for_subcommand(command: str) -> str:
    """Returns the command to which a subcommand of Codex such as ``app-server`` or ``update`` can be appended.

    Subcommands reject ``--profile``, which only sessions accept (seen on 0.138, 0.163 and 0.169).

    Args:
        command: The ``command`` setting, as a shell would run it.
    """
    kept: list[str] = []
    words = iter(_words(command))
    has_no_profile = True
    for word in words:
        if word in {"-p", "--profile"}:
            next(words, None)
        elif not word.startswith("--profile="):
            kept.append(word)
            continue
        has_no_profile = False
    # Unchanged if possible, because a shell may expand parts of it.
    return command if has_no_profile else shlex.join(kept)


def with_program(command: str, path: str) -> str:
    """Returns a command that runs its program by this path.

    The rest is unchanged, because a shell may expand parts of it. So is the whole command if its program is quoted.

    Args:
        command: The ``command`` setting, as a shell would run it.
        path: The path of the program.
    """
    program = program_of(command)
    for found in re.finditer(rf"(?<!\S){re.escape(program)}(?!\S)", command):
        before = command[: found.start()]
        if not _program_and_arguments(before) and _is_complete(before):
            return f"{before}{shlex.quote(path)}{command[found.end() :]}"
    return command


def _is_complete(text: str) -> bool:
    """Returns whether all quotes in a text are closed."""
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


def _program_and_arguments(command: str) -> list[str]:
    def is_before_program(word: str) -> bool:
        name, is_setting, _ = word.partition("=")
        return word == "env" or bool(is_setting and name.isidentifier())

    return [*dropwhile(is_before_program, _words(command))]


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()
