"""What becomes of every field where client and provider speak different protocols, as one table.

The renderers ask it, so that what they leave out is named, and ``docs/protocols.md`` is made of it.
A row stands for one field of one protocol and says its fate over each of the two others. What no
row names is unknown here: it is a loss under its own name.

Places, and how ``field`` is spelled in each:

* ``request``: a field of the request document, members of an object by dotted name
  (``reasoning.effort``);
* ``tool``: a member of a tool that the client runs, as ``tools.strict``;
* ``element``: a member of a message, item, content part or block, after its type
  (``document.context``); a type alone stands for the whole element;
* ``answer``: what a provider's answer may hold, towards a client of another protocol.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from polyvox.protocols.chat import coverage as coverage_chat
from polyvox.protocols.coverage.row import Place, Row
from polyvox.protocols.messages import coverage as coverage_messages
from polyvox.protocols.responses import coverage as coverage_responses
from polyvox.workflows.conversation import Json, Protocol, Wire
from polyvox.workflows.errors import ModelError

TABLE: Final[dict[Protocol, tuple[Row, ...]]] = {
    "chat": coverage_chat.ROWS,
    "responses": coverage_responses.ROWS,
    "messages": coverage_messages.ROWS,
}

_ROWS: Final[dict[tuple[Protocol, Place, str], Row]] = {
    (protocol, row.place, row.field): row for protocol, rows in TABLE.items() for row in rows
}

_OUTER: Final[dict[Protocol, frozenset[str]]] = {
    protocol: frozenset(
        row.field.partition(".")[0] for row in rows if row.place == "request" and "." in row.field
    )
    for protocol, rows in TABLE.items()
}
"""Fields of a request whose members have rows of their own."""

LOST_REASONING: Final = "reasoning: only the provider that wrote it can take it back"
"""The loss of a model's thinking that another vendor's model wrote."""

MOST_LOSSES: Final = 1000
MORE_LOSSES: Final = "... and more"
"""A client may send any number of fields that nobody knows; so many are named."""

_MOST_MEMBERS: Final = 32
_LONGEST_SHAPE: Final = 512

_SERVED: Final = frozenset(("additional_tools",))
"""Elements nobody renders because what they bring is offered otherwise."""

_CHOICES: Final = ("function", "custom", "allowed_tools", "auto", "any", "none", "tool")
"""The objects ``tool_choice`` may be, of all three protocols."""

_STORED: Final = ("file_id", "url")
"""Members of a Messages source that other protocols may not take."""

_HELD: Final = frozenset(
    (
        *("type", "id", "status", "role", "content", "name", "title", "namespace"),
        *("text", "refusal", "source", "thinking", "signature", "data"),
        *("image_url", "url", "file", "file_data", "filename", "input_audio", "format"),
        *("function", "custom", "arguments", "input", "tool_name"),
        *("call_id", "tool_call_id", "tool_use_id"),
        *("output", "tool_calls", "function_call", "summary", "encrypted_content"),
        *("reasoning_content", "reasoning", "reasoning_details", "audio", "images"),
    )
)
"""Members of elements that our values hold, or that only count and name the elements."""


def request_losses(wire: Wire, target: Protocol) -> list[str]:
    """Name what of a request document cannot be carried over ``target``.

    ``wire`` is that of ``Options``. Raises ModelError("unsupported", param=...) for a field whose
    loss would give another answer than the one asked for.
    """
    losses: list[str] = []
    for field, value in _fields(wire):
        _weigh(wire.protocol, "request", field, value, target, losses)
    choice = wire.json.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") not in _CHOICES:
        losses.append(f"tool_choice.{choice.get('type')}: run by its own provider only")
    return losses


def _fields(wire: Wire) -> Iterator[tuple[str, Json]]:
    outer = _OUTER[wire.protocol]
    for name, value in wire.json.items():
        if name in outer and isinstance(value, dict):
            yield from ((f"{name}.{member}", inner) for member, inner in value.items())
        else:
            yield name, value


def tool_losses(wire: Wire, target: Protocol) -> list[str]:
    """Name what of the definition of a client's tool cannot be carried over ``target``."""
    losses: list[str] = []
    said = wire.json
    if wire.protocol == "responses" and "tool" in said and "namespace" in said:
        said = said["tool"]
    elif wire.protocol == "chat":
        said = said[said.get("type", "function")]
    for member, value in said.items():
        if member != "type":
            _weigh(wire.protocol, "tool", f"tools.{member}", value, target, losses)
    return losses


