"""``cache_control``: marks in a prompt up to which it should be cached."""

from typing import Final

from polyvox.protocols.neutral import CacheMark, neutral_of
from polyvox.workflows.conversation import Json, Part

_LIFETIMES: Final = {"5m": 300, "1h": 3_600}


def parse_mark(block: Json) -> CacheMark | None:
    """Parse the mark on a block."""
    mark = block.get("cache_control")
    return CacheMark(_LIFETIMES.get(str(mark.get("ttl")))) if isinstance(mark, dict) else None


def cache_control_of(part: Part) -> dict[str, Json] | None:
    """Return the ``cache_control`` for a part of another protocol, if it is marked.

    It lasts at least as long as requested, if the protocol allows.
    """
    if part.wire is None or part.on_wire("messages") is not None:
        return None
    mark = neutral_of(part.wire).cache_mark(part.wire.json)
    if mark is None:
        return None
    if mark.seconds is None:
        return {"type": "ephemeral"}
    ttl = next((t for t, lasts in _LIFETIMES.items() if lasts >= mark.seconds), "1h")
    return {"type": "ephemeral", "ttl": ttl}
