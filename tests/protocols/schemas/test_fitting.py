"""The schema of an answer has only what Claude's structured outputs accept."""

import pytest

from polyvox.protocols.schemas.fitting import fitted
from polyvox.workflows.conversation import Json


def closed(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize(
    ("inner", "sent", "removed"),
    [
        (
            {"type": "string", "maxLength": 9, "description": "Short."},
            {"type": "string", "description": "Short.\n\n(maxLength: 9)"},
            ["maxLength"],
        ),
        (
            {"type": "integer", "minimum": 0, "multipleOf": 2},
            {"type": "integer", "description": "(minimum: 0, multipleOf: 2)"},
            ["minimum", "multipleOf"],
        ),
        (
            {"type": "array", "minItems": 2, "items": {"type": "string", "format": "regex"}},
            {
                "type": "array",
                "items": {"type": "string", "description": "(format: regex)"},
                "description": "(minItems: 2)",
            },
            ["minItems", "format"],
        ),
        (
            {"oneOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            ["oneOf"],
        ),
        (
            {"type": "string", "pattern": r"^(?=a)\w+$"},
            {"type": "string", "description": r"(pattern: ^(?=a)\w+$)"},
            ["pattern"],
        ),
        (
            {"type": "object", "properties": {"b": {"type": "string"}}},
            closed(b={"type": "string"}),
            ["additionalProperties"],
        ),
    ],
)
def test_what_claude_refuses_is_removed_and_told(
    inner: Json, sent: Json, removed: list[str]
) -> None:
    assert fitted(closed(a=inner)) == (closed(a=sent), tuple(removed))


@pytest.mark.parametrize(
    "inner",
    [
        {"type": "string", "enum": ["a", "b"]},
        {"type": "string", "format": "date-time", "pattern": "^[a-z]+$"},
        {"type": "array", "minItems": 1, "items": {"type": "number"}},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"const": 1},
        {"type": ["string", "null"], "title": "A", "default": None},
        {"$ref": "#/$defs/B"},
    ],
)
def test_what_claude_accepts_is_the_same_object(inner: Json) -> None:
    schema = {**closed(a=inner), "$defs": {"B": closed(maximum={"type": "string"})}}
    found = fitted(schema)
    assert found.schema is schema
    assert found.removed == ()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        closed(a={"type": "object", "properties": {}, "additionalProperties": True}),
        closed(a={"$ref": "#"}),
        {**closed(a={"$ref": "#/$defs/A"}), "$defs": {"A": closed(b={"$ref": "#/$defs/A"})}},
        closed(a={"$ref": "https://example.org/schema.json"}),
    ],
)
def test_a_schema_that_would_allow_other_answers_only_is_not_fitted(schema: Json) -> None:
    """Arbitrary members, recursion, other documents."""
    assert fitted(schema).schema is None
    assert fitted(schema).removed
