"""Yes-or-no questions in the user's terminal."""

from __future__ import annotations


def confirm(question: str) -> bool:
    """Asks a question on standard error and returns the answer, by default False.

    Args:
        question: The question; its last line is the prompt.
    """
    import click

    return click.confirm(question, default=False, err=True)
