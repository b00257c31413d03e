from dataclasses import replace
from typing import Any

import orjson
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from polyvox.protocols.client_side import Encoder
from polyvox.protocols.messages.client import request as messages
from polyvox.protocols.messages.client import response as messages_response
from polyvox.protocols.messages.provider import request as provider
from polyvox.protocols.messages.usage import render_usage
from polyvox.protocols.sealed_reasoning import seal
from polyvox.workflows.conversation import (
    Json,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Wire,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import (
    Event,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    fold,
    opened,
    unfold,
    written,
)
from polyvox.workflows.reply import Reply, Usage
from tests.samples.messages import STREAMS, frames, opaques, recorded, replies, sse

BODY: dict[str, Json] = {
    "model": "public-name",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hi"}],
    "stream": True,
}


ASK = messages.parse(BODY, {})


FOREIGN: list[Part] = [
    Text("Hello"),
    Reasoning("hm", "blob", "responses"),
    Reasoning("", "blob", "responses"),
    Reasoning("ah", None, "chat"),
    ToolCall("call_1", "f", '{"a": 1}'),
    ToolCall("call_2", "g", "{}"),
    ToolCall("call_3", "patch", "*** text", kind="custom"),
]


def encoder() -> Encoder:
    return messages_response.encoder(ASK, run_id="r1", created=0)


def encoded(events: list[Event], reply: Reply) -> bytes:
    writer = encoder()
    return b"".join(map(writer.feed, events)) + writer.finish(reply)


def decoded(stream: bytes) -> Reply:
    decoder = provider.decoder()
    return fold(e for name, data in frames(stream) for e in decoder.feed(name, data))


def unwired(reply: Reply) -> Reply:
    """Return the reply without what only this protocol says of it."""
    return replace(reply, wire=None)


def documents(stream: bytes) -> list[Json]:
    """Return the events of a well-formed stream; checks names, indexes and nesting."""
    found = []
    index, is_open = -1, False
    for name, data in frames(stream):
        event = orjson.loads(data)
        assert event["type"] == name
        match name:
            case "content_block_start":
                assert not is_open
                index, is_open = index + 1, True
                assert event["index"] == index
            case "content_block_delta":
                assert is_open
                assert event["index"] == index
            case "content_block_stop":
                assert is_open
                is_open = False
                assert event["index"] == index
        found.append(event)
    assert not is_open
    names = [event["type"] for event in found]
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    return found


@given(replies)
def test_a_stream_decodes_to_the_reply_it_was_encoded_from(reply: Reply) -> None:
    """Encoder and Decoder are a mirror pair."""
    events = unfold(reply)
    assert unwired(decoded(encoded(events, reply))) == reply
    assert unwired(decoded(encoded([], reply))) == reply


@given(replies, st.lists(opaques))
def test_unknown_blocks_survive_the_mirror(reply: Reply, wires: list[Wire]) -> None:
    unknown = tuple(Opaque(wire=wire) for wire in wires)
    stream = encoded([], Reply(reply.parts + unknown, reply.finish))
    parts = decoded(stream).parts[len(reply.parts) :]
    assert [part.on_wire("messages") for part in parts] == [wire.json for wire in wires]


@given(replies, st.data())
def test_finish_completes_a_stream_cut_anywhere(reply: Reply, data: st.DataObject) -> None:
    """Where the sent parts begin the reply, nothing is missing and nothing said twice."""
    events = _pieces(reply)
    cut = data.draw(st.integers(0, len(events)))
    again = decoded(encoded(events[:cut], reply))
    assert unwired(again) == reply


def _pieces(reply: Reply) -> list[Event]:
    """Unfold with one delta a character."""
    events: list[Event] = [Started("other-name")]
    for part in reply.parts:
        events.append(PartStarted(opened(part)))
        events += [PartDelta(character) for character in written(part)]
        events.append(PartEnded(part))
    return events


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("live", [True, False])
def test_a_recorded_answer_passes_through_whole(name: str, live: bool) -> None:
    """Blocks, signatures, citations, usage and stop details come out as they went in."""
    decoder = provider.decoder()
    events = [e for n, data in recorded(name) for e in decoder.feed(n, data)]
    reply = fold(events)
    stream = encoded(events if live else [], reply)
    again = decoded(stream)
    assert again.parts == reply.parts
    assert [p.on_wire("messages") for p in again.parts] == [
        p.on_wire("messages") for p in reply.parts
    ]
    assert (again.finish, again.stop_sequence) == (reply.finish, reply.stop_sequence)
    assert render_usage(again.usage) == render_usage(reply.usage)
    assert reply.wire is not None
    assert again.wire is not None
    assert again.wire.json["delta"].items() >= reply.wire.json["delta"].items()
    assert again.wire.json["event"] == reply.wire.json["event"]
    assert again.wire.json["usage"].items() >= reply.wire.json["usage"].items()


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_keeps_its_deltas(name: str) -> None:
    """Live, each delta comes out where it came in: text, JSON, citations, signatures alike."""
    decoder = provider.decoder()
    events = [e for n, data in recorded(name) for e in decoder.feed(n, data)]
    sent = [
        d["delta"]
        for d in documents(encoded(events, fold(events)))
        if "index" in d and "delta" in d
    ]
    came = [orjson.loads(data) for _, data in recorded(name)]
    deltas = [e["delta"] for e in came if e["type"] == "content_block_delta"]
    silent = ({"text": ""}, {"thinking": ""}, {"partial_json": ""}, {"partial_json": "{}"})
    assert [d for d in sent if _told(d) not in silent] == [
        d for d in deltas if _told(d) not in silent
    ]


def _told(delta: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in delta.items() if name != "type"}


SDK_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


SDK_BETA_EVENT: TypeAdapter[Any] = TypeAdapter(BetaRawMessageStreamEvent)


BETA = {"compaction_1", "clear_tool_uses_1"}


OLDER = {"compaction_1", "tool_search_regex_1"}
"""Recordings from before members that the SDK's types now require."""


@pytest.mark.parametrize("name", [name for name in STREAMS if name not in OLDER])
def test_the_official_sdk_reads_what_is_written(name: str) -> None:
    """Streams and whole answers validate against the SDK's own types, not merely construct."""
    reply = fold(e for d in [provider.decoder()] for n, x in recorded(name) for e in d.feed(n, x))
    event = SDK_BETA_EVENT if name in BETA else SDK_EVENT
    for document in documents(encoded([], reply)):
        event.validate_python(document)
    kind = BetaMessage if name in BETA else SdkMessage
    kind.model_validate(messages_response.render(ASK, reply, run_id="r1", created=0))


def test_the_official_sdk_reads_a_foreign_answer() -> None:
    reply = Reply((*FOREIGN, Refusal("no")), "refusal", Usage(1, None, None, 2), "m")
    for document in documents(encoded([], reply)):
        SDK_EVENT.validate_python(document)
    whole = SdkMessage.model_validate(messages_response.render(ASK, reply, run_id="r1", created=0))
    assert whole.stop_details is not None
    assert whole.stop_details.explanation == "no"


@pytest.mark.parametrize("part", FOREIGN)
@pytest.mark.parametrize("live", [True, False])
def test_parts_of_other_protocols_are_spelled_in_this_one(part: Any, live: bool) -> None:
    reply = Reply((part,), "length", model="public-name")
    stream = encoded(unfold(reply) if live else [], reply)
    block = messages_response.render(ASK, reply, run_id="r1", created=0)["content"][0]
    assert decoded(stream).parts[0].on_wire("messages") == block
    match part:
        case Reasoning(text, opaque, origin):
            assert block["thinking"] == text
            assert block["signature"] == seal(origin or "chat", opaque or "")
        case ToolCall(kind="custom"):
            assert block["input"] == {"input": part.arguments}
        case ToolCall():
            assert block["input"] == orjson.loads(part.arguments)


def test_what_clients_need_to_go_on_is_there() -> None:
    """Each of these, left out, makes a real agent fail or loop."""
    reply = Reply((Text("a"), ToolCall("t1", "f", "{}")), "tool_calls", Usage(5, 1, 2, 7))
    stream = encoded(unfold(reply), reply)
    events = documents(stream)
    assert stream.count(b"event: ") == stream.count(b"data: ") == len(events)
    start, stop = events[0]["message"], events[-2]
    assert start["usage"]["input_tokens"] == 0
    assert (start["id"], start["type"], start["role"]) == ("msg_r1", "message", "assistant")
    assert (start["model"], start["content"], start["stop_reason"]) == ("public-name", [], None)
    assert [e["type"] for e in events if e.get("index") == 1] == [
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    ]
    assert stop["delta"]["stop_reason"] == "tool_use"
    assert stop["usage"] == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 1,
        "output_tokens": 7,
    }
    assert {e["type"] for e in events} <= {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    }


