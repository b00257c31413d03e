"""Parses and renders the content blocks of Anthropic Messages.

Shapes are those of the public API reference for ``POST /v1/messages`` (version 2026-10-21). A
block of an unknown type becomes ``Opaque`` and keeps its whole JSON.
"""

import base64
import re
from collections.abc import Callable
from typing import assert_never

from polyvox.protocols.coverage.losses import LOST_REASONING, element_losses, opaque_losses
from polyvox.protocols.decoding.exact_objects import text_of
from polyvox.protocols.messages.arguments import own_block, parse_arguments
from polyvox.protocols.messages.cache_control import cache_control_of
from polyvox.protocols.sealed_reasoning import seal, unseal
from polyvox.protocols.tool_names import flat_name, offered_name
from polyvox.workflows.conversation import (
    Audio,
    File,
    Image,
    Json,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Wire,
)
from polyvox.workflows.errors import ModelError

_ID = re.compile(r"[a-zA-Z0-9_-]+")
"""The ids of tool calls that the API accepts."""

_NOT_ID = re.compile(r"[^a-zA-Z0-9_-]")


def invalid(param: str, wanted: str) -> ModelError:
    """Return the error for a known field that is missing or ill-typed."""
    return ModelError("invalid_request", f"{param}: {wanted}", param=param)


def parse_blocks(content: Json, param: str) -> tuple[Part, ...]:
    """Parse ``content``: a string, or an array of blocks.

    A string gives one Text without ``wire``: only the element that holds it is on the wire.
    Raises ModelError("invalid_request") with a ``param`` that begins with ``param``.
    """
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        raise invalid(param, "must be a string or an array of content blocks.")
    return tuple(parse_block(block, f"{param}.{i}") for i, block in enumerate(content))


def parse_block(block: Json, param: str) -> Part:
    """Parse one content block; one of an unknown type becomes Opaque.

    Raises ModelError("invalid_request") if the block is not an object, has no type, or lacks a
    field that its type requires.
    """
    if not isinstance(block, dict) or not isinstance(kind := block.get("type"), str):
        raise invalid(param, "must be an object with a type.")
    parse = _PARSERS.get(kind)
    return Opaque(wire=Wire("messages", block)) if parse is None else parse(block, param)


