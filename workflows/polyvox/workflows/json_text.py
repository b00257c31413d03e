"""Reads JSON that somebody else wrote, within limits that keep it harmless.

A document may be readable and yet never be written again: orjson reads 1024 levels and writes 254,
our own documents put some around what they carry, and recursion ends Python's stack. Many small
values take far more memory than their text. Both are refused where the text comes in, so nothing
behind needs to ask.
"""

import orjson

from polyvox.workflows.conversation import Json

MOST_LEVELS = 128
"""Levels of lists and objects; JSON Schemas of real tools have about 20."""

MOST_COMMAS = 4_000_000
"""More values than fit any model's context, wherever the commas stand."""


def parse_json(text: bytes | str) -> Json:
    """Return the value that ``text`` spells.

    Raises orjson.JSONDecodeError for what is no JSON, or nested deeper than ``MOST_LEVELS``, or
    of more than ``MOST_COMMAS``.
    """
    if len(text) <= 2 * MOST_LEVELS:
        # The hot path, the events of a stream: too short to nest that deep.
        return orjson.loads(text)
    if isinstance(text, str):
        commas, opened = text.count(","), text.count("[") + text.count("{")
    else:
        commas, opened = text.count(b","), text.count(b"[") + text.count(b"{")
    if commas > MOST_COMMAS:
        raise orjson.JSONDecodeError(f"more than {MOST_COMMAS} values", "", 0)
    value = orjson.loads(text)
    if opened > MOST_LEVELS and _is_deeper(value, MOST_LEVELS):
        raise orjson.JSONDecodeError(f"nested deeper than {MOST_LEVELS} levels", "", 0)
    return value


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
