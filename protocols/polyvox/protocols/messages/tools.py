"""Parses and renders the tools of Messages.

A free-text tool, which this protocol lacks, becomes a function with the single string property
``input``.
"""

from collections.abc import Sequence

from polyvox.protocols.coverage.losses import tool_losses
from polyvox.protocols.dialects.free_text import INPUT_SCHEMA, described
from polyvox.protocols.messages.blocks import invalid
from polyvox.protocols.neutral import neutral_of
from polyvox.protocols.schemas.folding import FOLDED, folded
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import Json, Tool, Wire


def parse_tool(json: Json) -> Tool:
    """Parse one element of ``tools``.

    A tool with a vendor's type is of kind ``server``, whoever runs it: only the provider's models
    know its schema.
    """
    if not isinstance(json, dict):
        raise invalid("", "must be an object.")
    kind, name, description = json.get("type"), json.get("name"), json.get("description")
    wire = Wire("messages", json)
    if kind not in (None, "custom"):
        return Tool(name if isinstance(name, str) else str(kind), kind="server", wire=wire)
    if not isinstance(name, str):
        raise invalid("name", "must be a string.")
    if description is not None and not isinstance(description, str):
        raise invalid("description", "must be a string.")
    strict = json.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise invalid("strict", "must be a boolean.")
    return Tool(name, description, json.get("input_schema"), strict=strict, wire=wire)


def render_tools(tools: Sequence[Tool], losses: list[str]) -> list[Json]:
    """Render ``tools``; those that another protocol's provider runs itself are named losses."""
    rendered = []
    for tool in tools:
        element = tool.on_wire("messages")
        if element is not None:
            rendered.append(_with_folded_schema(element, losses))
        elif tool.kind == "server":
            losses.append(f"tools.{tool.name}: run by its own provider only")
        else:
            if tool.wire is not None:
                losses.extend(tool_losses(tool.wire, "messages"))
            rendered.append(_render_tool(tool, losses))
    return rendered


def _with_folded_schema(tool: dict[str, Json], losses: list[str]) -> Json:
    """Return the element of a tool with a schema that the API accepts."""
    schema = tool.get("input_schema")
    changed = folded(schema)
    if changed is schema:
        return tool
    losses.append(f"tools.input_schema: {FOLDED}")
    return {**tool, "input_schema": changed}


def _render_tool(tool: Tool, losses: list[str]) -> Json:
    json: dict[str, Json] = {"name": offered_name(tool.name)}
    if tool.kind == "custom":
        description = described(tool.description, _format(tool))
        if description is not None:
            json["description"] = description
        return {**json, "input_schema": INPUT_SCHEMA}
    if tool.description is not None:
        json["description"] = tool.description
    json["input_schema"] = _object_schema(tool.parameters)
    if tool.strict is not None:
        json["strict"] = tool.strict
    return _with_folded_schema(json, losses)


def _format(tool: Tool) -> Json:
    return None if tool.wire is None else neutral_of(tool.wire).custom_format(tool.wire.json)


def _object_schema(parameters: Json) -> Json:
    """Return the schema with the ``type`` that the API requires."""
    if not parameters:
        return {"type": "object", "properties": {}}
    if isinstance(parameters, dict) and "type" not in parameters:
        return {"type": "object", **parameters}
    return parameters
