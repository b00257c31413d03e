"""The journal's entries hold the events of a call exactly, in few bytes."""

import orjson
import pytest

from polyvox.activities.live.journal_entries import EntryReader, EntryWriter
from polyvox.workflows.boundary.serialization import dump
from polyvox.workflows.conversation import Opaque, Reasoning, Text, ToolCall, Wire
from polyvox.workflows.events import (
    Event,
    Finished,
    Fold,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
    fold,
)
from polyvox.workflows.reply import Usage

WIRE = Wire("messages", {"signature": "abc", "type": "x"})

EVENTS: list[Event] = [
    Started("m-1", Usage(input=3), WIRE),
    PartStarted(Reasoning("")),
    PartDelta("Let me "),
    PartDelta("think."),
    PartDelta("", WIRE),
    PartEnded(Reasoning("Let me think.", opaque="abc", origin="messages")),
    PartStarted(Text("")),
    PartDelta("Hello"),
    PartDelta(" world"),
    PartEnded(Text("Hello world")),
    PartStarted(ToolCall("c1", "look", "")),
    PartDelta('{"a":'),
    PartDelta("1}"),
    PartEnded(ToolCall("c1", "look", '{"a":1}')),
    PartStarted(Opaque(wire=WIRE)),
    PartEnded(Opaque(wire=WIRE)),
    UsageReported(Usage(input=3, output=9)),
    Finished("tool_calls", None, WIRE),
]


def through(events: list[Event], cuts: set[int], *, late: bool = False) -> list[Event]:
    """Write events into entries that end at ``cuts``, send them as JSON, and read them."""
    writer, reader = EntryWriter("7", 2, late=late), EntryReader()
    read: list[Event] = []
    for at, event in enumerate(events):
        writer.add([event])
        if at in cuts or at == len(events) - 1:
            batch = reader.read(orjson.loads(orjson.dumps(writer.take())))
            assert (batch.call, batch.attempt) == ("7", 2)
            read += batch.events
    return read


@pytest.mark.parametrize("step", range(1, len(EVENTS) + 1))
def test_entries_fold_to_the_same_reply_wherever_they_are_cut(step: int) -> None:
    """Deltas are joined; everything else is as it was."""
    read = through(EVENTS, set(range(0, len(EVENTS), step)))
    assert dump(fold(read)) == dump(fold(EVENTS))
    whole = [event for event in EVENTS if not isinstance(event, PartDelta)]
    assert [event for event in read if not isinstance(event, PartDelta)] == whole
    for late in (False, True):
        assert through(EVENTS, set(range(len(EVENTS))), late=late) == EVENTS


def test_a_journal_that_begins_in_the_middle_has_whole_parts() -> None:
    """Of a part whose start it does not know, too."""
    for first in range(1, len(EVENTS)):
        folding, expected = Fold(), Fold()
        folding.feed(through(EVENTS[first:], {first + 2}, late=True))
        expected.feed(EVENTS[first:])
        assert dump(folding.reply()) == dump(expected.reply())


def test_a_text_is_written_once() -> None:
    """Its part's end does not repeat it."""
    events: list[Event] = [PartStarted(Text(""))]
    events += [PartDelta("word ") for _ in range(500)]
    events += [PartEnded(Text("word " * 500))]
    writer = EntryWriter("1", 1)
    writer.add(events)
    assert writer.waiting_bytes >= 2500
    entry = writer.take(last=True)
    assert len(orjson.dumps(entry)) < 2500 + 150
    assert (entry["sequence"], entry["last"]) == (0, True)
    assert writer.take()["sequence"] == 1
