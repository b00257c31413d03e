"""What single servers refuse in a Chat Completions request, in the client's own one too."""

from typing import Any

import pytest

from polyvox.protocols.chat.provider.fitted_messages import UNSIGNED
from polyvox.protocols.dialects.dialect import FULL, PLAIN, Dialect
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json
from tests.samples.codex_request import lost, parsed, to_chat

USER: Json = {"role": "user", "content": "Hi"}
LMSTUDIO = SERVERS["lmstudio"].dialect
MISTRAL = SERVERS["mistral"].dialect
GROQ = SERVERS["groq"].dialect


def _tool(name: str) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def _sent(dialect: Dialect, model: str = "m", **fields: Any) -> Rendered:
    document = {"model": "m", "messages": [USER], **fields}
    return to_chat(document, dialect, model, "chat")


REQUESTS: dict[str, Json] = {
    "chat": {
        "messages": [USER],
        "tools": [_tool("f"), _tool("g")],
        "tool_choice": {"type": "function", "function": {"name": "g"}},
    },
    "responses": {
        "input": "Hi",
        "tools": [{"type": "function", "name": n, "parameters": {}} for n in ("f", "g")],
        "tool_choice": {"type": "function", "name": "g"},
    },
    "messages": {
        "max_tokens": 10,
        "messages": [USER],
        "tools": [{"name": n, "input_schema": {"type": "object"}} for n in ("f", "g")],
        "tool_choice": {"type": "tool", "name": "g"},
    },
}


@pytest.mark.parametrize("client", REQUESTS)
def test_lm_studio_gets_the_chosen_tool_alone(client: str) -> None:
    """It takes a choice only as a word."""
    request = to_chat({"model": "m", **REQUESTS[client]}, LMSTUDIO, protocol=client)
    assert request.body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in request.body["tools"]] == ["g"]
    assert "tool_choice" not in lost(request)
    whole = to_chat({"model": "m", **REQUESTS[client]}, PLAIN, protocol=client)
    assert whole.body["tool_choice"] == {"type": "function", "function": {"name": "g"}}
    assert len(whole.body["tools"]) == 2


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_choice_that_is_a_word_stays(choice: str) -> None:
    request = _sent(LMSTUDIO, tools=[_tool("f"), _tool("g")], tool_choice=choice)
    assert request.body["tool_choice"] == choice
    assert len(request.body["tools"]) == 2


@pytest.mark.parametrize(
    ("client", "form"),
    [
        ("chat", {"messages": [USER], "response_format": {"type": "json_object"}}),
        ("responses", {"input": "Hi", "text": {"format": {"type": "json_object"}}}),
    ],
)
def test_lm_studio_gets_a_schema_for_any_json_object(client: str, form: Json) -> None:
    body = to_chat({"model": "m", **form}, LMSTUDIO, protocol=client).body
    schema = {"name": "answer", "schema": {"type": "object"}}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
    plain = to_chat({"model": "m", **form}, PLAIN, protocol=client).body
    assert plain["response_format"] == {"type": "json_object"}


CALL: Json = {
    "id": "abcdefgh1",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
    "extra_content": {"google": {"thought_signature": UNSIGNED}},
}
ANSWERED: list[Json] = [
    {"role": "user", "content": "Hi", "name": "ada", "timestamp": 1},
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "metadata": {"trimmed": True},
        "tool_calls": [CALL],
    },
    {"role": "tool", "tool_call_id": "abcdefgh1", "content": "1"},
]


@pytest.mark.parametrize("dialect", [MISTRAL, GROQ], ids=["mistral", "groq"])
def test_a_strict_server_gets_messages_with_the_usual_members(dialect: Dialect) -> None:
    """As the OpenAI SDK and others send an answer back, with members that are null."""
    request = _sent(dialect, messages=ANSWERED)
    call = {name: value for name, value in CALL.items() if name != "extra_content"}
    assert request.body["messages"] == [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        ANSWERED[2],
    ]
    assert {"messages.name", "messages.timestamp", "messages.metadata"} == lost(request)
    assert _sent(PLAIN, messages=ANSWERED).body["messages"] == ANSWERED


