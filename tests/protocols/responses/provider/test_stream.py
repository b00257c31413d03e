"""Responses as an upstream: real recorded streams, and what may go wrong in them."""

import json
from dataclasses import replace

import pytest

from polyvox.protocols.provider_side import ProviderProtocol
from polyvox.protocols.responses.elements import (
    parse_message,
    parse_options,
    parse_tools,
    render_parts,
)
from polyvox.protocols.responses.provider import request as responses
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Opaque,
    Options,
    Reasoning,
    Text,
    ToolCall,
    Wire,
    user,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import (
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
    fold,
    written,
)
from polyvox.workflows.reply import Usage
from tests.samples.responses import (
    ABRIDGED,
    STREAMS,
    asked,
    decode,
    encoded,
    frames,
    original,
    recorded,
    spelled,
)

DIALECT: ProviderProtocol = responses


def terminal(name: str) -> Json:
    [response] = [
        json.loads(data)["response"]
        for event, data in original(name)
        if json.loads(data)["type"] == "response.completed"
    ]
    return response


def without_secrets(items: list[Json]) -> list[Json]:
    """Items without what the provider says anew each time it says it: ids and ciphers."""
    changing = {"id", "encrypted_content", "fingerprint"}
    return [{k: v for k, v in item.items() if k not in changing} for item in items]


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_gives_the_whole_answer(name: str) -> None:
    """The parts alone rebuild the provider's own output; usage is disjoint and complete."""
    reply = fold(recorded(name))
    said = terminal(name)
    items = render_parts("assistant", reply.parts, [])
    assert without_secrets(items) == without_secrets(said["output"])
    assert reply.model == said["model"]
    assert reply.usage.whole_input == said["usage"]["input_tokens"]
    assert reply.usage.output == said["usage"]["output_tokens"]


@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_keeps_the_grammar(name: str) -> None:
    """One part is open at a time, and deltas grow the text that its end confirms."""
    events = recorded(name)
    assert isinstance(events[0], Started)
    assert [type(event) for event in events[-2:]] == [UsageReported, Finished]
    open_part = None
    said = ""
    for event in events[1:-2]:
        match event:
            case PartStarted(part):
                assert open_part is None
                assert written(part) == ""
                open_part, said = part, ""
            case PartDelta(text):
                assert open_part is not None
                said += text
            case PartEnded(part):
                assert type(part) is type(open_part)
                assert name in ABRIDGED or written(part).startswith(said)
                open_part = None
            case _:
                raise AssertionError(event)
    assert open_part is None


