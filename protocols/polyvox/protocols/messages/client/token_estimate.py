"""Estimates the input tokens of a Messages request for models whose provider does not count."""

from polyvox.protocols import token_counts
from polyvox.protocols.client_side import Ask
from polyvox.protocols.messages import elements
from polyvox.protocols.messages.tools import render_tools
from polyvox.workflows.conversation import Json

_WITHOUT_TEXT = frozenset(("type", "role", "id", "tool_use_id", "cache_control", "signature"))


def estimate_tokens(ask: Ask) -> int:
    """Estimate the input tokens of a request without calling a provider."""
    conversation = ask.conversation
    return token_counts.estimate_tokens(
        elements.render_system(conversation, []),
        elements.render_messages(conversation, []),
        render_tools(conversation.tools, []),
        is_media=_is_media,
        without_text=_WITHOUT_TEXT,
    )


def _is_media(json: dict[str, Json]) -> bool:
    source = json.get("source")
    return isinstance(source, dict) and source.get("type") in ("base64", "url", "file")
