"""The arguments of tool calls, which this protocol has as an object and not as text."""

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.decoding.exact_objects import exact_object, has_long_numbers
from polyvox.protocols.decoding.half_characters import repaired
from polyvox.workflows.conversation import Json, Part, ToolCall


def parse_arguments(arguments: str) -> dict[str, Json] | None:
    """Return the JSON object in ``arguments``, or None; an empty text is ``{}``."""
    if not arguments.strip():
        return {}
    try:
        value = parse_json(arguments)
    except orjson.JSONDecodeError:
        whole = repaired(arguments.encode())
        return None if whole is None else parse_arguments(whole.decode())
    return exact_object(value, arguments) if isinstance(value, dict) else None


def own_block(part: Part) -> Json | None:
    """Return the block of this protocol that ``part`` was parsed from, or None.

    The stored block of a call has its arguments as an object, whose numbers are not exact.
    """
    block = part.on_wire("messages")
    if block is None or not isinstance(part, ToolCall) or not has_long_numbers(part.arguments):
        return block
    return {**block, "input": parse_arguments(part.arguments)}
