"""The Chat Completions stream that clients get."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from polyvox.protocols.chat.client import request as chat
from polyvox.protocols.chat.client import response as chat_response
from polyvox.protocols.chat.client.stream import Encoder
from polyvox.protocols.chat.passing import without_last
from polyvox.protocols.chat.provider import request as provider
from polyvox.protocols.client_side import Encoder as EncoderInterface
from polyvox.workflows.conversation import Opaque, Part, Reasoning, Refusal, Text, ToolCall, Wire
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
    unfold,
)
from polyvox.workflows.reply import FinishReason, Reply, Usage
from tests.samples.chat_chunks import STREAMS, frames

COUNTED = {"stream_options": {"include_usage": True}}

words = st.text(min_size=1)
functions = st.builds(
    ToolCall, words, words, st.dictionaries(st.text(), st.integers()).map(json.dumps)
)
customs = st.builds(ToolCall, words, words, words, st.just("custom"))
usages = st.just(Usage()) | st.builds(Usage, *[st.integers(0, 10**6)] * 4, st.just(0))


@st.composite
def replies(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Reply:
    """Draw replies as a Chat provider can give them."""
    parts: list[Part] = []
    if draw(st.booleans()):
        parts.append(Reasoning(draw(words), origin="chat"))
    if draw(st.booleans()):
        parts.append(Text(draw(words)))
    refused = draw(st.booleans())
    if refused:
        parts.append(Refusal(draw(words)))
    calls = draw(st.lists(functions | customs, max_size=3, unique_by=lambda call: call.id))
    ended: FinishReason = "tool_calls" if calls else "refusal" if refused else "stop"
    finish = draw(st.sampled_from([ended, "length"]))
    return Reply((*parts, *calls), finish, draw(usages), "m")


def encoder(**fields: Any) -> Encoder:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    return chat_response.encoder(chat.parse({**body, **fields}, {}), run_id="r1", created=7)


def data(stream: bytes) -> list[bytes]:
    blocks = stream.split(b"\n\n")
    assert blocks.pop() == b""
    return [b.removeprefix(b"data: ") for b in blocks if not b.startswith(b":")]


def chunks(stream: bytes) -> list[Any]:
    """Read a stream as strictly as the SDK's types can."""
    found = [orjson.loads(piece) for piece in data(stream) if piece != b"[DONE]"]
    for chunk in found:
        # The SDK's chunks have no custom calls, though OpenAI streams them.
        if b'"custom"' not in orjson.dumps(chunk):
            ChatCompletionChunk.model_validate(chunk)
        assert (chunk["id"], chunk["created"], chunk["model"]) == ("chatcmpl-r1", 7, "m")
    return found


def decode(stream: bytes) -> Reply:
    decoder = provider.decoder()
    events = [event for piece in data(stream) for event in decoder.feed(None, piece)]
    return fold(events + decoder.finish())


def whole(reply: Reply, events: Iterable[Event] = (), **fields: Any) -> bytes:
    writing = encoder(**{**COUNTED, **fields})
    sent = [writing.feed(event) for event in events]
    return b"".join((*sent, writing.finish(reply)))


def in_small_pieces(events: Iterable[Event]) -> list[Event]:
    small: list[Event] = []
    for event in events:
        if isinstance(event, PartDelta):
            small.extend(PartDelta(letter) for letter in event.text)
        else:
            small.append(event)
    return small


@given(replies())
def test_an_encoded_reply_decodes_to_itself(reply: Reply) -> None:
    """Encode and decode are inverse."""
    stream = whole(reply, unfold(reply))
    chunks(stream)
    assert replace(decode(stream), wire=None) == reply


@given(replies(), st.data())
def test_finish_adds_just_what_was_not_sent(reply: Reply, draw: st.DataObject) -> None:
    """Wherever the live lane broke off, the client ends with the whole reply and no word twice."""
    events = in_small_pieces(unfold(reply))
    cut = draw.draw(st.integers(0, len(events)))
    assert replace(decode(whole(reply, events[:cut])), wire=None) == reply


