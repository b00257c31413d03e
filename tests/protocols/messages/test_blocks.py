import base64
from typing import Any

import pytest

from polyvox.protocols.messages import elements as messages
from polyvox.protocols.messages.blocks import render_answer_block
from polyvox.protocols.sealed_reasoning import seal
from polyvox.workflows.conversation import (
    Audio,
    Conversation,
    File,
    Image,
    Json,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Wire,
    assistant,
    tool_result,
    user,
)
from polyvox.workflows.errors import ModelError


def rendered(*said: Message, system: Message | None = None) -> tuple[list[Json], list[str]]:
    losses: list[str] = []
    return messages.render_messages(Conversation(said, system), losses), losses


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, Text("a")),
        (
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
            Image(Source(file_id="f")),
        ),
        (
            {"type": "document", "source": {"type": "text", "data": "hej", "media_type": "x"}},
            File(Source("text/plain", data=base64.b64encode(b"hej").decode())),
        ),
        ({"type": "document", "source": {"type": "content", "content": []}}, Opaque()),
        ({"type": "image", "source": {"type": "satellite"}}, Opaque()),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "S",
                "content": [{"type": "text", "text": "body"}],
            },
            Text("T (S)\nbody"),
        ),
        ({"type": "thinking", "thinking": "t", "signature": "s"}, Reasoning("t", "s", "messages")),
        (
            {"type": "thinking", "thinking": "t", "signature": seal("responses", "enc")},
            Reasoning("t", "enc", "responses"),
        ),
        (
            {"type": "thinking", "thinking": "t", "signature": seal("chat", "")},
            Reasoning("t", None, "chat"),
        ),
        ({"type": "redacted_thinking", "data": "d"}, Reasoning("", "d", "messages", True)),
        (
            {"type": "tool_use", "id": "i", "name": "n", "input": {"b": 1, "a": 2}, "caller": {}},
            ToolCall("i", "n", '{"b":1,"a":2}'),
        ),
        ({"type": "tool_result", "tool_use_id": "i", "content": None}, ToolResult("i", ())),
        (
            {
                "type": "tool_result",
                "tool_use_id": "i",
                "is_error": True,
                "content": [{"type": "tool_reference", "tool_name": "x"}],
            },
            ToolResult("i", (Text("Tool x can be called."),), True),
        ),
        ({"type": "server_tool_use", "id": "i", "name": "web_search", "input": {}}, Opaque()),
        ({"type": "from_the_future"}, Opaque()),
    ],
)
def test_each_block_has_its_part_and_goes_back_unchanged(block: Json, part: Part) -> None:
    """A known block gives a typed part, an unknown one Opaque; both keep the whole block."""
    message = messages.parse_message({"role": "user", "content": [block]})
    assert message.parts == (part,)
    assert message.parts[0].on_wire("messages") is block


@pytest.mark.parametrize(
    ("element", "param"),
    [
        ({"role": "tool", "content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": ["x"]}, "content.0"),
        ({"role": "user", "content": [{"type": "text"}]}, "content.0.text"),
        ({"role": "user", "content": [{"type": "image"}]}, "content.0.source"),
        (
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": 1}}]},
            "content.0.source.url",
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "input": "{}"}]},
            "content.0.input",
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text"}]}
                ],
            },
            "content.0.content.0.text",
        ),
    ],
)
def test_an_ill_typed_field_is_named(element: Json, param: str) -> None:
    with pytest.raises(ModelError) as caught:
        messages.parse_message(element)
    assert caught.value.kind == "invalid_request"
    assert caught.value.param == param


@pytest.mark.parametrize("origin", ["chat", "responses"])
@pytest.mark.parametrize("opaque", [None, "blob"])
def test_a_client_brings_foreign_reasoning_back(origin: Any, opaque: str | None) -> None:
    """The signature slot carries the other protocol's blob there and back."""
    part = Reasoning("hm", opaque, origin)
    block = render_answer_block(part)
    message = messages.parse_message({"role": "assistant", "content": [block]})
    assert message.parts == (part,)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (Opaque(wire=Wire("responses", {"type": "item_reference", "id": "x"})), "item_reference"),
        (Image(Source(file_id="file-1")), "file_id"),
        (File(Source("application/zip", data="UEsDBP8=")), "file"),
        (ToolCall("i", "f", "[1"), "arguments"),
    ],
)
def test_what_has_no_place_here_is_a_named_loss(part: Part, name: str) -> None:
    _, losses = rendered(user("hi"), assistant(part))
    assert [loss.partition(":")[0] for loss in losses] == [name]


def test_audio_is_refused_by_name() -> None:
    """A model that cannot hear must not answer as if nothing had been said."""
    with pytest.raises(ModelError) as caught:
        rendered(Message("user", (Audio("AAAA", "wav"),)))
    assert caught.value.kind == "unsupported"


def test_foreign_calls_fit_the_alphabet_and_the_shape_of_this_protocol() -> None:
    """Ids keep call and result a pair; free text rides in an object; a namespace in the name."""
    call = ToolCall("call:1", "apply", "*** patch", kind="custom", namespace="files")
    elements, _ = rendered(user("go"), assistant(call, Refusal("no")), tool_result(call, "ok"))
    assert elements[1]["content"] == [
        {
            "type": "tool_use",
            "id": "call_1",
            "name": "files__apply",
            "input": {"input": "*** patch"},
        },
        {"type": "text", "text": "no"},
    ]
    assert elements[2]["content"][0]["tool_use_id"] == "call_1"


@pytest.mark.parametrize("data", ["%%%", "\u2028", base64.b64encode(b"\xff").decode()])
def test_a_document_that_is_no_text_is_a_loss(data: str) -> None:
    """Clients send anything as a file; the rest of the message goes on."""
    file = File(Source("text/plain", data=data))
    (turn,), losses = rendered(Message("user", (Text("Look"), file)))
    assert turn["content"] == [{"type": "text", "text": "Look"}]
    assert losses == ["file: no document of type 'text/plain'"]
