"""What a client of each protocol is sent, held against the official SDKs' own types.

Each event is validated strictly by the class the SDK has for its type, and the order of events by
the protocol's grammar. Further members are allowed, as the SDKs allow them.
"""

from typing import Any, Final, get_args

import orjson
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from polyvox.workflows.conversation import Json, Protocol

Frame = tuple[str | None, bytes]
"""The name and the data of one server-sent event."""


def _classes(union: Any) -> dict[str, type[BaseModel]]:
    members = get_args(get_args(union)[0])
    return {get_args(member.model_fields["type"].annotation)[0]: member for member in members}


_RESPONSES: Final = _classes(ResponseStreamEvent)
_MESSAGES: Final = _classes(RawMessageStreamEvent)

_DOCUMENTS: Final[dict[Protocol, type[BaseModel]]] = {
    "chat": ChatCompletion,
    "responses": Response,
    "messages": Message,
}


def check_document(protocol: Protocol, document: Json) -> None:
    """Validate a whole answer. Raises pydantic's ValidationError."""
    _DOCUMENTS[protocol].model_validate_json(orjson.dumps(document), strict=True)


def check_stream(protocol: Protocol, frames: list[Frame]) -> None:
    """Validate a stream: each event and their order."""
    {"chat": _check_chat, "responses": _check_responses, "messages": _check_messages}[protocol](
        frames
    )


def _check_chat(frames: list[Frame]) -> None:
    assert frames[-1] == (None, b"[DONE]")
    chunks = []
    for name, data in frames[:-1]:
        assert name is None
        chunks.append(ChatCompletionChunk.model_validate_json(data, strict=True))
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    ended = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert len(ended) == 1
    counted = [chunk for chunk in chunks if not chunk.choices]
    assert len(counted) <= 1
    assert chunks[-1] is (counted or ended)[0]
    calls: set[int] = set()
    for chunk in chunks:
        for entry in chunk.choices[0].delta.tool_calls or () if chunk.choices else ():
            if entry.index not in calls:
                assert entry.index == len(calls)
                assert entry.id
                calls.add(entry.index)
            else:
                assert entry.index == len(calls) - 1, "one call is written at a time"


def _check_responses(frames: list[Frame]) -> None:
    assert frames[-1] == (None, b"[DONE]")
    open_item: Json = None
    done: list[Json] = []
    open_parts: dict[int, str] = {}
    for number, (name, data) in enumerate(frames[:-1]):
        event = orjson.loads(data)
        assert event["type"] == name
        assert event["sequence_number"] == number
        assert name in _RESPONSES, f"the SDK knows no event {name!r}"
        _RESPONSES[name].model_validate_json(data, strict=True)
        if name in ("response.created", "response.in_progress"):
            assert event["response"]["output"] == []
        elif name == "response.output_item.added":
            assert open_item is None, "one item is written at a time"
            assert event["output_index"] == len(done)
            open_item = event["item"]
        elif name == "response.output_item.done":
            assert event["output_index"] == len(done)
            assert event["item"]["id"] == open_item["id"]
            assert event["item"]["type"] == open_item["type"]
            done.append(event["item"])
            open_item, open_parts = None, {}
        elif "output_index" in event:
            assert open_item is not None
            assert event["output_index"] == len(done)
            assert event.get("item_id", open_item["id"]) == open_item["id"]
            if name == "response.output_text.delta":
                open_parts[event["content_index"]] = (
                    open_parts.get(event["content_index"], "") + event["delta"]
                )
            elif name == "response.output_text.done":
                assert event["text"] == open_parts.get(event["content_index"], "")
    names = [name for name, _ in frames[:-1]]
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] in ("response.completed", "response.incomplete")
    last = orjson.loads(frames[-2][1])["response"]
    assert open_item is None
    assert last["output"] == done
    assert last["usage"] is not None
    assert len({item["id"] for item in done}) == len(done)


def _check_messages(frames: list[Frame]) -> None:
    open_index: int | None = None
    blocks = 0
    names = [name for name, _ in frames]
    for name, data in frames:
        event = orjson.loads(data)
        assert event["type"] == name
        assert name in _MESSAGES, f"the SDK knows no event {name!r}"
        _MESSAGES[name].model_validate_json(data, strict=True)
        match name:
            case "content_block_start":
                assert open_index is None, "one block is open at a time"
                assert event["index"] == blocks
                open_index, blocks = blocks, blocks + 1
            case "content_block_delta":
                assert event["index"] == open_index
            case "content_block_stop":
                assert event["index"] == open_index
                open_index = None
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    assert names.count("message_delta") == 1
    assert open_index is None