@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_stream_never_becomes_a_reply(name: str) -> None:
    """Wherever the connection ends before the terminal event, there is no answer."""
    whole = original(name)
    for cut in {0, 1, 2, len(whole) // 2, len(whole) - 1}:
        with pytest.raises(ModelError) as caught:
            fold(decode(whole[:cut]))
        assert caught.value.kind == "stream_cut"


def test_text_is_decoded_exactly() -> None:
    """Deltas join to the text; logprobs ride along for whoever speaks the protocol."""
    events = recorded("logprobs")
    deltas = [event for event in events if isinstance(event, PartDelta)]
    text = "The capital of Minas Gerais is Belo Horizonte."
    assert "".join(delta.text for delta in deltas) == text
    assert fold(events).parts == (Text(text),)
    assert all(delta.wire is not None for delta in deltas)


def test_a_call_is_decoded_exactly() -> None:
    """Arguments keep the model's own text; the call is the reason to stop."""
    reply = fold(recorded("function-call"))
    assert isinstance(reply.parts[0], Reasoning)
    [call] = reply.tool_calls
    item = terminal("function-call")["output"][1]
    assert call == ToolCall(item["call_id"], item["name"], item["arguments"])
    assert reply.finish == "tool_calls"
    assert reply.usage == Usage(53, 0, None, 469, 448)


def test_free_text_calls_and_namespaces_are_decoded() -> None:
    """A server that never sends the call's own ``done`` event is understood all the same."""
    [call] = fold(recorded("custom-tool")).tool_calls
    assert (call.kind, call.arguments) == ("custom", "SELECT * FROM users WHERE age > 25")
    [searched] = fold(recorded("tool-search")).tool_calls
    assert searched.namespace is not None


def test_items_open_side_by_side_are_put_in_order() -> None:
    """What belongs to a later item waits until the earlier one is done."""
    events = recorded("side-by-side")
    parts = [event.part for event in events if isinstance(event, PartEnded)]
    output = terminal("side-by-side")["output"]
    assert without_secrets(render_parts("assistant", parts, [])) == without_secrets(output)
    assert len(output) > 2


def test_an_item_in_progress_is_shown_by_its_own_events() -> None:
    """A search's steps are no text, but the same protocol can show them."""
    events = recorded("annotations")
    shown = [e.wire.json["type"] for e in events if isinstance(e, PartDelta) and e.wire]
    assert "response.web_search_call.searching" in shown
    assert "response.output_text.annotation.added" in shown
    assert sum(isinstance(part, Opaque) for part in fold(events).parts) == 2


def test_what_the_answer_says_of_itself_is_kept_and_the_request_is_not() -> None:
    """A flow's own instructions and tools must not reach the client through the echo."""
    reply = fold(recorded("moderation"))
    assert reply.wire is not None
    assert reply.wire.json["service_tier"] == "default"
    assert reply.wire.json["moderation"] is not None
    assert not {"instructions", "output", "id", "model"} & set(reply.wire.json)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("tools", [["f"], [None, 7, {"type": "function"}], [["f"]], {"f": {}}, "f"])
def test_tools_that_a_server_repeats_in_another_form_do_not_cost_the_answer(
    tools: Json, stream: bool
) -> None:
    part = {"type": "output_text", "text": "Hi", "annotations": []}
    said = {"type": "message", "role": "assistant", "content": [part]}
    begun = {"object": "response", "model": "m", "tools": tools, "output": []}
    whole = {**begun, "status": "completed", "output": [said]}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.completed", "response": whole},
    ]
    decoded = decode((None, json.dumps(e).encode()) for e in (events if stream else [whole]))
    reply = fold(decoded)
    assert reply.text == "Hi"
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    ask = replace(asked(tools=[tool]), direct=True)
    (*_, last, _) = frames(encoded(reply, decoded, ask).decode())
    assert json.loads(last[1])["response"]["tools"][0]["name"] == "f"


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"[]",
        b'"text"',
        b'{"type":"response.output_item.added"}',
        b'{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call"}}',
        b'{"type":"response.completed"}',
    ],
)
def test_what_is_not_the_protocol_is_a_bad_stream(data: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        DIALECT.decoder().feed(None, data)
    assert caught.value.kind == "bad_stream"


def test_a_sparing_server_is_understood() -> None:
    """Deltas without a part around them, and items only in the terminal event, are enough."""
    message = {"type": "message", "role": "assistant", "id": "m"}
    part = {"type": "output_text", "text": "ab"}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    events = decode(
        spelled(
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**message, "content": []},
            },
            {"type": "response.output_text.delta", "output_index": 0, "delta": "a"},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "b"},
            {"type": "response.never.heard.of"},
            {
                "type": "response.completed",
                "response": {
                    "status": "completed",
                    "output": [{**message, "content": [part]}, call],
                },
            },
        )
    )
    reply = fold(events)
    assert reply.parts == (Text("ab"), ToolCall("c", "f", "{}"))
    assert reply.usage == Usage()


def test_an_answer_whose_items_were_never_ended_is_what_was_written() -> None:
    """Some servers end with an empty output list."""
    message = {"type": "message", "role": "assistant", "id": "m", "content": []}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    events = decode(
        spelled(
            {"type": "response.output_item.added", "output_index": 0, "item": message},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"},
            {"type": "response.output_item.added", "output_index": 1, "item": call},
            {
                "type": "response.function_call_arguments.delta",
                "output_index": 1,
                "delta": "{}",
            },
            {"type": "response.completed", "response": {"status": "completed", "output": []}},
        )
    )
    assert fold(events).parts == (Text("Hi"), ToolCall("c", "f", "{}"))


def test_several_content_parts_stay_one_item() -> None:
    """Each part has its own text; together they are the provider's item again."""
    content: list[dict[str, Json]] = [
        {"type": "output_text", "text": "one", "annotations": []},
        {"type": "output_text", "text": "two", "annotations": []},
        {"type": "refusal", "refusal": "no"},
    ]
    shell = {"type": "message", "role": "assistant", "id": "m", "status": "completed"}
    item = {**shell, "content": content}
    stream: list[dict[str, Json]] = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**shell, "content": []}}
    ]
    for at, part in enumerate(content):
        kind = "refusal" if part["type"] == "refusal" else "output_text"
        where = {"output_index": 0, "content_index": at}
        blank = {**part, ("refusal" if kind == "refusal" else "text"): ""}
        said = part.get("text") or part.get("refusal")
        stream += [
            {"type": "response.content_part.added", **where, "part": blank},
            {"type": f"response.{kind}.delta", **where, "delta": said},
            {"type": "response.content_part.done", **where, "part": part},
        ]
    stream += [
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"status": "completed", "output": [item]}},
    ]
    reply = fold(decode(spelled(*stream)))
    assert [written(part) for part in reply.parts] == ["one", "two", "no"]
    assert reply.finish == "refusal"
    assert render_parts("assistant", reply.parts, []) == [item]