@pytest.mark.parametrize(
    ("dialect", "fields", "left"),
    [
        (SERVERS["gemini"].dialect, {"seed": 1, "top_k": 5}, {}),
        (GROQ, {"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}),
        (
            SERVERS["gemini"].dialect,
            {"reasoning": {"effort": "low", "exclude": True}},
            {"reasoning_effort": "low"},
        ),
        (
            SERVERS["openrouter"].dialect,
            {"reasoning": {"effort": "high"}},
            {"reasoning": {"effort": "high"}},
        ),
    ],
)
def test_fields_beside_the_protocol_are_left_out_where_they_are_refused(
    dialect: Dialect, fields: Json, left: Json
) -> None:
    body = _sent(dialect, **fields).body
    assert {
        n: body[n] for n in ("seed", "top_k", "reasoning", "reasoning_effort") if n in body
    } == left


@pytest.mark.parametrize("over", ["responses", "messages"])
def test_openrouters_spelling_of_an_effort_reaches_other_protocols(over: str) -> None:
    document = {"model": "m", "messages": [USER], "reasoning": {"effort": "high"}}
    request = PROTOCOLS[over].provider.render(parsed("chat", document), "claude-opus-4-8", FULL)
    place = "reasoning" if over == "responses" else "output_config"
    assert request.body[place]["effort"] == "high"
    assert "reasoning" not in lost(request)


XAI = SERVERS["xai"].dialect


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("grok-4.3", True),
        ("grok-3-mini", True),
        ("grok-4.20-multi-agent-0309", True),
        ("grok-4.6", True),
        ("grok-4-0709", False),
        ("grok-4-fast-reasoning", False),
        ("grok-code-fast-1", False),
        ("grok-4.20-0309-reasoning", False),
        ("grok-3", False),
    ],
)
@pytest.mark.parametrize(
    ("over", "client"), [(o, c) for o in ("chat", "responses") for c in PROTOCOLS]
)
def test_an_effort_reaches_the_models_of_xai_that_take_one(
    over: str, client: str, model: str, *, taken: bool
) -> None:
    bodies: dict[str, Json] = {
        "chat": {"messages": [USER], "reasoning_effort": "low"},
        "responses": {"input": "Hi", "reasoning": {"effort": "low"}},
        "messages": {"max_tokens": 9, "messages": [USER], "output_config": {"effort": "low"}},
    }
    conversation = parsed(client, {"model": "m", **bodies[client]})
    request = PROTOCOLS[over].provider.render(conversation, model, XAI)
    effort = request.body.get("reasoning_effort")
    if over == "responses":
        effort = (request.body.get("reasoning") or {}).get("effort")
    assert effort == ("low" if taken else None)
    assert bool({"effort", "reasoning_effort"} & lost(request)) is not taken


@pytest.mark.parametrize("client", ["chat", "messages"])
def test_a_blank_stop_sequence_is_watched_for_where_claude_answers(client: str) -> None:
    """Claude refuses it in a request; a Messages client's own request stays as it is."""
    stops = ["\n", "END", "  "]
    own = {"stop_sequences": stops, "max_tokens": 9} if client == "messages" else {"stop": stops}
    conversation = parsed(client, {"model": "m", "messages": [USER], **own})
    request = PROTOCOLS["messages"].provider.render(conversation, "claude-opus-4-8", PLAIN)
    if client == "messages":
        assert (request.body["stop_sequences"], request.stop) == (stops, ())
    else:
        assert (request.body["stop_sequences"], request.stop) == (["END"], ("\n", "  "))
    assert "stop" not in lost(request)


@pytest.mark.parametrize(("said", "sent"), [(1.5, 1), (1, 1), (0.2, 0.2), (0, 0), (None, None)])
@pytest.mark.parametrize("client", ["chat", "responses"])
def test_a_temperature_that_zai_refuses_is_lowered(client: str, said: Json, sent: Json) -> None:
    asked = {"messages": [USER]} if client == "chat" else {"input": "Hi"}
    document = {"model": "m", **asked, "temperature": said}
    request = to_chat(document, SERVERS["zai"].dialect, protocol=client)
    assert request.body.get("temperature") == sent
    assert ("temperature" in lost(request)) is (said == 1.5)
    assert to_chat(document, PLAIN, protocol=client).body.get("temperature") == said
