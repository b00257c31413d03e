"""Stop sequences where the provider's protocol has none."""

from hypothesis import example, given
from hypothesis import strategies as st

from polyvox.activities.model_call.stop_sequences import Stopping
from polyvox.workflows.conversation import Text, ToolCall
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
    fold,
)
from polyvox.workflows.reply import Usage

letters = st.text("ab-", max_size=12)


def streamed(pieces: list[str]) -> list[Event]:
    whole = "".join(pieces)
    return [
        Started("m"),
        PartStarted(Text("")),
        *(PartDelta(piece) for piece in pieces if piece),
        PartEnded(Text(whole)),
        UsageReported(Usage(1, output=9)),
        Finished("stop"),
    ]


def shown(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, PartDelta))


@example(["-b", "-"], ["b", "-b-"])
@example(["-b-"], ["b", "-b-"])
@given(st.lists(letters, max_size=6), st.lists(st.text("ab-", min_size=1, max_size=4), max_size=3))
def test_the_answer_ends_before_the_first_complete_sequence(
    pieces: list[str], stops: list[str]
) -> None:
    """However the text is cut, nothing of a sequence is shown, and nothing before it is lost."""
    stopping = Stopping(tuple(stops))
    events = [kept for event in streamed(pieces) for kept in stopping.feed([event])]
    whole = "".join(pieces)
    ends = [(at + len(stop), at) for stop in stops if (at := whole.find(stop)) >= 0]
    expected = whole[: min(ends)[1]] if ends else whole
    reply = fold(events)
    assert shown(events) == reply.text == expected
    assert (reply.stop_sequence in stops) if ends else reply.stop_sequence is None
    assert reply.usage == Usage(1, output=9), "what the whole answer took is told all the same"


def test_after_the_sequence_nothing_is_part_of_the_answer() -> None:
    """A call that the model would not have made had it been stopped is none."""
    late: list[Event] = [PartStarted(ToolCall("c", "f", "")), PartEnded(ToolCall("c", "f", "{}"))]
    events: list[Event] = [*streamed(["a-b"])[:-2], *late, Finished("tool_calls")]
    reply = fold(Stopping(("-",)).feed(events))
    assert (reply.parts, reply.finish, reply.stop_sequence) == ((Text("a"),), "stop", "-")