def _string(block: dict[str, Json], name: str, param: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise invalid(f"{param}.{name}", "must be a string.")
    return value


def _optional_string(block: dict[str, Json], name: str, param: str) -> str | None:
    return None if block.get(name) is None else _string(block, name, param)


def _parse_text(block: dict[str, Json], param: str) -> Part:
    return Text(_string(block, "text", param), wire=Wire("messages", block))


def _parse_source(block: dict[str, Json], param: str) -> Source | None:
    """Return the source, or None for a kind that only this protocol has."""
    source = block.get("source")
    at = f"{param}.source"
    if not isinstance(source, dict):
        raise invalid(at, "must be an object.")
    match source.get("type"):
        case "base64":
            return Source(_string(source, "media_type", at), data=_string(source, "data", at))
        case "url":
            return Source(url=_string(source, "url", at))
        case "file":
            return Source(file_id=_string(source, "file_id", at))
        case "text":
            text = _string(source, "data", at)
            return Source("text/plain", data=base64.b64encode(text.encode()).decode())
        case _:
            return None


def _parse_image(block: dict[str, Json], param: str) -> Part:
    wire = Wire("messages", block)
    source = _parse_source(block, param)
    return Opaque(wire=wire) if source is None else Image(source, wire=wire)


def _parse_audio(block: dict[str, Json], param: str) -> Part:
    # OpenAI's part: no Messages model takes audio, but the model may be another provider's.
    audio, at = block.get("input_audio"), f"{param}.input_audio"
    if not isinstance(audio, dict):
        raise invalid(at, "must be an object.")
    fields = _string(audio, "data", at), _string(audio, "format", at)
    return Audio(*fields, wire=Wire("messages", block))


def _parse_document(block: dict[str, Json], param: str) -> Part:
    wire = Wire("messages", block)
    source = _parse_source(block, param)
    if source is None:
        return Opaque(wire=wire)
    return File(source, _optional_string(block, "title", param), wire=wire)


def _parse_search_result(block: dict[str, Json], param: str) -> Part:
    # No other protocol has this block, but the model needs its text.
    body = "\n".join(
        p.text
        for p in parse_blocks(block.get("content"), f"{param}.content")
        if isinstance(p, Text)
    )
    title, source = _string(block, "title", param), _string(block, "source", param)
    return Text(f"{title} ({source})\n{body}", wire=Wire("messages", block))


def _parse_tool_reference(block: dict[str, Json], param: str) -> Part:
    # In other protocols all tools are offered from the start; the text names the one found.
    name = _string(block, "tool_name", param)
    return Text(f"Tool {name} can be called.", wire=Wire("messages", block))


def _parse_thinking(block: dict[str, Json], param: str) -> Part:
    text = _string(block, "thinking", param)
    signature = _optional_string(block, "signature", param)
    wire = Wire("messages", block)
    if signature and (sealed := unseal(signature)):
        return Reasoning(text, sealed.opaque or None, sealed.origin, sealed.redacted, wire=wire)
    return Reasoning(text, signature, "messages", wire=wire)


def _parse_redacted(block: dict[str, Json], param: str) -> Part:
    data = _string(block, "data", param)
    return Reasoning("", data, "messages", redacted=True, wire=Wire("messages", block))


def _parse_tool_use(block: dict[str, Json], param: str) -> Part:
    if block.get("input") is None:
        # Clients leave it out of a call without arguments; the API requires it.
        block = {**block, "input": {}}
    arguments = block["input"]
    if not isinstance(arguments, dict):
        raise invalid(f"{param}.input", "must be an object.")
    return ToolCall(
        _optional_string(block, "id", param) or "",
        _string(block, "name", param),
        text_of(arguments),
        wire=Wire("messages", block),
    )


def _parse_tool_result(block: dict[str, Json], param: str) -> Part:
    content = block.get("content")
    is_error = block.get("is_error")
    if is_error is not None and not isinstance(is_error, bool):
        raise invalid(f"{param}.is_error", "must be a boolean.")
    return ToolResult(
        _optional_string(block, "tool_use_id", param) or "",
        () if content is None else parse_blocks(content, f"{param}.content"),
        bool(is_error),
        wire=Wire("messages", block),
    )


_PARSERS: dict[str, Callable[[dict[str, Json], str], Part]] = {
    "text": _parse_text,
    "image": _parse_image,
    "input_audio": _parse_audio,
    "document": _parse_document,
    "search_result": _parse_search_result,
    "tool_reference": _parse_tool_reference,
    "thinking": _parse_thinking,
    "redacted_thinking": _parse_redacted,
    "tool_use": _parse_tool_use,
    "tool_result": _parse_tool_result,
}


def render_blocks(parts: tuple[Part, ...], losses: list[str]) -> list[Json]:
    """Render ``parts`` as the blocks of a request; parts without a block are left out."""
    blocks = (render_block(part, losses) for part in parts)
    return [block for block in blocks if block is not None]


def render_block(part: Part, losses: list[str]) -> Json | None:
    """Render one part of a request; None if the protocol has no block for it.

    A part of this protocol is sent unchanged, except for what the API refuses in a request: empty
    text, and reasoning from another provider.
    Raises ModelError("unsupported") for audio, which no Messages model accepts.
    """
    if isinstance(part, Reasoning) and not is_native(part):
        losses.append(LOST_REASONING)
        return None
    if isinstance(part, Text) and not part.text.strip():
        return None
    block = own_block(part)
    if block is not None:
        return block
    if part.wire is not None and not isinstance(part, Opaque):
        losses.extend(element_losses(part.wire, "messages"))
    block = render_foreign(part, losses)
    if block is not None and (mark := cache_control_of(part)) is not None:
        block["cache_control"] = mark
    return block


def is_native(part: Reasoning) -> bool:
    """Whether a Messages provider wrote this reasoning and accepts it back."""
    return part.origin == "messages" and (part.opaque is not None or part.wire is not None)


def render_foreign(part: Part, losses: list[str]) -> Json | None:
    """Render a part from its typed fields alone."""
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Refusal(text):
            return {"type": "text", "text": text} if text.strip() else None
        case Reasoning(_, opaque, _, True):
            return {"type": "redacted_thinking", "data": opaque or ""}
        case Reasoning(text, opaque):
            return {"type": "thinking", "thinking": text, "signature": opaque or ""}
        case ToolCall():
            return render_call(part, losses)
        case ToolResult():
            return _render_tool_result(part, losses)
        case Image(source):
            return _render_image(source, losses)
        case File(source, name):
            return _render_file(source, name, losses)
        case Audio():
            raise ModelError(
                "unsupported",
                "This model's provider takes no audio. Send a transcript, or choose a model"
                " that hears.",
                param="input_audio",
            )
        case Opaque(wire=wire):
            losses.extend(opaque_losses(wire))
            return None
        case _:
            assert_never(part)


def render_id(call_id: str) -> str:
    """Return ``call_id`` in the alphabet of this API; a call and its result get the same id."""
    return call_id if _ID.fullmatch(call_id) else _NOT_ID.sub("_", call_id) or "_"


def render_call(call: ToolCall, losses: list[str]) -> dict[str, Json]:
    """Render a call for a provider, by the name under which its tool was offered."""
    return {
        "type": "tool_use",
        "id": render_id(call.id),
        "name": offered_name(call.name, call.namespace),
        "input": render_input(call, losses),
    }


def render_input(call: ToolCall, losses: list[str]) -> dict[str, Json]:
    """Return the arguments as the object this protocol requires.

    Free text, and text that is not a JSON object, becomes the single property ``input``.
    """
    if call.kind == "function":
        value = parse_arguments(call.arguments)
        if value is not None:
            return value
        losses.append("arguments: not a JSON object, sent as its property input")
    return {"input": call.arguments}


def _render_tool_result(result: ToolResult, losses: list[str]) -> Json:
    block: dict[str, Json] = {"type": "tool_result", "tool_use_id": render_id(result.call_id)}
    match result.parts:
        case (Text(text, wire=None),):
            block["content"] = text
        case ():
            pass
        case parts:
            block["content"] = render_blocks(parts, losses)
    if result.is_error:
        block["is_error"] = True
    return block


def _render_source(source: Source) -> Json | None:
    if source.data is not None:
        media_type = source.media_type or "application/octet-stream"
        return {"type": "base64", "media_type": media_type, "data": source.data}
    if source.url is not None:
        return {"type": "url", "url": source.url}
    return None


def _render_image(source: Source, losses: list[str]) -> Json | None:
    rendered = _render_source(source)
    if rendered is None:
        losses.append("file_id: a file of another provider")
        return None
    return {"type": "image", "source": rendered}


def _render_file(source: Source, name: str | None, losses: list[str]) -> Json | None:
    title = {} if name is None else {"title": name}
    if source.data is not None and source.media_type != "application/pdf":
        text = _decoded_text(source.data)
        if text is None:
            losses.append(f"file: no document of type {source.media_type!r}")
            return None
        as_text = {"type": "text", "media_type": "text/plain", "data": text}
        return {"type": "document", "source": as_text, **title}
    rendered = _render_source(source)
    if rendered is None:
        losses.append("file_id: a file of another provider")
        return None
    return {"type": "document", "source": rendered, **title}


def _decoded_text(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:  # not base64, not ASCII, or not UTF-8 inside
        return None


def render_answer_block(part: Part) -> Json | None:
    """Render one part of an answer to a client; None if the protocol has no block for it.

    Reasoning of another protocol gets a sealed signature, which the client sends back. A refusal
    has no block: the stop reason and its details report it.
    """
    block = own_block(part)
    if block is not None:
        return block
    match part:
        case Reasoning(text, opaque, origin, redacted) if origin != "messages":
            # Chat has no opaque reasoning, so an unknown origin loses nothing. The envelope keeps
            # the block from being sent to a Messages provider.
            return {
                "type": "thinking",
                "thinking": text,
                "signature": seal(origin, opaque or "", redacted=redacted),
            }
        case ToolCall(name=name, namespace=namespace):
            return {**render_call(part, []), "name": flat_name(name, namespace)}
        case Refusal() | Image() | File() | Audio() | Opaque() | ToolResult():
            return None
        case _:
            return render_foreign(part, [])


def is_blank(part: Part) -> bool:
    """Whether ``part`` shows nothing in an answer and is not a block of this protocol."""
    if part.on_wire("messages") is not None:
        return False
    match part:
        case Text(text):
            return not text
        case Reasoning(text, opaque):
            return not (text or opaque)
        case _:
            return False
