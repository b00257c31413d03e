"""Reads a stream that a server sent as lines of JSON or as one JSON array.

Each line or element is one event of the protocol, as ``data:`` of a server-sent event would be.
Some proxies send the events of their protocol in this form. Servers also have APIs of their own in
it: Ollama's ``/api/chat`` sends lines (https://docs.ollama.com/api/streaming, read on 2026-11-28),
Gemini's ``streamGenerateContent`` an array unless ``alt=sse`` is set
(https://ai.google.dev/api/generate-content, read on 2026-11-28). Those are not decoded but named.
"""

from typing import Final

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.decoding.exact_objects import dump_json

_OWN_APIS: Final = {
    frozenset({"done", "created_at"}): "This is Ollama's own API. Set base_url to its "
    "OpenAI-compatible API, which ends in /v1.",
    frozenset({"candidates"}): "This is Gemini's own API. Set base_url to its OpenAI-compatible "
    "API, which ends in /v1beta/openai.",
}
"""The members by which an event is recognized, and what to do."""


def events_of(document: bytes) -> list[bytes]:
    """Return the events of ``document``: its lines or elements, or itself if it is one object."""
    text = document.strip()
    if text[:1] == b"[":
        try:
            elements = parse_json(text)
        except orjson.JSONDecodeError:
            return [document]
        are_objects = bool(elements) and all(isinstance(element, dict) for element in elements)
        return [dump_json(element) for element in elements] if are_objects else [document]
    first, _, rest = text.partition(b"\n")
    if not rest or not _is_object(first):
        return [document]
    return [line for line in map(bytes.strip, text.split(b"\n")) if line]


def remedy(event: bytes) -> str | None:
    """Return what to do about the ``event`` of another API; None if it is not known."""
    try:
        members = parse_json(event)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(members, dict):
        return None
    return next((advice for names, advice in _OWN_APIS.items() if names <= members.keys()), None)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except orjson.JSONDecodeError:
        return False
