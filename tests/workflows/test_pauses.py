"""An answer that its provider pauses is continued; the client sees one answer."""

from polyvox.workflows import Params, Reply, Run, Text, flow, user
from polyvox.workflows.conversation import Opaque, Wire
from polyvox.workflows.reply import Usage
from polyvox.workflows.testing import Rehearsal


class Nothing(Params):
    pass


@flow
async def echo(run: Run[Nothing]) -> Reply:
    return await run.ask("x:a", step="main", emit=True)


SEARCH = Opaque(wire=Wire("messages", {"type": "server_tool_use", "id": "srvtoolu_1"}))


def test_a_pause_is_continued_with_the_turn_so_far() -> None:
    """The provider gets its own words back, as they came, and goes on after them."""
    first = Reply((Text("Let me see."), SEARCH), "pause", Usage(10, output=2))
    second = Reply((Text("Still looking."),), "pause", Usage(12, output=3))
    last = Reply((Text("Found."),), "stop", Usage(15, output=4))
    played = Rehearsal({"x:a": [first, second, last]}).play(echo, "Hi")
    assert played.reply.parts == (*first.parts, *second.parts, *last.parts)
    assert played.reply.parts[1].wire == SEARCH.wire
    assert (played.reply.finish, played.reply.usage) == ("stop", Usage(37, output=9))
    asked = [step.conversation.messages for step in played.steps]
    assert asked[0] == (user("Hi"),)
    assert asked[1] == (user("Hi"), first.message)
    assert [part for message in asked[2][1:] for part in message.parts] == [
        *first.parts,
        *second.parts,
    ]
    assert len(asked[2]) == 2, "the turn under way is one message"


def test_a_provider_that_never_ends_its_answer_is_not_paid_for_ever() -> None:
    paused = Reply((Text("Wait. "),), "pause", Usage(1, output=1))
    played = Rehearsal({"x:a": [paused] * 50}).play(echo, "Hi")
    assert played.reply.finish == "pause"
    assert len(played.steps) == 9
