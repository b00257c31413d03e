from typing import Any

import orjson
import pytest

from polyvox.protocols.messages.provider import request as messages
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    user,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
    fold,
    written,
)
from polyvox.workflows.reply import Reply, Usage
from tests.samples.messages import STREAMS, recorded, sse

START: dict[str, Json] = {
    "type": "message_start",
    "message": {"model": "m", "usage": {"input_tokens": 3}},
}


STOP: dict[str, Json] = {"type": "message_stop"}


def decoded(frames: list[tuple[str | None, bytes]]) -> list[Event]:
    decoder = messages.decoder()
    return [e for name, data in frames for e in decoder.feed(name, data)] + decoder.finish()


def ended(reason: str = "end_turn", **usage: int) -> dict[str, object]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def block(start: Json, *deltas: Json) -> list[dict[str, object]]:
    return [
        {"type": "content_block_start", "index": 0, "content_block": start},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
    ]


def assembled(name: str) -> list[Json]:
    """Assemble a recording's blocks the plain way, as the expectation."""
    blocks: list[Json] = []
    for _, data in recorded(name):
        event = orjson.loads(data)
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"] | {"json": ""})
        if event["type"] != "content_block_delta":
            continue
        delta, last = event["delta"], blocks[-1]
        match delta["type"]:
            case "text_delta":
                last["text"] += delta["text"]
            case "thinking_delta":
                last["thinking"] += delta["thinking"]
            case "signature_delta":
                last["signature"] = delta["signature"]
            case "citations_delta":
                last["citations"].append(delta["citation"])
            case "input_json_delta":
                last["json"] += delta["partial_json"]
            case "compaction_delta":
                last["content"] = delta["content"]
    for last in blocks:
        if spelled := last.pop("json"):
            last["input"] = orjson.loads(spelled)
    return blocks


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_gives_every_block_back(name: str) -> None:
    """Signatures, citations, server tools and unknown blocks are whole in the parts' wire."""
    reply = fold(decoded(recorded(name)))
    parts = [part for part in reply.parts if not isinstance(part, Refusal)]
    assert [part.on_wire("messages") for part in parts] == assembled(name)


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_keeps_the_grammar(name: str) -> None:
    """One part open at a time, its deltas spell its text, and the end comes last."""
    events = decoded(recorded(name))
    assert isinstance(events[0], Started)
    assert isinstance(events[-2], UsageReported)
    assert isinstance(events[-1], Finished)
    text: str | None = None
    for event in events[1:-2]:
        match event:
            case PartStarted(part):
                assert text is None
                text = written(part)
            case PartDelta(more):
                assert text is not None
                text += more
            case PartEnded(part):
                assert text == written(part)
                text = None
            case _:
                pytest.fail(f"{event!r} within the parts")
    assert text is None


