"""Marks up to where a prompt is worth caching, from one protocol to the other.

Messages has ``cache_control`` on blocks (``ttl`` ``5m`` or ``1h``), OpenAI's protocols
``prompt_cache_breakpoint`` on content parts (``30m`` or ``12h``). A mark keeps its place; the
lifetimes are matched short to short and long to long, and none to none, which means the default.
"""

from typing import Final

from polyvox.workflows.conversation import Json, Part

UNMARKED: Final = "cache_control: this model caches by itself"
"""The loss of a mark that the model, or this place of the prompt, cannot have."""

_TO_OPENAI: Final = {"5m": "30m", "1h": "12h"}
_TO_MESSAGES: Final = {"30m": "1h", "12h": "1h"}


def breakpoint_of(part: Part) -> dict[str, Json] | None:
    """Return the ``prompt_cache_breakpoint`` for a part of another protocol, if it is marked."""
    if part.wire is None:
        return None
    if part.wire.protocol != "messages":
        return _openai_mark(part)
    mark = part.wire.json.get("cache_control")
    if not isinstance(mark, dict):
        return None
    ttl = _TO_OPENAI.get(str(mark.get("ttl")))
    return {"mode": "explicit", "ttl": ttl} if ttl else {"mode": "explicit"}


def cache_control_of(part: Part) -> dict[str, Json] | None:
    """Return the ``cache_control`` for a part of another protocol, if it is marked."""
    mark = _openai_mark(part)
    if mark is None:
        return None
    ttl = _TO_MESSAGES.get(str(mark.get("ttl")))
    return {"type": "ephemeral", "ttl": ttl} if ttl else {"type": "ephemeral"}


def _openai_mark(part: Part) -> dict[str, Json] | None:
    if part.wire is None or part.wire.protocol == "messages":
        return None
    said = part.wire.json
    if part.wire.protocol == "chat":
        content = said.get("content")
        said = content[0] if isinstance(content, list) and content else {}
    mark = said.get("part", said).get("prompt_cache_breakpoint")
    return mark if isinstance(mark, dict) else None
