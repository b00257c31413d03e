"""Refuses content that only the client's own protocol knows, for providers of other protocols.

A provider of the same protocol gets a part of an unknown type unchanged. Left out for another one,
the model would answer without what the client showed it. Only the parts of a provider's own answer
and the types that the coverage table names as lost are left out.
"""

from collections.abc import Iterator, Sequence

from polyvox.protocols.neutral import neutral_of
from polyvox.workflows.conversation import Conversation, Opaque, Part, Protocol, ToolResult, Wire
from polyvox.workflows.errors import ModelError


def refuse_unknown_parts(conversation: Conversation, target: Protocol) -> None:
    """Raise ModelError("unsupported") for a part that ``target`` cannot carry.

    ``param`` is the path of the part in the client's request. Call this before the messages are
    changed for the provider, because the path is found by their positions.
    """
    if conversation.system is not None:
        _refuse(conversation.system.parts, None, target)
    for at, message in enumerate(conversation.messages):
        if message.role != "assistant":
            _refuse(message.parts, at, target)


def _refuse(parts: Sequence[Part], at: int | None, target: Protocol) -> None:
    for wire, indexes in _opaque(parts):
        reader = neutral_of(wire)
        path = None if wire.protocol == target else reader.part_path(wire.json, at, indexes)
        if path is None:
            continue
        kind, _ = reader.element(wire.json)
        fates = (row.over.get(target) for row in reader.rows if row.field == kind)
        if any(fate is not None and fate.outcome == "lost" for fate in fates):
            continue
        raise ModelError(
            "unsupported",
            f"{path}: content of type {kind[:80]!r} cannot be sent to this model's provider, which "
            "uses another protocol than the request. Send it as text, an image or a file, or "
            "choose a model whose provider uses the same protocol.",
            param=path,
        )


def _opaque(parts: Sequence[Part]) -> Iterator[tuple[Wire, tuple[int, ...]]]:
    """Yield the opaque parts with their indexes, also those inside of results."""
    for index, part in enumerate(parts):
        if isinstance(part, Opaque) and part.wire is not None:
            yield part.wire, (index,)
        elif isinstance(part, ToolResult):
            for inner, piece in enumerate(part.parts):
                if isinstance(piece, Opaque) and piece.wire is not None:
                    yield piece.wire, (index, inner)
