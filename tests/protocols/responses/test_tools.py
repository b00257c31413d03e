"""The tools of Responses, namespaces included."""

import pytest

from polyvox.protocols.responses import elements as responses
from polyvox.workflows.conversation import (
    Json,
    Tool,
    Wire,
)
from polyvox.workflows.errors import ModelError


def test_tools_come_back_unchanged_and_namespaces_whole() -> None:
    """Inside, each tool of a namespace has a name of its own that every protocol can carry."""
    inner = [
        {"type": "function", "name": "spawn", "description": None, "parameters": {"a": 1}},
        {"type": "custom", "name": "exec", "format": {"type": "text"}},
    ]
    tools = [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None},
        {"type": "namespace", "name": "agents", "description": "d", "tools": inner},
        {"type": "namespace", "name": "empty", "tools": []},
        {"type": "web_search", "external_web_access": False},
        {"type": "mcp", "server_label": "wiki", "server_url": "https://example.org"},
    ]
    parsed = responses.parse_tools(tools)
    assert [(t.name, t.kind) for t in parsed] == [
        ("f", "function"),
        ("agents__spawn", "function"),
        ("agents__exec", "custom"),
        ("empty", "server"),
        ("web_search", "server"),
        ("wiki", "server"),
    ]
    losses: list[str] = []
    assert responses.render_tools(parsed, losses) == tools
    assert losses == []
    assert [responses.parse_tool(tool.wire.json) for tool in parsed if tool.wire] == parsed


@pytest.mark.parametrize("tool", ["f", {}, {"type": "function"}, {"type": "custom", "name": 1}])
def test_an_ill_typed_tool_is_refused(tool: Json) -> None:
    """A tool that cannot be called is the client's mistake, said at once."""
    with pytest.raises(ModelError):
        responses.parse_tools([tool])


def test_tools_of_another_protocol_keep_their_meaning() -> None:
    """Strictness is spelled out, because absent means the opposite here."""
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
    chat = {"type": "custom", "custom": {"name": "patch", "format": grammar}}
    losses: list[str] = []
    tools = [
        Tool("f", "d", {"type": "object"}),
        Tool("bare"),
        Tool("patch", kind="custom", wire=Wire("chat", chat)),
        Tool("web_search", kind="server", wire=Wire("messages", {})),
    ]
    nothing = {"type": "object", "properties": {}}
    assert responses.render_tools(tools, losses) == [
        {
            "type": "function",
            "name": "f",
            "description": "d",
            "parameters": {"type": "object"},
            "strict": False,
        },
        {
            "type": "function",
            "name": "bare",
            "description": None,
            "parameters": nothing,
            "strict": False,
        },
        {
            "type": "custom",
            "name": "patch",
            "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
        },
    ]
    assert losses == ["tools.web_search: run by its own provider only"]
