"""The last requests a simulator received, for tests and for users who debug a flow."""

from collections import deque
from dataclasses import dataclass, field

import orjson

from polyvox.workflows.conversation import Json

MOST_BYTES = 16 * 1024 * 1024
"""The most bytes of all bodies together; the oldest are removed first."""


@dataclass(frozen=True, slots=True)
class _Received:
    model: str
    path: str
    body: bytes


@dataclass(slots=True)
class Record:
    """Unchanged bodies, oldest first. Headers are not stored: they contain keys."""

    requests: deque[_Received] = field(default_factory=deque)
    held: int = 0

    def add(self, model: str, path: str, body: bytes) -> None:
        self.requests.append(_Received(model, path, body))
        self.held += len(body)
        while self.held > MOST_BYTES and len(self.requests) > 1:
            self.held -= len(self.requests.popleft().body)

    def as_json(self, model: str | None = None) -> dict[str, Json]:
        """Return the requests, or those for ``model``, with their parsed bodies."""
        return {
            "simulated": True,
            "requests": [
                {"model": r.model, "path": r.path, "body": orjson.loads(r.body)}
                for r in self.requests
                if model in (None, r.model)
            ],
        }
