"""Names what of one protocol's request another protocol cannot carry.

The renderers use it to name what they leave out. Each protocol has a table of rows, its
``coverage`` module: a row is one field with its fate over the other protocols. A field without a
row is a loss under its own name. ``docs/protocols.md`` is generated from the tables.

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

from polyvox.protocols.coverage.row import Place, Row
from polyvox.protocols.neutral import neutral, neutral_of
from polyvox.workflows.conversation import Json, Protocol, Wire
from polyvox.workflows.errors import ModelError

LOST_REASONING: Final = "reasoning: only the provider that wrote it can take it back"
"""The loss of a model's thinking that another vendor's model wrote."""

MOST_LOSSES: Final = 1000
MORE_LOSSES: Final = "... and more"
"""A client may send any number of unknown fields; at most this many are named."""

_MOST_MEMBERS: Final = 32
_LONGEST_SHAPE: Final = 512

_SERVED: Final = frozenset(("additional_tools",))
"""Elements that are not rendered because their content is offered in another way."""

_CHOICES: Final = ("function", "custom", "allowed_tools", "auto", "any", "none", "tool")
"""The types of a ``tool_choice`` object, of all three protocols."""

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
"""Members that typed fields hold, or that only number and name the elements."""


@lru_cache(maxsize=64)
def _rows(protocol: Protocol) -> dict[tuple[Place, str], Row]:
    return {(row.place, row.field): row for row in neutral(protocol).rows}


@lru_cache(maxsize=64)
def _outer(protocol: Protocol) -> frozenset[str]:
    """Return the fields of a request whose members have rows of their own."""
    fields = [row.field for row in neutral(protocol).rows if row.place == "request"]
    return frozenset(field.partition(".")[0] for field in fields if "." in field)


def lose(losses: list[str], name: str) -> None:
    """Record a loss once, and no more than ``MOST_LOSSES`` of them."""
    if len(losses) < MOST_LOSSES and name not in losses:
        losses.append(name)
    elif len(losses) == MOST_LOSSES and name not in losses:
        losses.append(MORE_LOSSES)


def request_losses(wire: Wire, target: Protocol) -> list[str]:
    """Name what of a request document cannot be carried over ``target``.

    ``wire`` is that of ``Options``. Raises ModelError("unsupported", param=...) for a field without
    which the answer would not be the requested one.
    """
    losses: list[str] = []
    for field, value in _fields(wire):
        _weigh(wire.protocol, "request", field, value, target, losses)
    choice = wire.json.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") not in _CHOICES:
        losses.append(f"tool_choice.{choice.get('type')}: run by its own provider only")
    return losses


def _fields(wire: Wire) -> Iterator[tuple[str, Json]]:
    outer = _outer(wire.protocol)
    for name, value in wire.json.items():
        if name in outer and isinstance(value, dict):
            yield from ((f"{name}.{member}", inner) for member, inner in value.items())
        else:
            yield name, value


def tool_losses(wire: Wire, target: Protocol) -> list[str]:
    """Name what of the definition of a client's tool cannot be carried over ``target``."""
    losses: list[str] = []
    for member, value in neutral_of(wire).tool(wire.json).items():
        if member != "type":
            _weigh(wire.protocol, "tool", f"tools.{member}", value, target, losses)
    return losses


def element_losses(wire: Wire, target: Protocol) -> list[str]:
    """Name the members of a part's element that are not carried over ``target``."""
    losses: list[str] = []
    kind, members = neutral_of(wire).element(wire.json)
    # Names that a client invents are not cached: it could fill the cache with them.
    usual = len(members) <= _MOST_MEMBERS and sum(map(len, members), len(kind)) <= _LONGEST_SHAPE
    to_weigh = _to_weigh if usual else _to_weigh.__wrapped__
    for member, field in to_weigh(wire.protocol, kind, tuple(members)):
        _weigh(wire.protocol, "element", field, members[member], target, losses)
    return losses


@lru_cache(maxsize=4096)
def _to_weigh(
    protocol: Protocol, kind: str, members: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Return the members of an element that may be lost, with the names of their fields.

    A long session has thousands of elements of few shapes, most of which can lose nothing.
    """
    fields = ((member, f"{kind}.{member}") for member in members)
    return tuple(
        (member, field)
        for member, field in fields
        if member not in _HELD or ("element", field) in _rows(protocol)
    )


def opaque_losses(wire: Wire | None) -> list[str]:
    """Name an element that only its own protocol knows."""
    name = "content" if wire is None else neutral_of(wire).element_name(wire.json)
    return [] if name in _SERVED else [f"{name}: known to its own protocol only"]


def message_losses(wire: Wire, target: Protocol) -> list[str]:
    """Name the members of a message besides its parts that are not carried over ``target``."""
    losses: list[str] = []
    element = wire.json
    if isinstance(element, dict) and element.get("type", "message") == "message":
        for member, field in _to_weigh(wire.protocol, "message", tuple(element)):
            _weigh(wire.protocol, "element", field, element[member], target, losses)
    return losses


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
    row = _rows(protocol).get((place, field))
    fate = None if row is None else row.over.get(target)
    if row is None or fate is None:
        losses.append(field)
        return
    if fate.outcome in ("mapped", "idle") or value in row.defaults:
        return
    if fate.outcome == "refused":
        raise ModelError("unsupported", f"{field}: {fate.note}", param=field)
    losses.append(f"{field}: {fate.note}" if fate.note else field)
