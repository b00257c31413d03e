"""Counts tokens: reads the numbers that a provider reports, and estimates where it reports none."""

from collections.abc import Callable, Container, Sequence

import orjson

from polyvox.workflows.conversation import Json

_MOST = 2**53
"""The largest exact integer of JSON readers; sums of such counts still fit into the ledger."""

_CHARACTERS_PER_TOKEN = 4
_MESSAGE_TOKENS = 4
_MEDIA_TOKENS = 1_600
"""The tokens of an image of the usual largest size (width * height / 750)."""


def count(json: Json, *path: str) -> int | None:
    """Return the non-negative integer at ``path``, or None if it holds anything else."""
    for member in path:
        json = json.get(member) if isinstance(json, dict) else None
    return json if type(json) is int and 0 <= json <= _MOST else None


def estimate_tokens(
    system: Json,
    messages: Sequence[Json],
    tools: Json,
    *,
    is_media: Callable[[dict[str, Json]], bool],
    without_text: Container[str],
) -> int:
    """Estimate the input tokens of a request from its wire elements.

    The estimate is a token for every four characters of text, and constants for each message and
    for each image or file, whatever its size. ``is_media`` recognizes the latter; the members
    ``without_text`` hold no text. Real counts differ by model; the estimate is usually within a
    third for English prose and code.
    """
    characters = len(orjson.dumps(tools))
    media = 0
    pending: list[Json] = [system, *messages]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            if is_media(value):
                media += 1
            else:
                pending += [v for name, v in value.items() if name not in without_text]
    return (
        characters // _CHARACTERS_PER_TOKEN
        + len(messages) * _MESSAGE_TOKENS
        + media * _MEDIA_TOKENS
    )
