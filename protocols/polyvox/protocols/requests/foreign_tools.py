"""Reads tools and tool choices that a client spelled as in another protocol.

Each protocol has its own shape for the same tool: Chat nests it in ``function``, Responses writes
its members next to ``type``, Messages has no type and calls the schema ``input_schema``. Cursor
sends the flat shape, and for Claude that of Messages, to ``/chat/completions``.
"""

from dataclasses import dataclass
from typing import Final, Literal

from polyvox.workflows.conversation import Json

Shape = Literal["nested", "flat", "schema"]
"""How Chat, Responses and Messages spell a tool."""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A client's tool, with the shape it was sent in.

    ``members`` are those that have the same name in every protocol: description, strict, and what
    is not known here. ``grammar`` has ``syntax`` and ``definition``.
    """

    shape: Shape
    kind: Literal["function", "custom"]
    name: str
    members: dict[str, Json]
    schema: Json = None
    grammar: Json = None


def read_tool(json: Json) -> OfferedTool | None:
    """Return the client's tool in ``json``; None for anything else, such as a provider's tool."""
    if not isinstance(json, dict):
        return None
    kind = json.get("type")
    if kind in _KINDS and isinstance(json.get(kind), dict):
        beside = {name: json[name] for name in json if name not in ("type", kind)}
        return _read("nested", kind, {**json[kind], **beside})
    if kind in _KINDS and "input_schema" not in json:
        return _read("flat", kind, json)
    if "input_schema" in json and kind in (None, *_KINDS):
        return _read("schema", "function", json)
    if kind is None and "parameters" in json:
        return _read("flat", "function", json)
    return None


_KINDS: Final = ("function", "custom")
_READ: Final = frozenset(("type", "name", "parameters", "input_schema", "format"))


def _read(shape: Shape, kind: Json, json: dict[str, Json]) -> OfferedTool | None:
    name = json.get("name")
    if not isinstance(name, str) or not name:
        return None
    form = json.get("format")
    grammar = form if isinstance(form, dict) and form.get("type") == "grammar" else None
    if grammar is not None:
        inner = grammar.get("grammar")
        inner = inner if isinstance(inner, dict) else grammar
        grammar = {member: inner.get(member) for member in ("syntax", "definition")}
    return OfferedTool(
        shape,
        kind,
        name,
        {member: value for member, value in json.items() if member not in _READ},
        json.get("input_schema", json.get("parameters")),
        grammar,
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """A tool choice: one of the modes, or the tool ``name`` of ``kind``."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str = ""
    kind: Literal["function", "custom"] = "function"


def read_choice(json: Json) -> Choice | None:
    """Return what a simple tool choice of any protocol means; None for any other value."""
    if isinstance(json, str):
        return _MODES.get(json)
    if not isinstance(json, dict):
        return None
    kind = json.get("type")
    if kind in _KINDS or kind == "tool":
        inner = json.get(kind)
        name = (inner if isinstance(inner, dict) else json).get("name")
        if not isinstance(name, str):
            return None
        return Choice("tool", name, "custom" if kind == "custom" else "function")
    return _MODES.get(kind) if isinstance(kind, str) else None


_MODES: Final[dict[str, Choice]] = {
    "auto": Choice("auto"),
    "none": Choice("none"),
    "required": Choice("required"),
    "any": Choice("required"),
}
