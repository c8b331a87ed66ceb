"""Deployments go on without the parts that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable


def guarded[Result](part: str, function: Callable[[], Result], default: Result) -> Result:
    """Calls a function; after an error logs a warning and returns the default, so that everything else is deployed.

    Args:
        part: The name of what the function deploys, for the warning.
        function: The function.
        default: The result after an error.
    """
    try:
        return function()
    except Exception as error:
        logger.warning("{} is not deployed: {}: {}", part, type(error).__name__, error)
        return default
