"""Rewrites what a client spelled as in another protocol, in the spelling of Messages."""

from typing import Final

from polyvox.protocols.messages.blocks import invalid, render_foreign
from polyvox.protocols.messages.tools import render_tools
from polyvox.protocols.requests.foreign_parts import respelled
from polyvox.protocols.requests.foreign_tools import OfferedTool, read_choice, read_tool
from polyvox.workflows.conversation import File, Image, Json, Part, Refusal, Source, Text, Tool
from polyvox.workflows.errors import ModelError

_LIMITS: Final = ("max_completion_tokens", "max_output_tokens")


def in_messages(body: dict[str, Json]) -> dict[str, Json]:
    """Return the request in the spelling of Messages; the same object if it has no other.

    Ill-typed members stay as they are. Raises ModelError("invalid_request", param=...) for a part
    that Messages cannot carry.
    """
    changed: dict[str, Json] = {}
    messages = body.get("messages")
    if isinstance(messages, list):
        own = [_message(message, f"messages.{at}") for at, message in enumerate(messages)]
        if any(map(_differs, own, messages)):
            changed["messages"] = own
    system = _content(body.get("system"), "system")
    if system is not body.get("system"):
        changed["system"] = system
    if isinstance(tools := body.get("tools"), list):
        offered = [_tool(tool) for tool in tools]
        if any(map(_differs, offered, tools)):
            changed["tools"] = offered
    choice = body.get("tool_choice")
    if _differs(own_choice := _choice(choice, body.get("parallel_tool_calls")), choice):
        changed["tool_choice"] = own_choice
    body = {**body, **changed} if changed else body
    return _limited(body) if any(name in body for name in _LIMITS) else body


def _differs(new: Json, old: Json) -> bool:
    return new is not old


def _limited(body: dict[str, Json]) -> dict[str, Json]:
    """Rename the output limit of another protocol."""
    limited = {name: value for name, value in body.items() if name not in _LIMITS}
    for name in _LIMITS:
        if limited.get("max_tokens") is None and body.get(name) is not None:
            limited["max_tokens"] = body[name]
    return limited


def _message(message: Json, where: str) -> Json:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    own = _content(content, f"{where}.content")
    blocks = [_result(block, f"{where}.content.{at}") for at, block in enumerate(own)]
    if any(map(_differs, blocks, own)):
        own = blocks
    return message if own is content else {**message, "content": own}


def _result(block: Json, where: str) -> Json:
    """Return a tool's result with its content in this protocol's spelling; others unchanged."""
    if not isinstance(block, dict) or block.get("type") != "tool_result":
        return block
    content = block.get("content")
    own = _content(content, f"{where}.content")
    return block if own is content else {**block, "content": own}


def _content(content: Json, where: str) -> Json:
    try:
        return respelled(content, _is_foreign, _spell)
    except ModelError as error:
        raise invalid(f"{where}.{error.param}", error.message) from None


def _is_foreign(piece: dict[str, Json]) -> bool:
    if piece["type"] in ("image", "document"):
        return "source" not in piece
    return bool(piece["type"] != "text")


def _spell(part: Part) -> Json:
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text}
        case Image(Source(file_id=str(file_id))):
            return {"type": "image", "source": {"type": "file", "file_id": file_id}}
        case File(Source(file_id=str(file_id)), name):
            title = {} if name is None else {"title": name}
            return {"type": "document", "source": {"type": "file", "file_id": file_id}, **title}
        case Image() | File():
            losses: list[str] = []
            block = render_foreign(part, losses)
            if block is None:
                raise ModelError("invalid_request", f"cannot be sent: {losses[0]}.", param="type")
            return block
        case _:
            # There is no block for audio; a provider of another protocol may take it.
            return None


def _tool(tool: Json) -> Json:
    offered = read_tool(tool)
    return tool if offered is None or offered.shape == "schema" else _with_schema(offered)


def _with_schema(tool: OfferedTool) -> Json:
    own = Tool(tool.name, tool.members.get("description"), tool.schema, tool.kind)
    spelled: dict[str, Json] = render_tools([own], [])[0]
    if tool.grammar is not None and isinstance(definition := tool.grammar["definition"], str):
        before = f"{own.description}\n\n" if own.description else ""
        spelled["description"] = f"{before}The input must follow this grammar:\n{definition}"
    return {**spelled, **{name: v for name, v in tool.members.items() if name != "description"}}


def _choice(choice: Json, parallel: Json) -> Json:
    if isinstance(choice, dict) and choice.get("type") in ("auto", "any", "none", "tool"):
        return choice
    meant = read_choice(choice)
    if meant is None:
        return choice
    kind = "any" if meant.mode == "required" else meant.mode
    own: dict[str, Json] = {"type": kind, **({"name": meant.name} if meant.mode == "tool" else {})}
    if parallel is False and kind != "none":
        own["disable_parallel_tool_use"] = True
    return own