def test_a_message_without_content_is_not_lost() -> None:
    """It has no part to show, but its own protocol gets it back."""
    item = {"type": "message", "role": "assistant", "id": "m", "content": []}
    events = decode(
        spelled(
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.incomplete", "response": {"status": "incomplete", "output": [item]}},
        )
    )
    reply = fold(events)
    assert reply.finish == "length"
    assert render_parts("assistant", reply.parts, []) == [item]


def test_thoughts_in_sections_are_one_text() -> None:
    """A blank line parts the sections, in the deltas as in the whole."""
    summary = [{"type": "summary_text", "text": t} for t in ("first", "second")]
    raw = [{"type": "reasoning_text", "text": "raw"}]
    item = {"type": "reasoning", "id": "rs", "summary": summary, "content": raw}
    blank = {"type": "reasoning", "id": "rs", "summary": []}
    stream: list[dict[str, Json]] = [
        {"type": "response.output_item.added", "output_index": 0, "item": blank}
    ]
    for at, section in enumerate(summary):
        where = {"output_index": 0, "summary_index": at}
        stream += [
            {"type": "response.reasoning_summary_part.added", **where, "part": section},
            {
                "type": "response.reasoning_summary_text.delta",
                **where,
                "delta": section["text"],
            },
        ]
    stream += [
        {
            "type": "response.reasoning_text.delta",
            "output_index": 0,
            "content_index": 0,
            "delta": "raw",
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"status": "completed", "output": [item]}},
    ]
    events = decode(spelled(*stream))
    assert "".join(e.text for e in events if isinstance(e, PartDelta)) == "first\n\nsecond\n\nraw"
    assert fold(events).parts == (Reasoning("first\n\nsecond\n\nraw", None, "responses"),)


def test_a_request_always_streams_and_keeps_the_clients_document() -> None:
    """Model and stream are ours; every other field is the client's."""
    conversation = Conversation(
        (parse_message({"role": "user", "content": "hi"}),),
        options=parse_options({"store": True, "prompt_cache_key": "k", "unheard": [1]}),
        headers=(("openai-beta", "x=1"),),
    )
    request = DIALECT.render(conversation, "gpt-x")
    assert request.path == "responses"
    assert request.body == {
        "model": "gpt-x",
        "stream": True,
        "store": True,
        "prompt_cache_key": "k",
        "unheard": [1],
        "input": [{"role": "user", "content": "hi"}],
    }
    assert request.headers == {"openai-beta": "x=1"}
    assert request.losses == ()


def test_a_request_of_another_protocol_leaves_nothing_behind() -> None:
    """Nothing is stored at the provider, and its headers are not the client's."""
    conversation = Conversation(
        (user("hi"),),
        system=Message("system", (Text("Be brief."),)),
        options=Options(effort="low", top_k=1),
        headers=(("anthropic-beta", "x"),),
    )
    request = DIALECT.render(conversation, "gpt-x")
    assert request.body["store"] is False
    assert request.body["include"] == ["reasoning.encrypted_content"]
    assert request.body["instructions"] == "Be brief."
    assert request.headers == {}
    assert request.losses == ("top_k",)


def test_tools_that_came_as_an_item_are_not_sent_twice() -> None:
    """They stand among the conversation's tools for other providers, and in the input for these."""
    tool = {"type": "function", "name": "f", "parameters": {}}
    item = {"type": "additional_tools", "role": "developer", "tools": [tool]}
    from_item = parse_tools([tool])
    own = parse_tools([{"type": "web_search"}])
    conversation = Conversation(
        (parse_message(item),),
        tools=(*own, *from_item),
        options=Options(wire=Wire("responses", {})),
    )
    body = DIALECT.render(conversation, "m").body
    assert body["tools"] == [{"type": "web_search"}]
    assert body["input"] == [item]
