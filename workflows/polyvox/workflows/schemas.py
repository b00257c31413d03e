"""JSON Schema, as far as checks need it."""

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError


def violations(value: Json, schema: Json) -> list[str]:
    """Return where ``value`` does not follow ``schema``, as ``$.path: what is wrong``.

    Raises ModelError("flow_error") for a schema that is none or that lies elsewhere.
    """
    try:
        Draft202012Validator.check_schema(schema)
        found = sorted(
            Draft202012Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path))
        )
    except SchemaError as error:
        raise ModelError(
            "flow_error", f"The schema to check against is no JSON Schema: {error.message}."
        ) from None
    except Unresolvable as error:
        raise ModelError(
            "flow_error",
            f"The schema refers to {error.ref!r}, which is not in it. Put the definition into it.",
        ) from None
    return [f"{error.json_path}: {error.message}" for error in found]
