"""The calls of an answer have the conversation's names, and ids that differ."""

from polyvox.protocols.history.answered_calls import AnsweredCalls
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import Text, Tool, ToolCall, Wire
from polyvox.workflows.events import fold, unfold
from polyvox.workflows.reply import Reply

DOTTED = "fs.read file"


def answered(*parts: ToolCall | Text) -> Reply:
    calls = AnsweredCalls([Tool(DOTTED), Tool("plain")])
    return fold(calls.feed(unfold(Reply(parts, "tool_calls"))))


def test_calls_get_the_names_of_the_conversation() -> None:
    wire = Wire("chat", {"tool_calls": [{"id": "a"}]})
    call = ToolCall("a", offered_name(DOTTED), "{}", wire=wire)
    reply = answered(Text("Hm."), call, ToolCall("b", "plain", "{}"), ToolCall("c", "odd", "{}"))
    assert [part.name for part in reply.tool_calls] == [DOTTED, "plain", "odd"]
    assert reply.tool_calls[0].wire == wire


def test_ids_that_repeat_get_a_number() -> None:
    """A client could not say which call a result belongs to."""
    calls = [ToolCall(call_id, "plain", f'{{"n": {n}}}') for n, call_id in enumerate("aaba")]
    reply = answered(*calls)
    assert [call.id for call in reply.tool_calls] == ["a", "a_2", "b", "a_3"]
    assert [call.arguments for call in reply.tool_calls] == [call.arguments for call in calls]
