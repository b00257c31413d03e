"""A client knows its own tools again, whatever the model behind was offered."""

from typing import Any

import pytest

from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, Json, Protocol, ToolCall
from polyvox.workflows.events import fold, unfold
from polyvox.workflows.reply import Reply
from tests.crossing.passages import CREATED, RUN_ID, decode, others, split

LONG = "mcp__" + "harbour_" * 9 + "look"

_REQUESTS: dict[Protocol, dict[str, Json]] = {
    "chat": {
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [
            {"type": "custom", "custom": {"name": "patch"}},
            {"type": "function", "function": {"name": LONG}},
        ],
    },
    "responses": {
        "input": "Hi",
        "tools": [
            {"type": "custom", "name": "patch"},
            {"type": "function", "name": LONG, "parameters": None},
            {
                "type": "namespace",
                "name": "agents",
                "tools": [{"type": "custom", "name": "exec"}, {"type": "function", "name": "ask"}],
            },
        ],
    },
    "messages": {
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"name": LONG, "input_schema": {"type": "object"}}],
    },
}
_FREE = ("patch", "agents__exec")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("live", [True, False], ids=["streamed", "at the end"])
def test_calls_side_by_side_come_back_as_the_client_offered_them(
    protocol: Protocol, live: bool
) -> None:
    """By name, namespace and kind; the text of a free-form tool is the model's own."""
    ask = PROTOCOLS[protocol].parser.parse({"model": "m", **_REQUESTS[protocol]}, {})
    for over in others(protocol):
        offered = _offered(over, ask.conversation)
        assert all(len(name) <= 64 for name in offered)
        calls = tuple(
            ToolCall(f"c{i}", name, '{"input":"*** x\\n"}' if name in _FREE else "{}")
            for i, name in enumerate(offered)
        )
        reply = Reply(calls, "tool_calls")
        encoder = PROTOCOLS[protocol].answers.encoder(ask, run_id=RUN_ID, created=CREATED)
        shown = [encoder.feed(event) for event in unfold(reply)] if live else []
        again = fold(decode(protocol, split(b"".join(shown) + encoder.finish(reply))))
        expected = [
            (tool.name, tool.kind, "*** x\n" if tool.kind == "custom" else "{}")
            for tool in ask.conversation.tools
        ]
        assert [(_flat(call), call.kind, call.arguments) for call in again.tool_calls] == expected
        document = PROTOCOLS[protocol].answers.render(ask, reply, run_id=RUN_ID, created=CREATED)
        assert LONG in str(document)


def _flat(call: ToolCall) -> str:
    return f"{call.namespace}__{call.name}" if call.namespace else call.name


def _offered(over: Protocol, conversation: Conversation) -> list[str]:
    tools: list[Any] = PROTOCOLS[over].provider.render(conversation, "a-model").body["tools"]
    return [(tool.get(tool.get("type", "")) or tool)["name"] for tool in tools]


def test_the_next_turn_has_the_names_the_provider_was_offered() -> None:
    """A history of calls fits the tools beside it, or a provider refuses both."""
    call = {"type": "tool_use", "id": "toolu_1", "name": LONG, "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Fog."}
    body = {"model": "m", **_REQUESTS["messages"]}
    body["messages"] = [
        *body["messages"],
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    conversation = PROTOCOLS["messages"].parser.parse(body, {}).conversation
    (offered,) = _offered("chat", conversation)
    history = PROTOCOLS["chat"].provider.render(conversation, "a-model").body["messages"]
    assert history[1]["tool_calls"][0]["function"]["name"] == offered != LONG
