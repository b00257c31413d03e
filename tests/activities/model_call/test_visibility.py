"""What of a call's events a client may see."""

from hypothesis import given
from hypothesis import strategies as st

from polyvox.activities.model_call.visibility import Emission
from polyvox.workflows.conversation import Text, ToolCall
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
    unfold,
)
from polyvox.workflows.reply import Reply

TEXT = Text("words")
OWN = ToolCall("call_1", "read", '{"path":"x"}')
MOUNTED = ToolCall("call_2", "problem_review", '{"problem":"x"}')
HIDDEN = ("problem_review",)


def shown(
    *parts: Text | ToolCall, hidden: tuple[str, ...] = HIDDEN, hold_calls: bool = True
) -> list[Event]:
    emission = Emission(hidden, hold_calls=hold_calls)
    return [event for e in unfold(Reply(parts)) for event in emission.feed([e])]


def parts_of(events: list[Event]) -> list[object]:
    return [event.part for event in events if isinstance(event, PartEnded)]


def test_a_mounted_call_is_never_shown() -> None:
    """Neither its beginning nor its arguments; what stands around it is."""
    assert parts_of(shown(TEXT, MOUNTED, Text("more"))) == [TEXT, Text("more")]
    assert "problem" not in str(shown(TEXT, MOUNTED))


def test_own_calls_wait_until_no_mounted_one_can_follow() -> None:
    """With a mounted call the answer is not yet the client's, so its own calls are not either."""
    assert parts_of(shown(TEXT, OWN)) == [TEXT, OWN]
    assert parts_of(shown(TEXT, OWN, MOUNTED)) == [TEXT]
    assert parts_of(shown(TEXT, MOUNTED, OWN)) == [TEXT]


def test_what_follows_an_own_call_waits_for_it() -> None:
    """So the stream has the order of the Reply; without the call it is shown all the same."""
    more = Text("more")
    assert parts_of(shown(TEXT, OWN, more)) == [TEXT, OWN, more]
    assert parts_of(shown(TEXT, OWN, MOUNTED, more)) == [TEXT, more]
    assert parts_of(shown(OWN, more, hidden=(), hold_calls=False)) == [OWN, more]


def test_own_calls_are_live_where_nothing_is_mounted() -> None:
    """The arguments come as they are written."""
    emission = Emission((), hold_calls=False)
    emission.feed([Started(), PartStarted(ToolCall("call_1", "read", ""))])
    assert emission.feed([PartDelta("{")])[-1] == PartDelta("{")


def test_a_part_is_shown_from_its_first_words_on() -> None:
    """A provider that breaks off before them has shown nothing and may be asked again."""
    emission = Emission((), hold_calls=False)
    assert emission.feed([Started(), PartStarted(Text(""))]) == [Started()]
    assert emission.feed([PartDelta("w")]) == [PartStarted(Text("")), PartDelta("w")]
    assert emission.feed([PartEnded(Text("w"))]) == [PartEnded(Text("w"))]


def test_an_empty_part_is_shown_when_it_ends() -> None:
    """Some parts have no words at all."""
    events: list[Event] = [PartStarted(Text("")), PartEnded(Text(""))]
    assert Emission((), hold_calls=False).feed(events) == events


PARTS = st.lists(st.sampled_from([TEXT, OWN, MOUNTED, Text("")]), max_size=5)


@given(PARTS, st.booleans(), st.booleans(), st.data())
def test_reads_do_not_matter(
    parts: list[Text | ToolCall], mounts: bool, holds: bool, data: st.DataObject
) -> None:
    """However the events come together, the same are shown, and never the call's own ending."""
    hidden = HIDDEN if mounts else ()
    events = unfold(Reply(tuple(parts)))
    cut = data.draw(st.integers(0, len(events)))
    emission = Emission(hidden, hold_calls=holds)
    got = emission.feed(events[:cut]) + emission.feed(events[cut:])
    assert got == shown(*parts, hidden=hidden, hold_calls=holds)
    assert not any(isinstance(event, UsageReported | Finished) for event in got)
