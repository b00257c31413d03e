"""Adapts the tools of a Responses request, and the choice among them, to the server."""

from collections.abc import Iterable, Iterator
from typing import Final

from polyvox.protocols.dialects.free_text import INPUT_SCHEMA, described, wrapped
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import Json, Tool

_NAMED: Final = ("function", "custom")
"""The types of tools that a choice names by their name."""


def only_functions(body: dict[str, Json]) -> None:
    """Turn free-text tools and namespaces into functions, in definitions, history and choice."""
    if "tools" in body:
        body["tools"] = [tool for listed in body["tools"] for tool in _functions(listed)]
    if isinstance(body.get("input"), list):
        body["input"] = [_function_item(item) for item in body["input"]]
    if "tool_choice" in body:
        body["tool_choice"] = _function_choice(body["tool_choice"])


def _functions(tool: Json, namespace: str | None = None) -> Iterator[Json]:
    match tool.get("type"):
        case "namespace":
            for inner in tool.get("tools") or ():
                yield from _functions(inner, tool.get("name"))
        case "custom":
            function: dict[str, Json] = {"type": "function", "name": _name(tool, namespace)}
            description = described(tool.get("description"), tool.get("format"))
            if description is not None:
                function["description"] = description
            yield {**function, "parameters": INPUT_SCHEMA, "strict": False}
        case _:
            yield tool if namespace is None else {**tool, "name": _name(tool, namespace)}


def _name(element: Json, namespace: str | None) -> str:
    return offered_name(str(element.get("name")), namespace)


def _function_item(item: Json) -> Json:
    kind = item.get("type")
    if kind == "custom_tool_call_output":
        return {"type": "function_call_output", **_without(item, "type", "id", "name")}
    if kind not in ("function_call", "custom_tool_call"):
        return item
    name = _name(item, item.get("namespace"))
    if kind == "function_call":
        return {**_without(item, "namespace"), "name": name}
    rest = _without(item, "type", "id", "input", "namespace")
    return {"type": "function_call", **rest, "name": name, "arguments": wrapped(item["input"])}


def _without(item: Json, *names: str) -> dict[str, Json]:
    return {name: value for name, value in item.items() if name not in names}


def _function_choice(choice: Json) -> Json:
    if not isinstance(choice, dict):
        return choice
    if isinstance(choice.get("tools"), list):
        return {**choice, "tools": [_function_choice(tool) for tool in choice["tools"]]}
    if choice.get("type") not in _NAMED:
        return choice
    name = _name(choice, choice.get("namespace"))
    return {**_without(choice, "namespace"), "type": "function", "name": name}


def restrain_choice(body: dict[str, Json], tools_asked: Iterable[Tool], losses: list[str]) -> None:
    """Adapt ``tool_choice`` to the tools that are left of ``tools_asked``.

    The API refuses a choice of a tool that was left out: the model then decides itself, and the
    loss is named.
    """
    choice = body.get("tool_choice")
    tools = body.get("tools") or []
    if choice == "required" and not tools:
        del body["tool_choice"]
        losses.append("tool_choice: no tool is offered")
    if not isinstance(choice, dict):
        return
    kinds = {tool.get("name"): tool["type"] for tool in tools}
    left_out = {offered_name(tool.name) for tool in tools_asked} - kinds.keys()
    listed = [t for t in choice.get("tools", [choice]) if t["name"] not in left_out]
    named = [{**t, "type": kinds.get(t["name"], "function")} for t in listed]
    if named:
        body["tool_choice"] = {**choice, "tools": named} if "tools" in choice else named[0]
        return
    losses.append("tool_choice: its tool is not offered")
    if tools:
        body["tool_choice"] = "auto"
    else:
        del body["tool_choice"]
