"""The client side of a protocol: it reads requests and writes answers and model lists.

Modules and classes implement these interfaces; they do no I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol as Interface

from polyvox.workflows.conversation import Conversation, Json, Protocol
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event
from polyvox.workflows.reply import Reply


@dataclass(frozen=True, slots=True)
class Ask:
    """A parsed request: the public model name, the conversation, and how to answer.

    ``in_functions`` marks a Chat client that uses ``functions``, the predecessor of tools.
    ``direct`` marks a request that a single provider of the client's protocol answers alone.
    """

    protocol: Protocol
    model: str
    conversation: Conversation
    stream: bool
    in_functions: bool = False
    direct: bool = False


class Encoder(Interface):
    """Writes one answer as the protocol's stream. Owns ids, numbering and nesting.

    Built as ``Encoder(ask, run_id=..., created=...)`` (seconds since the epoch). It is fed the
    Events of several model calls one after the other (a flow may stream some text, ask a hidden
    question and stream on): it opens the protocol's stream once, numbers parts itself, and
    ignores UsageReported and Finished, because only the Reply has the usage and the finish reason
    of the whole run. All methods return whole wire frames, possibly none (``b""``).
    """

    def feed(self, event: Event) -> bytes:
        """Encode one Event."""

    def keep_alive(self) -> bytes:
        """Return a frame that shows a waiting client that the answer is still in progress."""

    def finish(self, reply: Reply) -> bytes:
        """Write what has not been sent of ``reply``, then the protocol's complete ending."""

    def fail(self, error: ModelError) -> bytes:
        """Write the protocol's error ending for a stream that has begun."""


class RequestParser(Interface):
    """Reads the requests of a protocol's clients."""

    def parse(self, body: Json, headers: Mapping[str, str]) -> Ask:
        """Parse a request body (a decoded JSON document) and its lower-case headers.

        Unknown fields are passed through, never refused. Raises ModelError("invalid_request",
        param=...) for a missing or ill-typed known field.
        """


class ResponseEncoder(Interface):
    """Writes the answers to a protocol's clients: as a stream, as one document, or as an error."""

    def encoder(self, ask: Ask, *, run_id: str, created: int) -> Encoder:
        """Return a new Encoder."""

    def render(self, ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
        """Render the whole answer as one document."""

    def render_error(self, error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
        """Return HTTP status and error document in this protocol's taxonomy."""


_UNKNOWN = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as clients may ask about it. Sizes are in tokens; None is unknown.

    ``efforts`` are the levels of thinking a client may choose from.
    """

    name: str
    description: str = ""
    created_at: datetime = _UNKNOWN
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: Sequence[str] | None = None
    efforts: Sequence[str] = ()

    def can(self, capability: str) -> bool:
        """Whether the model is known to have ``capability``."""
        return capability in (self.capabilities or ())


class ModelList(Interface):
    """Writes the documents of ``GET /v1/models`` and ``GET /v1/models/NAME``."""

    def render_list(
        self, models: Sequence[ModelEntry], query: Sequence[tuple[str, str]]
    ) -> dict[str, Json]:
        """Render the list, or the page of it that the query's names and values ask for.

        Raises ModelError("invalid_request").
        """

    def render_model(self, model: ModelEntry) -> dict[str, Json]:
        """Render the document of one model."""
