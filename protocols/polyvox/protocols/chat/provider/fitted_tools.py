"""Adapts the tools of a Chat Completions request, and the choice among them, to the server."""

from collections.abc import Iterable

from polyvox.protocols.coverage.losses import lose
from polyvox.protocols.dialects.dialect import Dialect
from polyvox.protocols.dialects.free_text import INPUT_SCHEMA, described
from polyvox.workflows.conversation import Json


def fit_tools(
    tools: Iterable[Json], dialect: Dialect, losses: list[str], *, own: bool
) -> list[Json]:
    """Return ``tools`` as ``dialect`` knows them: free-text tools may become functions."""
    fitted = []
    for tool in tools:
        if tool.get("type") == "custom" and not dialect.custom_tools:
            fitted.append(_as_function(tool))
        elif not own and not dialect.strict_tools and tool.get("type") == "function":
            fitted.append(_without_strict(tool, losses))
        else:
            fitted.append(tool)
    return fitted


def _as_function(tool: Json) -> Json:
    custom = tool.get("custom")
    definition: dict[str, Json] = custom if isinstance(custom, dict) else {}
    form = definition.get("format")
    grammar = form.get("grammar") if isinstance(form, dict) else None
    function: dict[str, Json] = {"name": definition.get("name")}
    if (description := described(definition.get("description"), grammar)) is not None:
        function["description"] = description
    return {"type": "function", "function": {**function, "parameters": INPUT_SCHEMA}}


def _without_strict(tool: Json, losses: list[str]) -> Json:
    function = tool.get("function")
    if not isinstance(function, dict) or "strict" not in function:
        return tool
    if function["strict"]:
        lose(losses, "tools.strict: not every server takes it")
    rest = {name: value for name, value in function.items() if name != "strict"}
    return {**tool, "function": rest}


def restrain_choice(document: dict[str, Json], tools: list[Json], losses: list[str]) -> None:
    """Adapt ``tool_choice`` to the tools that are offered.

    OpenAI refuses a choice without tools, and one that names a missing tool: the model then decides
    itself, and the loss is named.
    """
    choice = document.get("tool_choice")
    if isinstance(choice, dict) and (chosen := _chosen(choice)) is not None:
        kinds = {
            definition.get("name"): kind
            for tool in tools
            if isinstance(definition := tool.get(kind := tool.get("type")), dict)
        }
        kind = kinds.get(chosen.get("name"))
        if kind is None:
            lose(losses, "tool_choice: its tool is not offered")
            document["tool_choice"] = "auto"
        else:
            document["tool_choice"] = {"type": kind, kind: chosen}
    if not tools:
        if document.pop("tool_choice", None) == "required":
            lose(losses, "tool_choice: no tool is offered")
        document.pop("parallel_tool_calls", None)


def offer_chosen(document: dict[str, Json], tools: list[Json], dialect: Dialect) -> list[Json]:
    """Return the tool that the choice names, alone, where a choice cannot name one.

    The choice becomes ``required``, which then means the same.
    """
    choice = document.get("tool_choice")
    if dialect.forced_choice != "required" or not isinstance(choice, dict):
        return tools
    chosen = _chosen(choice) or {}
    document["tool_choice"] = "required"
    return [tool for tool in tools if _named(tool) == chosen.get("name")] or tools


def _named(tool: Json) -> Json:
    definition = tool.get(str(tool.get("type")))
    return definition.get("name") if isinstance(definition, dict) else None


def _chosen(choice: dict[str, Json]) -> dict[str, Json] | None:
    """Return ``{"name": ...}`` of a choice that names one tool."""
    for kind in ("function", "custom"):
        chosen = choice.get(kind)
        if isinstance(chosen, dict):
            return chosen
    return None
