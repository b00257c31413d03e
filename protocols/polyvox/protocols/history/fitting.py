"""The passes that a provider's renderer makes over a history before it renders it."""

from dataclasses import replace

from polyvox.protocols.history.media_types import labelled
from polyvox.protocols.history.pairing import paired
from polyvox.protocols.history.spelling import Spelling
from polyvox.workflows.conversation import Conversation


def fitted_history(
    conversation: Conversation, spelling: Spelling, losses: list[str]
) -> Conversation:
    """Return ``conversation`` with a history that a provider accepts; see the passes."""
    messages = paired(labelled(conversation.messages, spelling), spelling, losses)
    return replace(conversation, messages=messages)
