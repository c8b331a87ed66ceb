"""Whether codex has a newer version, and what is done about it.

Nothing here asks the network or keeps an agent back.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from mngr_codex.plugin.command_setting import for_subcommand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imbue.mngr.interfaces.host import OnlineHostInterface

UPDATE_SECONDS = 300.0
"""How long `codex update` may take."""

_PROBE_SECONDS = 30.0


class Action(Enum):
    """What is done about a newer version."""

    NOTHING = auto()
    NOTICE = auto()
    ASK = auto()
    UPDATE = auto()


@dataclass(frozen=True)
class Versions:
    """The version of codex on a host, and the newest that the user's own codex has heard of."""

    installed: str | None = None
    latest: str | None = None

    @property
    def is_behind(self) -> bool:
        """Whether a newer version is known."""
        return bool(self.installed and self.latest and is_newer(self.latest, self.installed))


def is_newer(version: str, than: str) -> bool:
    """Compare two versions as codex has them (``0.169.0``, ``0.170.0-alpha.3``). What is no version is not newer."""
    left, right = _order(version), _order(than)
    return left is not None and right is not None and left > right


def _order(version: str) -> tuple[int, int, int, bool, tuple[int, ...]] | None:
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?(\+\S*)?", version.strip())
    if found is None:
        return None
    major, minor, patch = (int(part) for part in found.group(1, 2, 3))
    preview = found.group(4) or ""
    return major, minor, patch, not preview, tuple(int(number) for number in re.findall(r"\d+", preview))


def installed_version(host: OnlineHostInterface, command: str) -> str | None:
    """Give the version of the codex that a host has, or None if there is none that says so.

    Args:
        host: The host.
        command: The codex to ask, as a shell would run it.
    """
    # Without a home codex would make one of the user's: it writes there even to tell its version (seen on 0.163).
    result = host.execute_idempotent_command(
        f"export CODEX_HOME=/dev/null; {command} --version", timeout_seconds=_PROBE_SECONDS
    )
    found = re.search(r"(?m)^codex\S*\s+(\S+)", result.stdout) if result.success else None
    return found.group(1) if found else None


def latest_version(host: OnlineHostInterface, user_codex_home: Path | None = None) -> str | None:
    """Give the newest version that the user's own codex has heard of, or None if it has heard of none.

    Args:
        host: The host.
        user_codex_home: The user's own, if it is not ``~/.codex``.
    """
    home = shlex.quote(str(user_codex_home)) if user_codex_home else '"$HOME/.codex"'
    result = host.execute_idempotent_command(f"cat {home}/version.json 2>/dev/null", timeout_seconds=_PROBE_SECONDS)
    try:
        heard = json.loads(result.stdout)
    except ValueError:
        return None
    latest = heard.get("latest_version") if isinstance(heard, dict) else None
    return latest if isinstance(latest, str) else None


def decide(
    policy: str,
    versions: Versions,
    *,
    pinned: str | None,
    is_local: bool,
    is_interactive: bool,
    is_auto_approved: bool,
) -> Action:
    """Decide what is done about a newer version.

    Args:
        policy: AUTO, ASK or NEVER, as the settings have it; anything else counts as NEVER.
        versions: What is there, and what is known.
        pinned: The version that the settings ask for. Then there is nothing to do.
        is_local: Whether codex is on this machine.
        is_interactive: Whether somebody is there to answer.
        is_auto_approved: Whether the command was run with ``--yes``.
    """
    if pinned or not versions.is_behind:
        return Action.NOTHING
    # mngr may have left the policy as it stood in the settings, or made an enum of it.
    name = str(getattr(policy, "value", policy)).upper()
    if name == "AUTO":
        return Action.UPDATE
    if name == "ASK" and is_local and is_interactive and not is_auto_approved:
        return Action.ASK
    return Action.NOTICE


def check(
    host: OnlineHostInterface,
    *,
    command: str,
    policy: str,
    pinned: str | None,
    is_interactive: bool,
    is_auto_approved: bool,
    installed: str | None = None,
    ask: Callable[[str], bool] | None = None,
) -> str | None:
    """Look whether codex has a newer version, and do what the policy says.

    Whatever fails here is left for the debug log.

    Args:
        host: The agent's host.
        command: The codex to look at, as a shell would run it.
        policy: AUTO, ASK or NEVER.
        pinned: The version that the settings ask for, if any.
        is_interactive: Whether somebody is there to answer.
        is_auto_approved: Whether the command was run with ``--yes``.
        installed: The version that is there, if it is known already.
        ask: Puts a question to the user; in the terminal if it is None.

    Returns:
        What the user is to know, or None.
    """
    from loguru import logger

    if pinned:
        return None
    try:
        latest = latest_version(host)
        versions = Versions(latest and (installed or installed_version(host, command)), latest)
    except Exception as error:
        logger.debug("Whether codex has a newer version was not found out: {!r}", error)
        return None
    action = decide(
        policy,
        versions,
        pinned=pinned,
        is_local=host.is_local,
        is_interactive=is_interactive,
        is_auto_approved=is_auto_approved,
    )
    behind = f"Codex {latest} is out, and {versions.installed} is installed."
    if action is Action.ASK:
        action = Action.UPDATE if (ask or _ask_in_terminal)(f"{behind}\nUpdate it now?") else Action.NOTHING
    if action is Action.NOTHING:
        return None
    updated = _update(host, command) if action is Action.UPDATE else None
    if updated:
        return f"Codex was updated from {versions.installed} to {updated}."
    return f"{behind} `{for_subcommand(command)} update` brings it up to date."


def _update(host: OnlineHostInterface, command: str) -> str | None:
    """Update codex, and give its version then; None if it failed."""
    from loguru import logger

    try:
        # As the user would run it: a codex that was installed by itself finds its files from the user's own home.
        result = host.execute_stateful_command(
            f"unset CODEX_HOME; {for_subcommand(command)} update </dev/null", timeout_seconds=UPDATE_SECONDS
        )
        if result.success:
            return installed_version(host, command)
        logger.debug("`{} update` failed: {}", command, (result.stderr or result.stdout).strip())
    except Exception as error:
        logger.debug("`{} update` failed: {!r}", command, error)
    return None


def _ask_in_terminal(question: str) -> bool:
    import click

    return click.confirm(question, default=False, err=True)
