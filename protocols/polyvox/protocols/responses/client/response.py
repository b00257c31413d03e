"""Writes the answers to Responses clients: as a stream, as one document, or as an error."""

from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses.client.errors import render_error
from polyvox.protocols.responses.client.stream import Encoder
from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Reply

__all__ = ["encoder", "render", "render_error"]

encoder = Encoder


def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
    """Render the whole answer: the response object that ends a stream of the same reply."""
    stream = Encoder(ask, run_id=run_id, created=created)
    stream.finish(reply)
    return stream.shown
