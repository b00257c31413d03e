"""Log probabilities of an answer's tokens, in the format that both OpenAI protocols use.

The values are made up from the token's text, so the same token always has the same ones.
"""

from dataclasses import replace
from typing import Any

from polyvox.gateway.simulator import tokens
from polyvox.gateway.simulator.acting.question import stable_number
from polyvox.workflows.conversation import Conversation, Json, Protocol, Text, Wire
from polyvox.workflows.events import PartDelta
from polyvox.workflows.reply import Reply

_INCLUDED = "message.output_text.logprobs"
_OTHERS = (" the", " a", " and", " of", " to", " in", " is", " it", ".", ",") * 2


def wanted(conversation: Conversation, protocol: Protocol) -> int | None:
    """Return how many alternatives of each token the request asks for, None for no values."""
    asked: dict[str, Json] = conversation.options.on_wire(protocol) or {}
    if protocol == "chat":
        return int(asked.get("top_logprobs") or 0) if asked.get("logprobs") else None
    if protocol == "responses" and _INCLUDED in (asked.get("include") or ()):
        return int(asked.get("top_logprobs") or 0)
    return None


def with_logprobs(reply: Reply, protocol: Protocol, top: int) -> Reply:
    """Return ``reply`` with the values of all tokens of its texts."""
    if protocol == "chat":
        found = [e for p in reply.parts if isinstance(p, Text) for e in entries(p.text, top)]
        choice = {"logprobs": {"content": found, "refusal": None}}
        return replace(reply, wire=Wire("chat", {"choices": [choice]})) if found else reply
    parts = tuple(
        replace(part, wire=Wire("responses", _part(part.text, top)))
        if isinstance(part, Text)
        else part
        for part in reply.parts
    )
    return replace(reply, parts=parts)


def delta(token: str, protocol: Protocol, top: int) -> PartDelta:
    """Return the delta of one token with its values."""
    entry = _entry(token, top)
    if protocol == "chat":
        return PartDelta(token, Wire("chat", {"logprobs": {"content": [entry], "refusal": None}}))
    event = {
        "type": "response.output_text.delta",
        "content_index": 0,
        "delta": token,
        "logprobs": [entry],
        "item_id": "",
    }
    return PartDelta(token, Wire("responses", event))


def entries(text: str, top: int) -> list[dict[str, Any]]:
    return [_entry(token, top) for token in tokens.split(text)]


def _part(text: str, top: int) -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"part": {**part, "logprobs": entries(text, top)}}


def _entry(token: str, top: int) -> dict[str, Any]:
    probable = -(stable_number(token) % 900 + 1) / 10_000
    others = [other for other in dict.fromkeys(_OTHERS) if other != token][: max(top - 1, 0)]
    listed = [(token, probable), *((o, probable - 2.0 - at) for at, o in enumerate(others))]
    return {
        **_value(token, probable),
        "top_logprobs": [_value(name, value) for name, value in listed[:top]],
    }


def _value(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
