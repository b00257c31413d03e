"""Carries one protocol's opaque reasoning through another protocol's opaque slot.

A Messages signature means nothing to OpenAI, but must come back to Anthropic unchanged when the
conversation returns there. So a foreign slot (Messages ``signature``, Responses
``encrypted_content``) holds an envelope that names the origin; unsealing gives the original back.
"""

import base64
import binascii
from typing import NamedTuple

import orjson

from polyvox.workflows.conversation import Protocol

_MARK = "polyvox.1."

_UNNAMED = "chat"
"""Stands for an unknown origin: Chat has no opaque reasoning that could be lost by it."""


class Sealed(NamedTuple):
    """The content of an envelope; the fields are those of ``conversation.Reasoning``."""

    origin: Protocol
    opaque: str
    redacted: bool = False


def seal(origin: Protocol | None, opaque: str, *, redacted: bool = False) -> str:
    """Return the envelope: URL-safe base64 of a JSON array behind a fixed mark."""
    named = origin or _UNNAMED
    content = [named, opaque, True] if redacted else [named, opaque]
    return _MARK + base64.urlsafe_b64encode(orjson.dumps(content)).decode()


def unseal(slot: str) -> Sealed | None:
    """Return the content of ``slot`` if it is an envelope of Polyvox, else None."""
    if not slot.startswith(_MARK):
        return None
    try:
        origin, opaque, *further = orjson.loads(base64.urlsafe_b64decode(slot[len(_MARK) :]))
    except (binascii.Error, orjson.JSONDecodeError, TypeError, ValueError):
        return None
    if not isinstance(origin, str) or not isinstance(opaque, str):
        return None
    return Sealed(origin, opaque, further == [True])
