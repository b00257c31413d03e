"""Parses and renders Responses items, instructions and usage.

One item is one Message. The wire of a part has one of two forms:

* for a part that is a whole item (call, reasoning, anything unknown): that item;
* for a content part: ``{"type", "item", "part", "last"}``, its own JSON and the message item around
  it without its content. ``render_parts`` joins consecutive parts of one item again;
  ``last`` marks the one that ends its item. Parts inside a tool result are their own JSON.

Shapes follow the request and response types of the OpenAI API of November 2026.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

import orjson

from polyvox.protocols.coverage.losses import LOST_REASONING, message_losses, opaque_losses
from polyvox.protocols.openai.cache_breakpoints import UNMARKED, breakpoint_of
from polyvox.protocols.responses.content import (
    CONTENT_TYPES,
    invalid,
    note_losses,
    of_type,
    parse_content,
    render_content,
    text_field,
)
from polyvox.protocols.responses.finish import finish_reason, status_of
from polyvox.protocols.responses.options import parse_options, render_options
from polyvox.protocols.responses.tools import given_tools, parse_tool, parse_tools, render_tools
from polyvox.protocols.responses.usage import parse_usage, render_usage
from polyvox.protocols.sealed_reasoning import Sealed, unseal
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Opaque,
    Part,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Wire,
)
from polyvox.workflows.errors import ModelError

__all__ = [
    "finish_reason",
    "given_tools",
    "parse_item",
    "parse_message",
    "parse_options",
    "parse_part",
    "parse_system",
    "parse_tool",
    "parse_tools",
    "parse_usage",
    "render_messages",
    "render_options",
    "render_parts",
    "render_system",
    "render_tools",
    "render_usage",
    "status_of",
]

_ROLES = frozenset(("system", "developer", "user", "assistant"))

_ARGUMENTS = {"function_call": "arguments", "custom_tool_call": "input"}
"""The member with the arguments of each kind of call."""


def parse_message(json: Json) -> Message:
    """Parse one input or output item.

    Raises ModelError("invalid_request") with ``param`` relative to the item for an ill-typed field
    of a known item; items of unknown type become Opaque.
    """
    if not isinstance(json, dict):
        raise invalid("An input item must be an object.", "")
    kind = json.get("type") or ("message" if "role" in json else "item_reference")
    if not isinstance(kind, str):
        raise invalid(f"'type' must be a string, not {kind!r:.80}.", "type")
    if kind == "message":
        role = json.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise invalid(f"Unknown role {role!r}; use one of {sorted(_ROLES)}.", "role")
        return Message(cast(Role, role), parse_item(json), wire=Wire("responses", json))
    if (member := _ARGUMENTS.get(kind)) is not None:
        json = _with_arguments(json, member)
    return Message(_role(kind, json), parse_item(json), wire=Wire("responses", json))


def _with_arguments(call: dict[str, Json], member: str) -> dict[str, Json]:
    """Return a call with its arguments as text, which the API requires.

    Clients leave them out of a call without arguments, or send the object itself.
    """
    match call.get(member):
        case None:
            return {**call, member: "{}" if member == "arguments" else ""}
        case dict() as arguments:
            return {**call, member: orjson.dumps(arguments).decode()}
        case _:
            return call


def parse_item(item: dict[str, Json]) -> tuple[Part, ...]:
    """Parse the parts of one item: those of its content, or the item as one part."""
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    parse = _ITEMS.get(kind)
    return parse(item) if parse else (Opaque(wire=Wire("responses", item)),)


def parse_part(json: Json, shell: Json, *, last: bool) -> Part:
    """Parse a content part of the message item ``shell`` (the item without its content)."""
    kind = json.get("type") if isinstance(json, dict) else None
    wire = Wire("responses", {"type": kind, "item": shell, "part": json, "last": last})
    return parse_content(json, wire)


def parse_system(json: Json) -> Message:
    """Parse ``instructions``: a string, or a list of items as in responses."""
    wire = Wire("responses", json)
    if isinstance(json, list):
        parts = tuple(part for item in json for part in parse_message(item).parts)
        return Message("system", parts, wire=wire)
    if not isinstance(json, str):
        raise invalid("'instructions' must be a string.", "")
    return Message("system", (Text(json),), wire=wire)


def render_system(conversation: Conversation, losses: list[str]) -> Json:
    """Render ``instructions``: a string, or None."""
    system = conversation.system
    if system is None:
        return None
    own = system.on_wire("responses")
    if own is not None:
        return own
    texts: list[str] = []
    for part in system.parts:
        if not isinstance(part, Text):
            losses.append(f"system: {type(part).__name__} part")
            continue
        # Instructions of another protocol are blocks; joined directly their words would merge.
        if texts and not texts[-1].endswith("\n") and not part.text.startswith("\n"):
            texts.append("\n")
        texts.append(part.text)
    return "".join(texts)


def render_messages(
    conversation: Conversation, losses: list[str], *, marks: bool = False
) -> list[Json]:
    """Render the input items. What cannot be carried is named in ``losses``.

    ``marks`` says whether the model accepts cache marks.
    """
    items: list[Json] = []
    for message in conversation.messages:
        own = message.on_wire("responses")
        if own is not None and not _is_foreign_reasoning(message.parts):
            items.append(own)
        else:
            if own is None and message.wire is not None:
                losses.extend(message_losses(message.wire, "responses"))
            items.extend(render_parts(message.role, message.parts, losses, marks=marks))
    return items


def render_parts(
    role: Role, parts: Iterable[Part], losses: list[str], *, marks: bool = False
) -> list[Json]:
    """Render the parts of one message as items, in order."""
    items: list[Json] = []
    filling: dict[str, Json] | None = None
    shell: Json = None
    for part in parts:
        whole = _whole_item(part, losses)
        if whole is not None:
            filling = None
            if whole:
                items.append(whole)
            continue
        own = part.on_wire("responses")
        content = render_content(part, role, losses)
        if content is None:
            continue
        if own is None and (mark := breakpoint_of(part)) is not None:
            if marks and role != "assistant":
                content = {**content, "prompt_cache_breakpoint": mark}
            else:
                losses.append(UNMARKED)
        mine = _shell_of(own) if role == "assistant" else None
        if filling is None or mine != shell:
            filling = {**(mine or {"type": "message", "role": _carrier(role)}), "content": []}
            shell = mine
            items.append(filling)
        filling["content"].append(content)
        if mine is not None and own is not None and own.get("last"):
            filling = None
    return items


def _whole_item(part: Part, losses: list[str]) -> Json:
    """Return ``part`` as an item, {} if it is left out, None if it is a content part."""
    own = part.on_wire("responses")
    match part:
        case Reasoning():
            if part.origin not in (None, "responses"):
                losses.append(LOST_REASONING)
                return {}
            return own if own is not None else _reasoning(part, losses)
        case ToolCall() | ToolResult() if own is not None:
            return own
        case ToolCall():
            note_losses(part, losses)
            return _call(part)
        case ToolResult():
            note_losses(part, losses)
            return _result(part, losses)
        case Opaque():
            if own is None:
                losses.extend(opaque_losses(part.wire))
                return {}
            return None if "part" in own or own.get("type") in CONTENT_TYPES else own
        case _:
            return None


def _shell_of(own: Json) -> Json:
    shell = own.get("item") if own is not None else None
    return shell if shell is not None and shell.get("role") == "assistant" else None


def _carrier(role: Role) -> Role:
    """Return the role of a message item; further images of a tool are sent as the user's."""
    return "user" if role == "tool" else role