@given(replies(), st.data())
def test_a_part_that_ends_completes_its_lost_tail(reply: Reply, draw: st.DataObject) -> None:
    """PartEnded is the truth: deltas lost before it are made up for."""
    events = in_small_pieces(unfold(reply))
    deltas = [at for at, event in enumerate(events) if isinstance(event, PartDelta)]
    if deltas:
        first = draw.draw(st.sampled_from(deltas))
        until = next(at for at in range(first, len(events)) if isinstance(events[at], PartEnded))
        events[first:until] = []
    assert replace(decode(whole(reply, events)), wire=None) == reply


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_passes_through_whole(name: str) -> None:
    """Same protocol in and out: parts, usage, ending and what only the provider knows."""
    decoder = provider.decoder()
    events: list[Event] = []
    for frame in frames(name):
        events += decoder.feed(None, frame)
    reply = fold(events)
    stream = whole(reply, events)
    again = decode(stream)
    assert replace(again, model=reply.model) == reply
    state = ChatCompletionStreamState()
    for chunk in chunks(stream):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    completion = state.get_final_completion()
    message = completion.choices[0].message
    assert (message.content or "") == reply.text
    calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()]
    assert calls == [(c.id, c.name, c.arguments) for c in reply.tool_calls]
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == reply.usage.whole_input


def test_members_only_this_protocol_knows_pass_through() -> None:
    """Annotations, log probabilities, signatures and reasoning details, live or late."""
    pieces: list[Any] = [
        {"delta": {"reasoning": "h", "reasoning_details": [{"index": 0, "signature": "s"}]}},
        {"delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}], "refusal": None}},
        {"delta": {"content": "b", "annotations": [{"index": 0, "type": "url_citation"}]}},
        {
            "delta": {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "s"}},
                    }
                ]
            }
        },
        {"delta": {"tool_calls": [{"index": 0, "late": True}]}},
        {"delta": {}, "finish_reason": "tool_calls", "content_filter_results": {"hate": {}}},
    ]
    decoder = provider.decoder()
    events: list[Event] = []
    for piece in pieces:
        frame = {"model": "m", "choices": [piece], "citations": ["u"]}
        events += decoder.feed(None, orjson.dumps(frame))
    reply = fold(events + decoder.finish())
    for sent in (events, unfold(reply), []):
        again = decode(whole(reply, sent))
        assert again.parts == reply.parts
        assert again.wire is not None
        assert reply.wire is not None
        assert without_last(again.wire.json) == reply.wire.json
        kept = [part.on_wire("chat") for part in again.parts]
        thought = {"reasoning_content": "h", "reasoning_details": [{"index": 0, "signature": "s"}]}
        assert kept == [thought, *(part.on_wire("chat") for part in reply.parts[1:])]


