"""How a history ends, and what its calls carry, for servers that are strict about it."""

import pytest

from polyvox.protocols.chat.call_states import with_call_states
from polyvox.protocols.chat.provider import request as chat
from polyvox.protocols.chat.provider.fitted_messages import UNSIGNED
from polyvox.protocols.dialects.dialect import FULL, PLAIN, Dialect
from polyvox.protocols.dialects.final_turn import CONTINUE, NO_PREFILL
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Text,
    ToolCall,
    ToolResult,
    user,
)
from tests.samples.codex_request import parsed, to_chat

MISTRAL = SERVERS["mistral"].dialect
GEMINI = SERVERS["gemini"].dialect
CHAT: Json = {
    "model": "m",
    "messages": [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One,"}],
}
RESPONSES: Json = {"model": "m", "input": CHAT["messages"]}
TURN = {"role": "user", "content": CONTINUE}


@pytest.mark.parametrize(
    ("dialect", "model"),
    [(MISTRAL, "mistral-large-latest"), (PLAIN, "claude-opus-4-6"), (FULL, "claude-sonnet-5")],
)
@pytest.mark.parametrize(("protocol", "document"), [("chat", CHAT), ("responses", RESPONSES)])
def test_a_user_turn_ends_a_conversation_where_a_final_reply_is_refused(
    protocol: str, document: Json, dialect: Dialect, model: str
) -> None:
    request = to_chat(document, dialect, model, protocol)
    assert request.body["messages"] == [*CHAT["messages"], TURN]
    assert NO_PREFILL in request.losses


@pytest.mark.parametrize(
    ("dialect", "model"), [(PLAIN, "m"), (FULL, "gpt-5"), (PLAIN, "claude-sonnet-4-5")]
)
def test_a_final_reply_stays_last_where_it_is_accepted(dialect: Dialect, model: str) -> None:
    request = to_chat(CHAT, dialect, model, "chat")
    assert request.body["messages"] == CHAT["messages"]
    assert request.losses == ()


def test_a_prefix_that_a_client_asked_mistral_for_stays() -> None:
    prefix = {"role": "assistant", "content": "One,", "prefix": True}
    document = {**CHAT, "messages": [CHAT["messages"][0], prefix]}
    assert to_chat(document, MISTRAL, protocol="chat").body["messages"][-1] == prefix


def test_results_end_a_conversation_too() -> None:
    """A call without its result gets one, and nothing is added after it."""
    called = Message("assistant", (ToolCall("c1", "f", "{}"),))
    messages = chat.render(Conversation((user("Go."), called)), "m", MISTRAL).body["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool"]


def _signature(call: Json) -> Json:
    return call.get("extra_content", {}).get("google", {}).get("thought_signature")


def _history() -> tuple[Message, ...]:
    both = (ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}"))
    results = (ToolResult("c1", (Text("1"),)), ToolResult("c2", (Text("2"),)))
    return (user("Go."), Message("assistant", both), Message("tool", results))


def _calls(conversation: Conversation, model: str, dialect: Dialect = GEMINI) -> list[Json]:
    messages = chat.render(conversation, model, dialect).body["messages"]
    return [call for message in messages for call in message.get("tool_calls") or ()]


@pytest.mark.parametrize("model", ["gemini-3-pro-preview", "models/gemini-3.5-flash-lite"])
def test_gemini_gets_a_signature_for_calls_that_another_model_wrote(model: str) -> None:
    """Of parallel calls only the first one carries a signature."""
    assert [_signature(call) for call in _calls(Conversation(_history()), model)] == [
        UNSIGNED,
        None,
    ]


@pytest.mark.parametrize("client", ["chat", "responses", "messages"])
def test_a_clients_call_without_a_signature_gets_one(client: str) -> None:
    said = {"name": "f", "arguments": "{}"}
    bodies: dict[str, Json] = {
        "chat": {
            "messages": [
                {"role": "user", "content": "Go."},
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c1", "type": "function", "function": said}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "1"},
            ]
        },
        "responses": {
            "input": [
                {"role": "user", "content": "Go."},
                {"type": "function_call", "call_id": "c1", **said},
                {"type": "function_call_output", "call_id": "c1", "output": "1"},
            ]
        },
        "messages": {
            "max_tokens": 10,
            "messages": [
                {"role": "user", "content": "Go."},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "1"}],
                },
            ],
        },
    }
    (call,) = _calls(parsed(client, {"model": "m", **bodies[client]}), "gemini-3-flash")
    assert _signature(call) == UNSIGNED


def test_a_signature_of_geminis_own_stays() -> None:
    own = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    own |= {"extra_content": {"google": {"thought_signature": "sealed"}, "note": 1}}
    states = {"c1": {"call": {"tool_calls": [own]}}}
    restored = with_call_states(Conversation(_history()), states)
    first, second = _calls(restored, "gemini-3-pro")
    assert first == own
    assert _signature(second) is None


@pytest.mark.parametrize(
    ("dialect", "model"),
    [
        (GEMINI, "gemini-2.5-pro"),
        (GEMINI, "gemini-1.5-flash"),
        (GEMINI, "gemma-3-27b-it"),
        (PLAIN, "gemini-3-pro"),
        (FULL, "gpt-5"),
        (SERVERS["openrouter"].dialect, "google/gemini-3-pro-preview"),
    ],
)
def test_no_signature_is_made_up_where_none_is_required(dialect: Dialect, model: str) -> None:
    calls = _calls(Conversation(_history()), model, dialect)
    assert [_signature(call) for call in calls] == [None, None]
