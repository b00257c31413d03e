"""Names what of an answer is lost for a client of another protocol.

It depends on the Reply alone, so it is the same for streamed and whole answers.
"""

from collections.abc import Iterable
from typing import Final

from polyvox.protocols.decoding.ending import meaning_of
from polyvox.protocols.neutral import citations_of, neutral, neutral_of
from polyvox.workflows.conversation import (
    Audio,
    File,
    Image,
    Opaque,
    Part,
    Protocol,
    Refusal,
    Text,
    ToolResult,
)
from polyvox.workflows.reply import Reply

_FOREIGN: Final = "known to its own protocol only"


def answer_losses(reply: Reply, protocol: Protocol) -> tuple[str, ...]:
    """Return the losses of ``reply`` towards a client of ``protocol``, each once, as
    ``answer.<what>`` or ``answer.<what>: why``.
    """
    losses = [loss for part in reply.parts for loss in _of_part(part, protocol)]
    ending = reply.wire
    foreign = ending is not None and ending.protocol != protocol
    if ending is not None and foreign and neutral_of(ending).ends_with_logprobs(ending.json):
        losses.append("answer.logprobs")
    if ending is not None:
        word = neutral_of(ending).ending_word(ending.json)
        if word == "":
            losses.append("answer.finish_reason: the provider gave none")
        elif word and foreign and meaning_of(word) is None:
            losses.append(f"answer.finish_reason: the unknown word {word[:60]!a}")
    return tuple(dict.fromkeys(losses))


def _of_part(part: Part, protocol: Protocol) -> Iterable[str]:
    if part.on_wire(protocol) is not None:
        return
    shows, reader = neutral(protocol), neutral_of(part.wire)
    json = part.wire.json if part.wire is not None else None
    if json is not None and not isinstance(part, Opaque):
        for member in reader.unshown(json):
            yield f"answer.{member}: {_FOREIGN}"
    match part:
        case Opaque():
            yield f"answer.{reader.element_name(json)}: {_FOREIGN}"
        case Image() | File() | Audio() | ToolResult():
            yield f"answer.{type(part).__name__.lower()}: {_FOREIGN}"
        case Text():
            cited = citations_of(part)
            pages_alone = shows.cites == "pages" and all(c.url is not None for c in cited)
            if cited and not pages_alone and shows.cites != "everything":
                yield "answer.annotations: the text stays"
            if not shows.shows_logprobs and json is not None and reader.has_logprobs(json):
                yield "answer.logprobs"
        case Refusal() | _:
            return
