"""Rewrites what a client spelled as in another protocol, in the spelling of Chat Completions.

Cursor, for one, sends ``input`` in place of ``messages`` and flat tools, and for Claude the tools
and blocks of Messages, to ``/chat/completions``. The answer is Chat's all the same.
"""

from collections.abc import Iterator
from typing import Final

import orjson

from polyvox.protocols.chat.client.input_items import from_input
from polyvox.protocols.chat.transcript import render_fragment
from polyvox.protocols.requests.foreign_parts import respelled
from polyvox.protocols.requests.foreign_tools import OfferedTool, read_choice, read_tool
from polyvox.workflows.conversation import File, Image, Json, Part, Text
from polyvox.workflows.errors import ModelError

_OWN_PARTS: Final = frozenset(("text", "refusal", "image_url", "file", "input_audio"))


def in_chat(body: dict[str, Json]) -> dict[str, Json]:
    """Return the request in Chat's spelling; the same object if nothing is spelled otherwise.

    Ill-typed members stay as they are. Raises ModelError("invalid_request", param=...) for a part
    or an item that Chat cannot carry.
    """
    if body.get("messages") is None and body.get("input") is not None:
        body = from_input(body)
    changed: dict[str, Json] = {}
    messages = body.get("messages")
    if isinstance(messages, list):
        spelled = [own for at, one in enumerate(messages) for own in _messages(one, at)]
        if len(spelled) != len(messages) or any(map(_differs, spelled, messages)):
            changed["messages"] = spelled
    if isinstance(tools := body.get("tools"), list):
        offered = [_tool(tool) for tool in tools]
        if any(map(_differs, offered, tools)):
            changed["tools"] = offered
    choice = body.get("tool_choice")
    if _differs(own := _choice(choice), choice):
        changed["tool_choice"] = own
        if isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True:
            changed["parallel_tool_calls"] = False
    body = {**body, **changed} if changed else body
    return _renamed(body) if "system" in body or _OTHERS.keys() & body.keys() else body


def _differs(new: Json, old: Json) -> bool:
    return new is not old


_OTHERS: Final = {
    "max_output_tokens": ("max_completion_tokens", "max_tokens"),
    "stop_sequences": ("stop",),
}
"""Options of other protocols, and the names they may already have here."""


def _renamed(body: dict[str, Json]) -> dict[str, Json]:
    """Rename options of other protocols, and put ``system`` at the head of the messages."""
    renamed = dict(body)
    for other, names in _OTHERS.items():
        if other in renamed:
            value = renamed.pop(other)
            if all(renamed.get(name) is None for name in names):
                renamed[names[0]] = value
    system, messages = renamed.get("system"), renamed.get("messages")
    if isinstance(system, str | list) and isinstance(messages, list):
        del renamed["system"]
        head = {"role": "system", "content": _content(system, "system")}
        renamed["messages"] = [head, *messages]
    return renamed


_BLOCKS: Final = ("tool_use", "tool_result")


def _messages(message: Json, at: int) -> Iterator[Json]:
    """Yield the message in Chat's spelling: calls and results in it become Chat's own."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        yield message
        return
    if any(isinstance(p, dict) and p.get("type") in _BLOCKS for p in content):
        yield from _of_blocks(message, content, at)
        return
    own = _content(content, f"messages[{at}].content")
    yield message if own is content else {**message, "content": own}


def _of_blocks(message: dict[str, Json], content: list[Json], at: int) -> Iterator[Json]:
    """Yield the messages for one with blocks of Messages: results first, as both protocols want."""
    given = message.get("tool_calls")
    calls: list[Json] = list(given) if isinstance(given, list) else []
    rest: list[Json] = []
    for number, piece in enumerate(content):
        where = f"messages[{at}].content[{number}]"
        kind = piece.get("type") if isinstance(piece, dict) else None
        if kind == "tool_use":
            calls.append(_call(piece, where))
        elif kind == "tool_result":
            yield _result(piece, where)
        else:
            rest.append(piece)
    own = _content(rest, f"messages[{at}].content") or None
    if calls:
        yield {**message, "content": own, "tool_calls": calls}
    elif own is not None:
        yield {**message, "content": own}


def _call(block: dict[str, Json], where: str) -> Json:
    call_id, name, given = block.get("id"), block.get("name"), block.get("input")
    if not isinstance(call_id, str) or not isinstance(name, str):
        raise _invalid(f"{where}.name", "A tool_use block needs the strings 'id' and 'name'.")
    arguments = given if isinstance(given, str) else orjson.dumps(given or {}).decode()
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _result(block: dict[str, Json], where: str) -> Json:
    call_id, content = block.get("tool_use_id"), block.get("content")
    if not isinstance(call_id, str):
        raise _invalid(f"{where}.tool_use_id", "A tool_result block needs a string 'tool_use_id'.")
    own = _content(content, f"{where}.content") if content is not None else ""
    if block.get("is_error") is True:
        # Chat has no flag for a failed tool: its text says so.
        failed = isinstance(own, str)
        own = f"Error: {own}" if failed else [{"type": "text", "text": "Error:"}, *own]
    return {"role": "tool", "tool_call_id": call_id, "content": own}


def _content(content: Json, where: str) -> Json:
    try:
        return respelled(content, lambda piece: piece["type"] not in _OWN_PARTS, _spell)
    except ModelError as error:
        at, _, member = (error.param or "").partition(".")
        path = f"{where}[{at}].{member}"
        raise _invalid(path, f"{path} {error.message}") from None


def _spell(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, File) and part.source.url is not None:
        # OpenRouter's spelling of a file at a URL; OpenAI takes none.
        return {
            "type": "file",
            "file": {"filename": part.name or "file", "file_data": part.source.url},
        }
    if isinstance(part, Image) and part.source.file_id is not None:
        raise ModelError(
            "invalid_request",
            "names a stored image, which Chat Completions cannot. Send its data or a URL.",
            param="file_id",
        )
    content: Json = (render_fragment(part, "user", []) or {}).get("content")
    return {"type": "text", "text": content} if isinstance(content, str) else content[0]


def _tool(tool: Json) -> Json:
    offered = read_tool(tool)
    return tool if offered is None or offered.shape == "nested" else _nested(offered)


def _nested(tool: OfferedTool) -> Json:
    definition: dict[str, Json] = {"name": tool.name}
    beside: dict[str, Json] = {}
    for member, value in tool.members.items():
        (definition if member in ("description", "strict") else beside)[member] = value
    if tool.kind == "function" and tool.schema is not None:
        definition["parameters"] = tool.schema
    if tool.grammar is not None:
        definition["format"] = {"type": "grammar", "grammar": tool.grammar}
    return {"type": tool.kind, tool.kind: definition, **beside}


def _choice(choice: Json) -> Json:
    if choice in ("auto", "none", "required") or not isinstance(choice, dict | str):
        return choice
    if isinstance(choice, dict):
        kind = choice.get("type")
        if isinstance(kind, str) and isinstance(choice.get(kind), dict):
            return choice
        if kind == "allowed_tools" and isinstance(listed := choice.get("tools"), list):
            own = {"mode": choice.get("mode", "auto"), "tools": [_choice(one) for one in listed]}
            return {"type": kind, kind: own}
    meant = read_choice(choice)
    if meant is None:
        return choice
    if meant.mode != "tool":
        return meant.mode
    return {"type": meant.kind, meant.kind: {"name": meant.name}}


def _invalid(param: str, message: str) -> ModelError:
    return ModelError("invalid_request", message, param=param, code="invalid_value")
