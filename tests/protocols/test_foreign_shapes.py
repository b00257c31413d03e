"""Requests with tools, messages and options in another protocol's shape are understood."""

from typing import Any

import pytest

from polyvox.protocols.client_side import Ask
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError


def parsed(protocol: str, **members: Json) -> Ask:
    body: dict[str, Json] = {"model": "m", **members}
    if protocol == "messages":
        body.setdefault("max_tokens", 10)
    return PROTOCOLS[protocol].parser.parse(body, {})


SCHEMA = {"type": "object", "properties": {"p": {"type": "string"}}}
TOOLS: dict[str, Json] = {
    "nested": {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": SCHEMA},
    },
    "flat": {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA},
    "schema": {"name": "f", "description": "d", "input_schema": SCHEMA},
    "schema with a type": {
        "type": "custom",
        "name": "f",
        "description": "d",
        "input_schema": SCHEMA,
    },
    "bare": {"name": "f", "description": "d", "parameters": SCHEMA},
}
CHOICES: dict[str, Json] = {
    "nested": {"type": "function", "function": {"name": "f"}},
    "flat": {"type": "function", "name": "f"},
    "messages": {"type": "tool", "name": "f"},
}
OWN_TOOLS: dict[str, Json] = {
    "chat": TOOLS["nested"],
    "responses": {**TOOLS["flat"], "strict": False},
    "messages": TOOLS["schema"],
}
OWN_CHOICES: dict[str, Json] = {
    "chat": CHOICES["nested"],
    "responses": CHOICES["flat"],
    "messages": CHOICES["messages"],
}


def with_tools(protocol: str, tool: Json, **members: Json) -> Ask:
    list_name = "input" if protocol == "responses" else "messages"
    hello = [{"role": "user", "content": "hi"}]
    return parsed(protocol, **{list_name: hello}, tools=[tool], **members)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_tool_is_understood_in_every_shape(protocol: str, tool: str, choice: str) -> None:
    """And so is its choice; a provider of the same protocol gets its own shape."""
    ask = with_tools(protocol, TOOLS[tool], tool_choice=CHOICES[choice])
    (offered,) = ask.conversation.tools
    found = (offered.name, offered.description, offered.parameters, offered.kind)
    assert found == ("f", "d", SCHEMA, "function")
    chosen = ask.conversation.options.tool_choice
    assert chosen is not None
    assert (chosen.mode, chosen.name) == ("tool", "f")
    body = PROTOCOLS[protocol].provider.render(ask.conversation, "m").body
    own_shape = TOOLS[tool] == body["tools"][0]
    assert own_shape or body["tools"] == [OWN_TOOLS[protocol]]
    assert body["tool_choice"] == OWN_CHOICES[protocol]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ("any", "required"),
        ("none", "none"),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
    ],
)
def test_a_mode_of_tool_choice_is_understood_in_every_spelling(
    protocol: str, said: Json, mode: str
) -> None:
    """The strings are OpenAI's, the objects those of Messages."""
    chosen = with_tools(protocol, TOOLS["flat"], tool_choice=said).conversation.options.tool_choice
    assert chosen is not None
    assert chosen.mode == mode


GRAMMAR = {"syntax": "lark", "definition": "start: /a/"}
FREE: dict[str, Json] = {
    "nested": {
        "type": "custom",
        "custom": {"name": "f", "format": {"type": "grammar", "grammar": GRAMMAR}},
    },
    "flat": {"type": "custom", "name": "f", "format": {"type": "grammar", **GRAMMAR}},
}


@pytest.mark.parametrize("shape", FREE)
@pytest.mark.parametrize("protocol", ["chat", "responses"])
def test_a_free_text_tool_is_understood_in_both_shapes(protocol: str, shape: str) -> None:
    """With its grammar."""
    ask = with_tools(protocol, FREE[shape])
    assert ask.conversation.tools[0].kind == "custom"
    body = PROTOCOLS[protocol].provider.render(ask.conversation, "m").body
    assert body["tools"] == [FREE["nested" if protocol == "chat" else "flat"]]


