"""Counts of requests, disconnects and bytes, which show whether a client closed its socket."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Tally:
    """``disconnects`` counts, by model name, the clients that left before their answer's end."""

    requests: Counter[str] = field(default_factory=Counter)
    disconnects: Counter[str] = field(default_factory=Counter)
    open_streams: int = 0
    bytes_sent: int = 0

    def seen(self, model: str) -> int:
        """Count a request for ``model`` and return how many came before it."""
        self.requests[model] += 1
        return self.requests[model] - 1

    def as_json(self) -> dict[str, Any]:
        return {
            "simulated": True,
            "requests": dict(self.requests),
            "disconnects": dict(self.disconnects),
            "open_streams": self.open_streams,
            "bytes_sent": self.bytes_sent,
        }
