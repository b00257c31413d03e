import pytest

from polyvox.protocols.client_side import Ask
from polyvox.protocols.messages.client import response as messages_response
from polyvox.workflows.conversation import (
    Conversation,
    Refusal,
    Text,
    ToolCall,
    Wire,
    user,
)
from polyvox.workflows.reply import Reply, Usage

ASK = Ask("messages", "public-name", Conversation((user("hi"),)), True)
WINDOW = Wire("messages", {"delta": {"stop_reason": "model_context_window_exceeded"}})


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply((Text("a"),)), "end_turn"),
        (Reply((Text("a"),), stop_sequence="END"), "stop_sequence"),
        (Reply((ToolCall("i", "f", "{}"),)), "tool_use"),
        (Reply((Refusal("no"),)), "refusal"),
        (Reply((), "length"), "max_tokens"),
        (
            Reply((), "length", wire=WINDOW),
            "model_context_window_exceeded",
        ),
        (Reply((), "refusal", wire=WINDOW), "refusal"),
        (Reply((), wire=Wire("chat", {"delta": 1})), "end_turn"),
    ],
)
def test_the_stop_reason_says_why_the_answer_ended(reply: Reply, reason: str) -> None:
    document = messages_response.render(ASK, reply, run_id="r1", created=0)
    assert document["stop_reason"] == reason
    assert document["stop_sequence"] == reply.stop_sequence


def test_usage_of_several_calls_keeps_only_what_stays_true() -> None:
    """A provider's own breakdown of one call would contradict the totals of the run."""
    said = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 9},
        "service_tier": "standard",
    }
    wire = Wire("messages", {"usage": said})
    one = messages_response.render(
        ASK, Reply((), usage=Usage(1, cache_write=9, output=2), wire=wire), run_id="r", created=0
    )
    many = messages_response.render(
        ASK, Reply((), usage=Usage(8, output=9), wire=wire), run_id="r", created=0
    )
    assert one["usage"].items() >= said.items()
    assert many["usage"] == {
        "input_tokens": 8,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 9,
        "service_tier": "standard",
    }
