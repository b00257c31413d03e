"""Writes JSON, also with values that only earlier versions accepted."""

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

import orjson
from pydantic import BaseModel

from polyvox.protocols.decoding.exact_objects import plain


def json_bytes(value: Any) -> bytes:
    """Return ``value`` as JSON: times in UTC, numbers that are not finite as null.

    Models and dataclasses are written as objects, exact objects with the text of their numbers.
    """
    try:
        return orjson.dumps(value, plain, orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_SUBCLASS)
    except TypeError:
        # An integer beyond 64 bits, half of a surrogate pair, too many levels.
        return json.dumps(_finite(value)).encode()


def _finite(value: Any) -> Any:
    match value:
        case BaseModel():
            return _finite(dict(value))
        case _ if is_dataclass(value):
            return _finite({member.name: getattr(value, member.name) for member in fields(value)})
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {str(key): _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return orjson.loads(orjson.dumps(value, dict, orjson.OPT_UTC_Z))
