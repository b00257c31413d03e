"""The recorded exchanges between real clients and real providers, one line of JSON each.

Sources, and what a line holds: ``fixtures/recordings/README.md``.
"""

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from polyvox.workflows.conversation import Json, Protocol

FOLDER = Path(__file__).parents[1] / "fixtures" / "recordings"

PATHS: dict[Protocol, str] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One request and its answer: ``stream`` as bytes, or ``answer`` as a document.

    ``request`` is None where only the answer was kept, ``answer`` where it was a stream.
    """

    id: str
    protocol: Protocol
    path: str
    request: Json
    request_headers: dict[str, str]
    status: int
    headers: dict[str, str]
    answer: Json
    stream: bytes | None

    @property
    def generates(self) -> bool:
        """Whether the exchange asks a model to answer, and not for a count or a stored object."""
        return self.path == PATHS[self.protocol]


@cache
def exchanges(protocol: Protocol) -> tuple[Exchange, ...]:
    """All recorded exchanges of ``protocol``."""
    lines = gzip.decompress((FOLDER / f"{protocol}.jsonl.gz").read_bytes()).splitlines()
    return tuple(_exchange(protocol, orjson.loads(line)) for line in lines)


def stream(protocol: Protocol, part_of_id: str) -> bytes:
    """The one recorded stream whose exchange has ``part_of_id`` in its id."""
    [found] = [
        exchange.stream
        for exchange in exchanges(protocol)
        if part_of_id in exchange.id and exchange.stream is not None
    ]
    return found


def _exchange(protocol: Protocol, line: Json) -> Exchange:
    stream = line.get("sse")
    answer = line.get("response")
    failed = isinstance(answer, dict) and set(answer) == {"error"}
    return Exchange(
        id=line["id"],
        protocol=protocol,
        path=(line.get("path") or PATHS[protocol]).partition("?")[0],
        request=line["request"],
        request_headers=line.get("request_headers") or {},
        # Answers that were kept alone have no status.
        status=line["status"] or (400 if failed else 200),
        headers=line.get("headers") or {},
        answer=answer,
        stream=None if stream is None else stream.encode(),
    )
