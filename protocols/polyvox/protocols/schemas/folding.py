"""Folds the alternatives at the root of a tool's schema into the root.

Claude refuses a request with such a tool ("input_schema does not support oneOf, allOf, or anyOf at
the top level"), and so does OpenAI ("schema must have type 'object' and not have 'oneOf'/'anyOf'/
'allOf'/'enum'/'not' at the top level"). The folded schema allows every object that one of
the alternatives describes, and mixtures of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from polyvox.workflows.conversation import Json

_ALTERNATIVES: Final = ("anyOf", "oneOf")
_COMBINED: Final = (*_ALTERNATIVES, "allOf")
_DEEPEST: Final = 8
_MOST: Final = 1000
"""Levels, and the number, of nested alternatives and references that are followed."""

FOLDED: Final = "alternatives at the root of its schema are folded into one object"


def folded(schema: Json) -> Json:
    """Return an object schema without alternatives at its root; the same if it has none."""
    if not isinstance(schema, dict) or not _needs_folding(schema):
        return schema
    document = _Document(schema)
    definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    root = {k: v for k, v in _object(schema, document, _DEEPEST).items() if k not in definitions}
    return {**root, **definitions}


def _needs_folding(schema: Mapping[str, Json]) -> bool:
    return "$ref" in schema or any(name in schema for name in _COMBINED)


class _Document:
    """The whole schema, and how many parts of it may still be followed."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema
        self._left = _MOST

    def follows(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def target(self, reference: str) -> Json:
        """Return the definition that ``reference`` points to, None if it is not in here."""
        found = self._schema
        for step in reference.removeprefix("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found


def _object(schema: Json, document: _Document, depth: int) -> dict[str, Json]:
    """Return ``schema`` as one object; alternatives that are not objects are left out."""
    if not isinstance(schema, dict):
        return {"type": "object"}
    own = {k: v for k, v in schema.items() if k not in (*_COMBINED, "$ref")}
    own["type"] = "object"
    if depth == 0 or not document.follows():
        return own
    wholes = _listed(schema.get("allOf"))
    if isinstance(reference := schema.get("$ref"), str):
        wholes = [*wholes, document.target(reference)]
    for whole in wholes:
        own = _both(own, _object(whole, document, depth - 1))
    for name in _ALTERNATIVES:
        choices = [
            _object(choice, document, depth - 1)
            for choice in _listed(schema.get(name))
            if _may_be_object(choice)
        ]
        if choices:
            own = _both(own, _either(choices))
    return own


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _may_be_object(schema: Json) -> bool:
    kinds = schema.get("type", "object") if isinstance(schema, dict) else "object"
    return "object" in (kinds if isinstance(kinds, list) else [kinds])


def _both(one: dict[str, Json], other: dict[str, Json]) -> dict[str, Json]:
    """Return an object schema for values that match both."""
    merged = {**other, **one}
    if properties := _properties((one, other), "allOf"):
        merged["properties"] = properties
    if required := dict.fromkeys((*_listed(one.get("required")), *_listed(other.get("required")))):
        merged["required"] = list(required)
    if any(s.get("additionalProperties") is False for s in (one, other)):
        # Each of the two may forbid what the other defines.
        closed = all(
            s.get("additionalProperties") is False or "properties" not in s for s in (one, other)
        )
        merged["additionalProperties"] = False
        if not closed:
            del merged["additionalProperties"]
    return merged


def _either(choices: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """Return an object schema for values that match one of ``choices``."""
    merged: dict[str, Json] = {"type": "object"}
    if properties := _properties(choices, "anyOf"):
        merged["properties"] = properties
    required = [_listed(choice.get("required")) for choice in choices]
    if common := [name for name in required[0] if all(name in names for names in required)]:
        merged["required"] = common
    if all(choice.get("additionalProperties") is False for choice in choices):
        merged["additionalProperties"] = False
    return merged


def _properties(schemas: Sequence[Mapping[str, Json]], joint: str) -> dict[str, Json]:
    """Return the properties of all ``schemas``; different schemas of one name become a list."""
    found: dict[str, list[Json]] = {}
    for schema in schemas:
        properties = schema.get("properties")
        for name, value in properties.items() if isinstance(properties, dict) else ():
            known = found.setdefault(name, [])
            if value not in known:
                known.append(value)
    return {name: v[0] if len(v) == 1 else {joint: v} for name, v in found.items()}
