"""Which JSON values can be kept and sent: Python reads more than databases and clients take."""

import math
from collections.abc import Iterator

from polyvox.workflows.conversation import Json

LEAST, MOST = -(2**63), 2**64 - 1
"""The integers that JSON writers agree on; others read them as something else, or not at all."""

DEEPEST = 64


def unstorable(value: Json, path: str = "") -> Iterator[str]:
    """Say of each place in ``value`` that cannot be stored what is wrong, as ``path: sentence``."""
    yield from _wrong(value, path, DEEPEST)


def text_mistake(text: str) -> str:
    """Return what is wrong with a text that shall be stored; empty if nothing is."""
    if "\0" in text:
        return "holds a NUL character, which no database keeps. Leave it out."
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair, which is not valid Unicode. Send valid UTF-8."
    return ""


def _wrong(value: Json, path: str, levels: int) -> Iterator[str]:
    mistake = ""
    match value:
        case str():
            mistake = text_mistake(value)
        case bool() | None:
            return
        case int() if not LEAST <= value <= MOST:
            mistake = "is an integer beyond 64 bits. Give a smaller one."
        case float() if not math.isfinite(value):
            mistake = "is not a finite number. Give a number that JSON can write."
        case float() if not LEAST <= value <= MOST and value.is_integer():
            # A JSON reader without larger integers made a float of it.
            mistake = "is a number beyond 64 bits. Give a smaller one."
        case dict() | list() | tuple() if levels == 0:
            mistake = f"is nested deeper than {DEEPEST} levels. Make it flatter."
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
