"""The base of the documents of ``/api``: made from values, and written as JSON.

Times are ISO 8601 in UTC, durations milliseconds, unknown numbers null. A document is one pydantic
model, which FastAPI describes as the route's response; its fields come from the value's attributes.
"""

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A JSON document made from a value's attributes."""

    model_config = ConfigDict(from_attributes=True)

    def to_json(self) -> bytes:
        """Return it as JSON, also with values that only earlier versions accepted."""
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
    """The answer to every request that fails."""

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