def test_nothing_is_left_out_that_breaks_clients() -> None:
    """Measured: agents fail or loop without finish_reason, or a call's index and id."""
    reply = Reply((Text("a"), ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}")), "tool_calls")
    found = chunks(whole(reply, unfold(reply)))
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [c["choices"][0]["finish_reason"] for c in found] == [None] * (len(found) - 1) + [
        "tool_calls"
    ]
    entries = [e for c in found for e in c["choices"][0]["delta"].get("tool_calls", ())]
    assert [(e["index"], e.get("id")) for e in entries] == [
        (0, "c1"),
        (0, None),
        (1, "c2"),
        (1, None),
    ]
    assert entries[0]["type"] == "function"


def test_usage_comes_only_when_asked_for() -> None:
    """With include_usage every chunk has the member, and one more chunk tells it."""
    reply = Reply((Text("a"),), usage=Usage(input=1, output=2))
    counted = chunks(whole(reply))
    assert [chunk["usage"] for chunk in counted[:-1]] == [None] * (len(counted) - 1)
    assert counted[-1]["choices"] == []
    assert counted[-1]["usage"]["total_tokens"] == 3
    plain = whole(reply, stream_options=None)
    assert all("usage" not in chunk for chunk in chunks(plain))
    assert plain.endswith(b"data: [DONE]\n\n")


def test_several_calls_to_models_make_one_stream() -> None:
    """A flow may stream a note, ask a hidden question and stream on."""
    note: list[Event] = [
        Started("a"),
        PartStarted(Text("")),
        PartDelta("Wait. "),
        PartEnded(Text("Wait. ")),
    ]
    ending: list[Event] = [UsageReported(Usage(input=1)), Finished("stop")]
    answer = Reply((Text("Here."),), usage=Usage(input=9, output=2), model="m")
    stream = whole(answer, [*note, *ending, *unfold(answer)[:3]])
    assert decode(stream).text == "Wait. Here."
    assert stream.count(b'"role"') == 1
    assert stream.count(b'"finish_reason":"stop"') == 1
    assert decode(stream).usage == answer.usage
    both = Reply((Text("Wait. "), Text("Here.")), model="m")
    assert decode(whole(both, [*note, *ending])).text == "Wait. Here."


def test_calls_of_one_id_keep_their_own_index() -> None:
    """Some providers count their ids anew in every answer."""
    calls = [ToolCall("call_0", "f", "{}"), ToolCall("call_0", "g", "[]")]
    events = [event for call in calls for event in unfold(Reply((call,)))]
    found = chunks(whole(Reply(tuple(calls), "tool_calls"), events))
    entries = [e for c in found for e in c["choices"][0]["delta"].get("tool_calls", ())]
    assert [(e["index"], e["function"].get("name")) for e in entries] == [
        (0, "f"),
        (0, None),
        (1, "g"),
        (1, None),
    ]


def test_a_reply_that_contradicts_what_was_sent_is_not_written_behind_it() -> None:
    """Two answers in one string are worse than the first alone."""
    sent: list[Event] = [Started(), PartStarted(Text("")), PartDelta("blue")]
    assert decode(whole(Reply((Text("green"),)), sent)).text == "blue"


def test_what_only_another_protocol_can_show_is_passed_over() -> None:
    """A signature stays sealed, a foreign block is nothing to a chat client."""
    block = Opaque(wire=Wire("messages", {"type": "server_tool_use"}))
    thought = Reasoning("hm", "sig", "messages")
    delta = PartDelta("", Wire("messages", {"type": "signature_delta"}))
    events: list[Event] = [
        Started(),
        PartStarted(Reasoning("")),
        PartDelta("hm"),
        delta,
        PartEnded(thought),
        PartStarted(block),
        delta,
        PartEnded(block),
    ]
    reply = Reply((thought, block, Text("a")))
    for sent in (events, []):
        stream = whole(reply, sent)
        assert b"server_tool_use" not in stream
        assert b"signature_delta" not in stream
        assert stream.count(b'"reasoning_content":"hm"') == 1
        assert stream.count(b"reasoning.encrypted") == 1


def test_an_error_ends_the_stream_without_its_ending() -> None:
    """No finish_reason and no [DONE]: a client cannot take it for an answer."""
    writing = encoder()
    stream = writing.feed(Started()) + writing.fail(ModelError("overloaded", "Too busy."))
    *_, last = data(stream)
    assert orjson.loads(last) == {
        "error": {
            "message": "Too busy. (run r1)",
            "type": "server_error",
            "param": None,
            "code": "server_is_overloaded",
        }
    }
    with pytest.raises(ModelError) as caught:
        decode(stream)
    assert caught.value.kind == "overloaded"


def test_keeping_alive_is_no_data() -> None:
    """A comment line is enough for every chat client."""
    writing: EncoderInterface = encoder()
    assert writing.keep_alive() == b": keep-alive\n\n"
