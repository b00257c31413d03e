"""Names what of an answer a client of another protocol cannot be shown.

The Reply alone decides it, so it is the same whether the answer is streamed or whole.
"""

from collections.abc import Iterable
from typing import Final

from polyvox.protocols.citations import citations_of
from polyvox.protocols.coverage.table import element_name
from polyvox.workflows.conversation import (
    Audio,
    File,
    Image,
    Json,
    Opaque,
    Part,
    Protocol,
    Refusal,
    Text,
    ToolResult,
    Wire,
)
from polyvox.workflows.reply import Reply

_FOREIGN: Final = "known to its own protocol only"

_SHOWN: Final = frozenset(
    (
        *("role", "content", "refusal", "annotations", "tool_calls", "function_call"),
        *("reasoning_content", "reasoning", "reasoning_details"),
    )
)
"""Members of a Chat message that are shown, or told of, by its parts."""


def answer_losses(reply: Reply, protocol: Protocol) -> tuple[str, ...]:
    """Return the losses of ``reply`` towards a client of ``protocol``, each once, as
    ``answer.<what>`` or ``answer.<what>: why``.
    """
    losses = [loss for part in reply.parts for loss in _of_part(part, protocol)]
    if reply.wire is not None and reply.wire.protocol != protocol:
        losses.extend(_of_ending(reply.wire))
    return tuple(dict.fromkeys(losses))


def _of_part(part: Part, protocol: Protocol) -> Iterable[str]:
    if part.on_wire(protocol) is not None:
        return
    if part.wire is not None and part.wire.protocol == "chat" and not isinstance(part, Opaque):
        for member, value in part.wire.json.items():
            if member not in _SHOWN and value:
                yield f"answer.{member}: {_FOREIGN}"
    match part:
        case Opaque(wire=wire):
            yield f"answer.{element_name(wire)}: {_FOREIGN}"
        case Image() | File() | Audio() | ToolResult():
            yield f"answer.{type(part).__name__.lower()}: {_FOREIGN}"
        case Text():
            cited = citations_of(part)
            unshown = protocol == "messages" or any(c.url is None for c in cited)
            if cited and unshown and protocol != "responses":
                yield "answer.annotations: the text stays"
            if protocol == "messages" and _logprobs(part):
                yield "answer.logprobs"
        case Refusal() | _:
            return


def _logprobs(part: Text) -> Json:
    said: Json = part.on_wire("responses") or {}
    return said.get("part", said).get("logprobs")


def _of_ending(wire: Wire) -> Iterable[str]:
    if wire.protocol == "chat":
        choices = wire.json.get("choices") or [{}]
        if choices[0].get("logprobs"):
            yield "answer.logprobs"
