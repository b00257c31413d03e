"""An opening event that already holds content, a finish reason or usage, in every protocol."""

import orjson
import pytest

from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Opaque, Protocol, Reasoning, Text, ToolCall
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import fold
from polyvox.workflows.reply import Usage
from tests.samples.provider_answers import decoded, document, frames, replied, streamed

ROLL: Json = {
    "type": "tool_use",
    "id": "t",
    "name": "rollDie",
    "input": {"player": "p2"},
    "caller": {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"},
}
OPENED: Json = {
    "model": "m",
    "role": "assistant",
    "content": [ROLL],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "container": {"id": "container_1"},
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
STOP: Json = {"type": "message_stop"}


def start(**changes: Json) -> Json:
    return {"type": "message_start", "message": {**OPENED, **changes}}


def test_a_message_start_may_be_the_whole_answer() -> None:
    """Programmatic tool calling sends a call, its reason and its usage there."""
    reply = replied("messages", frames(start(), STOP))
    assert reply.parts == (ToolCall("t", "rollDie", '{"player":"p2"}'),)
    assert reply.parts[0].on_wire("messages") == ROLL
    assert (reply.finish, reply.usage) == ("tool_calls", Usage(input=3, output=2))
    assert reply.wire is not None
    assert reply.wire.json["delta"]["container"] == {"id": "container_1"}


def test_what_follows_a_full_message_start_is_added() -> None:
    """Further blocks, a later reason and later usage; blocks that are repeated count once."""
    again = {"type": "content_block_start", "index": 0, "content_block": ROLL}
    more = {"type": "content_block_start", "index": 1, "content_block": {"type": "text"}}
    said = {"type": "text_delta", "text": "Hi"}
    reply = replied(
        "messages",
        frames(
            start(stop_reason=None),
            again,
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": "{"},
            },
            {"type": "content_block_stop", "index": 0},
            more,
            {"type": "content_block_delta", "index": 1, "delta": said},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": ""}, "usage": {"output_tokens": 9}},
            {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}},
            STOP,
        ),
    )
    assert reply.parts == (ToolCall("t", "rollDie", '{"player":"p2"}'), Text("Hi"))
    assert (reply.finish, reply.usage) == ("length", Usage(input=3, output=9))


def test_every_block_of_a_message_start_counts() -> None:
    content: list[Json] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "Hi", "citations": [{"type": "char_location"}]},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}},
    ]
    reply = replied("messages", frames(start(content=content, stop_reason="end_turn"), STOP))
    assert reply.parts == (Reasoning("Hm.", "s", "messages"), Text("Hi"), Opaque())
    assert [part.on_wire("messages") for part in reply.parts] == content


def test_a_first_chunk_may_be_the_whole_answer() -> None:
    """Content, reason and usage in one chunk, as a delta or as a message."""
    message = {"role": "assistant", "content": "Hi"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    for name in ("delta", "message"):
        choice = {"index": 0, name: message, "finish_reason": "length"}
        [frame] = frames({"model": "m", "choices": [choice], "usage": usage})
        reply = replied("chat", [frame, (None, b"[DONE]")])
        assert (reply.text, reply.finish, reply.usage) == ("Hi", "length", Usage(3, output=2))


def test_a_message_that_repeats_what_was_streamed_counts_once() -> None:
    """Some servers end their stream with a chunk that holds the whole message."""
    chunks: list[Json] = [
        {"choices": [{"index": 0, "delta": {"content": "Hi"}, "message": {"content": "Hi"}}]},
        {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]},
    ]
    assert replied("chat", frames(*chunks)).text == "Hi"


@pytest.mark.parametrize("end", ["completed with nothing", "the end mark", "the end of the body"])
def test_a_created_response_may_be_the_whole_answer(end: str) -> None:
    """Items, status and usage count, whatever the terminal event repeats of them."""
    response = orjson.loads(document("responses", "Hi", (("c", "f", "{}"),)))
    created = {"type": "response.created", "response": response}
    stream = frames(created)
    if end == "completed with nothing":
        bare: Json = {"status": "completed", "output": [], "usage": None}
        stream += frames({"type": "response.completed", "response": bare})
    elif end == "the end mark":
        stream.append((None, b"[DONE]"))
    reply = replied("responses", stream)
    assert reply.parts == (Text("Hi"), ToolCall("c", "f", "{}"))
    assert (reply.finish, reply.usage) == ("tool_calls", Usage(input=3, output=2))


def test_items_of_a_created_response_that_are_streamed_count_once() -> None:
    response = orjson.loads(document("responses", "Hi"))
    created = {"type": "response.created", "response": {**response, "status": "in_progress"}}
    stream = streamed("responses", "Hi")
    assert replied("responses", [*frames(created), *stream[1:]]).parts == (Text("Hi"),)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_whole_answer_is_the_same_as_its_stream(protocol: Protocol) -> None:
    calls = (("c", "f", '{"a":1}'), ("d", "g", "{}"))
    whole = replied(protocol, [(None, document(protocol, "Hi", calls, "stop"))])
    assert whole == replied(protocol, streamed(protocol, "Hi", calls, "stop"))
    assert whole.finish == "tool_calls"
    assert whole.usage == Usage(input=3, output=2)


def test_the_text_of_a_whole_answer_may_be_a_string() -> None:
    """Where the protocol has a list of blocks or parts."""
    message = {"type": "message", "role": "assistant", "content": "Hi", "stop_reason": "end_turn"}
    assert replied("messages", frames(message)).parts == (Text("Hi"),)
    item = {"type": "message", "role": "assistant", "content": "Hi"}
    response = {"object": "response", "status": "completed", "output": [item]}
    assert replied("responses", frames(response)).parts == (Text("Hi"),)


def test_thoughts_of_a_whole_message_come_before_its_text() -> None:
    """Wherever the server writes the member."""
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = replied("chat", frames({"model": "m", "choices": [choice]}))
    assert reply.parts == (Reasoning("Hm.", origin="chat"), Text("Hi"))


@pytest.mark.parametrize("name", ["error", None])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_error_without_a_type_is_an_error(protocol: Protocol, name: str | None) -> None:
    """Gateways before a provider write their own, in the middle of its stream."""
    error = {"message": "slow down", "type": "rate_limit_error"}
    [(_, data)] = frames({"error": error})
    with pytest.raises(ModelError, match="slow down") as caught:
        decoded(protocol, [(name, data)])
    assert caught.value.kind == "rate_limit"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_whole_response_that_failed_is_its_error(status: str) -> None:
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    failed = {"object": "response", "status": status, "output": [], "error": error}
    with pytest.raises(ModelError):
        decoded("responses", frames(failed))
    with pytest.raises(ModelError):
        decoded("responses", frames({"type": "response.completed", "response": failed}))


def test_a_whole_response_that_goes_on_is_no_answer() -> None:
    queued = {"object": "response", "status": "in_progress", "output": []}
    with pytest.raises(ModelError) as caught:
        fold(decoded("responses", frames(queued)))
    assert caught.value.kind == "stream_cut"
