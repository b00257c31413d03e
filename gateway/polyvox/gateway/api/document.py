"""What the documents of ``/api`` have in common: how they are made of values, and written as JSON.

Times are ISO 8601 in UTC, durations milliseconds, unknown numbers null. A document is one pydantic
model, which FastAPI shows as the route's response; its fields are taken from the value it tells of.
"""

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A JSON document made of a value's attributes."""

    model_config = ConfigDict(from_attributes=True)

    def to_json(self) -> bytes:
        """Return it as JSON, whatever was stored before that was looked at so closely."""
        try:
            return orjson.dumps(self, dict, orjson.OPT_UTC_Z)
        except TypeError:
            # An integer beyond 64 bits, half of a surrogate pair, too many levels.
            return json.dumps(_finite(self)).encode()


class Problem(Document):
    """Why a request failed."""

    kind: str
    message: str | None


class ProblemDocument(Document):
    """What every failed request gets."""

    error: Problem


def _finite(value: Any) -> Any:
    match value:
        case Document():
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
