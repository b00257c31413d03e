"""Whatever a provider sends, and in whatever order: the events of each decoder keep the grammar."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvox.protocols.sse import Frame
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.boundary.serialization import dump
from polyvox.workflows.conversation import Json, Protocol
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
)
from tests.golden.streams import frames
from tests.samples.recordings import exchanges

indexes = st.integers(0, 2)
texts = st.sampled_from(["", "a", "{", "}", "{}", '{"a":1}', "\\", '"', "\N{WAVING HAND SIGN}"])
halves = st.sampled_from(["\ud83d", "\ude42", "a\ud83d", "\ude42b"])
words = st.sampled_from([None, "", "stop", "length", "tool_calls", "tool_use", "end_turn", "weird"])
usages = st.sampled_from([None, {}, {"input_tokens": 1}, {"prompt_tokens": 1}, {"iterations": [1]}])


def _calls(index: int, name: str | None, text: str, call_id: str | None) -> list[Json]:
    function = {"arguments": text, **({"name": name} if name else {})}
    return [{"index": index, "function": function, **({"id": call_id} if call_id else {})}]


names = st.sampled_from([None, "f", "g"])
ids = st.sampled_from([None, "a", "b"])
deltas = st.one_of(
    st.fixed_dictionaries({"content": texts | halves}),
    st.fixed_dictionaries({"reasoning_content": texts}),
    st.fixed_dictionaries({"refusal": texts}),
    st.fixed_dictionaries({"audio": st.just({"data": "A"})}),
    st.fixed_dictionaries({"annotations": st.just([{"type": "url_citation"}])}),
    st.builds(lambda *a: {"tool_calls": _calls(*a)}, indexes, names, texts, ids),
)
chunks = st.one_of(
    st.builds(
        lambda delta, word: {"choices": [{"index": 0, "delta": delta, "finish_reason": word}]},
        deltas,
        words,
    ),
    st.builds(
        lambda delta, word: {"choices": [{"index": 0, "message": delta, "finish_reason": word}]},
        deltas,
        words,
    ),
    st.builds(lambda usage: {"choices": [], "usage": usage}, usages),
    st.just(b"[DONE]"),
)

blocks = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts | halves),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": ""}, texts),
    st.builds(
        lambda call_id, arguments: {
            "type": "tool_use",
            "id": call_id or "",
            "name": "f",
            "input": arguments,
        },
        ids,
        st.sampled_from([{}, {"a": 1}]),
    ),
    st.just({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
)
messages = st.builds(
    lambda content, word, usage: {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": word,
        "usage": usage,
    },
    st.just([]) | st.lists(blocks, max_size=2),
    words,
    usages,
)
message_events = st.one_of(
    messages,
    st.builds(lambda message: {"type": "message_start", "message": message}, messages),
    st.builds(
        lambda index, block: {
            "type": "content_block_start",
            "index": index,
            "content_block": block,
        },
        indexes,
        blocks,
    ),
    st.builds(
        lambda index, kind, text: {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": kind[0], kind[1]: text},
        },
        indexes,
        st.sampled_from(
            [
                ("text_delta", "text"),
                ("thinking_delta", "thinking"),
                ("input_json_delta", "partial_json"),
                ("signature_delta", "signature"),
            ]
        ),
        texts | halves,
    ),
    st.builds(lambda index: {"type": "content_block_stop", "index": index}, indexes),
    st.builds(
        lambda word, usage, words: {
            "type": "message_delta",
            "delta": {"stop_reason": word, "stop_details": {"explanation": words}},
            "usage": usage,
        },
        words,
        usages,
        st.sampled_from(["", "no"]),
    ),
    st.just({"type": "message_stop"}),
)

parts = st.one_of(
    st.builds(lambda text: {"type": "output_text", "text": text}, texts),
    st.builds(lambda text: {"type": "refusal", "refusal": text}, texts),
    st.just({"type": "unheard_of"}),
)
items = st.one_of(
    st.builds(
        lambda content: {"type": "message", "role": "assistant", "id": "m", "content": content},
        st.lists(parts, max_size=2),
    ),
    st.builds(
        lambda text: {"type": "function_call", "call_id": "c", "name": "f", "arguments": text},
        texts,
    ),
    st.builds(
        lambda text: {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": text}, texts
    ),
    st.builds(
        lambda text: {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]},
        texts,
    ),
    st.just({"type": "web_search_call", "id": "ws"}),
    st.builds(lambda content: {"role": "assistant", "content": content}, st.lists(parts)),
)
responses = st.builds(
    lambda output, status, usage: {
        "object": "response",
        "model": "m",
        "status": status,
        "output": output,
        "usage": usage,
    },
    st.lists(items, max_size=2),
    st.sampled_from([None, "completed", "incomplete", "in_progress", "weird"]),
    usages,
)


def _event(kind: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"type": st.just(f"response.{kind}"), **members})


_at = {"output_index": indexes, "content_index": indexes}
response_events = st.one_of(
    responses,
    _event("created", response=responses),
    _event("in_progress", response=responses),
    _event("output_item.added", output_index=indexes, item=items),
    _event("output_item.added", output_index=indexes, item=items),
    _event("output_item.done", output_index=indexes, item=items),
    _event("content_part.added", **_at, part=parts),
    _event("content_part.done", **_at, part=parts | st.none()),
    _event("output_text.delta", **_at, delta=texts | halves),
    _event("output_text.done", **_at, text=texts),
    _event("refusal.delta", **_at, delta=texts),
    _event("function_call_arguments.delta", output_index=indexes, delta=texts),
    _event("function_call_arguments.done", output_index=indexes, arguments=texts),
    _event("custom_tool_call_input.delta", output_index=indexes, delta=texts),
    _event("reasoning_summary_part.added", output_index=indexes, summary_index=indexes, part=parts),
    _event(
        "reasoning_summary_text.delta", output_index=indexes, summary_index=indexes, delta=texts
    ),
    _event("web_search_call.searching", output_index=indexes),
    _event("completed", response=responses),
    _event("incomplete", response=responses),
    st.just(b"[DONE]"),
)

EVENTS: dict[Protocol, st.SearchStrategy[Any]] = {
    "chat": chunks,
    "messages": message_events,
    "responses": response_events,
}


def spelled(event: Any) -> Frame:
    """One event as JSON text; halves of characters are escaped, as providers send them."""
    return None, event if isinstance(event, bytes) else json.dumps(event).encode()


def decoded(protocol: Protocol, stream: list[Frame]) -> list[Event]:
    """The events up to the first error, which must be a ModelError."""
    decoder, events = PROTOCOLS[protocol].provider.decoder(), list[Event]()
    try:
        for name, data in stream:
            events += decoder.feed(name, data)
        events += decoder.finish()
    except ModelError:
        pass
    return events


def check_grammar(events: list[Event]) -> None:
    """``Started (PartStarted PartDelta* PartEnded)* UsageReported* Finished``, perhaps cut."""
    is_open = is_counted = False
    for number, event in enumerate(events):
        assert isinstance(event, Started) == (number == 0), event
        match event:
            case PartStarted():
                assert not is_open
                assert not is_counted
                is_open = True
            case PartDelta():
                assert is_open
            case PartEnded():
                assert is_open
                is_open = False
            case UsageReported():
                is_counted = True
            case Finished():
                assert not is_open
                assert number == len(events) - 1


@pytest.mark.parametrize("protocol", EVENTS)
@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_any_events_in_any_order_keep_the_grammar(protocol: Protocol, data: st.DataObject) -> None:
    """Shuffled, repeated, interleaved and cut: never a part inside an open part."""
    drawn = data.draw(st.lists(EVENTS[protocol], max_size=12))
    opening: dict[Protocol, list[Json]] = {
        "messages": [{"type": "message_start", "message": {"model": "m"}}]
    }
    begun = opening.get(protocol, []) if data.draw(st.booleans()) else []
    events = decoded(protocol, [spelled(event) for event in [*begun, *drawn]])
    check_grammar(events)
    if any(isinstance(event, Finished) for event in events):
        # It can be stored: no half of a character is left.
        orjson.dumps(dump(fold(events)))


def test_a_part_that_ends_with_nothing_is_still_open() -> None:
    """The next part of the item ends it."""
    item = {"type": "message", "id": "m", "role": "assistant", "content": []}
    where = {"output_index": 0, "content_index": 0}
    blank = {"type": "output_text", "text": ""}
    said: list[Json] = [
        {"type": "response.output_item.added", **where, "item": item},
        *(
            event
            for text in ("a", "b")
            for event in (
                {"type": "response.content_part.added", **where, "part": blank},
                {"type": "response.output_text.delta", **where, "delta": text},
                {"type": "response.content_part.done", **where, "part": None},
            )
        ),
        {"type": "response.completed", "response": {"status": "completed"}},
    ]
    events = decoded("responses", [spelled(event) for event in said])
    check_grammar(events)
    assert fold(events).text == "ab"


STREAMS = {
    protocol: [frames(e.stream) for e in exchanges(protocol) if e.stream is not None]
    for protocol in EVENTS
}


@pytest.mark.parametrize("protocol", EVENTS)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_changed_recordings_keep_the_grammar(protocol: Protocol, data: st.DataObject) -> None:
    """Real streams with events repeated, moved, dropped, cut, begun anew or interleaved."""
    stream = data.draw(st.sampled_from(STREAMS[protocol]))
    # The head, where most is said, and the end.
    stream = stream[: data.draw(st.integers(4, 30))] + stream[-data.draw(st.integers(1, 8)) :]
    for _ in range(data.draw(st.integers(1, 4))):
        if not stream:
            break
        at = data.draw(st.integers(0, len(stream) - 1))
        match data.draw(st.sampled_from(("repeat", "move", "cut", "drop", "anew", "interleave"))):
            case "repeat":
                stream = [*stream[:at], stream[at], *stream[at:]]
            case "move":
                stream.insert(data.draw(st.integers(0, len(stream) - 1)), stream.pop(at))
            case "cut":
                stream = stream[:at]
            case "drop":
                stream = [*stream[:at], *stream[at + 1 :]]
            case "anew":
                stream = [*stream[:at], *stream]
            case "interleave":
                stream = [f for pair in zip(stream, stream[at:], strict=False) for f in pair]
    check_grammar(decoded(protocol, stream))
