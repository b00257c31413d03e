"""Parses and renders Chat Completions messages.

A part's ``wire`` is the *fragment* of a message that holds it: message members, in which a list
holds the part's own entry only (``{"content": [{"type": "text", ...}]}``,
``{"tool_calls": [{...}]}``, ``{"reasoning": "..."}``). Merging the fragments restores the message,
so an Opaque can be a content part, a call or an unknown member. A part whose typed fields hold
everything has no ``wire``. A tool result's fragment is the whole ``tool`` message.

Format: ``openai.types.chat`` of the OpenAI SDK 3.54, and the dialects of compatible servers
(``reasoning_content``, ``reasoning``, ``reasoning_details``).
"""

from collections.abc import Callable
from typing import Final

import orjson

from polyvox.protocols.chat.finish import FINISH_REASONS, finish_reason
from polyvox.protocols.chat.options import MOST_STOPS, ill_typed, parse_options, render_options
from polyvox.protocols.chat.reasoning import parse_reasoning, seal_reasoning
from polyvox.protocols.chat.tools import parse_tool, render_tools
from polyvox.protocols.chat.transcript import render_messages
from polyvox.protocols.chat.usage import parse_usage, render_usage
from polyvox.workflows.conversation import (
    Audio,
    File,
    Image,
    Json,
    Message,
    Opaque,
    Part,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Wire,
)

__all__ = [
    "FINISH_REASONS",
    "MOST_STOPS",
    "WHOLE_MEMBERS",
    "finish_reason",
    "parse_message",
    "parse_options",
    "parse_tool",
    "parse_usage",
    "render_messages",
    "render_options",
    "render_tools",
    "render_usage",
    "seal_reasoning",
]


def parse_message(json: Json) -> Message:
    """Parse one entry of ``messages``.

    Raises ModelError("invalid_request", param=...) for an ill-typed known field; ``param`` is
    relative to the entry.
    """
    if not isinstance(json, dict):
        raise ill_typed("", "an object", json)
    name = json.get("role")
    known = _ROLES.get(name) if isinstance(name, str) else None
    if known is None:
        raise ill_typed("role", f"one of {', '.join(_ROLES)}", name)
    role, parse = known
    json = with_arguments(json)
    return Message(role, tuple(parse(json)), wire=Wire("chat", json))


def _parse_texts(json: Json) -> list[Part]:
    return _parse_content(json.get("content"))


def _parse_content(content: Json) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    if content is None:
        return []
    if not isinstance(content, list):
        raise ill_typed("content", "a string or an array of parts", content)
    return [_parse_piece(piece, f"content[{at}]") for at, piece in enumerate(content)]


def _parse_piece(piece: Json, where: str) -> Part:
    if not isinstance(piece, dict):
        raise ill_typed(where, "an object", piece)
    kind = piece.get("type")
    if not isinstance(kind, str):
        raise ill_typed(f"{where}.type", "a string", kind)
    wire = Wire("chat", {"content": [piece]})
    parse = _PIECES.get(kind)
    return parse(piece, where, wire) if parse else Opaque(wire=wire)


def _string(json: Json, name: str, where: str) -> str:
    value = json.get(name)
    if isinstance(value, str):
        return value
    raise ill_typed(f"{where}.{name}" if where else name, "a string", value)


def _optional(json: Json, name: str, where: str) -> str | None:
    return None if json.get(name) is None else _string(json, name, where)


def _object(json: Json, name: str, where: str) -> dict[str, Json]:
    value = json.get(name)
    if isinstance(value, dict):
        return value
    raise ill_typed(f"{where}.{name}", "an object", value)


def _parse_image(piece: Json, where: str, wire: Wire) -> Part:
    image = piece.get("image_url")
    if isinstance(image, str):
        image = {"url": image}
    elif not isinstance(image, dict):
        raise ill_typed(f"{where}.image_url", "an object", image)
    inner = f"{where}.image_url"
    return Image(
        _parse_source(_string(image, "url", inner)), _optional(image, "detail", inner), wire=wire
    )


def _parse_source(url: str) -> Source:
    if url.startswith("data:"):
        head, comma, data = url.partition(",")
        if comma and head.endswith(";base64"):
            return Source(media_type=head[len("data:") :].split(";", 1)[0] or None, data=data)
    return Source(url=url)


def _parse_file(piece: Json, where: str, wire: Wire) -> Part:
    file, inner = _object(piece, "file", where), f"{where}.file"
    name = _optional(file, "filename", inner)
    file_id = _optional(file, "file_id", inner)
    if file_id is not None:
        return File(Source(file_id=file_id), name, wire=wire)
    data = _string(file, "file_data", inner)
    source = _parse_source(data) if data.startswith("data:") else Source(data=data)
    return File(source, name, wire=wire)


