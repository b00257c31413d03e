"""Parses and renders the tools of Responses, including namespaces.

A namespace is one element with several functions inside. Each of them becomes a separate Tool,
named ``namespace__name`` as protocols without namespaces need it; its wire is ``{"type",
"namespace", "tool"}``, from which ``render_tools`` restores the namespace.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from polyvox.protocols.coverage.losses import tool_losses
from polyvox.protocols.neutral import neutral_of
from polyvox.protocols.responses.content import invalid, of_type, text_field
from polyvox.protocols.schemas.folding import FOLDED, folded
from polyvox.protocols.tool_names import JOINT, offered_name
from polyvox.workflows.conversation import Json, Message, Tool, Wire

_Kind = Literal["function", "custom"]
_KINDS: dict[str, _Kind] = {"function": "function", "custom": "custom"}


def parse_tool(json: Json) -> Tool:
    """Parse one tool, or one tool of a namespace in the form that ``parse_tools`` gives it.

    An empty namespace and a tool that the provider runs itself are server tools.
    """
    if not isinstance(json, dict):
        raise invalid("A tool must be an object.", "")
    if is_spaced(json):
        space = text_field(json["namespace"], "name")
        return _callable(json["tool"], Wire("responses", json), space)
    kind = text_field(json, "type")
    if kind in _KINDS:
        return _callable(json, Wire("responses", json))
    name = json.get("name") or json.get("server_label") or kind
    return Tool(str(name), kind="server", wire=Wire("responses", json))


def is_spaced(json: Json) -> bool:
    """Whether ``json`` is one tool of a namespace, in the form that ``parse_tools`` gives it."""
    return isinstance(json.get("namespace"), dict) and "tool" in json


def parse_tools(json: Sequence[Json]) -> list[Tool]:
    """Parse a ``tools`` list; a namespace gives one Tool for each tool inside."""
    if not isinstance(json, list | tuple):
        raise invalid("'tools' must be a list.", "")
    tools: list[Tool] = []
    for element in json:
        inner = element.get("tools") if isinstance(element, dict) else None
        if not inner or element.get("type") != "namespace" or not isinstance(inner, list):
            tools.append(parse_tool(element))
            continue
        text_field(element, "name")
        shell = {name: value for name, value in element.items() if name != "tools"}
        for tool in inner:
            kind = tool.get("type") if isinstance(tool, dict) else None
            tools.append(parse_tool({"type": kind, "namespace": shell, "tool": tool}))
    return tools


def given_tools(messages: Iterable[Message]) -> list[Json]:
    """Return the wire of each tool in the ``additional_tools`` items of ``messages``.

    Such tools are offered to every provider, and must not be sent twice in this protocol.
    """
    given: list[Json] = []
    for message in messages:
        item = message.on_wire("responses")
        if item is not None and item.get("type") == "additional_tools":
            given += [tool.on_wire("responses") for tool in parse_tools(item.get("tools") or ())]
    return given


def _callable(json: Json, wire: Wire, namespace: str | None = None) -> Tool:
    if not isinstance(json, dict):
        raise invalid("A tool must be an object.", "")
    definition = text_field(json, "type", "")
    kind = _KINDS.get(definition)
    name = text_field(json, "name", None if kind else definition)
    full = name if namespace is None else f"{namespace}{JOINT}{name}"
    if kind is None:
        return Tool(full, kind="server", wire=wire)
    return Tool(
        full,
        of_type(json, "description", str),
        of_type(json, "parameters", dict) if kind == "function" else None,
        kind,
        of_type(json, "strict", bool),
        wire=wire,
    )


def render_tools(tools: Iterable[Tool], losses: list[str]) -> list[Json]:
    """Render a ``tools`` list. Server tools of other protocols are left out and named."""
    rendered: list[Json] = []
    shell: Json = None
    for tool in tools:
        own = tool.on_wire("responses")
        if own is not None and is_spaced(own):
            if shell is None or own["namespace"] != shell:
                shell = own["namespace"]
                rendered.append({**shell, "tools": []})
            rendered[-1]["tools"].append(own["tool"])
            continue
        shell = None
        if own is not None:
            rendered.append(own)
        elif tool.kind == "server":
            losses.append(f"tools.{tool.name}: run by its own provider only")
        else:
            if tool.wire is not None:
                losses.extend(tool_losses(tool.wire, "responses"))
            rendered.append(_custom(tool) if tool.kind == "custom" else _function(tool, losses))
    return rendered


def _function(tool: Tool, losses: list[str]) -> Json:
    parameters = folded(tool.parameters)
    if parameters is not tool.parameters:
        losses.append(f"tools.parameters: {FOLDED}")
    return {
        "type": "function",
        "name": offered_name(tool.name),
        "description": tool.description,
        "parameters": {"type": "object", "properties": {}} if parameters is None else parameters,
        # Absent means true here and false in the other protocols.
        "strict": bool(tool.strict),
    }


def _custom(tool: Tool) -> Json:
    custom: dict[str, Json] = {"type": "custom", "name": offered_name(tool.name)}
    if tool.description is not None:
        custom["description"] = tool.description
    form = neutral_of(tool.wire).custom_format(tool.wire.json) if tool.wire is not None else None
    if isinstance(form, dict):
        custom["format"] = form
    return custom
