"""The Responses stream a client reads: whole, valid, and without a word lost or said twice."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from polyvox.protocols.responses.elements import parse_part
from polyvox.workflows.conversation import (
    Json,
    Opaque,
    Text,
    ToolCall,
    Wire,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta, PartEnded, PartStarted, Started, fold, unfold
from polyvox.workflows.reply import Reply, Usage
from tests.samples.responses import (
    STREAMS,
    decode,
    documents,
    encoded,
    encoder,
    frames,
    original,
    recorded,
    replies,
)

GROWING = {
    "output_text": "text",
    "refusal": "refusal",
    "function_call_arguments": "arguments",
    "custom_tool_call_input": "input",
    "reasoning_summary_text": "text",
}


STREAM_EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


@settings(deadline=None)
@given(replies)
def test_what_is_encoded_decodes_to_the_same_reply(reply: Reply) -> None:
    """Front and provider are inverse: nothing of an answer is lost on the way to the client."""
    again = fold(decode(frames(encoded(reply, unfold(reply)).decode())))
    assert (again.parts, again.finish, again.usage) == (reply.parts, reply.finish, reply.usage)
    assert again.model == "panel"


@settings(deadline=None)
@given(replies, st.data())
def test_finish_writes_just_what_was_not_sent(reply: Reply, data: st.DataObject) -> None:
    """Wherever the live lane stops, even within a text, the stream ends whole and says it once."""
    events: list[Event] = []
    for event in unfold(reply)[:-2]:
        if isinstance(event, PartDelta):
            at = data.draw(st.integers(0, len(event.text)))
            events += [PartDelta(piece) for piece in (event.text[:at], event.text[at:]) if piece]
        else:
            events.append(event)
    sent = events[: data.draw(st.integers(0, len(events)))]
    live, whole = documents(encoded(reply, sent)), documents(encoded(reply))
    assert fold(decode((None, json.dumps(d).encode()) for d in live)).parts == reply.parts
    assert live[-1]["response"] == whole[-1]["response"]
    for growing, member in GROWING.items():
        deltas = [d["delta"] for d in live if d["type"] == f"response.{growing}.delta"]
        done = [d[member] for d in live if d["type"] == f"response.{growing}.done"]
        assert "".join(deltas) == "".join(done)


@settings(deadline=None)
@given(replies)
def test_a_stream_is_valid_for_the_official_sdk(reply: Reply) -> None:
    """Every event has all members that the SDK's types require."""
    for document in documents(encoded(reply, unfold(reply))):
        STREAM_EVENT.validate_python(document)


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_passes_through_with_nothing_lost(name: str) -> None:
    """Annotations, logprobs, phases, ciphers and unknown items reach the client as they came."""
    events = recorded(name)
    reply = fold(events)
    for shown in (events, []):
        again = fold(decode(frames(encoded(reply, shown).decode())))
        assert again.parts == reply.parts
        for mine, theirs in zip(again.parts, reply.parts, strict=True):
            assert mine.wire is not None
            assert theirs.wire is not None
            assert changed(mine.wire.json, theirs.wire.json) <= {"id"}


def changed(mine: Json, theirs: Json) -> set[str]:
    """The members that differ, an item's own below it; members added with their default do not."""
    if isinstance(theirs, dict) and "item" in theirs:
        return changed(mine["item"], theirs["item"]) | changed(mine["part"], theirs["part"])
    defaults: tuple[Json, ...] = ([], None)
    return {k for k in {*mine, *theirs} if mine.get(k) != theirs.get(k) and k in theirs} | {
        k for k in mine if k not in theirs and mine[k] not in defaults
    }


@pytest.mark.parametrize("name", sorted({*STREAMS} - {"custom-tool", "side-by-side", "shell"}))
def test_a_recorded_stream_has_the_same_events_again(name: str) -> None:
    """What the provider showed while it worked, searches and steps too, the client sees."""
    kinds = [json.loads(data)["type"] for _, data in original(name)]
    events = recorded(name)
    mine = [document["type"] for document in documents(encoded(fold(events), events))]
    if name == "phase":  # Its keepers left out some deltas, which we make up for.
        kinds, mine = sorted(set(kinds)), sorted(set(mine))
    assert mine == kinds


def test_agents_find_what_they_break_without() -> None:
    """Each of these was taken away from a stream once, and an agent failed or asked for ever."""
    call = ToolCall("call_1", "f", '{"a":1}')
    reply = Reply((Text("Hi"), call), "tool_calls", Usage(input=3, output=2))
    said = documents(encoded(reply, unfold(reply)))
    kinds = [document["type"] for document in said]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    message, function = [d for d in said if d["type"] == "response.output_item.done"]
    for done in (message, function):
        assert done["item"]["id"]
        assert done["item"]["status"] == "completed"
        assert "output_index" in done
    assert function["item"]["call_id"] == "call_1"
    for document in said[3:7]:
        assert (document["item_id"], document["output_index"]) == (message["item"]["id"], 0)
    assert said[-1]["response"]["id"] == "resp_run-1"
    assert said[-1]["response"]["usage"]["total_tokens"] == 5
    assert said[-1]["response"]["completed_at"] == 160


