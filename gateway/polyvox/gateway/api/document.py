"""The base of the documents of ``/api``: made from values, and written as JSON.

Times are ISO 8601 in UTC, durations milliseconds, unknown numbers null. A document is one pydantic
model, which FastAPI describes as the route's response; its fields come from the value's attributes.
"""

from pydantic import BaseModel, ConfigDict

from polyvox.gateway.http.json_bytes import json_bytes


class Document(BaseModel):
    """A JSON document made from a value's attributes."""

    model_config = ConfigDict(from_attributes=True)

    def to_json(self) -> bytes:
        """Return it as JSON, also with values that only earlier versions accepted."""
        return json_bytes(self)


class Problem(Document):
    """Why a request failed."""

    kind: str
    message: str | None


class ProblemDocument(Document):
    """The answer to every request that fails."""

    error: Problem
