"""Writes the answers to Messages clients: as a stream, as one document, or as an error."""

from polyvox.protocols.client_side import Ask
from polyvox.protocols.messages.blocks import is_blank, render_answer_block
from polyvox.protocols.messages.client.errors import render_error
from polyvox.protocols.messages.client.stream import MessagesEncoder
from polyvox.protocols.messages.finish import ending
from polyvox.protocols.tool_aliases import restored
from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Reply

__all__ = ["encoder", "render", "render_error"]


def encoder(ask: Ask, *, run_id: str, created: int) -> MessagesEncoder:
    """Return a new Encoder. This protocol has no timestamp, so ``created`` is not used."""
    return MessagesEncoder(ask, run_id=run_id)


def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
    """Render the whole answer; see ``ResponseEncoder.render``."""
    reply = restored(reply, ask)
    end = ending(reply)
    blocks = (render_answer_block(part) for part in reply.parts if not is_blank(part))
    return {
        "id": f"msg_{run_id}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [block for block in blocks if block is not None],
        **end.stop,
        **end.beside,
        "usage": end.usage,
    }
