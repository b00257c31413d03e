"""Rewrites what a client spelled as in another protocol, in the spelling of Responses."""

from functools import partial
from typing import Final

from polyvox.protocols.requests.foreign_parts import respelled
from polyvox.protocols.requests.foreign_tools import OfferedTool, read_choice, read_tool
from polyvox.protocols.responses.client.chat_messages import from_messages
from polyvox.protocols.responses.content import invalid, render_content
from polyvox.workflows.conversation import Json, Part, Refusal, Role, Text
from polyvox.workflows.errors import ModelError

_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_NESTED: Final = ("function", "custom")


def in_responses(body: dict[str, Json]) -> dict[str, Json]:
    """Return the request in the spelling of Responses; the same object if it has no other.

    Ill-typed members stay as they are. Raises ModelError("invalid_request", param=...) for a part
    that Responses cannot carry.
    """
    if body.get("input") is None and isinstance(body.get("messages"), list):
        body = from_messages(body)
    changed: dict[str, Json] = {}
    given = body.get("input")
    if isinstance(given, list):
        items = [_item(item, f"input[{at}]") for at, item in enumerate(given)]
        if any(map(_differs, items, given)):
            changed["input"] = items
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
    return _limited(body) if any(name in body for name in _LIMITS) else body


def _differs(new: Json, old: Json) -> bool:
    return new is not old


def _limited(body: dict[str, Json]) -> dict[str, Json]:
    """Rename the output limit of another protocol."""
    limited = {name: value for name, value in body.items() if name not in _LIMITS}
    for name in _LIMITS:
        if limited.get("max_output_tokens") is None and body.get(name) is not None:
            limited["max_output_tokens"] = body[name]
    return limited


def _item(item: Json, where: str) -> Json:
    if not isinstance(item, dict):
        return item
    kind = item.get("type") or ("message" if "role" in item else None)
    member, role = ("content", item.get("role")) if kind == "message" else ("output", "tool")
    if kind not in _WITH_CONTENT or member not in item:
        return item
    content = item[member]
    if not isinstance(content, list):
        return item
    speaker: Role = "assistant" if role == "assistant" else "user"
    own = _content(content, speaker, f"{where}.{member}")
    return item if own is content else {**item, member: own}


_WITH_CONTENT: Final = ("message", "function_call_output", "custom_tool_call_output")


def _content(content: Json, role: Role, where: str) -> Json:
    try:
        return respelled(content, partial(_is_foreign, role), partial(_spell, role))
    except ModelError as error:
        at, _, member = (error.param or "").partition(".")
        path = f"{where}[{at}].{member}"
        raise invalid(f"{path} {error.message}", path) from None


def _is_foreign(role: Role, piece: dict[str, Json]) -> bool:
    match piece["type"]:
        case "input_image":
            return isinstance(piece.get("image_url"), dict)
        case "input_file" | "input_audio" | "refusal":
            return False
        case "input_text":
            return role == "assistant"
        case "output_text":
            return role != "assistant"
        case _:
            return True


def _spell(role: Role, part: Part) -> Json:
    match part:
        case Text(text):
            return {"type": "output_text" if role == "assistant" else "input_text", "text": text}
        case Refusal(text):
            return {"type": "refusal", "refusal": text}
        case _:
            return render_content(part, "user", [])


def _tool(tool: Json) -> Json:
    offered = read_tool(tool)
    if offered is None or (offered.shape == "flat" and tool.get("type") in _NESTED):
        return tool
    return _flat(offered)


def _flat(tool: OfferedTool) -> Json:
    flat: dict[str, Json] = {"type": tool.kind, "name": tool.name, **tool.members}
    if tool.kind == "function":
        flat["parameters"] = tool.schema
        # Absent means true here and false in the other protocols.
        flat.setdefault("strict", False)
    elif tool.grammar is not None:
        flat["format"] = {"type": "grammar", **tool.grammar}
    return flat


def _choice(choice: Json) -> Json:
    if choice in ("auto", "none", "required") or not isinstance(choice, dict | str):
        return choice
    if isinstance(choice, dict):
        kind = choice.get("type")
        if kind == "allowed_tools" and isinstance(inner := choice.get(kind), dict):
            listed = inner.get("tools")
            tools = [_choice(one) for one in listed] if isinstance(listed, list) else listed
            return {"type": kind, "mode": inner.get("mode", "auto"), "tools": tools}
        if kind in _NESTED and not isinstance(choice.get(kind), dict):
            return choice
    meant = read_choice(choice)
    if meant is None:
        return choice
    return meant.mode if meant.mode != "tool" else {"type": meant.kind, "name": meant.name}
