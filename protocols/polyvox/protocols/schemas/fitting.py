"""Fits the schema of an answer to what Claude's structured outputs accept.

Claude answers 400 to keywords outside of its subset ("For 'integer' type, property 'minimum' is not
supported"). They are removed, named in the description, so that the model knows of them, and
returned to the caller, who has the answer checked against the original. Source: Anthropic's page
"Structured outputs", section "JSON Schema limitations" (November 2026), and the transformation in
the official SDK.
"""

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Final, NamedTuple

from polyvox.workflows.conversation import Json

_REFUSED: Final = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "contentEncoding", "contentMediaType", "contentSchema"),
        *("maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems"),
        *("additionalItems", "unevaluatedItems", "unevaluatedProperties", "patternProperties"),
        *("minProperties", "maxProperties", "propertyNames", "dependencies"),
        *("dependentRequired", "dependentSchemas", "if", "then", "else", "not"),
    )
)
_FORMATS: Final = frozenset(
    (
        *("date-time", "time", "date", "duration", "email"),
        *("hostname", "uri", "ipv4", "ipv6", "uuid"),
    )
)
_NAMED_SCHEMAS: Final = ("properties", "$defs", "definitions")
_LISTED_SCHEMAS: Final = ("anyOf", "allOf")

CLOSED: Final = "additionalProperties"
"""The keyword of objects that get closed."""

_ADVANCED: Final = re.compile(r"\(\?|\\[bB1-9]")
"""Lookaround, word boundaries and references, which its patterns may not have."""

_DEEPEST: Final = 64


class Fitted(NamedTuple):
    """A schema that the provider accepts, and the ``removed`` keywords in order of appearance.

    ``schema`` is None if there is none that leaves the wanted answers possible: objects with
    arbitrary members, recursion, references to other documents.
    """

    schema: Json
    removed: tuple[str, ...]


def fitted(schema: Json) -> Fitted:
    """Return ``schema`` without what Claude refuses; the same object if it has nothing of it."""
    removed: dict[str, None] = {}
    try:
        _refuse_recursion(schema)
        changed = _fitted(schema, removed, _DEEPEST)
    except _ImpossibleError as error:
        return Fitted(None, (str(error),))
    return Fitted(changed if removed else schema, tuple(removed))


class _ImpossibleError(Exception):
    """No fitted schema would allow the wanted answers; the text is the keyword."""


def _fitted(schema: Json, removed: dict[str, None], depth: int) -> Json:
    if not isinstance(schema, dict):
        return schema
    if depth == 0:
        raise _ImpossibleError("depth")
    if isinstance(reference := schema.get("$ref"), str):
        return _reference(schema, reference, removed, depth)
    kept: dict[str, Json] = {}
    constraints: list[str] = []
    for name, value in schema.items():
        if _is_refused(name, value):
            removed[name] = None
            constraints.append(f"{name}: {value}")
        elif name in _NAMED_SCHEMAS and isinstance(value, dict):
            kept[name] = {k: _fitted(v, removed, depth - 1) for k, v in value.items()}
        elif name in _LISTED_SCHEMAS and isinstance(value, list):
            kept[name] = [_fitted(v, removed, depth - 1) for v in value]
        elif name == "oneOf" and isinstance(value, list):
            removed[name] = None
            kept["anyOf"] = [_fitted(v, removed, depth - 1) for v in value]
        elif name == "items":
            kept[name] = _fitted(value, removed, depth - 1)
        else:
            kept[name] = value
    if _is_object(schema):
        _close(kept, removed)
    if constraints:
        before = f"{kept['description']}\n\n" if kept.get("description") else ""
        kept["description"] = f"{before}({', '.join(constraints)})"
    return kept


def _reference(
    schema: Mapping[str, Json], reference: str, removed: dict[str, None], depth: int
) -> Json:
    if not reference.startswith("#"):
        raise _ImpossibleError("$ref")
    kept: dict[str, Json] = {"$ref": reference}
    for name, value in schema.items():
        if name in ("$defs", "definitions") and isinstance(value, dict):
            kept[name] = {k: _fitted(v, removed, depth - 1) for k, v in value.items()}
        elif name not in ("$ref", "description", "title", "$schema"):
            removed[name] = None
    return kept


def _is_refused(name: str, value: Json) -> bool:
    match name:
        case "minItems":
            return value not in (0, 1)
        case "format":
            return value not in _FORMATS
        case "pattern":
            return not isinstance(value, str) or bool(_ADVANCED.search(value))
        case "enum":
            return isinstance(value, list) and any(isinstance(v, dict | list) for v in value)
        case "const":
            return isinstance(value, dict | list)
        case _:
            return name in _REFUSED


def _is_object(schema: Mapping[str, Json]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _close(schema: dict[str, Json], removed: dict[str, None]) -> None:
    """Forbid further members of an object, which the provider requires."""
    further = schema.get(CLOSED)
    if further is False:
        return
    if isinstance(further, dict) or not schema.get("properties"):
        # The wanted members have no names that could be listed.
        raise _ImpossibleError(CLOSED)
    removed[CLOSED] = None
    schema[CLOSED] = False


def _refuse_recursion(schema: Json) -> None:
    """Raise if a definition refers to itself, directly or through others."""
    if not isinstance(schema, dict):
        return
    definitions = {
        f"#/{place}/{name}": definition
        for place in ("$defs", "definitions")
        if isinstance(schema.get(place), dict)
        for name, definition in schema[place].items()
    }
    uses = {name: set(_references(definition)) for name, definition in definitions.items()}
    outer = {k: v for k, v in schema.items() if k not in ("$defs", "definitions")}
    try:
        TopologicalSorter({**uses, "#": _references(outer)}).prepare()
    except CycleError:
        raise _ImpossibleError("$ref") from None


def _references(schema: Json) -> list[str]:
    match schema:
        case dict():
            inner = [found for value in schema.values() for found in _references(value)]
            own = schema.get("$ref")
            return [*inner, own] if isinstance(own, str) else inner
        case list():
            return [found for value in schema for found in _references(value)]
        case _:
            return []