@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_stream_never_becomes_a_reply(name: str) -> None:
    """Whatever is missing at the end, the answer is not taken for whole."""
    frames = recorded(name)
    whole = next(i for i, (_, data) in enumerate(frames) if b'"message_stop"' in data)
    for cut in {0, 1, whole // 2, whole - 1, whole}:
        with pytest.raises(ModelError) as caught:
            fold(decoded(frames[:cut]))
        assert caught.value.kind == "stream_cut"


@pytest.mark.parametrize(
    ("name", "finish", "usage"),
    [
        ("tool_no_args", "tool_calls", Usage(565, 0, 0, 48, cache_write_1h=0)),
        ("refusal", "refusal", Usage(18, 0, 0, 5, cache_write_1h=0)),
        (
            "code_execution_20260120_prompt_cache_1",
            "stop",
            Usage(6, 6289, 3337, 198, 0, cache_write_1h=0),
        ),
        ("compaction_1", "stop", Usage(612 + 60385, 0, 0, 2819 + 522, cache_write_1h=0)),
        ("duplicate_message_start", "stop", Usage(17, None, None, 227)),
    ],
)
def test_recorded_endings_are_read(name: str, finish: str, usage: Usage) -> None:
    """The final usage completes the first one; it counts as running totals."""
    reply = fold(decoded(recorded(name)))
    assert (reply.finish, reply.usage) == (finish, usage)


def test_a_refusal_s_explanation_becomes_a_part() -> None:
    """Clients of other protocols get the words that stop_details has."""
    reply = fold(decoded(recorded("refusal")))
    explanations = [part.text for part in reply.parts if isinstance(part, Refusal)]
    assert len(explanations) == 1
    assert explanations[0].startswith("This request triggered restrictions")
    assert reply.wire is not None
    assert reply.wire.json["delta"]["stop_details"]["category"] == "cyber"


def test_an_answer_spliced_from_two_is_refused() -> None:
    """A proxy that asks again in mid-stream leaves half a tool call behind."""
    with pytest.raises(ModelError) as caught:
        decoded(recorded("spliced_message_start"))
    assert caught.value.kind == "bad_stream"


@pytest.mark.parametrize(
    ("events", "part"),
    [
        (block({"type": "text", "text": "He"}, {"type": "text_delta", "text": "y"}), Text("Hey")),
        (
            block({"type": "tool_use", "id": "i", "name": "n", "input": {"a": 1}}),
            ToolCall("i", "n", '{"a":1}'),
        ),
        (
            block(
                {"type": "tool_use", "id": "i", "name": "n", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"a": '},
            ),
            ToolCall("i", "n", '{"a": '),
        ),
        (
            block(
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "signature_delta", "signature": "s"},
            ),
            Reasoning("", "s", "messages"),
        ),
        (block({"type": "redacted_thinking", "data": "d"}), Reasoning("", "d", "messages", True)),
        (block({"type": "later", "x": 1}, {"type": "later_delta", "y": 2}), Opaque()),
    ],
)
def test_each_block_becomes_its_part(events: Any, part: Any) -> None:
    reply = fold(decoded(sse(START, *events, ended("max_tokens"), STOP)))
    assert reply.parts == (part,)


def test_unknown_deltas_ride_along_and_complete_the_block() -> None:
    """Text of an unknown block grows, anything else is said once."""
    deltas = [{"type": "z_delta", "z": "a", "n": 1}, {"type": "z_delta", "z": "b", "n": 2}]
    events = decoded(sse(START, *block({"type": "z", "z": ""}, *deltas), ended(), STOP))
    assert [e.wire.json for e in events if isinstance(e, PartDelta) and e.wire] == deltas
    assert fold(events).parts[0].on_wire("messages") == {"type": "z", "z": "ab", "n": 2}


def test_a_reply_goes_back_as_its_provider_wrote_it() -> None:
    """A tool loop within a flow returns thinking, signatures and server blocks unchanged."""
    reply: Reply = fold(decoded(recorded("tool_search_regex_1")))
    conversation = Conversation((user("hi"), reply.message))
    body = messages.render(conversation, "claude-opus-4-8").body
    assert body["messages"][1]["content"] == assembled("tool_search_regex_1")


def test_pings_and_unknown_events_say_nothing() -> None:
    assert decoded(sse({"type": "ping"}, {"type": "later"})) == []
    assert decoded([(None, b"[DONE]")]) == []


def test_unclosed_blocks_are_closed_by_what_follows() -> None:
    """Some servers of this protocol leave content_block_stop out."""
    start, delta, _ = block({"type": "text", "text": ""}, {"type": "text_delta", "text": "a"})
    reply = fold(decoded(sse(START, start, delta, {**start, "index": 1}, ended(), STOP)))
    assert reply.parts == (Text("a"), Text(""))


@pytest.mark.parametrize(
    "frames",
    [
        [(None, b"<html>")],
        [(None, b"[]")],
        [(None, b'{"type":"content_block_start","index":0,"content_block":{"type":"text"}}')],
        [(None, b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}')],
        sse(START, {"type": "content_block_start", "index": 0}),
        sse(
            START,
            block({"type": "text", "text": ""})[0],
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta"}},
        ),
    ],
)
def test_what_is_not_the_protocol_is_a_bad_stream(frames: Any) -> None:
    with pytest.raises(ModelError) as caught:
        decoded(frames)
    assert caught.value.kind == "bad_stream"


def test_an_end_without_a_reason_is_no_end() -> None:
    with pytest.raises(ModelError) as caught:
        fold(decoded(sse(START, STOP)))
    assert caught.value.kind == "stream_cut"


def test_an_error_event_is_raised_with_its_own_words() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    with pytest.raises(ModelError, match="Overloaded") as caught:
        decoded(sse(START, {"type": "error", "error": error}))
    assert caught.value.kind == "overloaded"
