"""Consent to let Codex work in a directory and to run the directory's hooks, obtained before an agent is created.

In a trusted directory Codex follows the directory's instructions, settings and MCP servers. Hooks are commands that run
outside the sandbox, so consent to the directory does not include them. An answer about the directory is remembered; an
answer about hooks is not, because they change.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imbue.mngr.errors import ConfigParseError

from mngr_codex.plugin import prompt
from mngr_codex.plugin.agent_type import AGENT_TYPE
from mngr_codex.plugin.home.app_server import query_codex_before_consent
from mngr_codex.plugin.home.config_toml import read_config
from mngr_codex.plugin.home.hook_trust import BYPASS
from mngr_codex.plugin.host import facts as host_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.home.app_server import CodexReport, Hook
    from mngr_codex.plugin.home.trusted_folders import TrustedFolders

    Ask = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class ConsentPolicy:
    """Whether the user can be asked, and any consent given in advance."""

    is_interactive: bool
    """Whether there is a terminal to ask in."""
    is_auto_approved: bool
    """Whether the command was run with ``--yes``."""
    is_dialog_dismissed: bool
    """Whether the settings have ``auto_dismiss_dialogs``."""
    trusts_repository_hooks: bool
    """Whether the settings have ``trust_repo_hooks``."""
    agent_type: str = AGENT_TYPE
    """The agent type with these settings."""

    @property
    def asks_questions(self) -> bool:
        """Whether questions are asked at all."""
        return self.is_interactive and not self.is_auto_approved and not self.is_dialog_dismissed


@dataclass(frozen=True, kw_only=True)
class Consent:
    """What the user has consented to."""

    refusal: str | None = None
    """Why the agent must not be created, with the ways to allow it; None if it may be created."""
    consented_hashes: frozenset[str] = frozenset()
    """The hashes of the repository's hooks that may run."""
    allows_bypass: bool = False
    """Whether all hooks may run without review if this Codex cannot report their hashes."""


@dataclass(frozen=True, kw_only=True)
class UpdatedAgent:
    """An existing agent that is updated. mngr has stopped it already."""

    codex_home: Path
    """Its Codex home, whose ``config.toml`` has the consent that was given when the agent was created."""
    work_dir: Path
    """The directory that it will work in."""


@dataclass(frozen=True)
class Memory:
    """Remembers the answer about a directory."""

    folders: TrustedFolders
    covered: str
    """The folder that the answer is about: the main work tree of the directory's repository, or the directory."""

    def is_trusted(self) -> bool:
        """Returns whether the user has trusted the folder before.

        Raises:
            UserInputError: The file with the answer cannot be read or is damaged.
        """
        return self.folders.is_trusted(self.covered)

    def remember(self) -> None:
        """Remembers that the user trusts the folder, or logs a warning."""
        try:
            self.folders.add(self.covered)
        except OSError as error:
            from loguru import logger

            logger.warning("cannot remember that {} is trusted, so you will be asked again: {}", self.covered, error)


def decide(
    folder: str,
    policy: ConsentPolicy,
    *,
    is_trusted_by_user: bool,
    is_update: bool = False,
    memory: Memory | None = None,
    query: Callable[[], CodexReport],
    ask: Ask,
) -> Consent:
    """Decides whether Codex may work in a directory.

    Args:
        folder: The directory, as the user names it.
        policy: Whether the user can be asked, and any consent given in advance.
        is_trusted_by_user: Whether the user's own Codex trusts the directory, or that of the agent which is updated.
        is_update: Whether an existing agent is updated.
        memory: Where an answer about the directory is remembered; None if it is not.
        query: Returns the hooks of the directory. Called only if the result matters.
        ask: Asks the user a yes-or-no question.
    """
    if not (is_trusted_by_user or policy.is_auto_approved or policy.is_dialog_dismissed):
        is_remembered = memory is not None and memory.is_trusted()
        if not (is_remembered or policy.is_interactive):
            return Consent(refusal=refusal(folder, policy.agent_type, is_update=is_update))
        if not is_remembered:
            if not ask(folder_question(folder, memory.covered if memory else None)):
                return Consent(refusal=f"cannot {_verb(is_update)} the agent: {folder} was not trusted")
            if memory is not None:
                memory.remember()
    if not policy.asks_questions:
        # The hooks are listed when the agent's home is built, and disabled there unless the settings trust them.
        return Consent(allows_bypass=policy.trusts_repository_hooks)
    report = query()
    if report.version is None:
        # Codex did not answer; it may be installed later. Hooks found then are disabled.
        return Consent(allows_bypass=policy.trusts_repository_hooks)
    if report.hooks is None:
        is_allowed = policy.trusts_repository_hooks or ask(bypass_question(folder, report))
        return Consent(allows_bypass=is_allowed)
    hooks = report.repository_hooks
    if not hooks or policy.trusts_repository_hooks or not ask(hooks_question(folder, hooks)):
        return Consent()
    return Consent(consented_hashes=frozenset(hook.current_hash for hook in hooks))


