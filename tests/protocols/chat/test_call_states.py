"""What a Chat server puts beside a call: what is stored of it, and what it gets back."""

import orjson
import pytest

from polyvox.protocols.chat.call_states import call_states, lacking, with_call_states
from polyvox.protocols.sealed_reasoning import seal
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, Json, Reasoning, Text, ToolCall, Wire

EXTRA = {"extra_content": {"google": {"thought_signature": "opaque=="}}}
DETAILS = {"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.encrypted", "data": "s"}]}
ARGUMENTS = '{"b": 1.50, "a": null}'


def entry(call_id: str, **more: Json) -> Json:
    function = {"name": "f", "arguments": ARGUMENTS}
    return {"id": call_id, "type": "function", "function": function, **more}


def call(call_id: str, **more: Json) -> ToolCall:
    wire = Wire("chat", {"tool_calls": [entry(call_id, **more)]}) if more else None
    return ToolCall(call_id, "f", ARGUMENTS, wire=wire)


STATES = call_states(
    (
        Reasoning("Hm.", origin="chat", wire=Wire("chat", DETAILS)),
        Text("Wait."),
        call("functions.f:0", **EXTRA),
        call("plain"),
    )
)


def test_only_what_clients_cannot_carry_is_stored() -> None:
    fragment = {"tool_calls": [entry("functions.f:0", **EXTRA)]}
    assert {
        "functions.f:0": {"call": fragment, "id": "functions.f:0", "reasoning": [DETAILS]}
    } == STATES
    assert call_states((Text("Hi."), call("plain"))) == {}


def history(client: str, call_id: str, arguments: str = '{"b":1.5,"a":null}') -> Conversation:
    """Return what a client sends back, with the arguments in its own spelling."""
    said = {"role": "user", "content": "Hi."}
    bodies: dict[str, Json] = {
        "chat": {
            "messages": [
                said,
                {
                    "role": "assistant",
                    "content": "Wait.",
                    "name": "bot",
                    "tool_calls": [entry(call_id)],
                },
                {"role": "tool", "tool_call_id": call_id, "content": "Done."},
            ]
        },
        "responses": {
            "input": [
                said,
                {"type": "function_call", "call_id": call_id, "name": "f", "arguments": arguments},
                {"type": "function_call_output", "call_id": call_id, "output": "Done."},
            ]
        },
        "messages": {
            "max_tokens": 9,
            "messages": [
                said,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": seal("chat", "")},
                        {
                            "type": "tool_use",
                            "id": call_id,
                            "name": "f",
                            "input": orjson.loads(arguments),
                        },
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": call_id, "content": "Done."}
                    ],
                },
            ],
        },
    }
    body = {"model": "m", **bodies[client]}
    return PROTOCOLS[client].parser.parse(body, {}).conversation


def sent(conversation: Conversation) -> list[Json]:
    messages: list[Json] = PROTOCOLS["chat"].provider.render(conversation, "m").body["messages"]
    return messages


@pytest.mark.parametrize("client", PROTOCOLS)
def test_the_server_gets_back_what_it_wrote(client: str) -> None:
    """In its own spelling of arguments and id, before the result with the same id."""
    call_id = "functions_f_0" if client == "messages" else "functions.f:0"
    conversation = history(client, call_id)
    assert lacking(conversation) == [call_id]
    known = with_call_states(conversation, {call_id: STATES["functions.f:0"]})
    _, said, result = sent(known)
    assert said["tool_calls"] == [entry("functions.f:0", **EXTRA)]
    assert said["reasoning_details"] == DETAILS["reasoning_details"]
    assert result["tool_call_id"] == "functions.f:0"
    if client == "chat":
        assert said["name"] == "bot", "the rest of the client's message stays"


@pytest.mark.parametrize("client", ["responses", "messages"])
def test_arguments_that_a_client_changed_are_sent(client: str) -> None:
    known = with_call_states(history(client, "x", '{"b":2}'), {"x": STATES["functions.f:0"]})
    (changed,) = sent(known)[1]["tool_calls"]
    assert changed["function"]["arguments"] == '{"b":2}'
    assert changed["extra_content"] == EXTRA["extra_content"]


def test_a_client_that_carries_the_state_is_not_asked() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [entry("a", **EXTRA)]}
    body = {"model": "m", "messages": [message]}
    assert lacking(PROTOCOLS["chat"].parser.parse(body, {}).conversation) == []


def test_a_free_text_call_goes_back_as_the_function_it_was_offered_as() -> None:
    """The client knows the tool in its own form."""
    function = {"name": "patch", "arguments": '{"input": "*** x"}'}
    stored = {"id": "a", "type": "function", "function": function, **EXTRA}
    items = [
        {"role": "user", "content": "Hi."},
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "*** x"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "Done."},
    ]
    conversation = PROTOCOLS["responses"].parser.parse({"model": "m", "input": items}, {})
    states = {"a": {"call": {"tool_calls": [stored]}}}
    known = with_call_states(conversation.conversation, states)
    assert sent(known)[1]["tool_calls"] == [stored]
