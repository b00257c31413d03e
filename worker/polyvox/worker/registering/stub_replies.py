"""Stub replies for a dry run, with values that match a requested JSON Schema."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from polyvox.workflows.boundary.calls import ModelCall
from polyvox.workflows.conversation import Conversation, Json, Text, ToolCall
from polyvox.workflows.reply import Reply, Usage

MODEL = "simulator:main"

_DEEPEST = 8


def stub_reply(
    call: ModelCall, conversation: Conversation, calling: set[str], usage: Usage
) -> Reply:
    """Return a reply to ``call``: calls of mounted tools not in ``calling``, JSON, or a text.

    The tools that are called are added to ``calling``, so that each is called once.
    """
    tools = [t for t in conversation.tools if t.name in call.hidden and t.name not in calling]
    if tools:
        calling.update(tool.name for tool in tools)
        calls = tuple(
            ToolCall(f"call_{index}", tool.name, json.dumps(value_of(tool.parameters or {})))
            for index, tool in enumerate(tools)
        )
        return Reply(calls, "tool_calls", usage, call.model)
    asked = conversation.options.format
    if asked is not None:
        return Reply((Text(json.dumps(value_of(asked.schema or {}))),), "stop", usage, call.model)
    return Reply((Text(f"A stub reply to step {call.step}."),), "stop", usage, call.model)


def stub_params(kind: type[BaseModel]) -> dict[str, Json]:
    """Return values for the required parameters of a flow."""
    schema = kind.model_json_schema()
    named = schema.get("$defs", {})
    required = schema.get("required", [])
    return {name: value_of(schema["properties"][name], named) for name in required}


def value_of(schema: Any, named: Mapping[str, Any] | None = None, depth: int = 0) -> Json:
    """Return a small value that matches ``schema``, as far as possible."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    named = named or schema.get("$defs", {})
    if "$ref" in schema:
        return value_of(named.get(schema["$ref"].rpartition("/")[2], {}), named, depth + 1)
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    if schema.get("enum") or schema.get("examples"):
        return (schema.get("enum") or schema["examples"])[0]
    for choices in ("anyOf", "oneOf", "allOf"):
        if schema.get(choices):
            return value_of(schema[choices][0], named, depth + 1)
    match schema.get("type"):
        case "string":
            text = MODEL if schema.get("format") == "model" else "text"
            return text.ljust(schema.get("minLength", 0), "x")
        case "integer" | "number":
            least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            return min(least, schema.get("maximum", least))
        case "boolean":
            return False
        case "array":
            one = value_of(schema.get("items", {"type": "string"}), named, depth + 1)
            return [one] * schema.get("minItems", 1)
        case "null":
            return None
        case _:
            required = schema.get("required", list(schema.get("properties", {})))
            inside = schema.get("properties", {})
            return {name: value_of(inside.get(name, {}), named, depth + 1) for name in required}
