"""Reads untrusted JSON within limits on nesting and on the number of values.

orjson reads 1024 levels but writes only 254, our own documents add levels around what they carry,
and recursive code would overflow Python's stack. Many small values take far more memory and time
than their text. Both are refused here, where the text enters, so later code need not check.
"""

import orjson

from polyvox.protocols.decoding.exact_objects import (
    has_long_numbers,
    may_have_object_arguments,
    with_exact_arguments,
)
from polyvox.workflows.conversation import Json

MOST_LEVELS = 128
"""Levels of lists and objects; JSON Schemas of real tools have about 20."""

MOST_VALUES = 300_000
"""A conversation of a thousand long turns has about 20,000; parsing them takes about 0.1 s."""

_SLICE = 256 * 1024


class TooManyValues(orjson.JSONDecodeError):
    """The text contains more than ``MOST_VALUES`` values."""


def parse_json(text: bytes | str) -> Json:
    """Parse ``text``; the arguments of tool calls that are objects keep their numbers' text.

    Raises TooManyValues before anything is built, and orjson.JSONDecodeError for what is not JSON
    or nested deeper than ``MOST_LEVELS``.
    """
    if len(text) <= 2 * MOST_LEVELS:
        # The hot path: the events of a stream are too short to nest that deep.
        value = orjson.loads(text)
        if isinstance(text, bytes) and b'"input"' not in text and b'"arguments"' not in text:
            return value
        return _exact(value, text)
    if isinstance(text, str):
        commas, opened = text.count(","), text.count("[") + text.count("{")
    else:
        commas, opened = text.count(b","), text.count(b"[") + text.count(b"{")
    if commas > MOST_VALUES and _spells_more(text, MOST_VALUES):
        raise TooManyValues(f"more than {MOST_VALUES} values", "", 0)
    value = orjson.loads(text)
    if opened > MOST_LEVELS and _is_deeper(value, MOST_LEVELS):
        raise orjson.JSONDecodeError(f"nested deeper than {MOST_LEVELS} levels", "", 0)
    return _exact(value, text)


def _exact(value: Json, text: bytes | str) -> Json:
    body = text.encode() if isinstance(text, str) else text
    exact = may_have_object_arguments(body) and has_long_numbers(body)
    return with_exact_arguments(value, body) if exact else value


def _spells_more(text: bytes | str, most: int) -> bool:
    """Whether ``text`` holds more than ``most`` values; commas inside strings do not count.

    It is searched in slices, so that other threads can run in between.
    """
    body = text.encode() if isinstance(text, str) else text
    commas = strings = 0
    inside = False
    carried = b""
    for at in range(0, len(body), _SLICE):
        piece = carried + body[at : at + _SLICE]
        piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        carried = b"\\" if piece.endswith(b"\\") else b""
        first, *others = piece[: len(piece) - len(carried)].split(b'"')
        commas += 0 if inside else first.count(b",")
        for part in others:
            inside = not inside
            if inside:
                strings += 1
            else:
                commas += part.count(b",")
        # Each value of an object has a name, which is a string as well.
        if commas > most or strings > 2 * most + 1:
            return True
    return False


def _is_deeper(value: Json, levels: int) -> bool:
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True
