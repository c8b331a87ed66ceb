"""Events about messages that were not delivered normally, as mngr records them for other agents.

They are in ``events/messages/events.jsonl``, for ``mngr event``. mngr writes an event by a command line, which any user
of the host can read, so events do not contain the text of messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imbue.mngr.agents.base_agent import BaseAgent


def record_queued(agent: BaseAgent[Any], seconds: float) -> None:
    """Records that Codex has queued a message.

    Args:
        agent: The agent.
        seconds: How long the plugin has waited.
    """
    agent.record_message_delivery_event("message_queued", f"still queued by Codex after {seconds:.0f} s")


def record_draft(agent: BaseAgent[Any]) -> None:
    """Records that a message was not sent because the composer contains a draft."""
    agent.record_message_delivery_event(
        "preexisting_input_text", "the composer already contained text, so the message was not sent"
    )


def record_rejected(agent: BaseAgent[Any], command: str) -> None:
    """Records that Codex has rejected a command.

    Args:
        agent: The agent.
        command: The command without its arguments.
    """
    agent.record_message_delivery_event("send_rejected_by_agent", f"Codex rejected the command {command}")


def record_unconfirmed(agent: BaseAgent[Any], seconds: float, outcome: str) -> None:
    """Records that it is not known whether a message has arrived.

    Args:
        agent: The agent.
        seconds: How long the plugin has waited.
        outcome: What it has seen.
    """
    agent.record_message_delivery_event(
        "relaxed_send_unconfirmed", f"not recorded by Codex within {seconds:.0f} s ({outcome}); it may still arrive"
    )
