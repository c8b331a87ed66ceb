"""Checks of started agents that run when the mngr command ends, and whose errors are the command's.

`mngr start` does not ask the plugin whether an agent's Codex has started. And an error while `mngr create` updates an
existing agent would make mngr delete that agent with its work.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from imbue.mngr.errors import AgentStartError
    from imbue.mngr.primitives import AgentId

    Check = Callable[[], AgentStartError | None]

_checks: dict[AgentId, Check] = {}


def check_at_end(check: Check, *, key: AgentId, command: str | None = None) -> None:
    """Runs a check when the current mngr command ends, before mngr closes its connections.

    Without a command, as in a program that uses mngr as a library, nothing is checked.

    Args:
        check: Returns an error, or None.
        key: The agent. Only its last check runs.
        command: The name of the only command that runs the check; None for any command.
    """
    context = click.get_current_context(silent=True)
    if context is None or command not in {None, context.command.name}:
        return
    if not _checks:
        context.call_on_close(_run_checks)
    _checks[key] = check


def _run_checks() -> None:
    """Runs all checks.

    Raises:
        AgentStartError: One check has found an error.
        MngrError: Several checks have.
    """
    checks = [*_checks.values()]
    _checks.clear()
    errors = [error for check in checks if (error := check()) is not None]
    if sys.exc_info()[0] is not None:
        # The command has failed already, and this error must not replace its own.
        for error in errors:
            logger.warning("{}", error)
    elif len(errors) > 1:
        from imbue.mngr.errors import MngrError

        raise MngrError("\n".join(str(error) for error in errors))
    elif errors:
        raise errors[0]