def _verb(is_update: bool) -> str:
    return "update" if is_update else "create"


def refusal(folder: str, agent_type: str, *, is_update: bool = False) -> str:
    """Returns the error for a directory without consent if the user cannot be asked.

    Args:
        folder: The directory, as the user names it.
        agent_type: The agent type. It inherits the settings of ``codex``, and only for that type mngr accepts them as
            an option.
        is_update: Whether an existing agent is updated.
    """
    return (
        f"cannot {_verb(is_update)} the agent: {folder} has not been trusted yet, and Codex would use the "
        "instructions, settings and MCP servers there\n"
        "hint: to trust it, do one of the following:\n"
        "  - run the command in a terminal and answer the question\n"
        "  - run the command with --yes\n"
        f"  - set auto_dismiss_dialogs = true under [agent_types.{agent_type}] in mngr's settings, or for one command "
        f"with -S agent_types.{AGENT_TYPE}.auto_dismiss_dialogs=true"
    )


def folder_question(folder: str, covered: str | None) -> str:
    """Returns the question whether Codex may work in a directory.

    Args:
        folder: The directory, as the user names it.
        covered: The folder whose agents the answer is remembered for; None if it is not remembered.
    """
    question = (
        f"Codex does not trust {folder} yet. In a trusted directory it follows the instructions there (AGENTS.md) and "
        "uses the directory's settings, MCP servers and rules (.codex).\n"
    )
    if covered is None:
        return f"{question}Trust this directory for the agent?"
    return f"{question}Trust {covered} for this agent and later ones? (`mngr codex trust revoke` takes it back)"


def hooks_question(folder: str, hooks: Iterable[Hook]) -> str:
    """Returns the question whether a directory's hooks may run, with all their commands."""
    commands = "\n".join(f"  {hook}" for hook in hooks)
    return (
        f"{folder} contains hooks. Codex would run these commands as you, outside its sandbox:\n{commands}\n"
        "Let them run for this agent? Otherwise they are disabled for it."
    )


def bypass_question(folder: str, report: CodexReport) -> str:
    """Returns the question whether all hooks may run without review, for a Codex that cannot report their hashes."""
    return (
        f"This Codex cannot report the hashes of hooks ({report.problem}). mngr's own hooks, which report whether the "
        f"agent is busy, therefore only run if all hooks run without review ({BYPASS}): every hook in {folder}, now or "
        "later, would run as you, outside the sandbox.\n"
        "Run all hooks without review for this agent? Otherwise no hook runs, and mngr shows the agent as WAITING even "
        "while it is busy."
    )


def is_trusted(user_config: Mapping[str, Any], folders: Iterable[str]) -> bool:
    """Returns whether the user's own Codex trusts any of these directories.

    Args:
        user_config: The content of the user's ``config.toml``.
        folders: The names of the directory, and the repository that it belongs to.
    """
    projects = user_config.get("projects")
    if not isinstance(projects, dict):
        return False
    entries = [projects.get(folder) for folder in folders]
    return any(isinstance(entry, dict) and entry.get("trust_level") == "trusted" for entry in entries)