def test_several_calls_write_one_stream() -> None:
    """A flow streams some text, asks a hidden question and streams on: one message, one count."""
    first, second = Reply((Text("one"),), model="a"), Reply((Text("two"),), model="b")
    events = unfold(first) + unfold(second)
    truth = Reply(first.parts + second.parts, usage=Usage(3, 0, 0, 4))
    assert decoded(encoded(events, truth)).parts == (Text("one"), Text("two"))


@pytest.mark.parametrize(
    ("sent", "truth", "shown"),
    [
        ([Text("a"), Text("b")], [Text("abc")], ["a", "b", "c"]),
        ([Text("a"), Text("b")], [Text("b")], ["a", "b"]),
        ([Text("b")], [Text("a"), Text("b")], ["b", "a"]),
        ([Text("x")], [Text("a")], ["x", "a"]),
        ([Text("a")], [], ["a"]),
    ],
)
def test_what_was_sent_is_never_repeated(sent: Any, truth: Any, shown: list[str]) -> None:
    """The stream is a preview: what the reply lacks cannot be called back, the rest is added."""
    stream = encoded(unfold(Reply(tuple(sent))), Reply(tuple(truth)))
    documents(stream)
    assert [written(part) for part in decoded(stream).parts] == shown


def test_a_part_left_open_by_a_broken_call_is_closed_before_the_next() -> None:
    """Its thinking is marked foreign, so that no provider is shown it unsigned."""
    native = Reasoning("", origin="messages", wire=Wire("messages", {"type": "thinking"}))
    events: list[Event] = [
        Started(),
        PartStarted(native),
        PartDelta("hm"),
        PartStarted(Text("")),
        PartDelta("a"),
    ]
    stream = encoded(events, Reply((Text("ab"),)))
    documents(stream)
    assert decoded(stream).parts[1] == Text("ab")
    block = decoded(stream).parts[0].on_wire("messages")
    assert block == {"type": "thinking", "thinking": "hm", "signature": seal("chat", "")}


