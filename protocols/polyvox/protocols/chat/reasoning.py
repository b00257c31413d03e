"""Parses and renders reasoning in Chat Completions messages.

OpenAI's schema has none. Compatible servers write ``reasoning_content`` (DeepSeek, vLLM,
llama.cpp) or ``reasoning`` and ``reasoning_details`` (OpenRouter). The last is the only field for
opaque data: a client gets the sealed signature of another protocol's reasoning there, and if it
sends it back, the signature is restored. A sealed signature is never sent to a Chat provider.
"""

from typing import Final

from polyvox.protocols.chat.options import ill_typed
from polyvox.protocols.coverage.losses import LOST_REASONING, lose
from polyvox.protocols.sealed_reasoning import Sealed, seal, unseal
from polyvox.workflows.conversation import Json, Reasoning, Wire

MEMBERS: Final = ("reasoning_content", "reasoning", "reasoning_details")
_SEALED: Final = "reasoning.encrypted"


def parse_reasoning(json: dict[str, Json]) -> list[Reasoning]:
    """Parse the reasoning of an assistant message, if there is any."""
    members = {name: json[name] for name in MEMBERS if json.get(name)}
    if not members:
        return []
    text = members.get("reasoning_content") or members.get("reasoning") or ""
    if not isinstance(text, str):
        raise ill_typed("reasoning_content", "a string", text)
    sealed = _sealed(members)
    if not sealed:
        plain = len(members) == 1 and "reasoning_content" in members
        return [Reasoning(text, origin="chat", wire=None if plain else Wire("chat", members))]
    lengths = [detail["length"] for detail in sealed if isinstance(detail.get("length"), int)]
    if len(lengths) != len(sealed) or sum(lengths) != len(text):
        # A signature is only valid for its exact text.
        return [Reasoning(text)]
    parts, at = [], 0
    for detail, length in zip(sealed, lengths, strict=True):
        origin, opaque, redacted = unseal(detail["data"]) or Sealed("chat", "")
        parts.append(Reasoning(text[at : at + length], opaque, origin, redacted))
        at += length
    return parts


def seal_reasoning(part: Reasoning) -> dict[str, Json]:
    """Return the members that carry the opaque half of another protocol's reasoning.

    Clients join the texts of several reasoning parts; ``length`` (characters) separates them again.
    """
    if part.opaque is None or part.origin is None or part.origin == "chat":
        return {}
    detail: dict[str, Json] = {
        "type": _SEALED,
        "data": seal(part.origin, part.opaque, redacted=part.redacted),
        "length": len(part.text),
    }
    return {"reasoning_details": [detail]}


def without_sealed(message: Json, losses: list[str]) -> Json:
    """Return ``message`` without another vendor's reasoning, for a Chat provider."""
    if "reasoning_details" not in message or not _sealed(message):
        return message
    lose(losses, LOST_REASONING)
    return {name: value for name, value in message.items() if name not in MEMBERS}


def _sealed(members: dict[str, Json]) -> list[dict[str, Json]]:
    details = members.get("reasoning_details")
    if not isinstance(details, list):
        return []
    return [
        detail
        for detail in details
        if isinstance(detail, dict)
        and detail.get("type") == _SEALED
        and isinstance(detail.get("data"), str)
        and unseal(detail["data"]) is not None
    ]
