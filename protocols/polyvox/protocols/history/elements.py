"""Changes messages without losing what their elements say besides the changed value."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from polyvox.protocols.history.spelling import Spelling
from polyvox.workflows.conversation import (
    Message,
    Opaque,
    Part,
    Text,
    ToolCall,
    ToolResult,
    Wire,
)


def with_parts(message: Message, parts: Sequence[Part], spelling: Spelling) -> Message:
    """Return ``message`` with ``parts``, which are the same or changed parts of it."""
    if is_same(message.parts, parts):
        return message
    role = message.role
    kinds = {type(part) for part in parts}
    if role == "tool" and not kinds & {ToolResult, Opaque}:
        role = "user"
    elif role == "assistant" and kinds == {ToolResult}:
        role = "tool"
    wire, json = message.wire, message.on_wire(spelling.protocol)
    if json is not None:
        elements = [part.on_wire(spelling.protocol) for part in parts]
        changed = spelling.message(json, elements) if role == message.role else None
        wire = None if changed is None else Wire(spelling.protocol, changed)
    return replace(message, role=role, parts=tuple(parts), wire=wire)


def is_same(parts: Sequence[Part], others: Sequence[Part]) -> bool:
    """Whether both sequences hold the very same parts."""
    return len(parts) == len(others) and all(a is b for a, b in zip(parts, others, strict=True))


def renumbered_call(call: ToolCall, call_id: str, spelling: Spelling) -> ToolCall:
    """Return ``call`` with that id; a function that was called without arguments gets ``{}``."""
    arguments = call.arguments
    if call.kind == "function" and not arguments.strip():
        arguments = "{}"
    json, wire = call.on_wire(spelling.protocol), call.wire
    if json is not None:
        changed = spelling.call(json, call_id, arguments)
        wire = wire if changed is json else Wire(spelling.protocol, changed)
    if wire is call.wire and (call_id, arguments) == (call.id, call.arguments):
        return call
    return replace(call, id=call_id, arguments=arguments, wire=wire)


def renumbered_result(result: ToolResult, call: ToolCall, spelling: Spelling) -> ToolResult:
    """Return ``result`` as the result of ``call``, whose id may have changed."""
    json, wire = result.on_wire(spelling.protocol), result.wire
    if json is not None:
        changed = spelling.result(json, call.id)
        wire = wire if changed is json else Wire(spelling.protocol, changed)
    if wire is result.wire and (result.call_id, result.kind) == (call.id, call.kind):
        return result
    return replace(result, call_id=call.id, kind=call.kind, wire=wire)


def as_words(part: Part) -> Iterable[Part]:
    """Yield a call or a result that has no partner as content of a user's message."""
    match part:
        case ToolCall(name=name, arguments=arguments):
            yield Text(f"Call of {name} that is not the assistant's: {arguments}")
        case ToolResult(parts=parts, is_error=is_error):
            if not parts:
                return
            kind = "Error" if is_error else "Result"
            yield Text(f"{kind} of a tool call that is not in this conversation:")
            # The element of a text inside a result may not be allowed outside of one.
            yield from (Text(p.text) if isinstance(p, Text) else p for p in parts)
        case _:
            yield part
