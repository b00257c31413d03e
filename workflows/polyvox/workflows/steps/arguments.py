"""Checks the arguments of a step, for messages that say what to write instead."""

from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError


def check_arguments(step: str, model: object, conversation: object) -> None:
    """Raise ModelError("flow_error") if a step cannot ask ``model`` or about ``conversation``."""
    provider, _, name = model.partition(":") if isinstance(model, str) else ("", "", "")
    if not provider or not name:
        raise ModelError(
            "flow_error",
            f"Step {step!r} asks {model!r}, which is not of the form provider:model. Take the "
            "model from a parameter of type Model, which is checked when it is set.",
        )
    if conversation is not None and not isinstance(conversation, Conversation):
        raise ModelError(
            "flow_error",
            f"Step {step!r} gets a {type(conversation).__name__} instead of a Conversation. "
            "Write run.conversation.then(user(text)) to continue the client's conversation, or "
            "Conversation((user(text),)) to begin a new one.",
        )
