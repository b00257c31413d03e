"""The Chat Completions stream of a provider."""

import json
from typing import Any

import orjson
import pytest

from polyvox.protocols.chat.provider import request as chat
from polyvox.workflows.conversation import (
    Conversation,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    user,
)
from polyvox.workflows.errors import ErrorKind, ModelError
from polyvox.workflows.events import (
    PartDelta,
    UsageReported,
    fold,
)
from polyvox.workflows.reply import FinishReason, Reply, Usage
from tests.samples.chat_chunks import STREAMS, answered, call, check_grammar, chunk, decode, frames


def as_it_was_said(name: str) -> tuple[str, dict[int, Any], Any]:
    """Read a recording naively: text, calls by index, usage."""
    text, calls, usage = "", dict[int, Any](), None
    for frame in frames(name)[:-1]:
        document = json.loads(frame)
        usage = document["usage"] or usage
        for choice in document["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            for entry in delta.get("tool_calls") or ():
                known = calls.setdefault(entry["index"], ["", "", ""])
                known[0] += entry.get("id") or ""
                known[1] += entry["function"].get("name") or ""
                known[2] += entry["function"].get("arguments") or ""
    return text, calls, usage


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_gives_its_very_text_calls_and_usage(name: str) -> None:
    """Nothing of what the provider wrote is lost or re-spelt."""
    text, calls, usage = as_it_was_said(name)
    reply = answered(*frames(name))
    assert reply.text == text
    assert [[c.id, c.name, c.arguments] for c in reply.tool_calls] == list(calls.values())
    assert reply.usage.whole_input == usage["prompt_tokens"]
    assert reply.usage.output == usage["completion_tokens"]
    assert reply.finish == ("tool_calls" if calls else "stop")
    assert reply.wire is not None
    assert reply.wire.json["usage"] == usage
    assert reply.wire.json["service_tier"] == "default"


@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_stream_never_becomes_a_reply(name: str) -> None:
    """Until finish_reason came, the end of the body is a failure."""
    data = frames(name)
    ending = next(at for at, frame in enumerate(data) if b'"finish_reason":"' in frame)
    for cut in range(0, ending + 1, max(1, ending // 20)):
        with pytest.raises(ModelError) as caught:
            fold(decode(data[:cut]))
        assert caught.value.kind == "stream_cut"


def test_the_end_of_the_body_ends_an_answer_that_named_its_reason() -> None:
    """Not every server sends [DONE] or usage."""
    reply = answered(chunk({"content": "hi"}), chunk(reason="stop"))
    assert reply == Reply((Text("hi"),), model="m-1", wire=reply.wire)


@pytest.mark.parametrize("member", ["reasoning_content", "reasoning"])
def test_reasoning_of_both_dialects_becomes_reasoning(member: str) -> None:
    """The dialect is kept for the way back."""
    reply = answered(
        chunk({"role": "assistant", "content": "", member: "h"}),
        chunk({"content": None, member: "m"}),
        chunk({"content": "hi"}),
        chunk(reason="stop"),
    )
    assert reply.parts == (Reasoning("hm", origin="chat"), Text("hi"))
    thought = reply.parts[0].on_wire("chat")
    assert thought == (None if member == "reasoning_content" else {"reasoning": "hm"})


def test_the_same_thought_in_two_dialects_is_thought_once() -> None:
    """Some servers write both names in each chunk."""
    reply = answered(chunk({"reasoning": "h", "reasoning_content": "h"}), chunk(reason="stop"))
    assert reply.parts == (Reasoning("h", origin="chat"),)


def test_mistral_writes_thoughts_as_typed_pieces() -> None:
    """Content may be a list."""
    reply = answered(
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}]}]}),
        chunk({"content": [{"type": "text", "text": "hi"}]}),
        chunk(reason="stop"),
    )
    assert reply.parts == (Reasoning("h", origin="chat"), Text("hi"))


def test_members_nobody_knows_ride_on_the_open_part_and_are_kept() -> None:
    """Annotations, signatures and reasoning details go back to where they came from."""
    detail = {"type": "reasoning.text", "index": 0}
    signature = {"google": {"thought_signature": "s"}}
    reply = answered(
        chunk({"reasoning": "h", "reasoning_details": [{**detail, "text": "h"}]}),
        chunk({"reasoning": "m", "reasoning_details": [{**detail, "text": "m"}]}),
        chunk({"reasoning_details": [{**detail, "signature": "s"}]}),
        chunk({"content": "hi"}),
        chunk({"annotations": [{"type": "url_citation"}]}),
        chunk(call(0, "f", id="a", extra_content=signature)),
        chunk(reason="tool_calls"),
    )
    assert [part.on_wire("chat") for part in reply.parts] == [
        {"reasoning": "hm", "reasoning_details": [{**detail, "text": "hm", "signature": "s"}]},
        {"content": "hi", "annotations": [{"type": "url_citation"}]},
        {
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                    "extra_content": signature,
                }
            ]
        },
    ]
    sent = chat.render(Conversation((user("x"), reply.message)), "m").body["messages"][1]
    assert sent["reasoning_details"]
    assert sent["tool_calls"][0]["extra_content"] == signature


