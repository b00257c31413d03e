"""Finds JSON values that Python can read, but databases and clients do not accept."""

import math
from collections.abc import Iterator

from polyvox.workflows.conversation import Json

LEAST, MOST = -(2**63), 2**64 - 1
"""The integers that JSON libraries agree on; they change or reject others."""

DEEPEST = 64


def unstorable(value: Json, path: str = "") -> Iterator[str]:
    """Yield a message ``path: sentence`` for each part of ``value`` that cannot be stored."""
    yield from _wrong(value, path, DEEPEST)


def text_mistake(text: str) -> str:
    """Return why a text cannot be stored, as the end of a sentence; empty if it can."""
    if "\0" in text:
        return "contains a NUL character, which databases do not accept. Remove it."
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "contains half of a surrogate pair, which is not valid Unicode. Send valid UTF-8."
    return ""


def _wrong(value: Json, path: str, levels: int) -> Iterator[str]:
    mistake = ""
    match value:
        case str():
            mistake = text_mistake(value)
        case bool() | None:
            return
        case int() if not LEAST <= value <= MOST:
            mistake = "is an integer beyond 64 bits. Use a smaller one."
        case float() if not math.isfinite(value):
            mistake = "is not a finite number. Use a number that JSON can represent."
        case float() if not LEAST <= value <= MOST and value.is_integer():
            # A JSON reader without larger integers converted it to a float.
            mistake = "is a number beyond 64 bits. Use a smaller one."
        case dict() | list() | tuple() if levels == 0:
            mistake = f"is nested deeper than {DEEPEST} levels. Use fewer levels."
        case dict():
            for key, inner in value.items():
                if wrong := text_mistake(str(key)):
                    yield f"{path or 'the document'}: a key {wrong}"
                    continue
                yield from _wrong(inner, f"{path}.{key}" if path else str(key), levels - 1)
        case list() | tuple():
            for number, inner in enumerate(value):
                yield from _wrong(inner, f"{path}[{number}]", levels - 1)
    if mistake:
        yield f"{path or 'the document'}: {mistake}"
