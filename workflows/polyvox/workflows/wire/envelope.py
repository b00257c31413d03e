"""Carries one protocol's opaque reasoning through another protocol's opaque slot.

A Messages signature means nothing to OpenAI, but must come back to Anthropic unchanged when the
conversation returns there. So a foreign slot (Messages ``signature``, Responses
``encrypted_content``) holds an envelope that names the origin; unsealing gives the original back.
"""

import base64
import binascii

import orjson

from polyvox.workflows.conversation import PROTOCOLS, Protocol

_MARK = "polyvox.1."


def seal(origin: Protocol, opaque: str) -> str:
    """Return the envelope for ``opaque`` of ``origin``: URL-safe base64 behind a fixed mark."""
    return _MARK + base64.urlsafe_b64encode(orjson.dumps([origin, opaque])).decode()


def unseal(slot: str) -> tuple[Protocol, str] | None:
    """Return (origin, opaque) if ``slot`` is one of our envelopes, else None."""
    if not slot.startswith(_MARK):
        return None
    try:
        origin, opaque = orjson.loads(base64.urlsafe_b64decode(slot[len(_MARK) :]))
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        return None
    if origin not in PROTOCOLS or not isinstance(opaque, str):
        return None
    return origin, opaque
