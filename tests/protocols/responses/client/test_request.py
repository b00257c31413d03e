"""Responses towards clients: requests are understood, answers and errors are whole documents."""

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from polyvox.protocols.openai.client_errors import TYPE_AND_CODE
from polyvox.protocols.responses.client import request as responses
from polyvox.protocols.responses.client import response as answers
from polyvox.protocols.responses.provider import request as provider
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Refusal,
    Text,
    ToolCall,
)
from polyvox.workflows.errors import FAULTS, ErrorKind, ModelError
from polyvox.workflows.events import fold, unfold
from polyvox.workflows.reply import Reply
from tests.samples.responses import (
    BODY,
    REQUESTS,
    asked,
    conversations,
    documents,
    encoded,
    encoder,
    original,
    recorded,
    replies,
)

STREAM_EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


@settings(deadline=None)
@given(replies)
def test_the_whole_document_is_the_one_that_ends_the_stream(reply: Reply) -> None:
    """There is one way to an answer; streamed or not it says the same."""
    document = answers.render(asked(), reply, run_id="run-1", created=100)
    Response.model_validate(document)
    last = documents(encoded(reply, unfold(reply)))[-1]["response"]
    assert {**document, "completed_at": None} == {**last, "completed_at": None}


@settings(deadline=None)
@given(conversations)
def test_what_a_provider_is_sent_parses_to_the_same_conversation(said: Conversation) -> None:
    """Provider and front are inverse: nothing of a request is lost on the way to the model."""
    request = provider.render(said, "m")
    assert request.losses == ()
    assert responses.parse(request.body, {}).conversation == said


def test_a_recorded_request_passes_through_unchanged() -> None:
    """From client to provider of the same protocol only the model's name and `stream` are ours."""
    for body in REQUESTS:
        if body.get("input") == "":
            continue
        ask = responses.parse(body, {})
        sent = provider.render(ask.conversation, "other")
        said = body["input"]
        items = [{"role": "user", "content": said}] if isinstance(said, str) else said
        whole = {k: v for k, v in body.items() if k != "tools" or v}
        assert sent.body == {**whole, "input": items, "model": "other", "stream": True}
        assert sent.losses == ()
        assert ask.stream is bool(body.get("stream"))


def test_what_the_answer_says_of_itself_reaches_the_client() -> None:
    """The served tier and the like are the provider's; ids, model and usage are ours."""
    events = recorded("moderation")
    reply = fold(events)
    _, last = original("moderation")[-1]
    document = answers.render(asked(), reply, run_id="run-1", created=100)
    said = json.loads(last)["response"]
    for field in ("service_tier", "moderation", "tool_usage", "usage"):
        assert document[field] == said[field], field
    assert (document["id"], document["model"]) == ("resp_run-1", "panel")
    doubled = answers.render(
        asked(), reply.with_usage(reply.usage + reply.usage), run_id="r", created=1
    )
    assert doubled["usage"]["input_tokens"] == 2 * said["usage"]["input_tokens"]


def test_the_answer_repeats_the_request() -> None:
    """Every member that clients require is there, with its default where nothing was said."""
    tool = {"type": "function", "name": "f"}
    ask = asked(
        instructions="Be brief.",
        tools=[tool, {"type": "web_search"}],
        temperature=0.5,
        metadata={"a": "b"},
        reasoning={"effort": "low"},
        store=True,
        background=False,
        max_tool_calls=3,
    )
    document = answers.render(ask, Reply((Text("x"),)), run_id="r", created=7)
    Response.model_validate(document)
    expected: dict[str, Json] = {
        "object": "response",
        "created_at": 7,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "Be brief.",
        "max_output_tokens": None,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": "low", "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [
            {**tool, "description": None, "parameters": None, "strict": True},
            {"type": "web_search"},
        ],
        "top_logprobs": 0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "truncation": "disabled",
        "user": None,
    }
    assert {name: document[name] for name in expected} == expected


def test_an_answer_that_was_cut_says_so() -> None:
    """Length and filter are `incomplete` with a reason; a spoken refusal is complete."""
    cases: list[tuple[Reply, str, str | None]] = [
        (Reply((Text("x"),), "length"), "incomplete", "max_output_tokens"),
        (Reply((), "refusal"), "incomplete", "content_filter"),
        (Reply((Refusal("no"),), "refusal"), "completed", None),
    ]
    for reply, status, reason in cases:
        last = documents(encoded(reply))[-1]
        assert last["type"] == f"response.{status}"
        details = last["response"]["incomplete_details"]
        assert details == (reason and {"reason": reason})


