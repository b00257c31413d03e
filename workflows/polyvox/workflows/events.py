"""The events of a Reply while it is being streamed.

There are six events. Every Decoder emits them, and every Encoder may expect them, in this order::

    Started  (PartStarted PartDelta* PartEnded)*  UsageReported*  Finished

* One part is open at a time. If a provider interleaves parts (Chat tool calls), its Decoder
  serializes them, so events need no index.
* ``PartStarted.part`` is the initial part: empty text, or a ToolCall with id, name and ``""``.
* ``PartDelta.text`` is appended to the part's text: Text.text, Refusal.text, Reasoning.text or
  ToolCall.arguments. A delta of another type (a signature, a citation, an unknown type) has
  ``text=""`` and its JSON in ``wire``, which only the same protocol can render.
* ``PartEnded.part`` is the complete part; ``fold`` builds the Reply from these alone.
* UsageReported holds running totals, not increments; the last one is valid.
* Finished is emitted only if the provider ended its answer. For a stream without it ``fold`` raises
  ModelError("stream_cut").
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from polyvox.workflows.conversation import Part, Reasoning, Refusal, Text, ToolCall, Wire
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import FinishReason, Reply, Usage


@dataclass(frozen=True, slots=True)
class Started:
    """The provider accepted the request. ``usage`` is the input usage, if it reported that.

    ``wire`` holds the protocol's fields of the whole answer that come before its first part.
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
    """The answer is complete. ``wire`` holds the protocol's fields of the whole answer."""

    reason: FinishReason
    stop_sequence: str | None = None
    wire: Wire | None = None


Event = Started | PartStarted | PartDelta | PartEnded | UsageReported | Finished


class Fold:
    """Builds the Reply from the events of one call, which are added in batches."""

    def __init__(self) -> None:
        self._model = ""
        self._parts: list[Part] = []
        self._usage = Usage()
        self._finished: Finished | None = None

    @property
    def usage(self) -> Usage:
        """The usage reported so far, also for a call that did not finish."""
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
    """Return the Reply built from ``events``; see ``Fold.reply``."""
    folding = Fold()
    folding.feed(events)
    return folding.reply()


def unfold(reply: Reply) -> list[Event]:
    """Return events that fold into ``reply``, with one delta for each part."""
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
    """Return ``part`` as it was at its start, with empty text."""
    match part:
        case Text() | Refusal() | Reasoning():
            return replace(part, text="")
        case ToolCall():
            return replace(part, arguments="")
        case _:
            return part


def written(part: Part) -> str:
    """Return the text that deltas append to ``part``; empty for parts that are sent whole."""
    match part:
        case Text() | Refusal() | Reasoning():
            return part.text
        case ToolCall():
            return part.arguments
        case _:
            return ""
