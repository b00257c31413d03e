"""Events as JSON: each is a list that begins with its kind. For the live lane and the journal."""

from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Json
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
)


def event_as_json(event: Event) -> list[Json]:
    """Return an event as JSON; ``event_of`` reads it."""
    match event:
        case PartStarted(part):
            return ["part", dump(part)]
        case PartDelta(text, wire):
            return ["text", text, dump(wire)]
        case PartEnded(part):
            return ["end", dump(part)]
        case Started(model, usage, wire):
            return ["started", model, dump(usage), dump(wire)]
        case UsageReported(usage):
            return ["usage", dump(usage)]
        case Finished(reason, stop_sequence, wire):
            return ["finished", reason, stop_sequence, dump(wire)]


def event_of(document: Json) -> Event:
    """Return the event that ``event_as_json`` wrote. Raises ValueError for another document."""
    match document:
        case ["part", part]:
            return PartStarted(load(part))
        case ["text", text, wire]:
            return PartDelta(text, load(wire))
        case ["end", part]:
            return PartEnded(load(part))
        case ["started", model, usage, wire]:
            return Started(model, load(usage), load(wire))
        case ["usage", usage]:
            return UsageReported(load(usage))
        case ["finished", reason, stop_sequence, wire]:
            return Finished(reason, stop_sequence, load(wire))
        case _:
            raise ValueError(f"an event is not known: {document!r:.100}")