def test_a_providers_own_tool_stays_as_it_is() -> None:
    """Only the client's tools have several shapes."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    assert with_tools("messages", search).conversation.tools[0].kind == "server"
    mcp = {"type": "mcp", "server_label": "d", "server_url": "https://d"}
    assert with_tools("responses", mcp).conversation.tools[0].on_wire("responses") == mcp


CURSOR: dict[str, Json] = {
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"p": 1}'},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": '{"p": 2}'},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "rain"}],
        },
        {"role": "assistant", "content": [{"type": "output_text", "text": "Both."}]},
        {"role": "user", "content": "thanks"},
    ],
    "tools": [TOOLS["flat"]],
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}, "verbosity": "low"},
    "max_output_tokens": 100,
}


def test_a_responses_request_to_chat_is_understood() -> None:
    """A provider of Chat gets plain Chat."""
    ask = parsed("chat", **CURSOR)
    body = PROTOCOLS["chat"].provider.render(ask.conversation, "m").body
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": f'{{"p": {n}}}'}}
        for n in (1, 2)
    ]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "rain"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Both."}]},
        {"role": "user", "content": "thanks"},
    ]
    assert body["tools"] == [TOOLS["nested"]]
    assert body["reasoning_effort"] == body["verbosity"] == "low"
    assert body["max_completion_tokens"] == 100
    schema = {"name": "n", "schema": SCHEMA}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert not {"input", "instructions", "reasoning", "text", "max_output_tokens"} & body.keys()


def test_a_string_of_input_is_one_message() -> None:
    """As in Responses."""
    assert parsed("chat", input="hi").conversation.last_user_text == "hi"


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": 7}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{"type": "web_search_call", "id": "w"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].arguments"),
        ({"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": []}, "messages"),
    ],
)
def test_what_chat_cannot_say_of_an_input_is_refused(members: dict[str, Json], param: str) -> None:
    """With the path in the client's own request."""
    with pytest.raises(ModelError) as refused:
        parsed("chat", **members)
    assert (refused.value.kind, refused.value.param) == ("invalid_request", param)


def test_blocks_of_messages_in_chat_are_calls_and_results() -> None:
    """Cursor's spelling for Claude."""
    ask = parsed(
        "chat",
        system="Be brief.",
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "c1", "name": "f", "input": {"p": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c1",
                        "is_error": True,
                        "content": [{"type": "text", "text": "no sun"}],
                    },
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
    )
    body = PROTOCOLS["chat"].provider.render(ask.conversation, "m").body
    function = {"name": "f", "arguments": '{"p":1}'}
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Let me see."}],
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [{"type": "text", "text": "Error:"}, {"type": "text", "text": "no sun"}],
        },
        {"role": "user", "content": [{"type": "text", "text": "go on"}]},
    ]
    assert "system" not in body


def test_messages_to_responses_are_items() -> None:
    """A Chat request to the wrong path."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ask = parsed(
        "responses",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "sun"},
        ],
        tools=[TOOLS["nested"]],
        max_tokens=100,
        reasoning_effort="low",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    )
    body = PROTOCOLS["responses"].provider.render(ask.conversation, "m").body
    assert body["input"] == [
        {"type": "message", "role": "system", "content": "Be brief."},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "weather?"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
    ]
    assert body["tools"] == [OWN_TOOLS["responses"]]
    assert body["max_output_tokens"] == 100
    assert body["reasoning"] == {"effort": "low"}
    assert body["text"]["format"] == {"type": "json_schema", "name": "n", "schema": SCHEMA}
    assert not {"messages", "max_tokens", "reasoning_effort", "response_format"} & body.keys()


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_output_limit_is_understood_in_every_spelling(protocol: str, name: str) -> None:
    """Whichever name a client writes, the provider gets a limit that it knows."""
    own = {
        "chat": {"max_tokens", "max_completion_tokens"},
        "responses": {"max_output_tokens"},
        "messages": {"max_tokens"},
    }[protocol]
    list_name = "input" if protocol == "responses" else "messages"
    body = {"model": "m", list_name: [{"role": "user", "content": "hi"}], name: 100}
    ask = PROTOCOLS[protocol].parser.parse(body, {})
    assert ask.conversation.options.max_tokens == 100
    rendered = PROTOCOLS[protocol].provider.render(ask.conversation, "m").body
    limits = {key for key in rendered if key.startswith("max_")}
    assert len(limits) == 1
    assert limits <= own


def test_a_request_in_its_own_spelling_is_not_touched() -> None:
    """The very objects that were sent reach the conversation."""
    message: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    ask = parsed("chat", messages=[message], tools=[TOOLS["nested"]])
    assert ask.conversation.messages[0].on_wire("chat") is message
    assert ask.conversation.tools[0].on_wire("chat") is TOOLS["nested"]
