"""Make a minimal value that follows a JSON Schema, filled with given words.

Covers what structured-output and tool schemas use: types, const, enum, required, items, bounds,
formats, $ref into the same document, anyOf/oneOf/allOf. A ``pattern`` is followed only if one
of a few common strings matches it. An invalid JSON Schema is refused, as providers do.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, cycle
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.linear_patterns import PatternError, linear_pattern

FORMATS: dict[str, str] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_COMMON = ("a", "A", "1", "12345", "2026-01-31", "a-b", "a_b", "someone@example.com", "#a0b1c2")
_DEEPEST = 12
_MOST_ITEMS, _LONGEST, _LARGEST = 1000, 100_000, 2**53
"""Limits of the simulator; a schema may ask for more."""


def instance(
    schema: Json, words: Sequence[str] = (), named: Mapping[str, object] | None = None
) -> Json:
    """Return a value that follows ``schema``.

    ``words`` fill free strings in turn. ``named`` maps property names to the values they get
    wherever they occur and the type allows it; a property named there is present even when it is
    optional. An object that requires nothing gets all its properties. Raises the
    errors of ``checked``.
    """
    document = checked(schema)
    return _Maker(document, words or ("simulated",), named or {}).value(document, depth=0)


def checked(schema: Json) -> dict[str, Any]:
    """Return ``schema``, or one that allows everything where it is not an object.

    Raises ModelError("invalid_request") if it is not a JSON Schema.
    """
    document: dict[str, Any] = schema if isinstance(schema, dict) else {}
    try:
        Draft202012Validator.check_schema(document)
    except SchemaError as error:
        why = f"{error.json_path}: {error.message}"[:300]
    except RecursionError:
        why = "it is nested too deeply"
    else:
        return document
    raise ModelError("invalid_request", f"The schema is not a valid JSON Schema: {why}.")


class _Maker:
    def __init__(
        self, document: dict[str, Any], words: Sequence[str], named: Mapping[str, object]
    ) -> None:
        self._document = document
        self._words: Iterator[str] = cycle(words)
        self._named = named

    def value(self, schema: Json, depth: int) -> Json:
        schema = self._plain(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        match _type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number" as kind:
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._string(schema)

    def _plain(
        self, schema: Json, depth: int, followed: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """Return ``schema`` with its references and combinations resolved one level.

        ``followed`` are the references that led here: a cycle of references allows everything.
        """
        if not isinstance(schema, dict):
            return {}
        if "$ref" in schema:
            reference = schema["$ref"]
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            target = {} if reference in followed else self._referred(reference)
            return self._plain({**target, **rest}, depth, followed | {reference})
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                options = [self._plain(option, depth, followed) for option in schema[key]]
                rest = {name: value for name, value in schema.items() if name != key}
                # Deep in a recursive schema only null ends the recursion.
                wanted = [o for o in options if (_type(o) == "null") == (depth > _DEEPEST // 2)]
                return _merged([rest, (wanted or options)[0]])
        if schema.get("allOf"):
            rest = {name: value for name, value in schema.items() if name != "allOf"}
            parts = [self._plain(option, depth, followed) for option in schema["allOf"]]
            return _merged([rest, *parts])
        return schema

    def _referred(self, reference: str) -> dict[str, Any]:
        target: Json = self._document
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                name = step.replace("~1", "/").replace("~0", "~")
                target = target.get(name, {}) if isinstance(target, dict) else {}
        return target if isinstance(target, dict) else {}

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Json]:
        properties: dict[str, Json] = schema.get("properties") or {}
        required = schema.get("required") or []
        shown = [
            *required,
            *(name for name in properties if name in self._named and name not in required),
        ] or [*properties]
        if depth >= _DEEPEST:
            shown = [*required] if depth == _DEEPEST else []
        return {name: self._property(name, properties.get(name), depth + 1) for name in shown}

    def _property(self, name: str, schema: Json, depth: int) -> Json:
        if name in self._named:
            fitted = _fitted(self._named[name], self._plain(schema, depth))
            if fitted is not None:
                return fitted
        return self.value(schema, depth)

    def _array(self, schema: dict[str, Any], depth: int) -> list[Json]:
        least = min(int(schema.get("minItems", 0)), _MOST_ITEMS)
        most = int(schema.get("maxItems", max(least, 1)))
        number = least if depth >= _DEEPEST // 2 else min(max(least, 1), most)
        first = schema.get("prefixItems") or []
        rest = schema.get("items") if isinstance(schema.get("items"), dict) else {}
        return [
            self.value(item, depth + 1)
            for item, _ in zip(chain(first, cycle([rest])), range(number), strict=False)
        ]

    def _string(self, schema: dict[str, Any]) -> str:
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]]
        word = next(self._words)
        if pattern := schema.get("pattern"):
            return _matching(str(pattern), word)
        least, most = min(int(schema.get("minLength", 0)), _LONGEST), schema.get("maxLength")
        while len(word) < least:
            word += " " + next(self._words)
        return word if most is None else word[: int(most)]


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((name for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _merged(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for schema in schemas:
        for key, value in schema.items():
            if key == "properties" and key in merged:
                merged[key] = {**merged[key], **value}
            elif key == "required" and key in merged:
                merged[key] = [*merged[key], *(name for name in value if name not in merged[key])]
            else:
                merged[key] = value
    return merged


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    start = low if low is not None else 1 if high is None or high >= 1 else high - step
    number: float = -(-start // step) * step
    if not math.isfinite(number):
        number = start
    if number == schema.get("exclusiveMinimum"):
        number += step
    return max(-_LARGEST, min(int(number), _LARGEST)) if whole else number


def _matching(pattern: str, word: str) -> str:
    try:
        expression = linear_pattern(pattern)
        return next((w for w in (word, *_COMMON) if expression.search(w)), word)
    except PatternError:
        return word


def _fitted(value: object, schema: Mapping[str, Any]) -> Json | None:
    """Return ``value`` in the type ``schema`` asks for, or None if it does not fit."""
    kind = _type(schema)
    options = schema.get("enum")
    if options:
        return next((o for o in options if str(o).lower() == str(value).lower()), None)
    match kind:
        case "string":
            return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
        case "array":
            items = schema.get("items")
            plain = not isinstance(items, dict) or _type(items) == "string"
            return (value if isinstance(value, list) else [value]) if plain else None
        case "integer" | "number":
            try:
                return int(str(value)) if kind == "integer" else float(str(value))
            except ValueError:
                return None
        case "boolean":
            return {"true": True, "false": False, "yes": True, "no": False}.get(str(value).lower())
        case _:
            return value if isinstance(value, dict) else None
