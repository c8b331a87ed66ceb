"""Checks for newer versions of Codex, and updates it if the settings or the user ask for it.

The check does not use the network, and a failure never blocks an agent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from imbue.mngr.errors import AgentInstallationError
from loguru import logger

from mngr_codex.plugin import prompt
from mngr_codex.plugin.command_setting import for_subcommand
from mngr_codex.plugin.host import codex_package
from mngr_codex.plugin.host import facts as host_facts
from mngr_codex.plugin.host.facts import Installation
from mngr_codex.plugin.host.place import HostPlace

if TYPE_CHECKING:
    from collections.abc import Callable

    from imbue.mngr.interfaces.host import OnlineHostInterface

    from mngr_codex.plugin.host.facts import HostFacts

UPDATE_SECONDS = 300.0
"""How long ``codex update`` may take."""


class Action(Enum):
    """What to do about a newer version."""

    NOTHING = auto()
    NOTICE = auto()
    ASK = auto()
    UPDATE = auto()


@dataclass(frozen=True)
class Versions:
    """The version of Codex on a host, and the newest version that the user's own Codex knows."""

    installed: str | None = None
    latest: str | None = None

    @property
    def is_outdated(self) -> bool:
        """Whether a newer version is known."""
        return bool(self.installed and self.latest and is_newer(self.latest, self.installed))


def is_newer(version: str, than: str) -> bool:
    """Returns whether a version of Codex (``0.169.0``, ``0.170.0-alpha.3``) is newer; False if one is malformed."""
    left, right = _order(version), _order(than)
    return left is not None and right is not None and left > right


def _order(version: str) -> tuple[int, int, int, bool, tuple[int, ...]] | None:
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?(\+\S*)?", version.strip())
    if found is None:
        return None
    major, minor, patch = (int(part) for part in found.group(1, 2, 3))
    preview = found.group(4) or ""
    return major, minor, patch, not preview, tuple(int(number) for number in re.findall(r"\d+", preview))


def decide(
    policy: str,
    versions: Versions,
    *,
    pinned: str | None,
    is_local: bool,
    is_interactive: bool,
    is_auto_approved: bool,
) -> Action:
    """Decides what to do about a newer version.

    Args:
        policy: The ``update_policy`` setting: AUTO, ASK or NEVER; anything else counts as NEVER.
        versions: The installed version and the newest known one.
        pinned: The version that the settings require. If it is set, nothing is done.
        is_local: Whether the host is this machine.
        is_interactive: Whether there is a terminal to ask in.
        is_auto_approved: Whether the command was run with ``--yes``.
    """
    if pinned or not versions.is_outdated:
        return Action.NOTHING
    # mngr passes either the text from the settings or an enum.
    name = str(getattr(policy, "value", policy)).upper()
    if name == "AUTO":
        return Action.UPDATE
    if name == "ASK" and is_local and is_interactive and not is_auto_approved:
        return Action.ASK
    return Action.NOTICE


def check(
    host: OnlineHostInterface,
    facts: HostFacts,
    *,
    policy: str,
    pinned: str | None,
    is_interactive: bool,
    is_auto_approved: bool,
    ask: Callable[[str], bool] = prompt.confirm,
) -> str | None:
    """Checks for a newer version of Codex, and applies the policy.

    A failed update becomes a notice.

    Args:
        host: The agent's host.
        facts: The facts about the host.
        policy: The ``update_policy`` setting: AUTO, ASK or NEVER.
        pinned: The version that the settings require, if any.
        is_interactive: Whether there is a terminal to ask in.
        is_auto_approved: Whether the command was run with ``--yes``.
        ask: Asks the user a yes-or-no question.

    Returns:
        A notice for the user, or None.
    """
    versions = Versions(facts.version, facts.latest_version)
    action = decide(
        policy,
        versions,
        pinned=pinned,
        is_local=host.is_local,
        is_interactive=is_interactive,
        is_auto_approved=is_auto_approved,
    )
    there = HostPlace.of(host).there
    available = f"Codex {versions.latest} is available; {versions.installed} is installed{there}."
    if action is Action.ASK:
        action = Action.UPDATE if ask(f"{available}\nUpdate it now?") else Action.NOTHING
    if action is Action.NOTHING:
        return None
    if action is Action.UPDATE:
        return _update(host, facts, versions)
    return f"{available}\nhint: {_update_hint(host, facts)}"


def _update(host: OnlineHostInterface, facts: HostFacts, versions: Versions) -> str:
    """Updates Codex, and returns a notice about the result."""
    there = HostPlace.of(host).there
    failed = f"cannot update Codex{there} from {versions.installed} to {versions.latest}"
    hint = f"\nhint: {_update_hint(host, facts)}"
    said = ""
    try:
        if facts.installation is Installation.SENT:
            codex_package.send(host, facts, versions.latest)
        else:
            # Codex's standalone installation finds its files from the user's own home. A backtrace would hide the
            # error.
            result = host.execute_stateful_command(
                f"unset CODEX_HOME RUST_BACKTRACE; {for_subcommand(facts.command)} update </dev/null",
                timeout_seconds=UPDATE_SECONDS,
            )
            lines = [line.strip() for line in f"{result.stdout}\n{result.stderr}".splitlines() if line.strip()]
            said = f": {lines[-1]}" if lines else ""
            if not result.success:
                return f"{failed}{said}{hint}"
        now = host_facts.read(host, facts.command).version
    except AgentInstallationError as error:
        return f"{failed}: {error}"
    except Exception as error:
        logger.debug("cannot update Codex: {!r}", error)
        return f"{failed}: {error}{hint}"
    if now and now != versions.installed:
        return f"Codex was updated{there} from {versions.installed} to {now}."
    if now:
        return (
            f"the update of Codex{there} changed nothing: it is still {now}, and {versions.latest} is newer{said}{hint}"
        )
    return f"{failed}: it reports no version afterwards{said}{hint}"


def _update_hint(host: OnlineHostInterface, facts: HostFacts) -> str:
    """Returns how to update Codex, as a hint. ``codex update`` does not know the ways in which mngr installs it."""
    place = HostPlace.of(host)
    if facts.installation is Installation.SENT:
        return 'set update_policy = "AUTO" for the agent type, and the next `mngr create` sends a newer one'
    if facts.installation is Installation.FROM_PYPI:
        return f"{place.run('rm ~/.local/bin/codex')}, and the next `mngr create` installs the newest one"
    return place.run(f"{for_subcommand(facts.command)} update")
