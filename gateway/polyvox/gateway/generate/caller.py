"""The client of a request, as an exchange sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from polyvox.gateway.generate.places import Places
from polyvox.gateway.http.request_log import RequestFacts, facts_of
from polyvox.worker.runs.retries import SentRequest
from polyvox.workflows.session import seen_headers


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of a request.

    ``key_id`` names its key, ``method`` and ``path`` are those of the request, ``traceparent`` is
    the client's own trace, ``headers`` are those that a flow may see. ``facts`` are set for the
    log. ``sent`` identifies a request that may be sent again; ``places`` bound the runs of the
    process.
    """

    key_id: str
    method: str = "POST"
    path: str = ""
    traceparent: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    facts: RequestFacts = field(default_factory=RequestFacts)
    sent: SentRequest | None = None
    places: Places = field(default_factory=Places)


def caller_of(connection: HTTPConnection, key_id: str, sent: SentRequest | None = None) -> Caller:
    """Return the caller of a request or WebSocket."""
    scope, headers = connection.scope, connection.headers
    return Caller(
        key_id,
        scope.get("method", "GET"),  # a WebSocket begins with a GET
        scope["path"],
        headers.get("traceparent"),
        seen_headers(headers),
        facts_of(connection),
        sent,
        connection.app.state.places,
    )
