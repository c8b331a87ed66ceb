"""The result of one of the doctor's checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    """What was checked."""
    said: str
    """The result. Further lines are details, such as the last lines of a terminal."""
    remedy: str | None = None
    """What to do about it; None if everything is fine."""
    agent: str | None = None
    """The agent that was checked; None for a machine."""
    is_warning: bool = False
    """Whether everything still works, so that the doctor's exit status is not affected."""
    host: str | None = None
    """The other host that was checked, or that the agent is on; None for this machine."""

    @property
    def level(self) -> Level:
        """How serious the result is."""
        if self.remedy is None:
            return "ok"
        return "warning" if self.is_warning else "problem"

    def row(self) -> dict[str, Any]:
        """Returns the finding as the JSON output has it."""
        return {
            "what": self.what,
            "said": self.said,
            "remedy": self.remedy,
            "agent": self.agent,
            "host": self.host,
            "level": self.level,
            "is_wrong": self.level == "problem",
        }


def guarded(
    what: str,
    check: Callable[[], Iterable[Finding]],
    *,
    passed: str | None = None,
    agent: str | None = None,
    host: str | None = None,
) -> Iterator[Finding]:
    """Runs a check, and yields a finding for the error that ends it, if any.

    The doctor is run because something is broken, and no damage may hide the results of the other checks.

    Args:
        what: What the check is about.
        check: The check.
        passed: The result if the check finds nothing.
        agent: The agent that is checked.
        host: The other host that is checked.
    """
    try:
        has_found = False
        for finding in check():
            has_found = True
            yield finding
        if passed is not None and not has_found:
            yield Finding(what, passed, None, agent, host=host)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        yield Finding(
            what, f"cannot check this: {reason}", "fix that, and run `mngr codex doctor` again", agent, host=host
        )