def _is_foreign_reasoning(parts: tuple[Part, ...]) -> bool:
    return any(isinstance(p, Reasoning) and p.origin not in (None, "responses") for p in parts)


def _reasoning(part: Reasoning, losses: list[str]) -> Json:
    if part.origin is None or part.opaque is None:
        losses.append("reasoning: text without encrypted content")
        return {}
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    return {"type": "reasoning", "summary": summary, "encrypted_content": part.opaque}


def _call(part: ToolCall) -> Json:
    custom = part.kind == "custom"
    call: dict[str, Json] = {
        "type": "custom_tool_call" if custom else "function_call",
        "call_id": part.id,
        "name": part.name if part.namespace else offered_name(part.name),
        "input" if custom else "arguments": part.arguments,
    }
    if part.namespace is not None:
        call["namespace"] = part.namespace
    return call


def _result(part: ToolResult, losses: list[str]) -> Json:
    output: Json
    if all(isinstance(p, Text) for p in part.parts) and len(part.parts) < 2:
        output = "".join(p.text for p in part.parts if isinstance(p, Text))
        if part.is_error:
            output = f"Error: {output}"
    else:
        rendered = (render_content(p, "tool", losses) for p in part.parts)
        output = [json for json in rendered if json is not None]
        if part.is_error:
            output.insert(0, {"type": "input_text", "text": "Error:"})
    kind = "custom_tool_call_output" if part.kind == "custom" else "function_call_output"
    return {"type": kind, "call_id": part.call_id, "output": output}


