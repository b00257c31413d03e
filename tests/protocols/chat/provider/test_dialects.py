"""The options and tools of a Chat Completions request are adapted to its server."""

from typing import Any

import pytest

from polyvox.protocols.chat.provider import request as chat
from polyvox.protocols.dialects.dialect import FULL, PLAIN
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Options,
    Tool,
    ToolChoice,
    user,
)
from tests.samples.codex_request import CODEX, dialect_named, lost, parsed, to_chat


def test_an_unknown_server_gets_only_what_every_server_takes() -> None:
    request = to_chat(CODEX, PLAIN)
    assert set(request.body) == {
        *("model", "messages", "tools", "tool_choice", "max_tokens", "stream", "stream_options")
    }
    assert request.body["max_tokens"] == 100
    assert lost(request) >= {
        *("parallel_tool_calls", "reasoning_effort", "verbosity", "prompt_cache_key", "role")
    }


def test_allowed_tools_are_the_only_tools_where_the_choice_is_not_known() -> None:
    functions = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    choice = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [functions[1]]},
    }
    document = {
        "model": "m",
        "messages": [{"role": "user", "content": "Go."}],
        "tools": functions,
        "tool_choice": choice,
    }
    body = to_chat(document, PLAIN, protocol="chat").body
    assert (body["tools"], body["tool_choice"]) == ([functions[1]], "required")
    assert to_chat(document, FULL, protocol="chat").body["tool_choice"] == choice


OWN: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi"}],
    "max_completion_tokens": 5,
    "store": True,
    "prompt_cache_key": "k",
    "verbosity": "low",
    "seed": 1,
    "logit_bias": None,
    "brand_new": {"a": 1},
}


def test_what_a_chat_client_sent_passes_through_to_an_unknown_server() -> None:
    request = to_chat(OWN, PLAIN, protocol="chat")
    assert request.losses == ()
    assert {name: request.body[name] for name in OWN} == OWN


def test_what_a_server_is_known_to_refuse_is_left_out_and_named() -> None:
    request = to_chat(OWN, SERVERS["mistral"].dialect, protocol="chat")
    sent = {name: value for name, value in request.body.items() if name not in ("stream", "model")}
    assert sent == {"messages": OWN["messages"], "max_tokens": 5, "brand_new": {"a": 1}}
    assert lost(request) == {"store", "prompt_cache_key", "verbosity", "seed"}
    assert all("mistral" in loss for loss in request.losses)


@pytest.mark.parametrize(
    ("name", "model", "field"),
    [
        ("openai", "gpt-4o", "max_completion_tokens"),
        ("mistral", "mistral-large-latest", "max_tokens"),
        ("unknown", "qwen3", "max_tokens"),
        ("unknown", "gpt-5", "max_completion_tokens"),
        ("groq", "openai/gpt-oss-120b", "max_completion_tokens"),
    ],
)
def test_the_output_limit_has_the_name_that_the_server_knows(
    name: str, model: str, field: str
) -> None:
    dialect = dialect_named(name)
    body = to_chat(CODEX, dialect, model).body
    assert body[field] == 100
    assert not {"max_tokens", "max_completion_tokens"} - {field} & body.keys()


@pytest.mark.parametrize(
    ("name", "model", "effort", "expected"),
    [
        ("unknown", "gpt-5.2", "high", {"reasoning_effort": "high"}),
        ("unknown", "qwen3", "high", {}),
        ("groq", "openai/gpt-oss-120b", "low", {"reasoning_effort": "low"}),
        ("gemini", "gemini-3-flash", "minimal", {"reasoning_effort": "low"}),
        ("xai", "grok-4.7", "max", {"reasoning_effort": "high"}),
        ("zai", "glm-5", "high", {"thinking": {"type": "enabled"}}),
        ("zai", "glm-5", "none", {"thinking": {"type": "disabled"}}),
        ("moonshot", "kimi-k2.6", "low", {"thinking": {"type": "enabled"}}),
        ("alibaba", "qwen3-max", "none", {"enable_thinking": False}),
        (
            "deepseek",
            "deepseek-v4-pro",
            "max",
            {"thinking": {"type": "enabled"}, "reasoning_effort": "max"},
        ),
        ("deepseek", "deepseek-v4-pro", "none", {"thinking": {"type": "disabled"}}),
    ],
)
def test_an_effort_is_written_as_the_server_knows_it(
    name: str, model: str, effort: str, expected: dict[str, Json]
) -> None:
    dialect = dialect_named(name)
    conversation = Conversation((user("Hi"),), options=Options(effort=effort))
    body = chat.render(conversation, model, dialect).body
    names = ("reasoning_effort", "thinking", "enable_thinking")
    assert {n: body[n] for n in names if n in body} == expected


