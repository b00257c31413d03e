"""``prompt_cache_breakpoint``: cache marks in prompts of Chat Completions and Responses."""

from typing import Final

from polyvox.protocols.neutral import CacheMark, neutral_of
from polyvox.workflows.conversation import Json, Part

UNMARKED: Final = "cache_control: this model caches by itself"
"""The loss of a mark that the model, or this place in the prompt, does not accept."""

_LIFETIMES: Final = {"30m": 1_800, "12h": 43_200}


def parse_mark(piece: Json) -> CacheMark | None:
    """Parse the mark on a content part."""
    mark = piece.get("prompt_cache_breakpoint") if isinstance(piece, dict) else None
    if not isinstance(mark, dict):
        return None
    return CacheMark(_LIFETIMES.get(str(mark.get("ttl"))), mark)


def breakpoint_of(part: Part) -> dict[str, Json] | None:
    """Return the ``prompt_cache_breakpoint`` for a part of another protocol, if it is marked.

    It lasts at least as long as requested.
    """
    mark = neutral_of(part.wire).cache_mark(part.wire.json) if part.wire is not None else None
    if mark is None:
        return None
    if mark.openai is not None:
        spelled: dict[str, Json] = mark.openai
        return spelled
    if mark.seconds is None:
        return {"mode": "explicit"}
    ttl = next((t for t, lasts in _LIFETIMES.items() if lasts >= mark.seconds), "12h")
    return {"mode": "explicit", "ttl": ttl}