def test_sound_becomes_an_opaque_part_that_adds_up() -> None:
    """Content of an unknown sort is a part of its own."""
    reply = answered(
        chunk({"audio": {"id": "audio_1", "data": "AA", "transcript": "h"}}),
        chunk({"audio": {"data": "BB", "transcript": "i"}}),
        chunk({"audio": {"expires_at": 5}}),
        chunk(reason="stop"),
    )
    assert reply.parts == (Opaque(),)
    audio = {"id": "audio_1", "data": "AABB", "transcript": "hi", "expires_at": 5}
    assert reply.parts[0].on_wire("chat") == {"audio": audio}


def test_log_probabilities_ride_on_deltas_and_add_up() -> None:
    """They belong to the choice, so the answer's wire holds them."""
    events = decode(
        [
            chunk({"content": "a"}, logprobs={"content": [{"token": "a"}], "refusal": None}),
            chunk({"content": "b"}, logprobs={"content": [{"token": "b"}], "refusal": None}),
            chunk(reason="stop", content_filter_results={"hate": {}}),
        ]
    )
    deltas = [event for event in events if isinstance(event, PartDelta)]
    assert [delta.wire and delta.wire.json["logprobs"]["content"] for delta in deltas] == [
        [{"token": "a"}],
        [{"token": "b"}],
    ]
    wire = fold(events).wire
    assert wire is not None
    [choice] = wire.json["choices"]
    assert choice["logprobs"]["content"] == [{"token": "a"}, {"token": "b"}]
    assert choice["content_filter_results"] == {"hate": {}}


@pytest.mark.parametrize(
    ("said", "part", "finish"),
    [
        ("stop", Text("x"), "stop"),
        ("length", Text("x"), "length"),
        ("content_filter", Text("x"), "refusal"),
        ("stop", Refusal("x"), "refusal"),
        ("never heard of", Text("x"), "stop"),
    ],
)
def test_the_finish_reason_is_read(said: str, part: Text | Refusal, finish: FinishReason) -> None:
    """The provider's word stays on the wire."""
    member = "content" if isinstance(part, Text) else "refusal"
    reply = answered(chunk({member: "x"}), chunk(reason=said))
    assert (reply.parts, reply.finish) == ((part,), finish)
    assert reply.wire is not None
    assert reply.wire.json["choices"][0]["finish_reason"] == said


def test_running_totals_are_told_once_at_the_end() -> None:
    """Some servers repeat usage in every chunk."""
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    data = [
        orjson.dumps({**orjson.loads(chunk({"content": "a"})), "usage": usage}),
        orjson.dumps({**orjson.loads(chunk(reason="stop")), "usage": usage}),
        b"[DONE]",
    ]
    events = decode(data)
    check_grammar(events)
    assert [e for e in events if isinstance(e, UsageReported)] == [
        UsageReported(Usage(input=3, output=1))
    ]
    cut = decode(data[:1])
    assert cut[-1] == UsageReported(Usage(input=3, output=1))


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        (None, {"error": {"message": "x", "type": "server_error", "code": None}}, "provider_error"),
        (None, {"error": {"message": "x", "code": "rate_limit_exceeded"}}, "rate_limit"),
        (None, {"error": {"message": "x", "code": 502}}, "provider_error"),
        (None, {"error": {"message": "x", "code": 429}}, "rate_limit"),
        (None, {"error": "x"}, "provider_error"),
        ("error", {"message": "x"}, "provider_error"),
        (None, {"object": "error", "message": "x"}, "provider_error"),
    ],
)
def test_an_error_in_the_stream_is_raised(name: str | None, data: Any, kind: ErrorKind) -> None:
    """Servers spell it in several ways; the message is always theirs."""
    with pytest.raises(ModelError, match="x") as caught:
        chat.decoder().feed(name, orjson.dumps(data))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"[]",
        b'{"choices": 7}',
        b'{"choices": [{"delta": {"tool_calls": 7}}]}',
        b'{"choices": [{"delta": {"content": [7]}}]}',
        chunk({"reasoning_content": 7}),
        chunk(call(0, "f", id=["a"])),
        chunk(call(0, id="a"), reason="tool_calls"),
    ],
)
def test_what_is_no_chunk_is_a_bad_stream(data: bytes) -> None:
    """Another try may help, so it is told apart from our own defects."""
    with pytest.raises(ModelError) as caught:
        chat.decoder().feed(None, data)
    assert caught.value.kind == "bad_stream"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("insufficient_system_resource", "overloaded"), ("network_error", "provider_error")],
)
def test_a_provider_that_gives_up_has_not_answered(reason: str, kind: str) -> None:
    """DeepSeek and GLM say so by finish_reason."""
    with pytest.raises(ModelError) as caught:
        answered(chunk({"content": "a"}), chunk(reason=reason))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("reason", "meant"),
    [("sensitive", "refusal"), ("model_context_window_exceeded", "length"), ("eos", "stop")],
)
def test_a_dialects_ending_is_understood(reason: str, meant: str) -> None:
    assert answered(chunk({"content": "a"}), chunk(reason=reason)).finish == meant


USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "cached_tokens": 2}


@pytest.mark.parametrize(
    "last",
    [
        chunk(reason="stop", usage=USAGE),
        orjson.dumps({**orjson.loads(chunk(reason="stop")), "x_groq": {"usage": USAGE}}),
        orjson.dumps({**orjson.loads(chunk(reason="stop")), "usage": USAGE}),
    ],
)
def test_usage_is_found_wherever_it_stands(last: bytes) -> None:
    """Kimi writes it into the choice, Groq into a member of its own."""
    reply = answered(chunk({"content": "a"}), last)
    assert reply.usage == Usage(input=3, cache_read=2, output=7)
