"""A content part of an unknown type: unchanged to its own protocol, refused by path for others."""

import pytest

from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from tests.protocols.test_foreign_parts import parsed

VIDEO: Json = {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TEXT: Json = {"type": "text", "text": "What is this?"}
SPOKEN: Json = {"type": "input_text", "text": "What is this?"}
CHAT_TURN = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
]
ITEMS = [
    {"role": "user", "content": "hi"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
]
BLOCKS = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
]
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": [TEXT, VIDEO]}
CUSTOM = {"type": "document", "source": {"type": "content", "content": "A page."}}

REQUESTS: dict[str, tuple[str, dict[str, Json], str]] = {
    "user, chat": (
        "chat",
        {"messages": [{"role": "user", "content": [TEXT, VIDEO]}]},
        "messages[0].content[1]",
    ),
    "user, responses": (
        "responses",
        {"input": [{"role": "user", "content": [SPOKEN, VIDEO]}]},
        "input[0].content[1]",
    ),
    "user, messages": (
        "messages",
        {"messages": [{"role": "user", "content": [TEXT, VIDEO]}]},
        "messages.0.content.1",
    ),
    "after instructions, chat": (
        "chat",
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [VIDEO]},
            ]
        },
        "messages[1].content[0]",
    ),
    "instructions, chat": (
        "chat",
        {"messages": [{"role": "developer", "content": [VIDEO]}, *CHAT_TURN[:1]]},
        "messages[0].content[0]",
    ),
    "instructions, messages": (
        "messages",
        {"system": [TEXT, VIDEO], "messages": BLOCKS[:1]},
        "system.1",
    ),
    "result, chat": (
        "chat",
        {"messages": [*CHAT_TURN, {"role": "tool", "tool_call_id": "c", "content": [TEXT, VIDEO]}]},
        "messages[2].content[1]",
    ),
    "result, responses": (
        "responses",
        {
            "input": [
                *ITEMS,
                {"type": "function_call_output", "call_id": "c", "output": [SPOKEN, VIDEO]},
            ]
        },
        "input[2].output[1]",
    ),
    "result, messages": (
        "messages",
        {"messages": [*BLOCKS, {"role": "user", "content": [RESULT]}]},
        "messages.2.content.0.content.1",
    ),
    "unknown source, messages": (
        "messages",
        {"messages": [{"role": "user", "content": [TEXT, CUSTOM]}]},
        "messages.0.content.1",
    ),
}


@pytest.mark.parametrize("to", PROTOCOLS)
@pytest.mark.parametrize("name", REQUESTS)
def test_an_unknown_part_goes_to_its_own_protocol_only(name: str, to: str) -> None:
    """Another protocol's provider would answer without it."""
    protocol, members, path = REQUESTS[name]
    conversation = parsed(protocol, **members).conversation
    if to == protocol:
        rendered = PROTOCOLS[to].provider.render(conversation, "m")
        assert str(VIDEO) in str(rendered.body) or str(CUSTOM) in str(rendered.body)
        assert not [loss for loss in rendered.losses if "video" in loss]
        return
    with pytest.raises(ModelError) as refused:
        PROTOCOLS[to].provider.render(conversation, "m")
    assert (refused.value.kind, refused.value.param) == ("unsupported", path)
    assert path in refused.value.message
    assert refused.value.http_status == 400


OWN_ANSWERS: dict[str, tuple[str, dict[str, Json]]] = {
    "messages": (
        "messages",
        {
            "messages": [
                BLOCKS[0],
                {
                    "role": "assistant",
                    "content": [
                        TEXT,
                        {"type": "new_tool_use", "id": "s", "name": "web_search", "input": {}},
                    ],
                },
                {"role": "user", "content": [TEXT, {"type": "container_upload", "file_id": "f"}]},
            ]
        },
    ),
    "responses": (
        "responses",
        {
            "input": [
                ITEMS[0],
                {"type": "new_search_call", "id": "ws_1", "status": "completed"},
                {"role": "user", "content": [SPOKEN]},
                {"type": "compaction_trigger"},
            ]
        },
    ),
}


@pytest.mark.parametrize("name", OWN_ANSWERS)
def test_what_a_provider_wrote_itself_is_a_named_loss(name: str) -> None:
    """A session must be able to go on with a model of another protocol."""
    protocol, members = OWN_ANSWERS[name]
    conversation = parsed(protocol, **members).conversation
    for to in PROTOCOLS:
        rendered = PROTOCOLS[to].provider.render(conversation, "m")
        named = [loss for loss in rendered.losses if loss.startswith("new_")]
        assert bool(named) == (to != protocol)
