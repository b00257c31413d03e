"""What every front protocol offers: parse a request, encode the answer's stream, render the rest.

Each module beside this one (chat, responses, messages) is one Front. They do no I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol as Interface

from polyvox.workflows.conversation import Conversation, Json, Protocol
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event
from polyvox.workflows.reply import Reply


@dataclass(frozen=True, slots=True)
class Ask:
    """A parsed request: the public model name, the conversation, and how to answer.

    ``in_functions`` is for a Chat client that knows no tools, only their predecessor.
    """

    protocol: Protocol
    model: str
    conversation: Conversation
    stream: bool
    in_functions: bool = False


class Encoder(Interface):
    """Writes one answer as the protocol's stream. Owns ids, numbering and nesting.

    Built as ``Encoder(ask, run_id=..., created=...)`` (seconds since the epoch). It is fed the
    Events of several model calls one after the other (a flow may stream some text, ask a hidden
    question and stream on): it opens the protocol's stream once, numbers parts itself, and
    ignores UsageReported and Finished, because only the Reply knows usage and end of the whole
    run. All methods return whole wire frames, possibly none (``b""``).
    """

    def feed(self, event: Event) -> bytes:
        """Encode one Event."""

    def keep_alive(self) -> bytes:
        """Return what tells a waiting client that the answer is still being made."""

    def finish(self, reply: Reply) -> bytes:
        """Write what of ``reply`` was not sent yet, then the protocol's complete ending."""

    def fail(self, error: ModelError) -> bytes:
        """Write the protocol's error ending for a stream that has begun."""


class RequestParser(Interface):
    """Reads the requests of a protocol's clients."""

    def parse(self, body: Json, headers: Mapping[str, str]) -> Ask:
        """Parse a request body (a decoded JSON document) and its lower-case headers.

        Unknown fields are kept, never refused. Raises ModelError("invalid_request", param=...)
        for a missing or ill-typed known field.
        """


class ResponseEncoder(Interface):
    """Writes the answers to a protocol's clients: as a stream, as one document, or as an error."""

    def encoder(self, ask: Ask, *, run_id: str, created: int) -> Encoder:
        """Return a new Encoder."""

    def render(self, ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
        """Render the whole answer as one document."""

    def render_error(self, error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
        """Return HTTP status and error document in this protocol's taxonomy."""


class Front(RequestParser, ResponseEncoder, Interface):
    """One client protocol; implemented by a module of this package."""
