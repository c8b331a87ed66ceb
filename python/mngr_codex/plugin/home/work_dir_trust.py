"""Whether codex may work in a folder, and which of the folder's hooks it may run: asked for before anything is made.

In a trusted folder codex takes over what the folder says: instructions, settings, MCP servers. Hooks are commands that
it runs outside of the sandbox, so a yes to the folder is none to them.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mngr_codex.plugin.home import build, hook_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

    Ask = Callable[[str], bool]

BYPASS = hook_trust.BYPASS


@dataclass(frozen=True, kw_only=True)
class Attendance:
    """Who can be asked, and what was agreed to beforehand."""

    is_interactive: bool
    """Whether somebody is there to answer."""
    is_auto_approved: bool
    """Whether the command was run with ``--yes``."""
    is_dialog_dismissed: bool
    """Whether the settings have ``auto_dismiss_dialogs``."""
    trusts_repository_hooks: bool
    """Whether the settings have ``trust_repo_hooks``."""

    @property
    def is_attended(self) -> bool:
        """Whether questions are asked at all."""
        return self.is_interactive and not self.is_auto_approved and not self.is_dialog_dismissed


@dataclass(frozen=True, kw_only=True)
class Consent:
    """What was agreed to."""

    refusal: str | None = None
    """Why the agent is not to be made, with the ways out; None if it may."""
    consented_hashes: frozenset[str] = frozenset()
    """Hashes of the repository's hooks that may run."""
    allows_bypass: bool = False
    """Whether codex may run all hooks without review, should it be unable to report hashes."""


def decide(
    folder: str,
    attendance: Attendance,
    *,
    is_trusted_by_user: bool,
    look: Callable[[], hook_trust.CodexReport],
    ask: Ask,
) -> Consent:
    """Decide whether codex may work in a folder.

    Args:
        folder: The folder, as the user knows it.
        attendance: Who can be asked, and what was agreed to beforehand.
        is_trusted_by_user: Whether the user's own codex trusts the folder.
        look: Finds the folder's hooks. Called only if the answer matters here.
        ask: Puts a question to the user, who answers yes or no.
    """
    if not (is_trusted_by_user or attendance.is_auto_approved or attendance.is_dialog_dismissed):
        if not attendance.is_interactive:
            return Consent(refusal=refusal(folder))
        if not ask(folder_question(folder)):
            return Consent(refusal=f"The agent is not made: {folder} is not trusted.")
    if not attendance.is_attended:
        # The hooks are looked up when the agent's home is made, and switched off there if the settings do not trust
        # them.
        return Consent(allows_bypass=attendance.trusts_repository_hooks)
    report = look()
    if report.version is None:
        # No codex has answered: it may be installed only later. What hooks there are is then found and switched off.
        return Consent(allows_bypass=attendance.trusts_repository_hooks)
    if report.hooks is None:
        is_allowed = attendance.trusts_repository_hooks or ask(bypass_question(folder, report))
        return Consent(allows_bypass=is_allowed)
    brought = report.repository_hooks
    if not brought or attendance.trusts_repository_hooks or not ask(hooks_question(folder, brought)):
        return Consent()
    return Consent(consented_hashes=frozenset(hook.current_hash for hook in brought))


def refusal(folder: str) -> str:
    """Tell why no agent is made where nobody can be asked, and the three ways out."""
    return (
        f"The agent is not made, because nobody has said yet that codex may work in {folder}: it would take over the "
        "instructions, settings and MCP servers that are there. One of these says so:\n"
        "  - run the command in a terminal, and answer its question\n"
        "  - run it with --yes\n"
        "  - set auto_dismiss_dialogs = true under [agent_types.codex] in mngr's settings"
    )


def folder_question(folder: str) -> str:
    """Put the question whether codex may work in a folder."""
    return (
        f"Codex does not know {folder} as trusted. In a trusted folder it follows the instructions that are there "
        "(AGENTS.md) and uses the folder's settings, MCP servers and rules (.codex).\n"
        "Trust this folder for the agent?"
    )


