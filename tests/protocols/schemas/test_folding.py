"""A tool's schema has no alternatives at its root."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.schemas.folding import FOLDED, folded
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Protocol

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def variant(required: list[str], closed: bool = False, **properties: Json) -> Json:
    schema = {"type": "object", "properties": properties, "required": required}
    return {**schema, "additionalProperties": False} if closed else schema


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {
                "type": "object",
                "description": "One of two.",
                "properties": {"both": TEXT},
                "required": ["both"],
                "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
            {
                "type": "object",
                "description": "One of two.",
                "properties": {"both": TEXT},
                "required": ["both"],
            },
        ),
        (
            {"oneOf": [variant(["a", "c"], a=TEXT, c=TEXT), variant(["b", "c"], b=TEXT, c=NUMBER)]},
            variant(["c"], a=TEXT, c={"anyOf": [TEXT, NUMBER]}, b=TEXT),
        ),
        (
            {"allOf": [variant(["a"], a=TEXT), variant(["b"], b=TEXT)]},
            variant(["a", "b"], a=TEXT, b=TEXT),
        ),
        (
            {"anyOf": [variant(["a"], closed=True, a=TEXT), {"type": "null"}]},
            variant(["a"], closed=True, a=TEXT),
        ),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": variant(["a"], a=TEXT)}},
            {**variant(["a"], a=TEXT), "$defs": {"A": variant(["a"], a=TEXT)}},
        ),
        ({"type": ["object", "null"], "anyOf": [{"anyOf": [variant([], a=TEXT)]}]}, None),
    ],
)
def test_alternatives_are_folded(schema: Json, expected: Json) -> None:
    found = folded(schema)
    assert not {"anyOf", "oneOf", "allOf", "$ref"} & set(found)
    assert found["type"] == "object"
    if expected is not None:
        assert found == expected


def test_a_schema_without_alternatives_is_the_same() -> None:
    schema = {"type": "object", "properties": {"a": {"anyOf": [TEXT, NUMBER]}}}
    assert folded(schema) is schema


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {
        "anyOf": [{"$ref": "#/$defs/A"}] * 50,
        "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}] * 50}},
    }
    assert folded(schema)["type"] == "object"


properties = st.dictionaries(st.sampled_from("abc"), st.sampled_from([TEXT, NUMBER]), max_size=3)
objects = properties.map(lambda found: variant(sorted(found)[:1], closed=True, **found))
schemas = st.recursive(
    objects,
    lambda inner: st.dictionaries(
        st.sampled_from(["anyOf", "oneOf", "allOf"]),
        st.lists(inner, min_size=1, max_size=3),
        min_size=1,
        max_size=2,
    ),
    max_leaves=6,
)
values = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3) | st.just("x"), max_size=3)


@given(schemas, values)
def test_what_the_original_allows_is_allowed(schema: Json, value: Json) -> None:
    if jsonschema.Draft202012Validator(schema).is_valid(value):
        assert jsonschema.Draft202012Validator(folded(schema)).is_valid(value)


@pytest.mark.parametrize("over", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_provider_gets_the_folded_schema(client: Protocol, over: Protocol) -> None:
    """Claude from any client, OpenAI's protocols from clients of other protocols."""
    schema = {"type": "object", "anyOf": [variant(["a"], a=TEXT), variant(["b"], b=TEXT)]}
    function = {"name": "f", "parameters": schema}
    tools: dict[Protocol, Json] = {
        "chat": {"messages": [], "tools": [{"type": "function", "function": function}]},
        "responses": {"input": "Hi", "tools": [{"type": "function", **function}]},
        "messages": {
            "max_tokens": 9,
            "messages": [],
            "tools": [
                {"name": "f", "input_schema": schema, "cache_control": {"type": "ephemeral"}}
            ],
        },
    }
    said = {"role": "user", "content": "Hi"}
    body: Any = {"model": "m", **tools[client]}
    if "messages" in body:
        body["messages"] = [said]
    conversation = PROTOCOLS[client].parser.parse(body, {}).conversation
    request = PROTOCOLS[over].provider.render(conversation, "claude-opus-4-8")
    (tool,) = request.body["tools"]
    sent = tool.get("input_schema") or (tool.get("function") or tool)["parameters"]
    if client == over != "messages":
        assert sent == schema
        return
    assert sent == {"type": "object", "properties": {"a": TEXT, "b": TEXT}}
    assert any(FOLDED in loss for loss in request.losses)
    if client == over:
        assert tool["cache_control"]
