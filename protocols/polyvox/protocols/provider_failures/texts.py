"""Finds the text of a provider's error, wherever the server puts it."""

from typing import Final

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.workflows.conversation import Json

_TEXTS: Final = ("message", "msg", "detail", "error")

_DEEPEST: Final = 4
_LONGEST: Final = 4000
"""Characters of a text; a server may repeat the request in it."""


def message_of(error: dict[str, Json]) -> str:
    """Return the text of an error object, empty if it has none.

    It is usually ``message`` or, from FastAPI servers, ``detail``: a text, an object or a list of
    objects with ``msg``. A gateway's "Provider returned error" is completed with the text of the
    provider behind it, which OpenRouter sends in ``metadata.raw``.
    """
    text = _text(error, _DEEPEST)
    metadata = error.get("metadata")
    raw = _text(_parsed(metadata.get("raw")), _DEEPEST) if isinstance(metadata, dict) else ""
    if raw and raw not in text:
        text = f"{text}: {raw}" if text else raw
    return text[:_LONGEST]


def own_text(error: dict[str, Json], message: str) -> str:
    """Return ``message`` with a ``param`` that is a sentence, as some gateways send it."""
    param = error.get("param")
    return f"{message} {param}" if isinstance(param, str) and " " in param else message


def _text(value: Json, depth: int) -> str:
    match value:
        case str():
            return value.strip()
        case dict() if depth:
            found = (_text(value.get(name), depth - 1) for name in _TEXTS)
            return next(filter(None, found), "")
        case list() if depth:
            return "; ".join(filter(None, (_text(entry, depth - 1) for entry in value[:10])))
        case _:
            return ""


def _parsed(raw: Json) -> Json:
    if not isinstance(raw, str):
        return raw
    try:
        return parse_json(raw)
    except orjson.JSONDecodeError:
        return raw
