"""One piece of a Reply while it is being written.

Six events, and a grammar that every Decoder keeps and every Encoder may rely on::

    Started  (PartStarted PartDelta* PartEnded)*  UsageReported*  Finished

* One part is open at a time. A provider that interleaves its parts (Chat tool calls) is put in
  order by its Decoder, so events need no index.
* ``PartStarted.part`` is the part as it begins: empty text, or a ToolCall with id, name and ``""``.
* ``PartDelta.text`` goes to the part's growing text: Text.text, Refusal.text, Reasoning.text or
  ToolCall.arguments. A delta of another sort (a signature, a citation, one nobody knows yet) has
  ``text=""`` and its spelling in ``wire``: only the same protocol can show it.
* ``PartEnded.part`` is complete and is the truth; ``fold`` builds the Reply from these alone.
* UsageReported holds running totals, not increments: the last one counts.
* Finished comes only when the provider really ended its answer. A stream without it never becomes
  a Reply: ``fold`` raises ModelError("stream_cut").
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from polyvox.workflows.conversation import Part, Reasoning, Refusal, Text, ToolCall, Wire
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import FinishReason, Reply, Usage


@dataclass(frozen=True, slots=True)
class Started:
    """The provider accepted the request. ``usage`` is what it says of the input, if anything.

    ``wire`` holds what the protocol says of the whole answer before its first part.
    """

    model: str = ""
    usage: Usage = Usage()
    wire: Wire | None = None


@dataclass(frozen=True, slots=True)
class PartStarted:
    part: Part


@dataclass(frozen=True, slots=True)
class PartDelta:
    text: str
    wire: Wire | None = None


@dataclass(frozen=True, slots=True)
class PartEnded:
    part: Part


@dataclass(frozen=True, slots=True)
class UsageReported:
    usage: Usage


@dataclass(frozen=True, slots=True)
class Finished:
    """``wire`` holds what the protocol says of the whole answer beyond the parts."""

    reason: FinishReason
    stop_sequence: str | None = None
    wire: Wire | None = None


Event = Started | PartStarted | PartDelta | PartEnded | UsageReported | Finished


class Fold:
    """Builds the Reply from the events of one call, batch by batch."""

    def __init__(self) -> None:
        self._model = ""
        self._parts: list[Part] = []
        self._usage = Usage()
        self._finished: Finished | None = None

    @property
    def usage(self) -> Usage:
        """The usage known so far: what a call cost that never finished."""
        return self._usage

    def feed(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case PartEnded(part):
                    self._parts.append(part)
                case Started(model, usage):
                    self._model = model
                    self._usage = usage
                case UsageReported(usage):
                    self._usage = usage
                case Finished():
                    self._finished = event

    def reply(self) -> Reply:
        """Return the Reply.

        Raises ModelError("stream_cut") if the stream ended before the provider finished.
        """
        if self._finished is None:
            raise ModelError(
                "stream_cut",
                "The provider's stream ended before its answer was complete.",
            )
        return Reply(
            parts=tuple(self._parts),
            finish=self._finished.reason,
            usage=self._usage,
            model=self._model,
            stop_sequence=self._finished.stop_sequence,
            wire=self._finished.wire,
        )


def fold(events: Iterable[Event]) -> Reply:
    """Return the Reply that ``events`` build; see ``Fold.reply``."""
    folding = Fold()
    folding.feed(events)
    return folding.reply()


def unfold(reply: Reply) -> list[Event]:
    """Return events that fold back into ``reply``: one delta a part."""
    events: list[Event] = [Started(reply.model)]
    for part in reply.parts:
        events.append(PartStarted(opened(part)))
        if text := written(part):
            events.append(PartDelta(text))
        events.append(PartEnded(part))
    events.append(UsageReported(reply.usage))
    events.append(Finished(reply.finish, reply.stop_sequence, reply.wire))
    return events


def opened(part: Part) -> Part:
    """Return ``part`` as it was when it began: its growing text still empty."""
    match part:
        case Text() | Refusal() | Reasoning():
            return replace(part, text="")
        case ToolCall():
            return replace(part, arguments="")
        case _:
            return part


def written(part: Part) -> str:
    """Return the text that grows while ``part`` is written; empty for parts that come whole."""
    match part:
        case Text() | Refusal() | Reasoning():
            return part.text
        case ToolCall():
            return part.arguments
        case _:
            return ""