def _parse_audio(piece: Json, where: str, wire: Wire) -> Part:
    audio, inner = _object(piece, "input_audio", where), f"{where}.input_audio"
    return Audio(_string(audio, "data", inner), _string(audio, "format", inner), wire=wire)


_PIECES: Final[dict[str, Callable[[Json, str, Wire], Part]]] = {
    "text": lambda piece, where, wire: Text(_string(piece, "text", where), wire=wire),
    "refusal": lambda piece, where, wire: Refusal(_string(piece, "refusal", where), wire=wire),
    "image_url": _parse_image,
    "file": _parse_file,
    "input_audio": _parse_audio,
}


def _parse_assistant(json: Json) -> list[Part]:
    parts = list[Part](parse_reasoning(json))
    content = json.get("content")
    if content != "":
        parts.extend(_parse_content(content))
    if refusal := _optional(json, "refusal", ""):
        parts.append(Refusal(refusal))
    calls = json.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list):
            raise ill_typed("tool_calls", "an array", calls)
        parts.extend(_parse_call(call, f"tool_calls[{at}]") for at, call in enumerate(calls))
    if json.get("function_call") is not None:
        parts.append(_parse_function_call(_object(json, "function_call", "")))
    parts.extend(
        Opaque(wire=Wire("chat", {name: json[name]})) for name in WHOLE_MEMBERS if json.get(name)
    )
    return parts


WHOLE_MEMBERS: Final = ("audio", "images")
"""Members that are content, not metadata of the message."""

_CALLS: Final[dict[str, str]] = {"function": "arguments", "custom": "input"}


def with_arguments(message: dict[str, Json]) -> dict[str, Json]:
    """Return an assistant message whose calls all have arguments, as providers require.

    Clients leave them out of a call without arguments, or send the object itself.
    """
    calls, function = message.get("tool_calls"), message.get("function_call")
    if calls is None and function is None:
        return message
    changed: dict[str, Json] = {}
    if isinstance(calls, list):
        changed["tool_calls"] = [_with_arguments(call) for call in calls]
    if isinstance(function, dict):
        changed |= _with_arguments({"function_call": function}, "function_call")
    same = all(message[name] == value for name, value in changed.items())
    return message if same else {**message, **changed}


def _with_arguments(call: Json, kind: str | None = None) -> Json:
    if not isinstance(call, dict):
        return call
    kind = kind or call.get("type") or "function"
    known = kind in (*_CALLS, "function_call")
    definition = call.get(kind) if known else None
    grown = "input" if kind == "custom" else "arguments"
    if not isinstance(definition, dict) or isinstance(text := definition.get(grown), str):
        return call
    if text is None:
        return {**call, kind: {**definition, grown: "" if kind == "custom" else "{}"}}
    if isinstance(text, dict):
        return {**call, kind: {**definition, grown: orjson.dumps(text).decode()}}
    return call


def _parse_call(json: Json, where: str) -> Part:
    if not isinstance(json, dict):
        raise ill_typed(where, "an object", json)
    wire = Wire("chat", {"tool_calls": [json]})
    kind = json.get("type") or "function"
    if not isinstance(kind, str):
        raise ill_typed(f"{where}.type", "a string", kind)
    if kind not in _CALLS:
        return Opaque(wire=wire)
    definition, inner = _object(json, kind, where), f"{where}.{kind}"
    return ToolCall(
        _optional(json, "id", where) or "",
        _string(definition, "name", inner),
        _string(definition, _CALLS[kind], inner),
        "custom" if kind == "custom" else "function",
        wire=wire,
    )


def _parse_function_call(function: dict[str, Json]) -> Part:
    # The predecessor of tool_calls has no ids: call and result are paired by the function's name.
    name = _string(function, "name", "function_call")
    return ToolCall(
        name,
        name,
        _string(function, "arguments", "function_call"),
        wire=Wire("chat", {"function_call": function}),
    )


def _parse_tool_message(json: Json) -> list[Part]:
    return [_result(json, _optional(json, "tool_call_id", "") or "")]


def _parse_function_message(json: Json) -> list[Part]:
    return [_result(json, _string(json, "name", ""))]


def _result(json: Json, call_id: str) -> Part:
    return ToolResult(call_id, tuple(_parse_texts(json)), wire=Wire("chat", json))


_ROLES: Final[dict[str, tuple[Role, Callable[[Json], list[Part]]]]] = {
    "system": ("system", _parse_texts),
    "developer": ("developer", _parse_texts),
    "user": ("user", _parse_texts),
    "assistant": ("assistant", _parse_assistant),
    "tool": ("tool", _parse_tool_message),
    "function": ("tool", _parse_function_message),
}