def element_losses(wire: Wire, target: Protocol) -> list[str]:
    """Name the members of a part's element that are not carried over ``target``."""
    losses: list[str] = []
    kind, members = _element(wire)
    # What a client made up is not kept in a cache: it would be the client's to fill.
    usual = len(members) <= _MOST_MEMBERS and sum(map(len, members), len(kind)) <= _LONGEST_SHAPE
    to_weigh = _to_weigh if usual else _to_weigh.__wrapped__
    for member, field in to_weigh(wire.protocol, kind, tuple(members)):
        _weigh(wire.protocol, "element", field, members[member], target, losses)
    return losses


@lru_cache(maxsize=4096)
def _to_weigh(
    protocol: Protocol, kind: str, members: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Return those of an element's members that may be lost, with the names of their fields.

    A long session has thousands of elements of few shapes, nearly all of which can lose nothing.
    """
    fields = ((member, f"{kind}.{member}") for member in members)
    return tuple(
        (member, field)
        for member, field in fields
        if member not in _HELD or (protocol, "element", field) in _ROWS
    )


def element_name(wire: Wire | None) -> str:
    """Return what an element is called whose type nobody knows: by its type, or by its member."""
    json = wire.json if wire is not None else None
    if not isinstance(json, dict):
        return "content"
    if wire is not None and wire.protocol == "chat":
        content = json.get("content")
        first = content[0] if isinstance(content, list) and content else None
        piece = first if isinstance(first, dict) else json
        return str(piece.get("type") or next(iter(piece), "content"))
    part = json.get("part")
    return str((part if isinstance(part, dict) else json).get("type") or "content")


def opaque_losses(wire: Wire | None) -> list[str]:
    """Name an element that only its own protocol knows."""
    name = element_name(wire)
    return [] if name in _SERVED else [f"{name}: known to its own protocol only"]


def message_losses(wire: Wire, target: Protocol) -> list[str]:
    """Name the members of a message, beside its parts, that are not carried over ``target``."""
    losses: list[str] = []
    said = wire.json
    if isinstance(said, dict) and said.get("type", "message") == "message":
        for member, field in _to_weigh(wire.protocol, "message", tuple(said)):
            _weigh(wire.protocol, "element", field, said[member], target, losses)
    return losses


def _element(wire: Wire) -> tuple[str, dict[str, Json]]:
    """Return the type of a part's element and its members."""
    said = wire.json
    if wire.protocol == "responses":
        said = said.get("part", said)
    elif wire.protocol == "chat":
        listed = said.get("content") or said.get("tool_calls")
        if not isinstance(listed, list):
            return "", {}
        said = listed[0]
        inner = said.get(str(said.get("type")))
        said = {**said, **inner} if isinstance(inner, dict) else said
    elif isinstance(source := said.get("source"), dict):
        said = {**said, **{name: source[name] for name in _STORED if name in source}}
    return str(said.get("type") or "function"), said


def _weigh(
    protocol: Protocol,
    place: Place,
    field: str,
    value: Json,
    target: Protocol,
    losses: list[str],
) -> None:
    if value in (None, "", [], {}):
        return
    row = _ROWS.get((protocol, place, field))
    if row is None:
        losses.append(field)
        return
    fate = row.over[target]
    if fate.outcome in ("mapped", "idle") or value in row.defaults:
        return
    if fate.outcome == "refused":
        raise ModelError("unsupported", f"{field}: {fate.note}", param=field)
    losses.append(f"{field}: {fate.note}" if fate.note else field)
