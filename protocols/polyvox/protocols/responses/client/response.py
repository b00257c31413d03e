"""Writes the answers to Responses clients: as a stream, as one document, or as an error."""

from typing import Final

from polyvox.protocols.client_side import Ask
from polyvox.protocols.openai.client_errors import error_object, error_status
from polyvox.protocols.responses.client.stream import Encoder
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError
from polyvox.workflows.reply import Reply

_NOT_RETRIED: Final[tuple[ErrorKind, ...]] = ("model_not_found", "flow_error")
"""Kinds with status 400 here, unlike in Chat: Codex repeats a request after any other status, up to
thirty times, and runs the flow each time. It does not show the message of a 500."""

encoder = Encoder


def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
    """Render the whole answer: the response object that ends a stream of the same reply."""
    stream = Encoder(ask, run_id=run_id, created=created)
    stream.finish(reply)
    return stream.shown


def render_error(error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
    """Return status and error document; see ``ResponseEncoder.render_error``."""
    status = 400 if error.kind in _NOT_RETRIED else error_status(error)
    return status, {"error": error_object(error, run_id, status)}
