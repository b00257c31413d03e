"""Values made from JSON Schemas."""

from typing import Any

import jsonschema
import orjson
import pytest

from polyvox.gateway.simulator.acting import schema
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#"}},
        "parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["name", "children", "parent"],
    "additionalProperties": False,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "object without properties": {"type": "object"},
    "recursive": TREE,
    "bounds": {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 18, "maximum": 30},
            "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "low": {"type": "integer", "maximum": -4},
            "step": {"type": "integer", "minimum": 3, "multipleOf": 5},
            "code": {"type": "string", "minLength": 12, "maxLength": 14},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3},
            "none": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
        },
        "required": ["age", "share", "low", "step", "code", "tags", "none"],
    },
    "definitions": {
        "$defs": {"colour": {"enum": ["red", "green"]}},
        "type": "object",
        "properties": {
            "colour": {"$ref": "#/$defs/colour"},
            "kind": {"const": "fixed"},
            "when": {"type": "string", "format": "date-time"},
            "maybe": {"type": ["null", "string"]},
            "both": {
                "allOf": [
                    {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "null"}}, "required": ["b"]},
                ]
            },
        },
        "required": ["colour", "kind", "when", "maybe", "both"],
        "additionalProperties": False,
    },
    "pattern": {"type": "string", "pattern": r"^\d{5}$"},
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "string"}, {"type": "integer"}],
        "minItems": 2,
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_made_value_follows_its_schema(name: str) -> None:
    jsonschema.validate(schema.instance(SCHEMAS[name], ["one", "two"]), SCHEMAS[name])


def test_words_fill_free_strings_in_turn() -> None:
    wanted = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    assert schema.instance(wanted, ["one", "two"]) == {"a": "one", "b": "two"}


def test_a_named_value_goes_to_its_property_at_any_depth() -> None:
    """Named values win over words, are put in the type asked for, and call up optional ones."""
    wanted = {
        "type": "object",
        "properties": {
            "inner": {
                "type": "object",
                "properties": {"count": {"type": "integer"}, "note": {"type": "string"}},
                "required": ["note"],
            }
        },
        "required": ["inner"],
    }
    made = schema.instance(wanted, ["word"], {"count": "7", "note": ["a", "b"]})
    assert made == {"inner": {"note": "a\nb", "count": 7}}


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "object", "properties": True},
        {"properties": []},
        {"required": "name"},
        {"anyOf": {}},
        {"type": "thing"},
        {"minItems": "two"},
        {"items": {"allOf": [{"properties": "x"}]}},
    ],
    ids=str,
)
def test_what_is_not_a_json_schema_is_refused(odd: Json) -> None:
    """As a provider does, with the place that is wrong."""
    with pytest.raises(ModelError, match="not a valid JSON Schema") as refused:
        schema.instance(odd)
    assert refused.value.kind == "invalid_request"


@pytest.mark.parametrize(
    "odd",
    [
        {"$ref": "#"},
        {"$ref": "#/a", "a": {"$ref": "#/b"}, "b": {"anyOf": [{"$ref": "#/a"}]}},
        {"type": "number", "multipleOf": 1e-308, "minimum": 1e308},
        {"type": "integer", "minimum": 1e308},
    ],
    ids=str,
)
def test_a_schema_that_leads_nowhere_still_gets_a_value(odd: Json) -> None:
    orjson.dumps(schema.instance(odd))
