"""The Chat Completions front: requests, documents and errors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from openai.types.chat import ChatCompletion

from polyvox.protocols.chat.client import request as chat
from polyvox.protocols.chat.client import response as chat_response
from polyvox.protocols.chat.provider import request as provider
from polyvox.protocols.client_side import Ask
from polyvox.workflows.conversation import (
    Image,
    Opaque,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    Wire,
)
from polyvox.workflows.errors import ErrorKind, ModelError
from polyvox.workflows.events import fold
from polyvox.workflows.reply import Reply, Usage

FIXTURES = Path(__file__).parents[3] / "fixtures" / "chat"
EXCHANGES = json.loads((FIXTURES / "exchanges.json").read_text("utf-8"))
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def ask(**fields: Any) -> Ask:
    return chat.parse({**HELLO, **fields}, {})


def render(reply: Reply) -> dict[str, Any]:
    document = chat_response.render(ask(), reply, run_id="r1", created=7)
    # The SDK builds what it reads without checking; this checks.
    ChatCompletion.model_validate(orjson.loads(orjson.dumps(document)), strict=False)
    return document


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: str(exchange["id"]))
def test_a_recorded_request_reaches_a_chat_provider_as_it_was(exchange: Any) -> None:
    """Parse and the provider's render are inverse: only model and stream are ours."""
    request = exchange["request"]
    asked = chat.parse(request, {})
    rendered = provider.render(asked.conversation, "upstream")
    assert rendered.losses == ()
    assert rendered.body == {
        **request,
        "model": "upstream",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    again = chat.parse(rendered.body, {})
    assert replace(again.conversation, options=asked.conversation.options) == asked.conversation
    assert (again.stream, again.model) == (True, "upstream")


def test_a_request_is_parsed_whole() -> None:
    """Model, streaming, tools and the headers that say how the body is meant."""
    tool = {"type": "function", "function": {"name": "f"}}
    body = {**HELLO, "stream": True, "tools": [tool], "store": True, "n": 1}
    headers = {"openai-beta": "x=1", "authorization": "Bearer test-key"}
    asked = chat.parse(body, headers)
    assert (asked.protocol, asked.model, asked.stream) == ("chat", "m", True)
    assert asked.conversation.headers == (("openai-beta", "x=1"),)
    assert [tool.name for tool in asked.conversation.tools] == ["f"]
    assert asked.conversation.options.on_wire("chat") == {"store": True, "n": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": None, "stream": None, "stop": None, "tool_choice": None, "response_format": None},
        {"tools": [{"type": "web_search", "external_web_access": False}]},
        {"tools": [{"type": "function", "function": {"name": "f", "description": None}}]},
        {"messages": [{"role": "system", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "last"}]},
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "parsed": None,
                    "function_call": None,
                    "audio": None,
                    "provider_specific_fields": None,
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {
                                "name": "f",
                                "arguments": "{}",
                                "parsed_arguments": None,
                            },
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": None, "name": "f"},
            ]
        },
    ],
)
def test_what_clients_really_send_is_accepted(fields: Any) -> None:
    """Nulls, echoes of SDK objects, server tools, system messages anywhere: kept as they are."""
    rendered = provider.render(ask(**fields).conversation, "m")
    for name in ("tools", "messages"):
        if fields.get(name):
            assert rendered.body[name] == fields[name]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({"messages": HELLO["messages"]}, "model"),
        ({**HELLO, "model": 5}, "model"),
        ({"model": "m"}, "messages"),
        ({**HELLO, "messages": []}, "messages"),
        ({**HELLO, "stream": "yes"}, "stream"),
        ({**HELLO, "tools": {}}, "tools"),
        ({**HELLO, "tools": [{"type": "function"}]}, "tools[0].function"),
        ({**HELLO, "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({**HELLO, "messages": ["hi"]}, "messages[0]"),
        ({**HELLO, "temperature": "hot"}, "temperature"),
        ({**HELLO, "n": 0}, "n"),
        ({**HELLO, "n": 17}, "n"),
        ({**HELLO, "n": True}, "n"),
        ({**HELLO, "n": "2"}, "n"),
    ],
)
def test_a_bad_request_is_refused_by_the_name_of_its_field(body: Any, param: str | None) -> None:
    """A client sees which field to mend."""
    with pytest.raises(ModelError) as caught:
        chat.parse(body, {})
    status, document = chat_response.render_error(caught.value, None)
    assert status == 400
    assert document["error"]["type"] == "invalid_request_error"
    assert document["error"]["param"] == param


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: str(exchange["id"]))
def test_a_recorded_answer_is_rendered_as_it_was(exchange: Any) -> None:
    """What a provider said in a stream comes out as the document it would have sent."""
    said = exchange["response"]
    [choice] = said["choices"]
    delta = {**choice["message"]}
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{**call, "index": at} for at, call in enumerate(calls)]
    decoder = provider.decoder()
    chunk = {**said, "choices": [{"index": 0, "delta": delta}], "usage": None}
    ending = {**said, "choices": [{**choice, "delta": {}}]}
    parts = [
        event for piece in (chunk, ending) for event in decoder.feed(None, orjson.dumps(piece))
    ] + decoder.finish()
    document = render(fold(parts))
    for member in ("id", "created", "model"):
        document.pop(member)
        said.pop(member)
    message, original = document["choices"][0]["message"], choice["message"]
    assert message.items() >= {n: v for n, v in original.items() if v not in (None, [])}.items()
    assert document["usage"].items() >= said["usage"].items()
    for member in ("service_tier", "system_fingerprint", "moderation"):
        assert document.get(member) == said.get(member)
    assert document["choices"][0]["finish_reason"] == choice["finish_reason"]


def test_a_document_says_all_of_the_reply() -> None:
    """Reasoning of any origin is shown; the model's name is the one the client asked for."""
    reply = Reply(
        (
            Reasoning("hm", "sig", "messages"),
            Text("a"),
            Text("b"),
            Opaque(wire=Wire("messages", {"type": "server_tool_use"})),
            Opaque(wire=Wire("chat", {"images": [{"type": "image_url"}]})),
            Image(Source(url="https://example.com/a.png")),
            Refusal("no"),
            ToolCall("c1", "look", '{"a": 1.0}', namespace="eyes"),
        ),
        "tool_calls",
        Usage(input=5, cache_read=2, cache_write=1, output=4, reasoning=3),
        model="upstream",
    )
    document = render(reply)
    assert (document["id"], document["model"], document["created"]) == ("chatcmpl-r1", "m", 7)
    message = document["choices"][0]["message"]
    assert len(message.pop("reasoning_details")) == 1
    function = {"name": "eyes__look", "arguments": '{"a": 1.0}'}
    assert message == {
        "role": "assistant",
        "reasoning_content": "hm",
        "content": "ab",
        "refusal": "no",
        "images": [{"type": "image_url"}],
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    assert document["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 4,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }


def test_unknown_usage_is_left_out() -> None:
    """Unknown is not zero."""
    assert "usage" not in render(Reply((Text("a"),)))


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_every_error_kind_has_its_words(kind: ErrorKind) -> None:
    """All four members are always there, and the run can be looked up."""
    error = ModelError(kind, "It broke.", param="x", code="their_code")
    status, document = chat_response.render_error(error, "r1")
    assert status == error.http_status
    assert document["error"].keys() == {"message", "type", "param", "code"}
    assert document["error"]["message"] == "It broke. (run r1)"
    assert (document["error"]["param"], document["error"]["code"]) == ("x", "their_code")