def _role(kind: str, item: dict[str, Json]) -> Role:
    """Return the role of an item that has no ``role``."""
    role = item.get("role")
    if isinstance(role, str) and role in _ROLES:
        return cast(Role, role)
    if kind.endswith(("_output", "_response")):
        return "tool"
    return "user" if kind == "compaction_trigger" else "assistant"


def _parse_message_item(item: dict[str, Json]) -> tuple[Part, ...]:
    content = item.get("content")
    if isinstance(content, str):
        return (Text(content),)
    if content is None:
        return ()
    if not isinstance(content, list):
        raise invalid("'content' must be a string or a list of parts.", "content")
    shell = {name: value for name, value in item.items() if name != "content"}
    end = len(content) - 1
    return tuple(
        _at(f"content[{index}]", partial(parse_part, shell=shell, last=index == end), part)
        for index, part in enumerate(content)
    )


def _parse_call(item: dict[str, Json]) -> tuple[Part, ...]:
    call = ToolCall(
        id=text_field(item, "call_id", text_field(item, "id", "")),
        name=text_field(item, "name"),
        arguments=text_field(item, "arguments"),
        namespace=of_type(item, "namespace", str),
        wire=Wire("responses", item),
    )
    return (call,)


def _parse_custom_call(item: dict[str, Json]) -> tuple[Part, ...]:
    call = ToolCall(
        id=text_field(item, "call_id", text_field(item, "id", "")),
        name=text_field(item, "name"),
        arguments=text_field(item, "input"),
        kind="custom",
        namespace=of_type(item, "namespace", str),
        wire=Wire("responses", item),
    )
    return (call,)


def _parse_result(item: dict[str, Json]) -> tuple[Part, ...]:
    output = item.get("output")
    parts: tuple[Part, ...]
    if isinstance(output, str):
        parts = (Text(output),)
    elif output is None:
        parts = ()
    elif isinstance(output, list):
        parts = tuple(
            _at(f"output[{index}]", lambda p: parse_content(p, Wire("responses", p)), part)
            for index, part in enumerate(output)
        )
    else:
        raise invalid("'output' must be a string or a list of parts.", "output")
    result = ToolResult(
        call_id=text_field(item, "call_id", ""),
        parts=parts,
        kind="custom" if item["type"] == "custom_tool_call_output" else "function",
        wire=Wire("responses", item),
    )
    return (result,)


def _at(place: str, parse: Callable[[Json], Part], json: Json) -> Part:
    """Parse ``json``; an error gets ``place`` in its param."""
    try:
        return parse(json)
    except ModelError as error:
        param = f"{place}.{error.param}" if error.param else place
        raise invalid(error.message, param) from None


def _parse_reasoning(item: dict[str, Json]) -> tuple[Part, ...]:
    slot = of_type(item, "encrypted_content", str)
    sealed = (unseal(slot) if slot else None) or Sealed("responses", slot or "")
    sections = [*(of_type(item, "summary", list) or ()), *(of_type(item, "content", list) or ())]
    texts = [s["text"] for s in sections if isinstance(s, dict) and isinstance(s.get("text"), str)]
    thought = Reasoning(
        text="\n\n".join(texts),
        opaque=sealed.opaque or None,
        origin=sealed.origin,
        redacted=sealed.redacted,
        wire=Wire("responses", item),
    )
    return (thought,)


_ITEMS: dict[str, Callable[[dict[str, Json]], tuple[Part, ...]]] = {
    "message": _parse_message_item,
    "function_call": _parse_call,
    "custom_tool_call": _parse_custom_call,
    "function_call_output": _parse_result,
    "custom_tool_call_output": _parse_result,
    "reasoning": _parse_reasoning,
}
