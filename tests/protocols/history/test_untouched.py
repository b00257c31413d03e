"""What a client of the provider's own protocol wrote stays as it is, but for what had to be fitted.

A request with one result that belongs to no call and one call without its result is fitted. All its
other messages reach the provider unchanged, and those two do not come back as the client sent them.
"""

from typing import Any, Final

import pytest

from polyvox.protocols.dialects.dialect import PLAIN, Dialect
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.protocols.history.pairing import NO_RESULT, UNANSWERED, UNCALLED
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, Json, Protocol, user

DIALECTS: Final = [
    pytest.param(dialect, id=dialect.server)
    for dialect in (PLAIN, *(SERVERS[name].dialect for name in ("openai", "vllm", "openrouter")))
]
PLACES: Final = {"chat": "messages", "responses": "input", "messages": "messages"}


def _chat_call(call_id: str) -> Json:
    said = {"name": "read", "arguments": '{"a": 1.50}'}
    call = {"id": call_id, "type": "function", "function": said}
    return {"role": "assistant", "content": None, "tool_calls": [call], "x_note": "kept"}


def _responses_call(call_id: str) -> Json:
    said = {"name": "read", "arguments": '{"a": 1.50}', "status": "completed"}
    return {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, **said}


def _messages_call(call_id: str) -> Json:
    use = {"type": "tool_use", "id": call_id, "name": "read", "input": {"a": 1.5}}
    return {"role": "assistant", "content": [{"type": "text", "text": "I read."}, use]}


def _texts(kind: str) -> Json:
    return [{"type": kind, "text": "One."}, {"type": kind, "text": "Two."}]


def _result(call_id: str, text: str) -> Json:
    block = {"type": "tool_result", "tool_use_id": call_id, "content": text}
    return {"role": "user", "content": [block]}


Touched = tuple[list[Json], Json, Json, list[Json]]

REQUESTS: Final[dict[str, Touched]] = {
    "chat": (
        [
            {"role": "user", "content": _texts("text"), "name": "ada"},
            {"role": "user", "content": [{"type": "text", "text": "Three."}]},
            _chat_call("c1"),
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "Read."}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Done."}]},
        ],
        {"role": "tool", "tool_call_id": "gone", "content": "Lost."},
        _chat_call("c2"),
        [{"role": "user", "content": _texts("text")}],
    ),
    "responses": (
        [
            {"role": "user", "content": _texts("input_text")},
            {"role": "user", "content": "Three."},
            _responses_call("c1"),
            {"type": "function_call_output", "call_id": "c1", "output": _texts("input_text")},
            {"role": "assistant", "content": _texts("output_text")},
        ],
        {"type": "function_call_output", "call_id": "gone", "output": "Lost."},
        _responses_call("c2"),
        [{"role": "user", "content": _texts("input_text")}],
    ),
    "messages": (
        [
            {"role": "user", "content": _texts("text")},
            {"role": "user", "content": "Three."},
            _messages_call("c1"),
            _result("c1", "Read."),
            {"role": "assistant", "content": "Done."},
        ],
        _result("gone", "Lost."),
        _messages_call("c2"),
        [{"role": "user", "content": _texts("text")}],
    ),
}
"""Messages before, a result without its call, a call without its result, and messages after."""


def parsed(protocol: Protocol, said: list[Json]) -> Conversation:
    body: dict[str, Any] = {"model": "m", PLACES[protocol]: said, "max_tokens": 100}
    return PROTOCOLS[protocol].parser.parse(body, {}).conversation


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_only_what_had_to_be_fitted_differs_from_what_the_client_sent(
    protocol: Protocol, dialect: Dialect
) -> None:
    before, uncalled, unanswered, after = REQUESTS[protocol]
    conversation = parsed(protocol, [*before, uncalled, unanswered, *after])
    request = PROTOCOLS[protocol].provider.render(conversation, "gpt-5", dialect)
    sent = request.body[PLACES[protocol]]
    assert sent[: len(before)] == before
    assert unanswered in sent
    assert sent[-1:] == after
    assert {UNCALLED, UNANSWERED} <= set(request.losses)
    assert uncalled not in sent
    fitted = str(sent[len(before) : -1])
    assert "Lost." in fitted
    assert NO_RESULT in fitted


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_request_in_order_is_what_the_client_sent(protocol: Protocol, dialect: Dialect) -> None:
    before, _, _, after = REQUESTS[protocol]
    conversation = parsed(protocol, [*before, *after])
    request = PROTOCOLS[protocol].provider.render(conversation, "gpt-5", dialect)
    assert request.body[PLACES[protocol]] == [*before, *after]


def test_a_fitted_message_is_joined_with_its_neighbour_where_roles_must_alternate() -> None:
    """The text of a result without its call stands beside a user message, and only that one."""
    said = [
        {"role": "user", "content": "One."},
        {"role": "user", "content": "Two."},
        {"role": "assistant", "content": "Yes."},
        {"role": "tool", "tool_call_id": "gone", "content": "Lost."},
        {"role": "user", "content": "And?"},
    ]
    body = PROTOCOLS["chat"].provider.render(parsed("chat", said), "m", PLAIN).body
    assert body["messages"][:3] == said[:3]
    (last,) = body["messages"][3:]
    assert last["role"] == "user"
    assert "Lost." in last["content"]
    assert last["content"].endswith("\n\nAnd?")


def test_what_a_flow_added_is_fitted_together_with_the_clients_messages() -> None:
    before = REQUESTS["chat"][0]
    conversation = parsed("chat", before).then(user("Go on."))
    body = PROTOCOLS["chat"].provider.render(conversation, "m", PLAIN).body
    first = body["messages"][0]
    assert first == {"role": "user", "content": "One.\n\nTwo.", "name": "ada"}
