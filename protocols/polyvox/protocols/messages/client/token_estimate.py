"""Estimates the input tokens of a Messages request for models whose provider does not count."""

import orjson

from polyvox.workflows.conversation import Json

_CHARACTERS_PER_TOKEN = 4
_MESSAGE_TOKENS = 4
_MEDIA_TOKENS = 1_600
"""The tokens of an image of the usual largest size (width * height / 750)."""

_NO_TEXT = frozenset({"type", "cache_control", "signature"})


def estimate_tokens(body: Json) -> int:
    """Estimate the input tokens of a request body without calling a provider.

    The estimate is a token for every four characters of text (messages, system, tools with their
    schemas), and constants for each message and for each image or document, whatever its size.
    Real counts differ by model; it is usually within a third for English prose and code.
    """
    messages = body.get("messages") or ()
    characters = len(orjson.dumps(body.get("tools") or []))
    media = 0
    pending: list[Json] = [body.get("system"), *(message.get("content") for message in messages)]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            source = value.get("source")
            if isinstance(source, dict) and source.get("type") in ("base64", "url", "file"):
                media += 1
            else:
                pending += [v for k, v in value.items() if k not in _NO_TEXT]
    return (
        characters // _CHARACTERS_PER_TOKEN
        + len(messages) * _MESSAGE_TOKENS
        + media * _MEDIA_TOKENS
    )
