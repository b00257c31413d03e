"""Parses and renders the tools of Chat Completions."""

from collections.abc import Iterable

from polyvox.protocols.chat.options import ill_typed
from polyvox.protocols.coverage.losses import lose, tool_losses
from polyvox.protocols.neutral import neutral_of
from polyvox.protocols.schemas.folding import FOLDED, folded
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import Json, Tool, Wire


def parse_tool(json: Json) -> Tool:
    """Parse an entry of ``tools``; one of an unknown type is a server tool."""
    if not isinstance(json, dict):
        raise ill_typed("", "an object", json)
    kind = json.get("type", "function")
    if kind not in ("function", "custom"):
        if not isinstance(kind, str):
            raise ill_typed("type", "a string", kind)
        return Tool(kind, kind="server", wire=Wire("chat", json))
    definition = json.get(kind)
    if not isinstance(definition, dict):
        raise ill_typed(kind, "an object", definition)
    name, description, strict = (
        definition.get("name"),
        definition.get("description"),
        definition.get("strict"),
    )
    if not isinstance(name, str) or not name:
        raise ill_typed(f"{kind}.name", "a non-empty string", name)
    if description is not None and not isinstance(description, str):
        raise ill_typed(f"{kind}.description", "a string", description)
    if strict is not None and not isinstance(strict, bool):
        raise ill_typed(f"{kind}.strict", "a boolean", strict)
    return Tool(
        name,
        description,
        definition.get("parameters"),
        "custom" if kind == "custom" else "function",
        strict,
        wire=Wire("chat", json),
    )


def render_tools(tools: Iterable[Tool], losses: list[str]) -> list[Json]:
    """Render ``tools``; a server tool of another protocol is a loss ``tools.<name>``."""
    rendered = []
    for tool in tools:
        if (json := tool.on_wire("chat")) is not None:
            rendered.append(json)
        elif tool.kind == "server":
            lose(losses, f"tools.{tool.name}: run by its own provider only")
        else:
            if tool.wire is not None:
                for loss in tool_losses(tool.wire, "chat"):
                    lose(losses, loss)
            definition: dict[str, Json] = {"name": offered_name(tool.name)}
            if tool.description is not None:
                definition["description"] = tool.description
            if tool.kind == "custom":
                definition.update(_custom_format(tool))
            else:
                if tool.parameters is not None:
                    definition["parameters"] = folded(tool.parameters)
                    if definition["parameters"] is not tool.parameters:
                        lose(losses, f"tools.parameters: {FOLDED}")
                if tool.strict is not None:
                    definition["strict"] = tool.strict
            rendered.append({"type": tool.kind, tool.kind: definition})
    return rendered


def _custom_format(tool: Tool) -> dict[str, Json]:
    definition = (
        neutral_of(tool.wire).custom_format(tool.wire.json) if tool.wire is not None else None
    )
    if not isinstance(definition, dict) or definition.get("type") != "grammar":
        return {}
    grammar = {name: value for name, value in definition.items() if name != "type"}
    return {"format": {"type": "grammar", "grammar": grammar}}