def test_several_calls_of_a_flow_are_one_answer() -> None:
    """The stream opens once; parts go on where the last call ended, with numbers of their own."""
    first, second = Reply((Text("one"),)), Reply((Text("two"),))
    both = Reply((*first.parts, *second.parts))
    said = documents(encoded(both, [*unfold(first), *unfold(second)]))
    assert [d["type"] for d in said].count("response.created") == 1
    items = said[-1]["response"]["output"]
    assert [item["content"][0]["text"] for item in items] == ["one", "two"]
    assert len({item["id"] for item in items}) == 2


def test_the_reply_is_the_truth_where_the_preview_went_astray() -> None:
    """Text that was sent cannot be unsaid, but what is done says what the reply says."""
    sent: list[Event] = [Started(), PartStarted(Text("")), PartDelta("Helo")]
    said = documents(encoded(Reply((Text("Hello"),)), sent))
    assert [d["text"] for d in said if d["type"] == "response.output_text.done"] == ["Hello"]
    assert said[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"
    call = ToolCall("c", "f", "{}")
    said = documents(encoded(Reply((call,), "tool_calls"), sent))
    assert [i["type"] for i in said[-1]["response"]["output"]] == ["message", "function_call"]
    said = documents(encoded(Reply(()), [Started(), PartStarted(call), PartDelta('{"a')]))
    assert said[-1]["response"]["output"][0]["arguments"] == '{"a'


def test_a_waiting_client_gets_real_events() -> None:
    """Comments do not reset the idle timer of every agent."""
    encoding = encoder()
    waiting = encoding.keep_alive() + encoding.keep_alive()
    said = documents(waiting + encoding.finish(Reply((Text("x"),))))
    assert [d["type"] for d in said[:3]] == [
        "response.created",
        "response.in_progress",
        "response.in_progress",
    ]


def test_a_failing_stream_ends_as_failed() -> None:
    """Both spellings of the error, then the failed response; never a bare end."""
    encoding = encoder()
    begun = encoding.feed(Started()) + encoding.feed(PartStarted(Text("")))
    error = ModelError("rate_limit", "Slow down.", retry_after_s=2.5)
    said = documents(begun + encoding.fail(error))
    message = "Slow down. Please try again in 2.5s. (run run-1)"
    assert said[-2] == {
        "type": "error",
        "status": 429,
        "sequence_number": len(said) - 2,
        "code": "rate_limit_exceeded",
        "message": message,
        "param": None,
        "error": {
            "type": "rate_limit_error",
            "code": "rate_limit_exceeded",
            "message": message,
            "param": None,
        },
    }
    assert said[-1]["type"] == "response.failed"
    failed = said[-1]["response"]
    assert failed["status"] == "failed"
    assert failed["error"] == {"code": "rate_limit_exceeded", "message": message}
    assert documents(encoder().fail(error))[0]["type"] == "response.created"


def test_a_block_of_another_protocol_is_not_shown() -> None:
    """It has no item here; what stands around it keeps its order and numbers."""
    block = Opaque(wire=Wire("messages", {"type": "server_tool_use"}))
    reply = Reply((Text("a"), block, Text("b")))
    for shown in (unfold(reply), []):
        output = documents(encoded(reply, shown))[-1]["response"]["output"]
        assert [item["content"][0]["text"] for item in output] == ["a", "b"]


def test_several_content_parts_of_a_providers_item_stay_one_item() -> None:
    """The second part goes on in the item that the first one opened."""
    shell = {"type": "message", "role": "assistant", "id": "msg_9", "phase": "final_answer"}
    said = tuple(
        parse_part(
            {"type": "output_text", "text": text, "annotations": []}, shell, last=text == "two"
        )
        for text in ("one", "two")
    )
    reply = Reply(said)
    one: list[Event] = [PartStarted(said[0]), PartEnded(said[0])]
    for shown in (unfold(reply), one, []):
        [item] = documents(encoded(reply, shown))[-1]["response"]["output"]
        assert (item["id"], item["phase"]) == ("msg_9", "final_answer")
        assert [part["text"] for part in item["content"]] == ["one", "two"]


def test_thoughts_of_this_protocol_keep_their_sections() -> None:
    """Each part of a summary has events of its own, streamed or written at the end."""
    summary = [{"type": "summary_text", "text": text} for text in ("first", "second")]
    raw = [{"type": "reasoning_text", "text": "raw"}]
    item = {"type": "reasoning", "id": "rs_1", "summary": summary, "content": raw}
    whole = {"type": "response.output_item.done", "output_index": 0, "item": item}
    end = {"type": "response.completed", "response": {"status": "completed", "output": [item]}}
    events = decode((None, json.dumps(d).encode()) for d in (whole, end))
    reply = fold(events)
    said = documents(encoded(reply))
    deltas = [d["delta"] for d in said if d["type"].endswith(".delta")]
    assert deltas == ["first", "second", "raw"]
    again = decode((None, json.dumps(d).encode()) for d in said)
    assert documents(encoded(fold(again), again))[:-1] == said[:-1]
    assert said[-1]["response"]["output"] == [item]