def hooks_question(folder: str, hooks: Iterable[hook_trust.Hook]) -> str:
    """Put the question whether a folder's hooks may run, command by command."""
    listed = "\n".join(f"  {hook}" for hook in hooks)
    return (
        f"{folder} brings hooks. Codex would run these commands as you, outside of its sandbox:\n{listed}\n"
        "Let them run for this agent? If not, they are switched off for it."
    )


def bypass_question(folder: str, report: hook_trust.CodexReport) -> str:
    """Put the question whether hooks may run without review, for a codex that cannot tell them apart."""
    return (
        f"This codex cannot report the hashes of hooks ({report.problem}), so mngr's own hooks, which tell whether the "
        f"agent works, cannot be trusted one by one. They run only where all hooks run without review ({BYPASS}): "
        f"every hook that {folder} brings, now or later, would run as you, outside of the sandbox.\n"
        "Run all hooks without review for this agent? If not, none runs, and mngr shows it as WAITING while it works."
    )


def is_trusted(user_config: Mapping[str, Any], folders: Iterable[str]) -> bool:
    """Tell whether the user's own codex trusts one of these folders, which are names of one and the same.

    Args:
        user_config: What is in the user's own ``config.toml``.
        folders: The folder, and the repository that it belongs to.
    """
    projects = user_config.get("projects")
    if not isinstance(projects, dict):
        return False
    entries = [projects.get(folder) for folder in folders]
    return any(isinstance(entry, dict) and entry.get("trust_level") == "trusted" for entry in entries)


def obtain(
    host: OnlineHostInterface,
    attendance: Attendance,
    *,
    command: str,
    folder: Path,
    ask: Ask | None = None,
) -> Consent:
    """Get consent to work in a folder, from what was agreed to beforehand or by asking. Leaves nothing on the host.

    Args:
        host: Where the folder is.
        attendance: Who can be asked, and what was agreed to beforehand.
        command: The codex to ask for the folder's hooks, as a shell would run it.
        folder: The folder that the agent is to work in, or the one that its worktree or copy is made from.
        ask: Puts a question to the user; in the terminal if it is None.

    Raises:
        ConfigParseError: The user's own ``config.toml`` is no TOML.
    """
    names, user_config_path = _names(host, folder)
    return decide(
        str(folder),
        attendance,
        is_trusted_by_user=is_trusted(build.read_config(host, user_config_path), names),
        look=lambda: hook_trust.ask_codex_before_consent(host, command=command, work_dir=folder),
        ask=ask or _ask_in_terminal,
    )


def _names(host: OnlineHostInterface, folder: Path) -> tuple[list[str], str]:
    """The folder's name, the one without symlinks, and the main checkout of its repository; and the user's config.

    A folder that says it is a worktree of a repository is one only if the repository says so too: anybody can write a
    file ``.git``.
    """
    script = f"""\
# One name a line, so what has an end of line in its name proves nothing and is none of them. A command's last ends of
# line would be taken from what it says.
exact() {{ exact=$("$@" 2>/dev/null && echo .) || return 1; exact=${{exact%.}} exact=${{exact%$'\\n'}}; }}
real() {{ cd "$1" && pwd -P; }}
say() {{ case $1 in *$'\\n'*) exit 0 ;; *) printf '%s\\n' "$1" ;; esac; }}
printf '%s\\n' "$HOME/.codex/config.toml"
cd {shlex.quote(str(folder))} || exit 1
exact pwd -P && say "$exact"
exact git rev-parse --show-toplevel && say "$exact" && exact real "$exact" && top=$exact || exit 0
exact git rev-parse --absolute-git-dir && exact real "$exact" && own=$exact || exit 0
exact git rev-parse --git-common-dir && exact real "$exact" && common=$exact || exit 0
if [ "$own" = "$common" ]; then
    [ "$own" = "$top/.git" ] || exit 0
else
    exact cat "$own/gitdir" && exact real "${{exact%/.git}}" && [ "$exact" = "$top" ] || exit 0
fi
cd "$common/.." && [ -e .git ] && exact pwd -P && say "$exact"
exit 0"""
    said = host.execute_idempotent_command(f"bash -c {shlex.quote(script)}", timeout_seconds=30.0).stdout.split("\n")
    return [str(folder), *filter(None, said[1:])], said[0]


def _ask_in_terminal(question: str) -> bool:
    import click

    return click.confirm(question, default=False, err=True)
