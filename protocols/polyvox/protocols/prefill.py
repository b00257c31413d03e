"""Refuses what only Messages can do: let the model go on from words put into its mouth."""

from polyvox.protocols.neutral import neutral_of
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError


def refuse_prefill(conversation: Conversation) -> None:
    """Raise ModelError("unsupported") if a Messages client ended its request with an answer.

    The other protocols would begin a new answer after it.
    """
    last = conversation.messages[-1] if conversation.messages else None
    if last is None or last.role != "assistant" or not neutral_of(last.wire).continues_answers:
        return
    raise ModelError(
        "unsupported",
        "The last message is the assistant's, but this model's provider cannot go on from it. End "
        "the request with a user message.",
        param=f"messages.{len(conversation.messages) - 1}.role",
    )