@pytest.mark.parametrize("kind", get_args(ErrorKind))
def test_every_error_has_its_document(kind: ErrorKind) -> None:
    """All four members are always there, and the provider's own words."""
    status, document = answers.render_error(ModelError(kind, "Said so.", param="p"), "r1")
    assert set(document["error"]) == {"message", "type", "param", "code"}
    assert document["error"]["message"] == "Said so. (run r1)"
    assert (document["error"]["type"], document["error"]["code"]) == TYPE_AND_CODE[kind]
    assert status == (400 if kind in ("model_not_found", "flow_error") else FAULTS[kind].status)
    STREAM_EVENT.validate_python(documents(encoder().fail(ModelError(kind, "m")))[-2])


def test_a_status_that_would_mislead_is_ours() -> None:
    """OpenAI knows no 529; without a status of the provider's, no key is the client's."""
    assert answers.render_error(ModelError("overloaded", "m", status=529), None)[0] == 503
    refused = ModelError("provider_authentication", "m", code="invalid_api_key")
    assert answers.render_error(refused, None)[0] == 502
    _, document = answers.render_error(ModelError("rate_limit", "m", code="tokens"), None)
    assert document["error"]["code"] == "tokens"


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        ([], "invalid_request", None),
        ({"input": "x"}, "invalid_request", "model"),
        ({"model": "m"}, "invalid_request", "input"),
        ({"model": "m", "input": 1}, "invalid_request", "input"),
        ({"model": "m", "input": [{"role": "x"}]}, "invalid_request", "input[0].role"),
        (
            {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "invalid_request",
            "input[0].content[0].text",
        ),
        ({**BODY, "stream": "yes"}, "invalid_request", "stream"),
        ({**BODY, "tools": {}}, "invalid_request", "tools"),
        ({**BODY, "tools": [{"type": "function"}]}, "invalid_request", "tools[0].name"),
        ({**BODY, "instructions": 1}, "invalid_request", "instructions"),
        ({**BODY, "temperature": "x"}, "invalid_request", "temperature"),
    ],
)
def test_a_malformed_request_names_its_field(body: Json, kind: str, param: str | None) -> None:
    with pytest.raises(ModelError) as caught:
        responses.parse(body, {})
    assert (caught.value.kind, caught.value.param) == (kind, param)


def test_only_headers_that_belong_to_the_protocol_are_kept() -> None:
    """They go on to a provider of this protocol; keys and cookies never do."""
    headers = {"openai-beta": "x=1", "authorization": "Bearer test-key", "session-id": "s"}
    assert responses.parse(BODY, headers).conversation.headers == (("openai-beta", "x=1"),)


def test_tools_inside_the_input_are_offered_to_every_provider() -> None:
    """An agent that sends its tools as an item still has tools at a model of another protocol."""
    inner = {"type": "custom", "name": "exec", "format": {"type": "text"}}
    space = {"type": "namespace", "name": "functions", "tools": [inner]}
    item = {"type": "additional_tools", "role": "developer", "tools": [space]}
    ask = asked(input=[item, {"role": "user", "content": "go"}])
    assert [(t.name, t.kind) for t in ask.conversation.tools] == [("functions__exec", "custom")]
    assert answers.render(ask, Reply(()), run_id="r", created=1)["tools"] == []


def test_a_call_comes_back_under_the_clients_own_name() -> None:
    """Flattened namespaces and functions in place of free-text tools are undone for the client."""
    inner = [
        {"type": "function", "name": "spawn", "parameters": {}},
        {"type": "custom", "name": "exec"},
    ]
    ask = asked(
        tools=[
            {"type": "namespace", "name": "agents", "tools": inner},
            {"type": "custom", "name": "apply_patch"},
        ]
    )
    said = (
        ToolCall("c1", "agents__spawn", ""),
        ToolCall("c2", "agents__exec", '{"input":"1 + 1"}'),
        ToolCall("c3", "apply_patch", '{"input":"*** Begin\\n"}'),
        ToolCall("c4", "apply_patch", "*** no JSON"),
        ToolCall("c5", "apply_patch", "plain", "custom"),
    )
    reply = Reply(said, "tool_calls")
    for shown in (unfold(reply), []):
        items = documents(encoded(reply, shown, ask))[-1]["response"]["output"]
        assert [
            (i["type"], i["name"], i.get("namespace"), i.get("input", i.get("arguments")))
            for i in items
        ] == [
            ("function_call", "spawn", "agents", "{}"),
            ("custom_tool_call", "exec", "agents", "1 + 1"),
            ("custom_tool_call", "apply_patch", None, "*** Begin\n"),
            ("custom_tool_call", "apply_patch", None, "*** no JSON"),
            ("custom_tool_call", "apply_patch", None, "plain"),
        ]
