"""A Responses request is adapted to the server that gets it."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from polyvox.protocols.dialects.dialect import FULL, PLAIN, Dialect
from polyvox.protocols.dialects.servers import SERVERS
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.responses.provider import request as responses
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, Options, Tool, ToolChoice, Wire, user

TOOLS: list[dict[str, Any]] = [
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edit files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/s"},
    },
    {
        "type": "namespace",
        "name": "mcp__files",
        "description": "Files.",
        "tools": [{"type": "function", "name": "read", "parameters": {"type": "object"}}],
    },
]

CODEX: dict[str, Any] = {
    "model": "m",
    "instructions": "You are a coding agent.",
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "Sandbox: on."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Fix the bug."}]},
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "x"},
        {
            "type": "function_call",
            "call_id": "c2",
            "name": "read",
            "namespace": "mcp__files",
            "arguments": "{}",
        },
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"},
        {"type": "function_call_output", "call_id": "c2", "output": "text"},
        {"role": "developer", "content": [{"type": "input_text", "text": "Approvals: never."}]},
    ],
    "tools": TOOLS,
    "tool_choice": {"type": "custom", "name": "apply_patch"},
    "store": False,
}


def rendered(document: dict[str, Any], dialect: Dialect, protocol: str = "responses") -> Rendered:
    conversation = PROTOCOLS[protocol].parser.parse(document, {}).conversation
    return responses.render(conversation, "m", dialect)


@pytest.mark.parametrize("name", ["ollama", "llamacpp", "deepseek"])
def test_codex_reaches_a_server_that_knows_only_functions(name: str) -> None:
    """Its free-text tools and namespaces become functions, its instructions one text."""
    request = rendered(CODEX, SERVERS[name].dialect)
    assert [(tool["type"], tool["name"]) for tool in request.body["tools"]] == [
        ("function", "apply_patch"),
        ("function", "mcp__files__read"),
    ]
    assert "start: /.+/s" in request.body["tools"][0]["description"]
    assert request.body["instructions"] == "You are a coding agent.\n\nSandbox: on."
    kinds = [item.get("type", item.get("role")) for item in request.body["input"]]
    assert kinds == [
        *("user", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "user"),
    ]
    calls = [item for item in request.body["input"] if item.get("type") == "function_call"]
    assert [(call["name"], orjson.loads(call["arguments"])) for call in calls] == [
        ("apply_patch", {"input": "x"}),
        ("mcp__files__read", {}),
    ]
    assert request.body["input"][-1]["content"] == "<system>\nApprovals: never.\n</system>"
    assert request.body["tool_choice"] == {"type": "function", "name": "apply_patch"}
    assert any(loss.startswith("role: later instructions") for loss in request.losses)


@pytest.mark.parametrize("dialect", [FULL, PLAIN, SERVERS["openai"].dialect])
def test_what_a_responses_client_sent_passes_through_elsewhere(dialect: Dialect) -> None:
    body = rendered(CODEX, dialect).body
    assert {name: body[name] for name in CODEX} == CODEX


def test_another_clients_free_text_tool_is_a_function_for_an_unknown_server() -> None:
    document = {
        "model": "m",
        "messages": [{"role": "user", "content": "Go."}],
        "tools": [{"type": "custom", "custom": {"name": "patch", "description": "Edit."}}],
        "tool_choice": {"type": "custom", "custom": {"name": "patch"}},
    }
    body = rendered(document, PLAIN, "chat").body
    assert body["tools"][0]["type"] == "function"
    assert body["tool_choice"] == {"type": "function", "name": "patch"}
    assert rendered(document, FULL, "chat").body["tools"][0]["type"] == "custom"


def test_a_choice_of_a_tool_that_was_left_out_becomes_auto() -> None:
    search = Tool(
        "web_search", kind="server", wire=Wire("messages", {"type": "web_search_20250305"})
    )
    forced = Options(tool_choice=ToolChoice("tool", "web_search"))
    both = Conversation((user("x"),), tools=(search, Tool("f")), options=forced)
    request = responses.render(both, "m")
    assert request.body["tool_choice"] == "auto"
    assert "tool_choice: its tool is not offered" in request.losses
    alone = responses.render(replace(both, tools=(search,)), "m")
    assert "tool_choice" not in alone.body
    required = Options(tool_choice=ToolChoice("required"))
    none_left = responses.render(Conversation((user("x"),), tools=(search,), options=required), "m")
    assert "tool_choice" not in none_left.body
    assert "tool_choice: no tool is offered" in none_left.losses


def test_allowed_tools_are_those_that_are_left() -> None:
    search = Tool("web_search", kind="server", wire=Wire("messages", {"type": "web_search"}))
    options = Options(tool_choice=ToolChoice("required", allowed=("web_search", "f")))
    conversation = Conversation((user("x"),), tools=(search, Tool("f"), Tool("g")), options=options)
    choice = responses.render(conversation, "m").body["tool_choice"]
    assert choice["tools"] == [{"type": "function", "name": "f"}]


def test_an_unknown_server_gets_no_fields_of_openai_from_other_clients() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    document = {
        "model": "m",
        "messages": [{"role": "user", "content": "Go."}],
        "prompt_cache_key": "k",
        "user": "u",
        "verbosity": "low",
        "metadata": {"a": "b"},
        "response_format": form,
    }
    request = rendered(document, PLAIN, "chat")
    assert not {"prompt_cache_key", "user", "metadata"} & request.body.keys()
    assert request.body["text"].keys() == {"format"}
    named = {loss.partition(":")[0] for loss in request.losses}
    assert named == {"prompt_cache_key", "user", "metadata", "verbosity"}
    known = rendered(document, SERVERS["openai"].dialect, "chat")
    assert known.body["prompt_cache_key"] == "k"
    assert known.losses == ()
