"""The pages of ``mngr help codex …`` for the native program's commands, made from the program's own help."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import click
from imbue.mngr.cli.help_formatter import CommandHelpMetadata, is_interactive_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SECONDS = 10.0
_SECTION = re.compile(r"^([A-Z][A-Za-z ]*):$", re.MULTILINE)
# Those that mngr shows itself.
_HELP_AND_VERSION = re.compile(r"^ *-[hV], --(?:help|version).*\n(?: {10,}.*\n?)*\n?", re.MULTILINE)


def program_help(words: Sequence[str], names: Sequence[str]) -> str | None:
    """Returns the program's help for a command, as a user of mngr runs it; None if the program cannot be run.

    Args:
        words: The command and its subcommand.
        names: The commands of the program that `mngr codex` has.
    """
    from mngr_codex.plugin.host.program import own_program

    program = own_program()
    if program is None:
        return None
    try:
        ran = subprocess.run(
            [str(program), *words, "--help"], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return re.sub(rf"\bmngr-codex (?={'|'.join(names)})", "mngr codex ", ran.stdout) if ran.returncode == 0 else None


@dataclass(frozen=True, kw_only=True)
class Additions:
    """What the page of a command has in addition to the program's own help."""

    note: str = ""
    """A further paragraph."""
    examples: tuple[str, ...] = ()
    """Further examples, before those of the program."""
    see_also: Mapping[str, str]
    """The related pages, and what they describe."""


class ProgramPage:
    """The page of one command. Has the attributes of mngr's pages; the program runs when the first of them is read."""

    aliases: tuple[str, ...] = ()
    arguments_description: str | None = None
    examples: tuple[tuple[str, str], ...] = ()
    group_intros: tuple[tuple[str, str], ...] = ()

    def __init__(self, command: click.Command, names: Sequence[str], additions: Additions) -> None:
        """Describes a command, without running the program.

        Args:
            command: The command of ``mngr codex``.
            names: The commands of the program that ``mngr codex`` has.
            additions: What the page has in addition to the program's help.
        """
        self.key = f"codex.{command.name}"
        self.name = f"mngr codex {command.name}"
        self.one_line_description = (command.short_help or "").removesuffix(".")
        self.see_also = tuple(additions.see_also.items())
        self._additions = additions
        self._words = (str(command.name),)
        self._names = names

    def register(self) -> None:
        """Makes mngr show this page."""
        CommandHelpMetadata.register(cast("CommandHelpMetadata", self))

    @cached_property
    def _help(self) -> str:
        return program_help(self._words, self._names) or ""

    @property
    def synopsis(self) -> str:
        """How the command is used."""
        found = re.search(r"^Usage: (.+)$", self._help, re.MULTILINE)
        return found[1] if found else f"{self.name} [OPTIONS]"

    @property
    def description(self) -> str:
        """The program's paragraphs before the usage, or why there are none."""
        if not self._help:
            return "The program mngr-codex, which has the details, cannot be run. Reinstall mngr-codex."
        return "\n\n".join(filter(None, (self._help.partition("Usage:")[0].strip(), self._additions.note)))

    @property
    def full_description(self) -> str:
        """The description, whose first paragraph says the same as the line under the name."""
        return self.description

    @property
    def additional_sections(self) -> tuple[tuple[str, str], ...]:
        """The program's arguments, options and examples."""
        return tuple(self._sections())

    def _sections(self) -> Iterator[tuple[str, str]]:
        _, *parts = _SECTION.split(self._help)
        for title, text in zip(parts[::2], parts[1::2], strict=True):
            content = _aligned(_HELP_AND_VERSION.sub("", text))
            if title == "Examples":
                content = "\n".join((*self._additions.examples, content))
            if content:
                # On a terminal the text is taken for Markdown.
                shown = f"```text\n{content}\n```" if is_interactive_terminal() else content
                yield ("Options of the program" if title == "Options" else title), shown


def _aligned(text: str) -> str:
    """Returns a section with its entries at the margin, and what is said about them indented."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join(f"    {line.lstrip()}" if line.startswith(" " * 10) else line.lstrip() for line in lines).strip()
