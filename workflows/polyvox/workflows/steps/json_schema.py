"""JSON Schema validation for checks.

Regular expressions in schemas come from clients and are searched in the output of models, so they
are matched in linear time; see ``linear_patterns``.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing.exceptions import Unresolvable

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.linear_patterns import PatternError, linear_pattern

_MOST = 1000
"""The number of violations after which validation stops."""

_LONGEST = 2000
"""Characters of one violation, which repeats the invalid value."""


def violations(value: Json, schema: Json) -> list[str]:
    """Return where ``value`` does not match ``schema``, as ``$.path: what is wrong``.

    Raises ModelError("flow_error") if the schema is invalid, refers to another document or has an
    expression that cannot be matched in linear time.
    """
    try:
        Draft202012Validator.check_schema(schema)
        if _has(schema, "unevaluatedProperties") and _has(schema, "patternProperties"):
            raise ModelError(
                "flow_error",
                "A schema with both unevaluatedProperties and patternProperties is not supported. "
                "Use additionalProperties.",
            )
        errors = islice(_Validator(schema).iter_errors(value), _MOST)
        found = sorted(errors, key=lambda e: list(map(str, e.path)))
    except SchemaError as error:
        raise ModelError(
            "flow_error", f"The schema is not a valid JSON Schema: {error.message}."
        ) from None
    except Unresolvable as error:
        raise ModelError(
            "flow_error",
            f"The schema refers to {error.ref!r}, which it does not contain. Add the definition.",
        ) from None
    except PatternError as error:
        raise ModelError("flow_error", f"The schema cannot be checked: {error}") from None
    return [f"{error.json_path}: {error.message[:_LONGEST]}" for error in found]


def _pattern(_: Any, pattern: str, value: Json, __: Json) -> Iterator[ValidationError]:
    if isinstance(value, str) and not linear_pattern(pattern).search(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Json], value: Json, _: Json
) -> Iterator[ValidationError]:
    for pattern, schema in patterns.items() if isinstance(value, dict) else ():
        for name, member in value.items():
            if linear_pattern(pattern).search(name):
                yield from validator.descend(member, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Json, value: Json, schema: Json
) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    known = schema.get("properties", {})
    patterns = [linear_pattern(pattern) for pattern in schema.get("patternProperties", {})]
    extras = [n for n in value if n not in known and not any(p.search(n) for p in patterns)]
    if isinstance(allowed, dict):
        for name in extras:
            yield from validator.descend(value[name], allowed, path=name)
    elif not allowed and extras:
        listed = ", ".join(map(repr, extras))
        were = "was" if len(extras) == 1 else "were"
        message = f"Additional properties are not allowed ({listed} {were} unexpected)"
        if patterns:
            expressions = ", ".join(map(repr, schema["patternProperties"]))
            message = f"{listed} do not match any of the regexes: {expressions}"
        yield ValidationError(message)


def _has(schema: Json, keyword: str) -> bool:
    match schema:
        case dict():
            return keyword in schema or any(_has(inner, keyword) for inner in schema.values())
        case list():
            return any(_has(inner, keyword) for inner in schema)
        case _:
            return False


_Validator: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema has no types
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    },
)