@pytest.mark.parametrize(
    ("name", "sent", "watched"),
    [("unknown", "abcd", "ef"), ("zai", "a", "bcdef"), ("xai", "", "abcdef")],
)
@pytest.mark.parametrize("own", [True, False])
def test_stop_sequences_beyond_what_the_server_takes_are_watched_for(
    name: str, sent: str, watched: str, *, own: bool
) -> None:
    dialect = dialect_named(name)
    if own and name == "unknown":
        return
    document = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    asked = parsed("chat", {**document, "stop": [*"abcdef"]})
    conversation = asked if own else Conversation((user("Hi"),), options=Options(stop=(*"abcdef",)))
    request = chat.render(conversation, "m", dialect)
    assert request.body.get("stop", []) == [*sent]
    assert request.stop == (*watched,)
    assert not [loss for loss in request.losses if loss.startswith("stop")]


def test_deepseek_gets_a_schema_in_words() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    document = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    request = to_chat(
        {**document, "response_format": form}, SERVERS["deepseek"].dialect, protocol="chat"
    )
    assert request.body["response_format"] == {"type": "json_object"}
    head = request.body["messages"][0]
    assert head["role"] == "system"
    assert '{"type":"object"}' in head["content"]
    assert "JSON" in head["content"]
    assert "response_format" in lost(request)


@pytest.mark.parametrize(
    ("name", "expected", "switch"),
    [
        ("zai", "auto", {}),
        ("moonshot", "auto", {}),
        ("deepseek", "required", {"thinking": {"type": "disabled"}}),
        ("alibaba", "required", {"enable_thinking": False}),
        ("openai", "required", {}),
        ("unknown", "required", {}),
    ],
)
def test_a_forced_call_is_asked_for_as_the_server_allows(
    name: str, expected: str, switch: dict[str, Json]
) -> None:
    dialect = dialect_named(name)
    options = Options(tool_choice=ToolChoice("required"))
    conversation = Conversation((user("Go."),), tools=(Tool("f"),), options=options)
    body = chat.render(conversation, "m", dialect).body
    assert body["tool_choice"] == expected
    assert {n: body[n] for n in ("thinking", "enable_thinking") if n in body} == switch


@pytest.mark.parametrize("own", [True, False])
def test_claude_behind_a_chat_server_gets_one_sampler(*, own: bool) -> None:
    document = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.3,
        "top_p": 0.9,
    }
    conversation = parsed("chat", document)
    if not own:
        conversation = Conversation((user("Hi"),), options=Options(temperature=0.3, top_p=0.9))
    dialect = SERVERS["openrouter"].dialect
    request = chat.render(conversation, "anthropic/claude-sonnet-4.5", dialect)
    assert (request.body["temperature"], request.body.get("top_p")) == (0.3, None)
    assert "top_p" in lost(request)
    other = chat.render(conversation, "anthropic/claude-3.5-sonnet", dialect)
    assert other.body["top_p"] == 0.9


def test_strict_functions_are_asked_for_only_where_they_are_known() -> None:
    tools = (Tool("f", parameters={"type": "object"}, strict=True),)
    plain = chat.render(Conversation((user("Hi"),), tools=tools), "m", PLAIN)
    assert "strict" not in plain.body["tools"][0]["function"]
    assert "tools.strict" in lost(plain)
    known = chat.render(Conversation((user("Hi"),), tools=tools), "m", SERVERS["openai"].dialect)
    assert known.body["tools"][0]["function"]["strict"] is True


def test_usage_is_requested_where_the_server_takes_the_field() -> None:
    for name, asked in (("openai", True), ("mistral", False), ("zai", False)):
        body = chat.render(Conversation((user("Hi"),)), "m", SERVERS[name].dialect).body
        assert ("stream_options" in body) is asked
    assert chat.render(Conversation((user("Hi"),)), "m", PLAIN).body["stream_options"] == {
        "include_usage": True
    }
