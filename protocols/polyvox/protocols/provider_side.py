"""The provider side of a protocol: it writes requests and reads streams and errors.

Modules implement these interfaces. They do no I/O: the owner of the socket feeds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from typing import Protocol as Interface

from polyvox.protocols.dialects.dialect import FULL, Dialect
from polyvox.workflows.conversation import Conversation, Json, OutputFormat
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event
from polyvox.workflows.reply import Usage


@dataclass(frozen=True, slots=True)
class Rendered:
    """A request for an upstream.

    ``path`` is relative to the provider's base URL (which ends in ``/v1`` or the like), without a
    leading slash. ``body`` always asks for a stream. ``losses`` name each field of the
    conversation that this protocol cannot carry, as ``field`` or ``field: why``. ``stop`` are
    stop sequences that are not in the request: the reader of the stream ends the answer there.
    ``wanted`` is the format that the client asked for if the request asks for less.
    """

    path: str
    body: dict[str, Json]
    headers: Mapping[str, str]
    losses: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    wanted: OutputFormat | None = None


Awaited = Literal["answer", "usage", "nothing"]
"""What the rest of a body can still bring.

``usage`` means that the answer is complete and only its usage may follow. From then on it does not
matter how the connection ends.
"""


class Decoder(Interface):
    """Turns one upstream stream into Events that follow the grammar in ``events.py``.

    The stream may also be one whole answer: the document that the provider sends to a request that
    does not ask for a stream, fed as a single event without a name.
    """

    @property
    def awaits(self) -> Awaited:
        """What the rest of the body can still bring."""

    @property
    def usage(self) -> Usage:
        """The usage that the provider has reported so far, also of an answer that fails."""

    def feed(self, name: str | None, data: bytes) -> list[Event]:
        """Decode one server-sent event: its ``event:`` name, if any, and its data.

        Raises ModelError for an error event of the provider, and ModelError("bad_stream") for
        data that is not the protocol.
        """

    def finish(self) -> list[Event]:
        """Decode the end of the body; without a proper end no Finished is returned.

        Raises ModelError if the answer ended without content and without a known reason.
        """


class ProviderProtocol(Interface):
    """The provider side of one protocol."""

    def render(self, conversation: Conversation, model: str, dialect: Dialect = FULL) -> Rendered:
        """Render the request for ``model`` (the provider's own name for it).

        ``dialect`` is what the provider's server accepts; the default is the whole protocol.

        Raises ModelError("unsupported", param=...) where dropping a field would change what the
        request means.
        """

    def decoder(self) -> Decoder:
        """Return a new Decoder."""

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
        """Read an error answer: its kind (from status and code), message and retry-after."""