def test_an_empty_part_leaves_no_block() -> None:
    """A client would send it back, and the API refuses empty text."""
    reply = Reply((Text(""), Reasoning(""), Text("a")))
    for stream in (encoded(unfold(reply), reply), encoded([], reply)):
        assert [event.get("index") for event in documents(stream)][1:4] == [0, 0, 0]
        assert decoded(stream).parts == (Text("a"),)
    assert len(messages_response.render(ASK, reply, run_id="r1", created=0)["content"]) == 1


def test_a_waiting_client_gets_pings_once_the_message_has_begun() -> None:
    writer = encoder()
    assert writer.keep_alive().startswith(b":")
    writer.feed(Started())
    assert writer.keep_alive() == b'event: ping\ndata: {"type":"ping"}\n\n'
    writer.finish(Reply(()))
    assert writer.keep_alive() == b""


def test_a_failed_stream_ends_with_an_error_event_alone() -> None:
    """A clean end after a failure is taken for success by many clients."""
    writer = encoder()
    writer.feed(Started())
    [(name, data)] = frames(writer.fail(ModelError("overloaded", "busy")))
    assert name == "error"
    assert orjson.loads(data) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "busy (run r1)"},
        "request_id": "r1",
    }


def test_unknown_frames_of_a_provider_reach_the_client_as_deltas() -> None:
    delta = {"type": "later_delta", "x": 1}
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "later"}}
    stream = sse(
        {"type": "message_start", "message": {"model": "m", "usage": {}}},
        start,
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
    )
    decoder, writer = provider.decoder(), encoder()
    out = b"".join(writer.feed(e) for n, data in stream for e in decoder.feed(n, data))
    assert [orjson.loads(data) for _, data in frames(out)][1:3] == [
        start,
        {"type": "content_block_delta", "index": 0, "delta": delta},
    ]


def test_what_has_no_block_here_is_not_streamed() -> None:
    """A refusal is told by the ending alone; another protocol's own blocks are not told at all."""
    item = Opaque(wire=Wire("responses", {"type": "web_search_call"}))
    reply = Reply((item, Refusal("no"), Text("a")), "refusal")
    delta = PartDelta("", Wire("responses", {"type": "x"}))
    events: list[Event] = [Started(), PartStarted(item), delta, PartEnded(item)]
    for sent in (events, unfold(reply)):
        stream = encoded(sent, reply)
        assert decoded(stream).parts == (Text("a"), Refusal("no"))
        assert documents(stream)[-2]["delta"]["stop_details"]["explanation"] == "no"


def test_a_part_whose_end_contradicts_its_pieces_is_not_said_twice() -> None:
    """The preview cannot be called back; what it showed stays, the rest is not glued to it."""
    events: list[Event] = [PartStarted(Text("")), PartDelta("abc"), PartEnded(Text("xyz"))]
    writer = encoder()
    stream = b"".join(map(writer.feed, events)) + writer.finish(Reply((Text("xyz"),)))
    assert [part.text for part in decoded(stream).parts if isinstance(part, Text)] == ["abc", "xyz"]


def test_the_sdk_s_own_accumulation_gives_the_reply() -> None:
    """The official client builds the same message from the stream as from the whole answer."""
    reply = Reply(
        (Reasoning("hm", "sig", "messages"), Text("Hello"), ToolCall("t1", "f", '{"a":[1,2]}')),
        "tool_calls",
        Usage(10, 2, 3, 7, 4),
    )
    snapshot = None
    buffers: dict[int, bytes] = {}
    for document in documents(encoded(_pieces(reply), reply)):
        event = SDK_EVENT.validate_python(document)
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    whole = SdkMessage.model_validate(messages_response.render(ASK, reply, run_id="r1", created=0))
    assert snapshot.to_dict(exclude_none=True) == whole.to_dict(exclude_none=True)