def obtain(
    host: OnlineHostInterface,
    policy: ConsentPolicy,
    *,
    command: str,
    folder: Path,
    trusted_folders: TrustedFolders | None = None,
    updated: UpdatedAgent | None = None,
    ask: Ask = prompt.confirm,
) -> Consent:
    """Obtains consent to work in a directory: given in advance, given before, or by asking. Leaves nothing on the host.

    Args:
        host: The host with the directory.
        policy: Whether the user can be asked, and any consent given in advance.
        command: The ``command`` setting, as a shell would run it; Codex is asked for the directory's hooks.
        folder: The directory that the agent will work in, or that its worktree or copy is created from.
        trusted_folders: The folders that the user has trusted before; an answer is added to them. None for a directory
            on another machine, where the same path can be a different directory.
        updated: The agent that is updated; None for a new one.
        ask: Asks the user a yes-or-no question.

    Raises:
        ConfigParseError: The user's ``config.toml`` cannot be read or is not valid TOML.
        UserInputError: The file with an earlier answer cannot be read or is damaged.
        MngrError: The host cannot be examined.
    """
    names, user_config_path = _names(host, folder)
    covered = _covered_folder(names)
    return decide(
        str(folder),
        policy,
        is_trusted_by_user=is_trusted(read_config(host, user_config_path), names)
        or (updated is not None and covered is not None and _is_trusted_by_agent(host, updated, covered)),
        is_update=updated is not None,
        memory=Memory(trusted_folders, covered) if trusted_folders and covered else None,
        query=lambda: query_codex_before_consent(host, command=host_facts.read(host, command).command, work_dir=folder),
        ask=ask,
    )


def _is_trusted_by_agent(host: OnlineHostInterface, agent: UpdatedAgent, covered: str) -> bool:
    """Returns whether an agent has consent to its work directory, which must belong to the folder that is covered.

    mngr can copy files of another folder into the work directory. Those need consent of their own.
    """
    names, _ = _names(host, agent.work_dir)
    try:
        config = read_config(host, str(agent.codex_home / "config.toml"))
    except ConfigParseError:
        # The update writes the file again.
        return False
    return _covered_folder(names) == covered and is_trusted(config, names[:2])


def covered_folder(host: OnlineHostInterface, folder: Path) -> str | None:
    """Returns the folder that an answer about a directory is about: the main work tree of its repository, or itself.

    Returns:
        The path without symlinks; None if the directory does not exist, or if a name contains a line break.
    """
    return _covered_folder(_names(host, folder)[0])


def _covered_folder(names: list[str]) -> str | None:
    """Returns the last name, except the given one: what that refers to can change if it contains a symlink."""
    return names[-1] if len(names) > 1 else None


def _names(host: OnlineHostInterface, folder: Path) -> tuple[list[str], str]:
    """Returns the names of a directory, and the path of the user's ``config.toml``.

    The names are the given one, the one without symlinks, and the main checkout of the directory's repository. A
    directory that claims to be a worktree of a repository counts as one only if the repository confirms it: anybody can
    write a ``.git`` file.
    """
    script = f"""\
# Names are printed one per line; the script stops at a name with a line break. Command substitution drops trailing line
# breaks, so `exact` protects them with a full stop.
exact() {{ exact=$("$@" 2>/dev/null && echo .) || return 1; exact=${{exact%.}} exact=${{exact%$'\\n'}}; }}
real() {{ cd "$1" && pwd -P; }}
print() {{ case $1 in *$'\\n'*) exit 0 ;; *) printf '%s\\n' "$1" ;; esac; }}
printf '%s\\n' "$HOME/.codex/config.toml"
cd {shlex.quote(str(folder))} || exit 1
exact pwd -P && print "$exact"
exact git rev-parse --show-toplevel && exact real "$exact" && top=$exact || exit 0
exact git rev-parse --absolute-git-dir && exact real "$exact" && own=$exact || exit 0
# A repository can claim any work tree that contains it (core.worktree), such as a trusted folder.
exact git -C "$top" rev-parse --absolute-git-dir && exact real "$exact" && [ "$exact" = "$own" ] || exit 0
print "$top"
exact git rev-parse --git-common-dir && exact real "$exact" && common=$exact || exit 0
if [ "$own" = "$common" ]; then
    [ "$own" = "$top/.git" ] || exit 0
else
    exact cat "$own/gitdir" && exact real "${{exact%/.git}}" && [ "$exact" = "$top" ] || exit 0
fi
cd "$common/.." && [ -e .git ] && exact pwd -P && print "$exact"
exit 0"""
    lines = host.execute_idempotent_command(f"bash -c {shlex.quote(script)}", timeout_seconds=30.0).stdout.split("\n")
    return [str(folder), *filter(None, lines[1:])], lines[0]
