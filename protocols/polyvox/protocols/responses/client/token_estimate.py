"""Estimates the input tokens of a Responses request for models whose provider does not count."""

from polyvox.protocols import token_counts
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses import elements
from polyvox.workflows.conversation import Json

_WITHOUT_TEXT = frozenset(("type", "role", "id", "call_id", "status", "encrypted_content"))


def estimate_tokens(ask: Ask) -> int:
    """Estimate the input tokens of a request without calling a provider."""
    conversation = ask.conversation
    return token_counts.estimate_tokens(
        elements.render_system(conversation, []),
        elements.render_messages(conversation, []),
        elements.render_tools(conversation.tools, []),
        is_media=_is_media,
        without_text=_WITHOUT_TEXT,
    )


def _is_media(json: dict[str, Json]) -> bool:
    return json.get("type") in ("input_image", "input_file", "input_audio")
